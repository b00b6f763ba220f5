"""The trainer: stages of AdamW with warm-up and cosine, averaged weights, exact resume."""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..progress import Progress
from .augment import augment
from .config import StageConfig, TrainingConfig
from .data import Crops, CropSampler
from .dense import encode_dense
from .losses import dense_loss
from .validation import normalise

Losses = dict[str, Tensor]


class Average:
    """Exponential moving average of a module's floating point state, warm at the start."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    def update(self, module: nn.Module, step: int) -> None:
        """Blend in the weights after optimiser step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        pairs = [
            (self.state[k], v.detach())
            for k, v in module.state_dict().items()
            if v.is_floating_point()
        ]
        torch._foreach_lerp_([a for a, _ in pairs], [b for _, b in pairs], 1 - decay)
        for key, value in module.state_dict().items():
            if not value.is_floating_point():
                self.state[key].copy_(value)


def parameter_groups(network: nn.Module, stage: StageConfig) -> list[dict[str, Any]]:
    """Optimiser groups: encoder and the rest, with and without weight decay; frozen ones off."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        rate = (
            stage.encoder_learning_rate
            if name.startswith("image_encoder.")
            else stage.learning_rate
        )
        parameter.requires_grad_(rate > 0)
        if rate > 0:
            decay = stage.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    if not groups:
        raise ValueError(f"stage {stage.name!r} trains nothing: both learning rates are 0")
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
        A `Sam` with a micro encoder, or a module whose `image_encoder` is one.
    stage, config : StageConfig, TrainingConfig
        What to do.
    sampler : CropSampler
        Where crops come from.
    folder : Path
        Checkpoint and log are written here.
    validate : callable or None
        Given the module with the averaged weights, returns named measures.
    prompt_losses : callable or None
        Trains the decoder on the embedding (see `prompts.prompt_losses`): given network, encoder
        output, crops, stage and generator it returns (losses, measures), having propagated its
        own gradient to the decoder and, if the embedding requires one, to the embedding.
    device : str
        Where to train.
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
        device: str = "cpu",
    ) -> None:
        self.network = network.to(device)
        self.stage, self.config, self.sampler = stage, config, sampler
        self.folder, self.validate, self.prompt_losses = folder, validate, prompt_losses
        self.device = torch.device(device)
        self.step = 0
        self.optimizer = torch.optim.AdamW(
            parameter_groups(network, stage), betas=(0.9, 0.98), fused=True
        )
        self.average = Average(network, stage.ema)
        self.checkpoint = folder / f"{stage.name}.pt"
        if self.checkpoint.exists():
            self._resume()

    def run(self) -> Iterator[Progress]:
        """Train to the end of the stage, yielding progress; stop iterating to stop."""
        self.folder.mkdir(parents=True, exist_ok=True)
        stage, config = self.stage, self.config
        sums: dict[str, float] = {}
        started, busy = time.perf_counter(), time.process_time()
        while self.step < stage.steps:
            for name, value in self._one_step().items():
                sums[name] = sums.get(name, 0.0) + value
            self.step += 1
            last = self.step == stage.steps
            if self.step % config.log_every == 0 or last:
                number = config.log_every
                row = {name: value / number for name, value in sums.items()}
                now, used = time.perf_counter(), time.process_time()
                row["seconds"] = (now - started) / number
                row["cpu_seconds"] = (used - busy) / number
                started, busy, sums = now, used, {}
                self._log("train", row)
                yield Progress(self.step, stage.steps, message=_words(row))
            if self.validate and (self.step % config.validate_every == 0 or last):
                measures = self._validate()
                self._log("validation", measures)
                yield Progress(self.step, stage.steps, partial=measures, message=_words(measures))
                started, busy = time.perf_counter(), time.process_time()
            if self.step % config.save_every == 0 or last:
                self.save()
        self.network.load_state_dict(self.average.state)

    def _one_step(self) -> dict[str, float]:
        stage = self.stage
        crops = self.sampler.batch(self.step, stage.batch_size, stage.crop)
        generator = torch.Generator(self.device)
        generator.manual_seed((self.config.seed * 1_000_003 + self.step) * 31 + len(stage.name))
        torch.manual_seed(generator.initial_seed())
        crops = _to(crops, self.device)
        factor = rate_factor(self.step, stage)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        pixels = augment(crops.images, self.config.augment, generator)
        pixels = normalise(pixels, crops.valid)
        measures = self._gradients(pixels, crops, generator)
        parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, stage.clip)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            self.average.update(self.network, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        measures["norm"] = float(norm)
        return measures

    def _gradients(
        self, pixels: Tensor, crops: Crops, generator: torch.Generator
    ) -> dict[str, float]:
        stage = self.stage
        learns = stage.encoder_learning_rate > 0
        self.network.train()
        encoder: Any = self.network.image_encoder
        encoder.train(learns)
        origin = self._origins(crops, generator)
        with torch.set_grad_enabled(learns), torch.autocast(self.device.type, torch.bfloat16):
            output = encoder(pixels, origin)
        measures: dict[str, float] = {}
        embedding = output.embedding.detach()
        if stage.objects and self.prompt_losses is not None:
            embedding.requires_grad_(learns)
            measures |= self.prompt_losses(self.network, embedding, crops, origin, stage, generator)
        if learns:
            losses = self._dense_losses(output.heads, crops)
            total = torch.stack(list(losses.values())).sum() * stage.dense_weight
            if embedding.grad is not None:
                total = total + (output.embedding * embedding.grad).sum()
            total.backward()
            measures |= {name: float(value.detach()) for name, value in losses.items()}
        return measures

    def _origins(self, crops: Crops, generator: torch.Generator) -> Tensor:
        """Where in the frame each crop is pretended to lie: (batch, 2), multiples of 8 px."""
        encoder: Any = self.network.image_encoder
        free = max(encoder.image_size - crops.images.shape[-1], 0) // 8 + 1
        shape = (len(crops.images), 2)
        return torch.randint(free, shape, generator=generator, device=self.device).float() * 8

    def _dense_losses(self, heads: dict[str, Tensor], crops: Crops) -> Losses:
        valid = crops.valid[:, 0, ::2, ::2].float()
        targets = encode_dense(crops.labels, crops.interior)
        losses = dense_loss(heads["dense"], targets, valid)
        coarse = encode_dense(crops.labels[:, 2::4, 2::4], crops.interior[:, 2::4, 2::4], 8)
        extra = dense_loss(heads["coarse"], coarse, valid[:, 2::4, 2::4])
        losses["coarse"] = 0.3 * torch.stack(list(extra.values())).sum()
        return losses

    def _validate(self) -> dict[str, float]:
        kept = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average.state)
        self.network.eval()
        assert_validate = self.validate
        measures = assert_validate(self.network) if assert_validate else {}
        self.network.load_state_dict(kept)
        return measures

    def save(self) -> None:
        """Write everything that resuming needs, atomically."""
        held = {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state,
            "optimizer": self.optimizer.state_dict(),
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(held, part)
        os.replace(part, self.checkpoint)

    def _resume(self) -> None:
        held = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.step = held["step"]
        self.network.load_state_dict(held["network"])
        self.average.state = held["average"]
        if self.step < self.stage.steps:
            self.optimizer.load_state_dict(held["optimizer"])

    def _log(self, kind: str, row: dict[str, float]) -> None:
        path = self.folder / f"{self.stage.name}-{kind}.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as handle:
            writer = csv.writer(handle)
            if fresh:
                writer.writerow(["step", *row])
            writer.writerow([self.step, *(f"{value:.5g}" for value in row.values())])


def _to(crops: Crops, device: torch.device) -> Crops:
    return Crops(
        *(
            getattr(crops, name).to(device)
            for name in ("images", "valid", "labels", "interior", "wholes")
        )
    )


def _words(row: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in row.items())
