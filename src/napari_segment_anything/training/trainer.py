"""The trainer: stages of AdamW with warm-up and cosine, averaged weights, exact resume."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..errors import FormatError, ParameterError, ResourceError
from ..progress import Progress
from ..reading import one_line
from .augment import AugmentConfig, augment
from .average import Average, live_state, load_live_state
from .config import SCRATCH, StageConfig, TrainingConfig
from .cropping import CropSampler
from .crops import Crops
from .curves import append_row, drop_rows_after
from .dense import encode_dense
from .geometry import Geometry, has_dense_head, mixed_precision
from .losses import dense_loss
from .prefetch import Prefetch
from .validation import normalise

Losses = dict[str, Tensor]
_VIEW_BYTES = 2 << 30
_FROM_WEIGHTS = "from weights alone: the optimiser's moments begin anew"


@dataclass(frozen=True, slots=True)
class Report:
    """What a step of training has to say.

    Parameters
    ----------
    stage : str
        Which stage.
    losses : dict of str to float
        Losses and other measures of the last steps; empty at a validation.
    validation : dict of str to float
        Measures on the held out images; empty between validations.
    """

    stage: str
    losses: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _View:
    """A fixed view of an image, encoded; floats in half precision."""

    embedding: Tensor
    maps: Tensor | None
    crops: Crops
    origin: Tensor


def parameter_groups(network: nn.Module, stage: StageConfig) -> list[dict[str, Any]]:
    """Optimiser groups: each part, with and without weight decay; frozen ones off.

    An encoder that is frozen in parts (LoRA) stays so.

    Raises
    ------
    ParameterError
        If nothing is left to train.
    """
    partial = any(parametrize.is_parametrized(module) for module in network.modules())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    rates = {
        "image_encoder": stage.encoder_learning_rate,
        "mask_refiner": stage.refiner_learning_rate,
    }
    for name, parameter in network.named_parameters():
        rate = rates.get(name.partition(".")[0], stage.learning_rate)
        kept = partial and name.startswith("image_encoder.") and not parameter.requires_grad
        parameter.requires_grad_(rate > 0 and not kept)
        if parameter.requires_grad:
            decay = stage.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    if not groups:
        raise ParameterError(f"stage {stage.name!r} trains nothing: all learning rates are 0")
    return [
        {"params": parameters, "lr": rate, "peak": rate, "weight_decay": decay}
        for (rate, decay), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def rate_factor(step: int, stage: StageConfig) -> float:
    """Learning rate over its peak: linear warm-up, then cosine down to `final_rate`."""
    if step < stage.warmup:
        return (step + 1) / stage.warmup
    done = (step - stage.warmup) / max(stage.steps - stage.warmup, 1)
    return stage.final_rate + (1 - stage.final_rate) * 0.5 * (1 + math.cos(math.pi * done))


class StageTrainer:
    """Trains one stage and can be killed at any time.

    Parameters
    ----------
    network : nn.Module
        A `Sam`, or a module that has an `image_encoder` alone.
    stage, config : StageConfig, TrainingConfig
        What to do.
    sampler : CropSampler
        Where crops come from.
    folder : Path
        Checkpoint and log are written here.
    validate : callable or None
        Given the module with the averaged weights, returns named measures.
    prompt_losses : callable or None
        Trains the decoder on the embedding (see `prompts.prompt_losses`): given network, embedding,
        crops, origin, stage and generator it returns measures, having propagated its own gradient
        to the decoder and, if the embedding requires one, to the embedding.
    device : str or torch.device
        Where to train.
    resume : bool
        Go on from the stage's checkpoint, where there is one.
    """

    def __init__(
        self,
        network: nn.Module,
        stage: StageConfig,
        config: TrainingConfig,
        sampler: CropSampler,
        folder: Path,
        validate: Callable[[nn.Module], dict[str, float]] | None = None,
        prompt_losses: Callable[..., dict[str, float]] | None = None,
        device: str | torch.device = "cpu",
        resume: bool = True,
    ) -> None:
        self.network = network.to(device)
        self.stage, self.config, self.sampler = stage, config, sampler
        self.folder, self.validate, self.prompt_losses = folder, validate, prompt_losses
        self.device = torch.device(device)
        self.step = stage.start
        self.stopped = False
        self._notice = ""
        if stage.start:
            self._notice = f"{stage.name} starts at step {stage.start} {_FROM_WEIGHTS}"
        fused = self.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.AdamW(
            parameter_groups(network, stage), betas=(0.9, 0.98), fused=fused
        )
        # what a run from a checkpoint leaves as it is need not be stored with every step
        self.average = Average(network, stage.ema, trained_only=config.model != SCRATCH)
        self.best: dict[str, Any] | None = None
        ahead = 0 if self.device.type == "cpu" else min(4, os.cpu_count() or 1)
        self._batches = Prefetch(sampler, stage.batch_size, stage.crop, ahead)
        self.augment = config.augment or AugmentConfig()
        self._views: OrderedDict[tuple[str, int, int], _View] = OrderedDict()
        self.checkpoint = folder / f"{stage.name}.pt"
        if resume and self.checkpoint.exists():
            self._resume()
        elif resume:
            for kind in ("train", "validation"):
                self._log(kind).unlink(missing_ok=True)  # of a run killed before it was saved

    @property
    def complete(self) -> bool:
        """Whether the stage is at its end."""
        return self.stopped or self.step >= self.stage.steps

    def run(self) -> Iterator[Progress]:
        """Train to the end of the stage, yielding progress; stop iterating to stop.

        Each `Progress` has a `Report`. At the end the network has the averaged weights, or the best
        of them where the configuration names a measure to watch.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        stage, config = self.stage, self.config
        sums: dict[str, float] = {}
        number = 0
        started, busy = time.perf_counter(), time.process_time()
        if self._notice:
            warnings.warn(self._notice, stacklevel=2)
        if (
            self.step == stage.start
            and self.validate
            and config.model != SCRATCH
            and not self.complete
        ):
            yield self._validation()  # what it starts from is the first to beat
            started, busy = time.perf_counter(), time.process_time()
        while not self.complete:
            for name, value in self._one_step().items():
                sums[name] = sums.get(name, 0.0) + value
            self.step += 1
            number += 1
            last = self.step == stage.steps
            if self.step % config.log_every == 0 or last:
                row = {name: value / number for name, value in sums.items()}
                now, used = time.perf_counter(), time.process_time()
                row["seconds"] = (now - started) / number
                row["cpu_seconds"] = (used - busy) / number
                started, busy, sums, number = now, used, {}, 0
                append_row(self._log("train"), self.step, row)
                report = Report(stage.name, losses=row)
                yield Progress(self.step, stage.steps, report, _words(row))
            if self.validate and (self.step % config.validate_every == 0 or last):
                yield self._validation()
                started, busy = time.perf_counter(), time.process_time()
            if self.step % config.save_every == 0 or last or self.stopped:
                self.save()
        self._batches.close()
        load_live_state(self.network, self.best["average"] if self.best else self.average.state)

    def _validation(self) -> Progress:
        measures = self._validate()
        append_row(self._log("validation"), self.step, measures)
        watch = self.config.watch
        last = not self.config.stages or self.stage.name == self.config.stages[-1].name
        if watch and watch not in measures and last:
            raise ParameterError(
                f"watch = {watch!r} is none of the measures: {', '.join(measures)}"
            )
        if watch in measures:
            best = self.best
            if best is None or measures[watch] > best["value"]:
                state = {k: v.clone() for k, v in self.average.state.items()}
                value = float(measures[watch])
                self.best = {"step": self.step, "value": value, "stale": 0, "average": state}
            else:
                best["stale"] += 1
                self.stopped = 0 < self.config.patience <= best["stale"]
        words = _words(measures)
        if self.stopped and self.best:
            words = f"stopped: {watch} was best at step {self.best['step']}  {words}"
        report = Report(self.stage.name, validation=measures)
        return Progress(self.step, self.stage.steps, report, words)

    def time_step(self) -> tuple[float, float]:
        """Seconds that a step takes, and further ones to embed the views of one, if any.

        Runs the first batch once or twice and forgets what it did.
        """
        kept = {k: v.clone() for k, v in self.network.named_buffers()}
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            self._step_gradients()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
            self.optimizer.zero_grad(set_to_none=True)
            if seconds[0] > 20 and not self._uses_views:
                break
        with torch.no_grad():
            for name, buffer in self.network.named_buffers():
                buffer.copy_(kept[name])
        return seconds[-1], max(seconds[0] - seconds[-1], 0.0) if self._uses_views else 0.0

    def _one_step(self) -> dict[str, float]:
        factor = rate_factor(self.step, self.stage)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        measures = self._step_gradients()
        parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.stage.clip)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            self.average.update(self.network, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        measures["norm"] = float(norm)
        return measures

    @property
    def _uses_views(self) -> bool:
        return self.stage.views > 0 and self.stage.encoder_learning_rate == 0

    def _step_gradients(self) -> dict[str, float]:
        """Draw the batch of the current step and leave its gradients behind."""
        stage = self.stage
        learns = stage.encoder_learning_rate > 0
        generator = torch.Generator(self.device)
        generator.manual_seed((self.config.seed * 1_000_003 + self.step) * 31 + len(stage.name))
        torch.manual_seed(generator.initial_seed())
        self.network.train()
        # a pretrained batch normalisation keeps its statistics: batches are small here
        encoder: Any = self.network.image_encoder
        encoder.train(learns and self.config.model == SCRATCH)
        if self._uses_views:
            keys = self.sampler.drawn_views(self.step, stage.batch_size, stage.views)
            held = [self._view(key) for key in keys]
            embedding = torch.cat([each.embedding.to(self.device).float() for each in held])
            crops = Crops.join([each.crops for each in held]).to(self.device)
            origin = torch.cat([each.origin for each in held]).to(self.device)
            dense = [each.maps.to(self.device).float() for each in held if each.maps is not None]
            maps = torch.cat(dense) if dense else None
            return self._decoder_losses(embedding, maps, crops, origin, generator)
        crops = self._batches.batch(self.step).to(self.device)
        pixels = normalise(augment(crops.images, self.augment, generator), crops.valid)
        origin = self._origins(crops, generator)
        with torch.set_grad_enabled(learns):
            output = self._encode(pixels, origin)
        measures: dict[str, float] = {}
        embedding = output.embedding.detach()
        if stage.objects and self.prompt_losses is not None:
            embedding.requires_grad_(learns)
            maps = self._maps(output)
            measures |= self._decoder_losses(embedding, maps, crops, origin, generator)
        if learns:
            losses = self._dense_losses(output.heads, crops) if "dense" in output.heads else {}
            total = torch.stack([*losses.values(), embedding.new_zeros(())]).sum()
            total = total * stage.dense_weight
            if embedding.grad is not None:
                total = total + (output.embedding * embedding.grad).sum()
            if total.requires_grad:  # not where a batch without objects met a headless encoder
                total.backward()
            measures |= {name: float(value.detach()) for name, value in losses.items()}
        return measures

    def _decoder_losses(
        self,
        embedding: Tensor,
        maps: Tensor | None,
        crops: Crops,
        origin: Tensor,
        generator: torch.Generator,
    ) -> dict[str, float]:
        if self.prompt_losses is None:
            return {}
        return self.prompt_losses(
            self.network, embedding, maps, crops, origin, self.stage, generator
        )

    def _maps(self, output: Any) -> Tensor | None:
        """What a mask refiner sees of the image; nothing where it is not trained."""
        refines = self.stage.refiner_learning_rate > 0
        return output.heads["dense"].detach() if refines else None

    def _encode(self, pixels: Tensor, origin: Tensor) -> Any:
        encoder: Any = self.network.image_encoder
        with mixed_precision(self.device, encoder), parametrize.cached():
            return encoder(pixels, origin) if has_dense_head(self.network) else encoder(pixels)

    def _view(self, key: tuple[str, int, int]) -> _View:
        """Embedding (half precision, on the CPU), crops and origin of a fixed view."""
        if key in self._views:
            self._views.move_to_end(key)
            return self._views[key]
        crops = self.sampler.view(key, self.stage.crop).to(self.device)
        generator = torch.Generator(self.device)
        seed = (self.config.seed * 1_000_003 + key[1]) * 1009 + key[2]
        generator.manual_seed(seed * 31 + self.sampler.names.index(key[0]))
        torch.manual_seed(generator.initial_seed())  # no step's draws depend on what is kept
        pixels = normalise(augment(crops.images, self.augment, generator), crops.valid)
        origin = self._origins(crops, generator)
        with torch.no_grad():
            output = self._encode(pixels, origin)
        maps = self._maps(output)
        held = _View(
            output.embedding.half().cpu(),
            None if maps is None else maps.half().cpu(),
            crops.without_images().to(torch.device("cpu")),
            origin.cpu(),
        )
        self._views[key] = held
        size = held.embedding.nbytes + (0 if held.maps is None else held.maps.nbytes)
        while len(self._views) * size > _VIEW_BYTES:
            self._views.popitem(last=False)
        return held

    def _origins(self, crops: Crops, generator: torch.Generator) -> Tensor:
        """Where in the frame each crop is pretended to lie: (batch, 2), whole cells."""
        geometry = Geometry.of(self.network.image_encoder)
        cell = 4 * geometry.stride
        free = max(geometry.frame - crops.side, 0) // cell + 1
        shape = (len(crops.labels), 2)
        return torch.randint(free, shape, generator=generator, device=self.device).float() * cell

    def _dense_losses(self, heads: dict[str, Tensor], crops: Crops) -> Losses:
        valid = crops.valid[:, 0, ::2, ::2].float()
        targets = encode_dense(crops.labels, crops.interior)
        stage = self.stage
        losses = dense_loss(
            heads["dense"],
            targets,
            valid,
            crops.known,
            stage.touching_weight,
            stage.box_iou_weight,
            stage.separation_weight,
        )
        some = (slice(None), slice(2, None, 4), slice(2, None, 4))
        coarse = encode_dense(crops.labels[some], crops.interior[some], 8)
        extra = dense_loss(heads["coarse"], coarse, valid[some], crops.known[some])
        losses["coarse"] = 0.3 * torch.stack(list(extra.values())).sum()
        return losses

    def _validate(self) -> dict[str, float]:
        kept = {
            k: v.clone() for k, v in live_state(self.network, self.average.trained_only).items()
        }
        load_live_state(self.network, self.average.state)
        self.network.eval()
        measures = self.validate(self.network) if self.validate else {}
        load_live_state(self.network, kept)
        return measures

    def save(self) -> None:
        """Write everything that resuming needs, atomically."""
        held = {
            "step": self.step,
            "network": live_state(self.network, self.average.trained_only),
            "average": self.average.state,
        }
        if not self.complete:
            held["optimizer"] = self.optimizer.state_dict()
        if self.config.watch:
            held |= {"best": self.best, "stopped": self.stopped}
        part = self.checkpoint.with_suffix(".part")
        torch.save(held, part)
        os.replace(part, self.checkpoint)

    def _resume(self) -> None:
        try:
            held = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            self.step = int(held["step"])
            self.best, self.stopped = held.get("best"), held.get("stopped", False)
            load_live_state(self.network, held["network"])
            self.average.state = held["average"]
            if not self.complete and "optimizer" in held:
                self.optimizer.load_state_dict(held["optimizer"])
            elif not self.complete:
                self._notice = f"{self.stage.name} goes on at step {self.step} {_FROM_WEIGHTS}"
        except (MemoryError, ResourceError):
            raise
        except Exception as error:  # damage shows as almost anything
            raise FormatError(
                f"{self.checkpoint} cannot be gone on from ({one_line(error)}): it is truncated or "
                "of another run. Remove it to train this stage anew, or choose another folder"
            ) from error
        for kind in ("train", "validation"):
            drop_rows_after(self._log(kind), self.step)

    def _log(self, kind: str) -> Path:
        return self.folder / f"{self.stage.name}-{kind}.csv"


def _words(row: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in row.items())
