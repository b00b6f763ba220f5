"""Train one stage: AdamW, averaged weights, validation, early stop, exact resume."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import FormatError, ParameterError, ResourceError
from ..formats.atomic import replacing
from ..progress import Progress
from ..reading import one_line
from .assumed import with_assumed
from .augment import AugmentConfig
from .average import Average, live_state, load_live_state
from .config import SCRATCH, StageConfig, TrainingConfig
from .cropping import CropSampler
from .crops import EncodedCrops
from .curves import append_row, drop_rows_after
from .encoding import CropEncoder, KeptEmbeddings
from .losses import stage_dense_losses
from .prefetch import Prefetch
from .schedule import parameter_groups, rate_factor

_FROM_WEIGHTS = "from weights alone: the optimiser's moments start from zero"


@dataclass(frozen=True, slots=True)
class StepReport:
    """Measures of the latest training steps, or of a validation.

    Parameters
    ----------
    stage : str
        Which stage.
    losses : dict of str to float
        Losses and other measures, averaged over the latest steps; empty at a validation.
    validation : dict of str to float
        Measures on the held-out images; empty between validations.
    """

    stage: str
    losses: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)


class StageTrainer:
    """Trains one stage; it may be killed at any time and resumed.

    Parameters
    ----------
    network : nn.Module
        A `Sam`, or a module that has an `image_encoder` alone.
    stage, config : StageConfig, TrainingConfig
        Of the stage and of the run.
    sampler : CropSampler
        Source of crops.
    folder : Path
        For the stage's checkpoint and logs.
    validate : callable or None
        Returns measures by name for a network with the averaged weights.
    prompt_losses : callable or None
        As `prompts.prompt_losses`: computes the decoder's losses for an embedding and propagates
        their gradients to the decoder and, if the embedding requires one, to the embedding.
    device : str or torch.device
        Where to train.
    resume : bool
        Continue from the stage's checkpoint, if there is one.
    loss : callable or None
        In place of the losses of dense head and decoder: takes network, crops and a generator,
        propagates the gradients and returns measures.
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
        loss: Callable[..., dict[str, float]] | None = None,
    ) -> None:
        self.loss = loss
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
        # weights that a fine-tuning run leaves unchanged are not stored again
        self.average = Average(network, stage.ema, trained_only=config.model != SCRATCH)
        self.best: dict[str, Any] | None = None
        self._batches = self._prefetch()
        self._partial = sampler if stage.assume and sampler.unseen else None
        self._readings = 0
        changes = config.augment or AugmentConfig()
        self._encode = CropEncoder(self.network, stage, changes, self.device)
        frozen = stage.encoder_learning_rate == 0
        self._kept = (
            KeptEmbeddings(self._encode, sampler, stage, config.seed, bool(config.prompt))
            if stage.views and frozen
            else None
        )
        self.checkpoint = folder / f"{stage.name}.pt"
        if resume and self.checkpoint.exists():
            self._resume()
        elif resume:
            for kind in ("train", "validation"):
                self._log(kind).unlink(
                    missing_ok=True
                )  # of a run killed before its first checkpoint

    @property
    def complete(self) -> bool:
        """Whether the stage has ended."""
        return self.stopped or self.step >= self.stage.steps

    def run(self) -> Iterator[Progress]:
        """Train to the end of the stage; closing the generator stops it.

        Yields
        ------
        Progress
            With a `StepReport`. At the end the network has the averaged weights, or the best of
            them if the configuration names a measure to watch.
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
            yield self._validation()  # the initial weights may be the best
            started, busy = time.perf_counter(), time.process_time()
        while not self.complete:
            self._assume()
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
                report = StepReport(stage.name, losses=row)
                yield Progress(self.step, stage.steps, report, _words(row))
            if self.validate and (self.step % config.validate_every == 0 or last):
                yield self._validation()
                started, busy = time.perf_counter(), time.process_time()
            if self.step % config.save_every == 0 or last or self.stopped:
                self.save()
        self._batches.close()
        load_live_state(self.network, self.best["average"] if self.best else self.average.state)

    def _prefetch(self) -> Prefetch:
        stage = self.stage
        workers = 0 if self.device.type == "cpu" else (os.cpu_count() or 1) - 1
        return Prefetch(self.sampler, stage.batch_size, stage.crop, workers, stage.steps)

    def _assume(self) -> None:
        """Learn on from what the averaged network is confident of, where nobody has looked."""
        done, first = self.step / self.stage.steps, self.stage.assume
        due = (done >= first) + (done >= (1 + first) / 2)
        if self._partial is None or due == self._readings:
            return
        self._readings = due
        kept = self.folder / f"{self.stage.name}-assumed-{due}.npz"
        with self._averaged() as network:
            self.sampler = self._partial.changed(
                partial(with_assumed, network.image_encoder, kept=kept)
            )
        self._batches.close()
        self._batches = self._prefetch()

    def _validation(self) -> Progress:
        measures = self._validate()
        append_row(self._log("validation"), self.step, measures)
        watch = self.config.watch
        last = not self.config.stages or self.stage.name == self.config.stages[-1].name
        if watch and watch not in measures and last:
            raise ParameterError(
                f"watch = {watch!r} is not measured; measures are {', '.join(measures)}"
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
        report = StepReport(self.stage.name, validation=measures)
        return Progress(self.step, self.stage.steps, report, words)

    def time_step(self) -> tuple[float, float]:
        """Measure the duration of a step, without changing anything.

        Returns
        -------
        (float, float)
            Seconds per step, and for encoding the fixed crops of one batch, if there are any.
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
            if seconds[0] > 20 and self._kept is None:
                break
        with torch.no_grad():
            for name, buffer in self.network.named_buffers():
                buffer.copy_(kept[name])
        return seconds[-1], max(seconds[0] - seconds[-1], 0.0) if self._kept is not None else 0.0

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

    def _step_gradients(self) -> dict[str, float]:
        """Compute the gradients of the current step's batch; returns losses by name."""
        stage = self.stage
        learns = stage.encoder_learning_rate > 0
        generator = torch.Generator(self.device)
        generator.manual_seed((self.config.seed * 1_000_003 + self.step) * 31 + len(stage.name))
        torch.manual_seed(generator.initial_seed())
        self.network.train()
        # pretrained batch normalisation keeps its statistics, since batches are small here
        encoder: Any = self.network.image_encoder
        encoder.train(learns and self.config.model == SCRATCH)
        if self._kept is not None:
            return self._decoder_losses(self._kept.batch(self.step), generator)
        crops = self._batches.batch(self.step).to(self.device)
        if self.loss is not None:
            return self.loss(self.network, crops, generator)
        encoded = self._encode(crops, generator, learns)
        measures: dict[str, float] = {}
        embedding = encoded.embedding.detach()
        if stage.objects and self.prompt_losses is not None:
            embedding.requires_grad_(learns)
            measures |= self._decoder_losses(replace(encoded, embedding=embedding), generator)
        if learns:
            heads = encoded.heads
            losses = stage_dense_losses(heads, crops, stage) if "dense" in heads else {}
            total = torch.stack([*losses.values(), embedding.new_zeros(())]).sum()
            total = total * stage.dense_weight
            if embedding.grad is not None:
                total = total + (encoded.embedding * embedding.grad).sum()
            if total.requires_grad:  # else no loss applies: no objects, and no dense head
                total.backward()
            measures |= {name: float(value.detach()) for name, value in losses.items()}
        return measures

    def _decoder_losses(
        self, encoded: EncodedCrops, generator: torch.Generator
    ) -> dict[str, float]:
        if self.prompt_losses is None:
            return {}
        return self.prompt_losses(self.network, encoded, self.stage, generator)

    def _validate(self) -> dict[str, float]:
        with self._averaged() as network:
            return self.validate(network) if self.validate else {}

    @contextmanager
    def _averaged(self) -> Iterator[Any]:
        """The network in evaluation mode, with the averaged weights."""
        kept = {
            k: v.clone() for k, v in live_state(self.network, self.average.trained_only).items()
        }
        load_live_state(self.network, self.average.state)
        try:
            yield self.network.eval()
        finally:
            load_live_state(self.network, kept)

    def save(self) -> None:
        """Write a checkpoint of the stage, atomically."""
        held = {
            "step": self.step,
            "network": live_state(self.network, self.average.trained_only),
            "average": self.average.state,
        }
        if not self.complete:
            held["optimizer"] = self.optimizer.state_dict()
        if self.config.watch:
            held |= {"best": self.best, "stopped": self.stopped}
        with replacing(self.checkpoint) as temporary:
            torch.save(held, temporary)

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
                self._notice = f"{self.stage.name} continues at step {self.step} {_FROM_WEIGHTS}"
        except (MemoryError, ResourceError):
            raise
        except Exception as error:  # damaged files raise errors of many kinds
            raise FormatError(
                f"{self.checkpoint} cannot be resumed ({one_line(error)}): it is damaged or of "
                "another run. Remove it to repeat the stage, or choose another folder"
            ) from error
        for kind in ("train", "validation"):
            drop_rows_after(self._log(kind), self.step)

    def _log(self, kind: str) -> Path:
        return self.folder / f"{self.stage.name}-{kind}.csv"


def _words(row: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in row.items())
