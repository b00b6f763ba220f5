"""A training run: data, network, stages, and the resulting model.

Each stage starts from the averaged weights of the one before. A run that was stopped resumes when
it is started again with the same configuration and folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from ..engine.device import choose_device, precision_name
from ..errors import ParameterError
from ..network.sam import Sam
from ..progress import Progress, finish
from .card import write_card
from .config import SCRATCH, TrainingConfig
from .cropping import CropSampler
from .curves import draw_curves, read_rows
from .estimate import (
    Estimate,
    available_memory,
    predict_memory,
    refuse_if_too_large,
    smaller_ways,
)
from .folder import MODEL, record_run, run_folder, working_in
from .geometry import Geometry, has_dense_head, step_precision
from .initial import folded, new_network, shape_from_scratch, trainable, with_encoder
from .loading import ImagePairs, TrainingImages, load_images
from .lora import add_lora, merge_lora
from .presets import settled
from .prompts import prompt_losses
from .texts import TextPrompts, load_texts, text_metadata, with_text_prompts
from .toml import read_config
from .trainer import StageTrainer
from .validation import QuickValidation, validation_subset

# metadata kept from the model started from
KEPT = (
    "everything", "auto_mode", "prompted_parts_only", "focus", "citation", "data_licences",
    "text_prompt",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The result of a run.

    Parameters
    ----------
    model : Path
        The checkpoint, for `load_model`.
    folder : Path
        Has the curves as CSV (and PNG, if matplotlib is installed), the card, the settled
        configuration with the data's hashes, and the state of each stage.
    steps : dict of str to int
        Steps of each stage; fewer than configured if it stopped early.
    before, after : dict of str to float
        Measures on the held-out images before training and of the final weights. Empty without
        held-out images.
    seconds : float
        Duration of this call.
    card : str
        The model card in Markdown.
    """

    model: Path
    folder: Path
    steps: dict[str, int] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    card: str = ""


def train(
    config: str | Path | Mapping[str, Any] | TrainingConfig,
    *,
    images: ImagePairs | None = None,
    held_out: ImagePairs | None = None,
    output: str | Path | None = None,
    data: str | Path | None = None,
    device: str | torch.device = "auto",
    overwrite: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
) -> TrainingResult:
    """Train a model, or fine-tune one.

    Parameters
    ----------
    config : path, mapping or TrainingConfig
        A TOML file, or its contents; see `TrainingConfig`.
    images, held_out : iterables of (image, labels) or (image, labels, seen), optional
        Arrays to train on and to validate on, besides the sets of the configuration: images as for
        `Predictor.embed`, labels (H, W) integers with 0 for background. If not every object is
        labelled, `seen` (H, W) is True where they all are; elsewhere only labelled objects and a
        ring around them have a loss. May be generators.
    output : path, optional
        The run's folder, in place of the configuration's. The same call again resumes the run.
    data : path, optional
        Folder that the sets' relative paths start from; by default that of the configuration file,
        or the current one.
    device : str or torch.device
        "auto" takes CUDA, MPS or the CPU, in this order.
    overwrite : bool
        Remove a run that the folder holds.
    on_progress : callable, optional
        Called with every `Progress`; its `partial` is an `Estimate` before the first step, then a
        `StepReport`.

    Returns
    -------
    TrainingResult
        `model` is the file for `load_model`.

    Raises
    ------
    ParameterError
        If the configuration is wrong, or the folder holds another run.
    FormatError, ImageError
        If data is missing, unpaired, empty or of unequal size.
    CheckpointError, DownloadError
        If the model to start from cannot be loaded.
    ResourceError
        If memory does not suffice, or another process uses the folder.
    """
    generator = train_steps(
        config,
        images=images,
        held_out=held_out,
        output=output,
        data=data,
        device=device,
        overwrite=overwrite,
    )
    return finish(generator, on_progress)


def train_steps(
    config: str | Path | Mapping[str, Any] | TrainingConfig,
    *,
    images: ImagePairs | None = None,
    held_out: ImagePairs | None = None,
    output: str | Path | None = None,
    data: str | Path | None = None,
    device: str | torch.device = "auto",
    overwrite: bool = False,
) -> Generator[Progress, None, TrainingResult]:
    """Run `train` as a generator of `Progress`; closing it stops the run, which can be resumed.

    Parameters, results and errors are those of `train`.
    """
    began = time.perf_counter()
    start = RunStart.of(config, output, data, device)
    asked, where = start.config, start.device
    if asked.masking is not None:
        raise ParameterError(
            "a configuration with [masking] is for `pretrain` (napari-sam pretrain)"
        )
    yield Progress(0, 1, message="reading images")
    sets = yield from load_images(asked, start.base, images, held_out)
    yield Progress(0, 1, message="loading the model")
    checkpoint = start.load(asked.model)
    encoder = start.load(asked.encoder_weights or SCRATCH)
    if checkpoint is None:
        shape = asked.encoder if encoder is None else shape_from_scratch(encoder)
        network = new_network(asked.seed, shape)
    else:
        network = trainable(checkpoint.network, checkpoint.name)
    if encoder is not None:
        network = with_encoder(network, encoder, asked.model)
    texts = None
    if asked.prompt:
        texts = load_texts(asked.clip, asked.text_side, where)
        network = with_text_prompts(network, texts, asked.model)
    full = settled(asked, network)
    if full.watch and not sets.validation:
        raise ParameterError("'watch' needs held-out images: give a set 'validation'")
    with working_in(start.folder):
        record_run(start.folder, full, sets, checkpoint, overwrite, encoder)
        run = _TrainingRun(full, sets, network, checkpoint, start.folder, where, texts, encoder)
        yield from run.stages()
        return run.finish(began)


@dataclass
class _TrainingRun:
    """A settled run: its stages, and the model they result in.

    Parameters
    ----------
    config : TrainingConfig
        Settled.
    sets : TrainingImages
        To train on and to validate on.
    network : Sam
        To train; replaced when its batch normalisation is folded.
    checkpoint : Checkpoint or None
        The model started from.
    folder : Path
        The run's.
    device : torch.device
        Where to train.
    texts : TextPrompts or None
        Makes text prompts, where the run trains them.
    encoder : Checkpoint or None
        Where the image encoder comes from, if not from `checkpoint`.
    """

    config: TrainingConfig
    sets: TrainingImages
    network: Sam
    checkpoint: Checkpoint | None
    folder: Path
    device: torch.device
    texts: TextPrompts | None = None
    encoder: Checkpoint | None = None
    steps: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config, sets = self.config, self.sets
        if config.train == "lora":
            add_lora(self.network.image_encoder, config.lora, config.seed)
        self.network = self.network.to(self.device)
        self.subset = validation_subset(sets.validation, config.validation_images)
        self.weights = {i.group: sets.weights.get(i.group, 0.0) for i in sets.train}

    def stages(self) -> Iterator[Progress]:
        """Train the stages one after the other."""
        config, done = self.config, 0
        total = sum(stage.steps for stage in config.stages)
        if not all((self.folder / f"{stage.name}.pt").exists() for stage in config.stages):
            estimate = self._memory()
            refuse_if_too_large(estimate, smaller_ways(self.network, config))
            dtype, why = step_precision(self.device, self.network.image_encoder)
            yield Progress(0, total, estimate, f"timing a step in {precision_name(dtype)} ({why})")
            yield Progress(0, total, self._timed(estimate), "predicted")
        for number, stage in enumerate(config.stages):
            if stage.objects:
                self.network = folded(self.network)
            running = self._trainer(number, resume=True)
            for progress in running.run():
                yield Progress(done + progress.done, total, progress.partial, progress.message)
            self.steps[stage.name] = running.step
            done += stage.steps
        yield Progress(total, total, message="writing the model")

    def _trainer(self, number: int, resume: bool) -> StageTrainer:
        config, stage = self.config, self.config.stages[number]
        seed = config.seed + 1000 * number
        geometry = Geometry.of(self.network.image_encoder)
        sampler = CropSampler(self.sets.train, self.weights, seed, geometry)
        # runs from scratch validate on many sets, of which half the images suffice
        share = 2 if config.model == SCRATCH else 1
        check = QuickValidation(self.subset, stage, share) if self.subset else None
        network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        losses = partial(prompt_losses, texts=self.texts)
        return StageTrainer(
            network, stage, config, sampler, self.folder, check, losses, self.device, resume
        )

    def _memory(self) -> Estimate:
        config, nbytes = self.config, self.sets.nbytes
        plain = folded(self.network) if config.train != "lora" else self.network
        needed = max(
            predict_memory(plain, config, stage, nbytes, self.device) for stage in config.stages
        )
        free = available_memory(self.device)
        if free is not None and self.device.type == "cpu":  # which counts the images as needed too
            free += nbytes
        return Estimate(needed, free)

    def _timed(self, estimate: Estimate) -> Estimate:
        """Add the time of all steps and validations, from a timed step of each stage."""
        config = self.config
        seconds = slowest = 0.0
        for number, stage in enumerate(config.stages):
            timed = self._trainer(number, resume=False)
            step, encoding = timed.time_step()
            slowest = max(slowest, step)
            fresh = min(len(self.sets.train) * stage.views, stage.steps * stage.batch_size)
            seconds += step * stage.steps + encoding / stage.batch_size * fresh
            if self.subset:
                check = QuickValidation(self.subset[:1], stage)
                timed.network.eval()
                began = time.perf_counter()
                check(timed.network)
                one = time.perf_counter() - began
                seconds += one * len(self.subset) * (stage.steps // config.validate_every + 1)
        return replace(estimate, seconds=seconds, per_step=slowest)

    def finish(self, began: float) -> TrainingResult:
        """Write the model, its card and the curves.

        Parameters
        ----------
        began : float
            Start of the run, from `time.perf_counter`.
        """
        config, checkpoint, folder, steps = self.config, self.checkpoint, self.folder, self.steps
        merge_lora(self.network.image_encoder)
        network = folded(self.network.cpu().eval())
        rows = read_rows(folder / f"{config.stages[-1].name}-validation.csv")
        for row in rows:
            row.pop("step", None)
        before = rows[0] if rows and checkpoint is not None else {}
        after = rows[-1] if rows else {}
        if config.watch and rows:
            after = max(rows, key=lambda row: row[config.watch])
        kept: dict[str, Any] = {}
        base: dict[str, Any] = {}
        decoder = None
        if checkpoint is not None:
            kept = {k: v for k, v in checkpoint.metadata.items() if k in KEPT}
            base = origin_of(checkpoint)
            if (
                config.train == "decoder" and self.encoder is None
            ):  # an instance decoder fits only an unchanged encoder
                decoder = checkpoint.instance_decoder
        if self.texts is not None:
            kept |= text_metadata(config.clip, self.texts)
        name = config.name or folder.name
        described = self.sets.describe()
        encoder = origin_of(self.encoder)
        card = write_card(config, name, base, described, before, after, steps, encoder)
        metadata = {
            **kept,
            "name": name,
            "licence": config.licence or base.get("licence", ""),
            "description": f"Fine-tuned from {base['name']}." if base else "Trained from scratch.",
            "card": card,
            "training": {
                **training_facts(config, base, described, steps, after),
                "encoder": encoder,
                "before": before,
            },
        }
        half = has_dense_head(network)
        path = save_checkpoint(
            network, folder / MODEL, metadata, half=half, instance_decoder=decoder
        )
        (folder / "card.md").write_text(card, "utf-8")
        draw_curves(folder, [stage.name for stage in config.stages])
        seconds = time.perf_counter() - began
        return TrainingResult(path, folder, steps, before, after, seconds, card)


@dataclass(frozen=True, slots=True)
class RunStart:
    """Where a run finds what it needs, before anything is read.

    Parameters
    ----------
    config : TrainingConfig
        As read.
    file : Path or None
        The configuration file.
    base : Path
        Folder that the sets' relative paths start from.
    folder : Path
        The run's.
    device : torch.device
    """

    config: TrainingConfig
    file: Path | None
    base: Path
    folder: Path
    device: torch.device

    @classmethod
    def of(
        cls,
        config: str | Path | Mapping[str, Any] | TrainingConfig,
        output: str | Path | None,
        data: str | Path | None,
        device: str | torch.device,
    ) -> RunStart:
        """Settle it; parameters and errors are those of `train`."""
        file = Path(config).expanduser() if isinstance(config, str | Path) else None
        asked = config if isinstance(config, TrainingConfig) else read_config(config)
        base = Path(data).expanduser() if data is not None else file.parent if file else Path()
        return cls(asked, file, base, run_folder(asked, output, file), choose_device(device))

    def load(self, model: str) -> Checkpoint | None:
        """Load a checkpoint, whose path may be relative to the configuration file.

        Parameters
        ----------
        model : str
            As in the configuration; None is returned for "scratch".
        """
        if model == SCRATCH:
            return None
        relative = self.file.parent / model if self.file is not None else Path(model)
        return load_checkpoint(relative if relative.is_file() else model)


def training_facts(
    config: TrainingConfig,
    base: Mapping[str, Any],
    data: list[dict[str, Any]],
    steps: Mapping[str, int],
    after: Mapping[str, float],
) -> dict[str, Any]:
    """What a model was made from, for the metadata of its file.

    Parameters
    ----------
    config : TrainingConfig
        Settled.
    base : mapping
        From `origin_of`.
    data : list of dict
        From `TrainingImages.describe`.
    steps : mapping of str to int
        Of each stage.
    after : mapping of str to float
        Measures of the final weights.
    """
    return {
        "config": config.to_dict(),
        "base": dict(base),
        "data": data,
        "steps": dict(steps),
        "after": dict(after),
        "package": __version__,
        "torch": torch.__version__,
    }


def origin_of(checkpoint: Checkpoint | None) -> dict[str, str]:
    """Name, fingerprint and licence of a model that a run starts from; empty for none."""
    if checkpoint is None:
        return {}
    return {
        "name": checkpoint.name,
        "fingerprint": checkpoint.fingerprint,
        "licence": checkpoint.metadata.get("licence", ""),
    }
