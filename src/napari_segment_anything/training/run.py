"""A whole run: data, network, stages, and the model that comes of it.

Stages follow each other, each from the averaged weights of the one before. A run that was killed
goes on where it stood when it is started again with the same configuration and folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from .config import SCRATCH, StageConfig, TrainingConfig
from .cropping import CropSampler, HeldImage
from .curves import draw_curves, read_rows
from .data import LabelledImage
from .estimate import Estimate, available_memory, predict_memory, refuse_if_too_large
from .folder import MODEL, record_run, run_folder, working_in
from .geometry import Geometry, has_dense_head, step_precision
from .initial import folded, new_network
from .loading import ImagePairs, TrainingImages, load_images
from .lora import add_lora, merge_lora
from .presets import settled
from .prompts import prompt_losses
from .toml import read_config
from .trainer import StageTrainer
from .validation import dense_scores, prompt_scores

# of the model started from
_KEPT = (
    "everything", "auto_mode", "prompted_parts_only", "focus", "citation", "data_licences",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a run leaves behind.

    Parameters
    ----------
    model : Path
        The checkpoint, for `load_model`.
    folder : Path
        With the curves as CSV (and PNG, where matplotlib is installed), the card, the settled
        configuration with the data's hashes, and each stage's state.
    steps : dict of str to int
        Steps of each stage; fewer than configured where it stopped early.
    before, after : dict of str to float
        Measures on the held out images before training and of the weights kept. Empty without
        held out images.
    seconds : float
        Of this call.
    card : str
        The model card, Markdown.
    """

    model: Path
    folder: Path
    steps: dict[str, int] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    card: str = ""


class QuickValidation:
    """The quick measures of a stage, of what it trains.

    Parameters
    ----------
    images : sequence of LabelledImage
        Held out.
    stage : StageConfig
        Where it trains the encoder, the dense head is measured; where it prompts, the decoder.
    share : int
        Prompt every so many-th image only.
    """

    def __init__(self, images: Sequence[LabelledImage], stage: StageConfig, share: int = 2) -> None:
        self.images, self.stage, self.share = images, stage, share

    def __call__(self, network: Any) -> dict[str, float]:
        """Measure a network in eval mode."""
        measures: dict[str, float] = {}
        if self.stage.encoder_learning_rate > 0 and has_dense_head(network):
            measures |= dense_scores(network.image_encoder, self.images)
        if self.stage.objects:
            measures |= prompt_scores(network, self.images[:: self.share])
        return measures


def validation_subset(images: Sequence[LabelledImage], count: int) -> list[LabelledImage]:
    """About `count` images, evenly from every group; large groups give more."""
    groups: dict[str, list[LabelledImage]] = {}
    for image in images:
        groups.setdefault(image.group, []).append(image)
    share = count / max(sum(len(g) ** 0.5 for g in groups.values()), 1)
    chosen = []
    for _, members in sorted(groups.items()):
        wanted = min(len(members), max(1, round(share * len(members) ** 0.5)))
        chosen += [members[i * len(members) // wanted] for i in range(wanted)]
    return chosen


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
        A TOML file, or what one would hold: see `TrainingConfig`.
    images, held_out : iterables of (image, labels), optional
        Arrays to train on and to validate on, beside the sets of the configuration: images as for
        `Predictor.embed`, labels (H, W) integers with 0 for background. Generators will do.
    output : path, optional
        The run's folder, in place of the configuration's. The same call again goes on where an
        earlier one stopped.
    data : path, optional
        What the sets' relative paths start from: the folder of the configuration file, or the
        current one.
    device : str or torch.device
        "auto" takes CUDA, MPS or the CPU, in this order.
    overwrite : bool
        Begin anew where the folder holds a run.
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
        If the data is missing, unpaired, mis-sized or empty.
    CheckpointError, DownloadError
        If the model to start from cannot be had.
    ResourceError
        If memory will not do, or another process works in the folder.
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
    """`train` as a generator of `Progress`; closing it stops the run, which can be resumed."""
    began = time.perf_counter()
    file = Path(config).expanduser() if isinstance(config, str | Path) else None
    asked = config if isinstance(config, TrainingConfig) else read_config(config)
    base = Path(data).expanduser() if data is not None else file.parent if file else Path()
    folder = run_folder(asked, output, file)
    where = choose_device(device)
    yield Progress(0, 1, message="reading images")
    sets = yield from load_images(asked, base, images, held_out)
    yield Progress(0, 1, message="loading the model")
    checkpoint = None if asked.model == SCRATCH else load_checkpoint(_source(asked.model, file))
    network = checkpoint.network if checkpoint else new_network(asked.seed)
    full = settled(asked, network)
    if full.watch and not sets.validation:
        raise ParameterError("'watch' needs held out images: give a set 'validation'")
    with working_in(folder):
        record_run(folder, full, sets, checkpoint, overwrite)
        return (yield from _run(full, sets, network, checkpoint, folder, where, began))


def _run(
    config: TrainingConfig,
    sets: TrainingImages,
    network: Sam,
    checkpoint: Checkpoint | None,
    folder: Path,
    device: torch.device,
    began: float,
) -> Generator[Progress, None, TrainingResult]:
    if config.train == "lora":
        add_lora(network.image_encoder, config.lora, config.seed)
    network = network.to(device)
    subset = validation_subset(sets.validation, config.validation_images)
    weights = {name: sets.weights.get(name, 0.0) for name in {i.group for i in sets.train}}
    total = sum(stage.steps for stage in config.stages)

    # on a GPU with room to spare the images are kept there, and crops cut there
    room = available_memory(device) or 0
    cutting = device if device.type == "cuda" and 4 * sets.nbytes < room else torch.device("cpu")
    held: dict[str, HeldImage] = {}

    def trainer(number: int, resume: bool) -> StageTrainer:
        stage = config.stages[number]
        seed = config.seed + 1000 * number
        geometry = Geometry.of(network.image_encoder)
        sampler = CropSampler(sets.train, weights, seed, geometry, cutting, held)
        # from scratch the sets are many: half of them tell as much
        check = (
            QuickValidation(subset, stage, 2 if config.model == SCRATCH else 1) if subset else None
        )
        placed = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return StageTrainer(
            placed, stage, config, sampler, folder, check, prompt_losses, device, resume
        )

    if not all((folder / f"{stage.name}.pt").exists() for stage in config.stages):
        estimate = _memory(config, sets, network, device)
        refuse_if_too_large(estimate, network, config)
        dtype, why = step_precision(device, network.image_encoder)
        yield Progress(0, total, estimate, f"timing a step in {precision_name(dtype)} ({why})")
        estimate = _time(estimate, config, sets, subset, trainer)
        yield Progress(0, total, estimate, "predicted")
    done = 0
    steps: dict[str, int] = {}
    for number, stage in enumerate(config.stages):
        if stage.objects:
            network = folded(network)
        running = trainer(number, resume=True)
        for progress in running.run():
            yield Progress(done + progress.done, total, progress.partial, progress.message)
        steps[stage.name] = running.step
        done += stage.steps
    yield Progress(total, total, message="writing the model")
    return _finish(config, sets, network, checkpoint, folder, steps, began)


def _memory(
    config: TrainingConfig, sets: TrainingImages, network: Sam, device: torch.device
) -> Estimate:
    plain = folded(network) if config.train != "lora" else network
    needed = max(
        predict_memory(plain, config, stage, sets.nbytes, device) for stage in config.stages
    )
    free = available_memory(device)
    if free is not None and device.type == "cpu":  # what is loaded already counts as needed too
        free += sets.nbytes
    return Estimate(needed, free)


def _time(
    estimate: Estimate,
    config: TrainingConfig,
    sets: TrainingImages,
    subset: list[LabelledImage],
    trainer: Callable[[int, bool], StageTrainer],
) -> Estimate:
    seconds = slowest = 0.0
    for number, stage in enumerate(config.stages):
        timed = trainer(number, False)
        step, encoding = timed.time_step()
        slowest = max(slowest, step)
        fresh = min(len(sets.train) * stage.views, stage.steps * stage.batch_size)
        seconds += step * stage.steps + encoding / stage.batch_size * fresh
        if subset:
            check = QuickValidation(subset[:1], stage)
            timed.network.eval()
            began = time.perf_counter()
            check(timed.network)
            one = time.perf_counter() - began
            seconds += one * len(subset) * (stage.steps // config.validate_every + 1)
    return replace(estimate, seconds=seconds, per_step=slowest)


def _finish(
    config: TrainingConfig,
    sets: TrainingImages,
    network: Sam,
    checkpoint: Checkpoint | None,
    folder: Path,
    steps: dict[str, int],
    began: float,
) -> TrainingResult:
    merge_lora(network.image_encoder)
    network = folded(network.cpu().eval())
    last = config.stages[-1].name
    rows = read_rows(folder / f"{last}-validation.csv")
    for row in rows:
        row.pop("step", None)
    before = rows[0] if rows and checkpoint is not None else {}
    after = rows[-1] if rows else {}
    if config.watch and rows:
        after = max(rows, key=lambda row: row[config.watch])
    base: dict[str, Any] = {}
    if checkpoint is not None:
        licence = checkpoint.metadata.get("licence", "")
        base = {"name": checkpoint.name, "fingerprint": checkpoint.fingerprint, "licence": licence}
    name = config.name or folder.name
    described = sets.describe()
    card = write_card(config, name, base, described, before, after, steps)
    metadata = {
        **{k: v for k, v in (checkpoint.metadata if checkpoint else {}).items() if k in _KEPT},
        "name": name,
        "licence": config.licence or base.get("licence", ""),
        "description": f"Fine-tuned from {base['name']}." if base else "Trained from scratch.",
        "card": card,
        "training": {
            "config": config.to_dict(),
            "base": base,
            "data": described,
            "steps": steps,
            "before": before,
            "after": after,
            "package": __version__,
            "torch": torch.__version__,
        },
    }
    decoder = None  # made for the encoder as it was
    if checkpoint is not None and config.train == "decoder":
        decoder = checkpoint.instance_decoder
    path = save_checkpoint(
        network, folder / MODEL, metadata, half=has_dense_head(network), instance_decoder=decoder
    )
    (folder / "card.md").write_text(card, "utf-8")
    draw_curves(folder, [stage.name for stage in config.stages])
    seconds = time.perf_counter() - began
    return TrainingResult(path, folder, steps, before, after, seconds, card)


def _source(model: str, file: Path | None) -> str | Path:
    """A checkpoint's path may start from the folder of the configuration."""
    beside = file.parent / model if file is not None else Path(model)
    return beside if beside.is_file() else model
