"""Pre-train an image encoder on unlabelled images, as a masked autoencoder.

The network that comes out is that of the model it started from, with another encoder. Prompt
encoder, mask decoder and dense head do not know that encoder: the file says so, and `train` starts
from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..checkpoints import PRETRAINED, Checkpoint, save_checkpoint
from ..engine.device import precision_name
from ..errors import ParameterError
from ..network.blank import WithoutInitialisation
from ..network.sam import Sam
from ..progress import Progress, finish
from .augment import AugmentConfig
from .autoencoder import MaskedAutoencoder, MaskedLoss, crops_loss, settled_masking
from .config import StageConfig, TrainingConfig
from .cropping import CropConfig, CropSampler, cut, stacked
from .curves import draw_curves, read_rows
from .estimate import (
    Estimate,
    available_memory,
    program_bytes,
    refuse_if_too_large,
    saved_bytes,
)
from .folder import MODEL, record_run, working_in
from .geometry import Geometry, has_dense_head, step_precision
from .initial import new_network, trainable
from .loading import TrainingImages
from .masking import MaskingConfig
from .run import KEPT, RunStart, TrainingResult, origin_of, training_facts
from .trainer import StageTrainer
from .unlabelled import load_unlabelled
from .validation import validation_subset

STAGE = "pretrain"
_PLAIN = AugmentConfig(**dict.fromkeys(AugmentConfig.__dataclass_fields__, 0.0))
_USED = {
    "steps", "batch_size", "crop", "learning_rate", "encoder_learning_rate", "final_rate", "warmup",
    "weight_decay", "clip", "ema", "start",
}  # fmt: skip


def pretrain(
    config: str | Path | Mapping[str, Any] | TrainingConfig,
    *,
    images: Iterable[Any] | None = None,
    held_out: Iterable[Any] | None = None,
    output: str | Path | None = None,
    data: str | Path | None = None,
    device: str | torch.device = "auto",
    overwrite: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
) -> TrainingResult:
    """Pre-train the image encoder of a model on images without labels.

    A share of the patches of each crop is masked; the encoder sees the others alone, and a light
    decoder, which is dropped afterwards, predicts the masked pixels (He et al. 2022, Tian et al.
    2023).

    Parameters
    ----------
    config : path, mapping or TrainingConfig
        A TOML file, or its contents: the model to start from ("scratch" for a new encoder like the
        embedded model's), the [[data]] sets, values of the one stage (steps, batch_size, learning
        rates, crop ...), and `MaskingConfig` as [masking].
    images, held_out : iterables of array, optional
        Images to train on and to validate on, besides the sets of the configuration, as for
        `Predictor.embed`.
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
        Called with every `Progress`, as by `train`.

    Returns
    -------
    TrainingResult
        `model` is a checkpoint for `train`: as its model, or for its encoder alone.

    Raises
    ------
    ParameterError
        If the configuration is wrong, the model's encoder cannot be pre-trained, or the folder
        holds another run.
    FormatError, ImageError
        If there are no images, or one cannot be read.
    CheckpointError, DownloadError
        If the model to start from cannot be loaded.
    ResourceError
        If memory does not suffice, or another process uses the folder.
    """
    generator = pretrain_steps(
        config,
        images=images,
        held_out=held_out,
        output=output,
        data=data,
        device=device,
        overwrite=overwrite,
    )
    return finish(generator, on_progress)


def pretrain_steps(
    config: str | Path | Mapping[str, Any] | TrainingConfig,
    *,
    images: Iterable[Any] | None = None,
    held_out: Iterable[Any] | None = None,
    output: str | Path | None = None,
    data: str | Path | None = None,
    device: str | torch.device = "auto",
    overwrite: bool = False,
) -> Generator[Progress, None, TrainingResult]:
    """Run `pretrain` as a generator of `Progress`; closing it stops the run, which can be resumed.

    Parameters, results and errors are those of `pretrain`.
    """
    began = time.perf_counter()
    start = RunStart.of(config, output, data, device)
    _check(start.config)
    asked = replace(start.config, masking=start.config.masking or MaskingConfig())
    yield Progress(0, 1, message="reading images")
    sets = yield from load_unlabelled(asked, start.base, images, held_out)
    yield Progress(0, 1, message="loading the model")
    checkpoint = start.load(asked.model)
    if checkpoint is None:
        network = new_network(asked.seed, asked.encoder)
    else:
        network = trainable(checkpoint.network, checkpoint.name)
    full = _settled(asked, network, checkpoint)
    with working_in(start.folder):
        record_run(start.folder, full, sets, checkpoint, overwrite)
        run = _PretrainingRun(full, sets, network, checkpoint, start.folder, start.device)
        yield from run.steps()
        return run.finish(began)


def _check(config: TrainingConfig) -> None:
    """Raise for what a pre-training does not have."""
    plain = TrainingConfig()
    names = ("stages", "train", "prompt", "watch", "patience", "encoder_weights")
    wrong = [name for name in names if getattr(config, name) != getattr(plain, name)]
    wrong += sorted(set(config.options) - _USED)
    if wrong:
        raise ParameterError(
            f"{', '.join(wrong)}: a pre-training has one stage, without labels or prompts; its "
            f"values are {', '.join(sorted(_USED))}"
        )


def _settled(config: TrainingConfig, network: Sam, checkpoint: Checkpoint | None) -> TrainingConfig:
    """Fill in everything that a configuration leaves open."""
    name = checkpoint.name if checkpoint else config.model
    encoder: Any = network.image_encoder
    masking = settled_masking(config.masking or MaskingConfig(), encoder, name)
    frame, micro = Geometry.of(encoder).frame, has_dense_head(network)
    options = dict(config.options)
    steps = int(options.get("steps", 2000))
    fresh = checkpoint is None
    values: dict[str, Any] = {
        "steps": steps,
        "batch_size": 8 if micro else 4,
        "learning_rate": 1e-3,  # of the decoder, which is always new
        "encoder_learning_rate": 1e-3 if fresh else 2e-4 if micro else 5e-5,
        "warmup": max(steps // 20, 1),
        "weight_decay": 0.05,
        "ema": 0.99,
    }
    side = min(256 if micro else 512, frame // masking.patch * masking.patch)
    crop = replace(CropConfig(size=side, by_object=0.0), **dict(options.pop("crop", {})))
    stage = StageConfig(STAGE, crop=crop, **{**values, **options})
    if not 2 * masking.patch <= crop.size <= frame or crop.size % masking.patch:
        raise ParameterError(
            f"crop.size is a multiple of the patch side, {masking.patch}, from two patches to the "
            f"frame of {frame} pixels, not {crop.size}"
        )
    if not stage.encoder_learning_rate:
        raise ParameterError("encoder_learning_rate is 0: nothing would be pre-trained")
    augment = config.augment or _PLAIN
    return replace(config, stages=(stage,), augment=augment, masking=masking, options={})


@dataclass
class _PretrainingRun:
    """A settled pre-training.

    Parameters
    ----------
    config : TrainingConfig
        Settled, with one stage.
    sets : TrainingImages
        To train on and to validate on.
    network : Sam
        Whose image encoder is trained.
    checkpoint : Checkpoint or None
        The model started from.
    folder : Path
        The run's.
    device : torch.device
        Where to train.
    """

    config: TrainingConfig
    sets: TrainingImages
    network: Sam
    checkpoint: Checkpoint | None
    folder: Path
    device: torch.device
    model: MaskedAutoencoder = field(init=False)
    steps_done: int = 0

    def __post_init__(self) -> None:
        torch.manual_seed(self.config.seed)
        encoder: Any = self.network.image_encoder
        self.model = MaskedAutoencoder(encoder, self._masking).to(self.device)
        weights = self.sets.weights
        sampler = partial(CropSampler, geometry=Geometry.of(encoder))
        self.sampler = sampler(self.sets.train, weights, self.config.seed)
        subset = validation_subset(self.sets.validation, self.config.validation_images)
        self.check = HeldOutLoss(subset, self._stage, Geometry.of(encoder)) if subset else None

    @property
    def _stage(self) -> StageConfig:
        return self.config.stages[0]

    @property
    def _masking(self) -> MaskingConfig:
        return self.config.masking or MaskingConfig()

    def steps(self) -> Iterator[Progress]:
        """Train to the end."""
        total = self._stage.steps
        if not (self.folder / f"{STAGE}.pt").exists():
            estimate = self._memory()
            refuse_if_too_large(estimate, "a smaller batch_size or a smaller crop.size")
            dtype, why = step_precision(self.device, self.model.image_encoder)
            yield Progress(0, total, estimate, f"timing a step in {precision_name(dtype)} ({why})")
            yield Progress(0, total, self._timed(estimate), "predicted")
        trainer = self._trainer(resume=True)
        yield from trainer.run()
        self.steps_done = trainer.step
        yield Progress(total, total, message="writing the model")

    def _trainer(self, resume: bool) -> StageTrainer:
        model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return StageTrainer(
            model,
            self._stage,
            self.config,
            self.sampler,
            self.folder,
            self.check,
            device=self.device,
            resume=resume,
            loss=MaskedLoss(self.config.augment or _PLAIN),
        )

    def _memory(self) -> Estimate:
        stage, nbytes = self._stage, self.sets.nbytes
        on_cpu = self.device.type == "cpu"
        with torch.device("meta"), WithoutInitialisation():
            twin = MaskedAutoencoder(self.network.config.encoder.build(), self._masking)  # type: ignore[arg-type]
        twin.train()
        encoder: Any = twin.image_encoder
        encoder.train(self.checkpoint is None)
        side = stage.crop.size
        pixels = torch.empty(stage.batch_size, 3, side, side, device="meta")
        valid = torch.empty(stage.batch_size, 1, side, side, device="meta")
        held = sum(p.nbytes for p in (*twin.parameters(), *twin.buffers()))
        trained = sum(p.nbytes for p in twin.parameters())
        # gradients, two moments, the average
        needed = held + 4 * trained + saved_bytes(lambda: twin(pixels, valid), twin)
        needed += program_bytes(self.device) + (nbytes if on_cpu else 0)
        free = available_memory(self.device)
        return Estimate(needed, free + nbytes if free is not None and on_cpu else free)

    def _timed(self, estimate: Estimate) -> Estimate:
        timed = self._trainer(resume=False)
        step, _ = timed.time_step()
        seconds = step * self._stage.steps
        if self.check:
            self.model.eval()
            began = time.perf_counter()
            self.check(self.model)
            validations = self._stage.steps // self.config.validate_every + 1
            seconds += (time.perf_counter() - began) * validations
        return replace(estimate, seconds=seconds, per_step=step)

    def finish(self, began: float) -> TrainingResult:
        """Write the model, its card and the curves.

        Parameters
        ----------
        began : float
            Start of the run, from `time.perf_counter`.
        """
        config, checkpoint, folder = self.config, self.checkpoint, self.folder
        rows = [
            {k: v for k, v in row.items() if k != "step"}
            for row in read_rows(folder / f"{STAGE}-validation.csv")
        ]
        after = rows[-1] if rows else {}  # before, the decoder is new and predicts nothing
        name, base, described = (
            config.name or folder.name,
            origin_of(checkpoint),
            self.sets.describe(),
        )
        steps = {STAGE: self.steps_done}
        card = _card(config, name, base, described, after)
        kept = {k: v for k, v in (checkpoint.metadata if checkpoint else {}).items() if k in KEPT}
        metadata = {
            **kept,
            "name": name,
            "licence": config.licence or base.get("licence", ""),
            "description": f"Image encoder pre-trained from {base.get('name', 'scratch')}.",
            "card": card,
            PRETRAINED: True,
            "training": training_facts(config, base, described, steps, after),
        }
        network = self.network.cpu().eval()
        path = save_checkpoint(network, folder / MODEL, metadata, half=has_dense_head(network))
        (folder / "card.md").write_text(card, "utf-8")
        draw_curves(folder, [STAGE])
        seconds = time.perf_counter() - began
        return TrainingResult(path, folder, steps, {}, after, seconds, card)


class HeldOutLoss:
    """Loss on fixed crops of held-out images, with fixed masks.

    Parameters
    ----------
    images : sequence of LabelledImage
    stage : StageConfig
        How crops are cut.
    geometry : Geometry
        Frame of the network.
    """

    def __init__(self, images: Iterable[Any], stage: StageConfig, geometry: Geometry) -> None:
        rng = np.random.default_rng(0)
        self.batches = [
            stacked([cut(image, rng, stage.crop, geometry)], geometry) for image in images
        ]

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Measure a network in eval mode."""
        device = next(network.parameters()).device
        generator = torch.Generator(device).manual_seed(0)
        with torch.no_grad():
            losses = [
                crops_loss(network, crops.to(device), _PLAIN, generator) for crops in self.batches
            ]
        return {"reconstruction": float(torch.stack(losses).mean())}


def _card(
    config: TrainingConfig,
    name: str,
    base: Mapping[str, Any],
    data: list[dict[str, Any]],
    after: Mapping[str, float],
) -> str:
    """A card in Markdown: what the encoder was made from."""
    stage, masking = config.stages[0], config.masking or MaskingConfig()
    start = f"`{base['name']}` (weights {base['fingerprint'][:16]})" if base else "scratch"
    lines = [
        f"# {name}",
        "",
        f"An image encoder, pre-trained without labels with segment-anything-napari, from {start}: "
        f"{masking.share:.0%} of the patches of {masking.patch} pixels are masked, and predicted "
        "from the others. The other parts of the model do not know it yet; fine-tune it first.",
        "",
        f"- licence: {config.licence or base.get('licence') or 'not stated'}",
        f"- seed: {config.seed}",
        f"- steps: {stage.steps} of {stage.batch_size} crops of {stage.crop.size} pixels, learning "
        f"rate {stage.encoder_learning_rate:g}",
        "",
        "## Data",
        "",
        "| set | images or windows | held out |",
        "|---|---|---|",
    ]
    for title in dict.fromkeys(item["set"] for item in data):
        parts = [item["part"] for item in data if item["set"] == title]
        held = parts.count("validation")
        lines.append(f"| {title} | {len(parts) - held} | {held} |")
    lines += ["", "The hashes of all images are in the file's header, under `training`.", ""]
    if after:
        lines.append(
            "Mean squared error of masked, normalised pixels of held-out images: "
            f"{after['reconstruction']:.3f}."
        )
    return "\n".join(lines) + "\n"
