"""Predict the memory of a run before it starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from ..errors import ResourceError
from ..network.blank import WithoutInitialisation
from ..network.sam import Sam
from .config import StageConfig, TrainingConfig
from .decoding import decode_windows
from .geometry import has_dense_head, step_precision
from .lora import add_lora

_PROGRAM = 700 << 20  # the interpreter with torch, and memory that the allocator retains
_AGAIN = 8
_SHORT = 0.8  # of the activations with 16 bits, since many stay in 32


@dataclass(frozen=True, slots=True)
class Estimate:
    """Predicted memory and time of a run.

    Parameters
    ----------
    memory : int
        Bytes on the device: weights, gradients, optimiser, averages, activations, and on a CPU the
        images.
    available : int or None
        Free bytes; None if unknown.
    seconds : float
        For all steps and validations, extrapolated from a timed step of each stage.
    per_step : float
        Seconds per step in the slowest stage.
    """

    memory: int
    available: int | None
    seconds: float = 0.0
    per_step: float = 0.0


def predict_memory(
    network: Sam, config: TrainingConfig, stage: StageConfig, data_bytes: int, device: torch.device
) -> int:
    """Predict the peak memory of a stage in bytes.

    Activations are counted by running a step on torch's meta device, which allocates nothing.

    Parameters
    ----------
    network : Sam
        The network.
    config, stage : TrainingConfig, StageConfig
        What is trained, and how.
    data_bytes : int
        Memory of the images.
    device : torch.device
        Where to train.
    """
    short = step_precision(device, network.image_encoder)[0] != torch.float32
    share = _SHORT if short else 1.0
    with torch.device("meta"), WithoutInitialisation():
        twin = Sam(network.config)
    twin.train()
    encoder: Any = twin.image_encoder
    encoder.eval()
    if config.train == "lora":
        add_lora(encoder, config.lora, 0)
    elif stage.encoder_learning_rate == 0:
        encoder.requires_grad_(False)
    if stage.learning_rate == 0:
        twin.prompt_encoder.requires_grad_(False)
        twin.mask_decoder.requires_grad_(False)
    if twin.mask_refiner is not None and stage.refiner_learning_rate == 0:
        twin.mask_refiner.requires_grad_(False)
    all_bytes = sum(p.nbytes for p in (*twin.parameters(), *twin.buffers()))
    trained = sum(p.nbytes for p in twin.parameters() if p.requires_grad)
    pixels = torch.empty(stage.batch_size, 3, stage.crop.size, stage.crop.size, device="meta")
    learns = stage.encoder_learning_rate > 0
    total: float = all_bytes + 4 * trained  # gradients, two moments, the average
    total += saved_bytes(lambda: encoder(pixels), twin) * share if learns else 0
    if stage.objects:
        total += _decoder_bytes(twin, stage) * share
    if not learns:
        total += 12 * pixels.nbytes  # one layer at a time
    if config.watch:
        total += trained
    on_device = data_bytes if device.type == "cpu" else 0
    return int(total + on_device + program_bytes(device))


def _decoder_bytes(twin: Sam, stage: StageConfig) -> int:
    side = max(stage.windows)
    count = max(1, round(stage.batch_size * stage.objects * max(stage.box_share, 0.5)))
    cells = torch.empty(count, side * side, 256, device="meta", requires_grad=True)
    sparse = torch.empty(count, stage.rounds + 2, 256, device="meta")
    decoder = twin.mask_decoder
    masks = count * 16 * side * side * 4
    # the two losses of the four masks store about a dozen maps of their size
    decode = partial(decode_windows, decoder, cells, cells.detach(), sparse)
    return saved_bytes(decode, twin) + 48 * masks


def program_bytes(device: torch.device) -> int:
    """Memory of a training besides its tensors."""
    return _PROGRAM if device.type == "cpu" else 300 << 20


def saved_bytes(run: Callable[[], Any], network: nn.Module) -> int:
    """Bytes that autograd stores for a forward pass, without parameters, and needs backward.

    Parameters
    ----------
    run : callable
        The forward pass, on the meta device.
    network : nn.Module
        Whose parameters do not count.
    """
    known = {p.untyped_storage()._cdata for p in (*network.parameters(), *network.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        mark = tensor.untyped_storage()._cdata
        if mark not in known:
            kept[mark] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    sizes = [tensor.untyped_storage().nbytes() for tensor in kept.values()]
    del result
    # the backward pass re-creates the largest tensors: attention scores and their gradients
    return sum(sizes) + _AGAIN * max(sizes, default=0)


def available_memory(device: torch.device) -> int | None:
    """Free bytes on a device; None if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    free = _meminfo()
    limit = Path("/sys/fs/cgroup/memory.max")
    with contextlib.suppress(OSError, ValueError):
        used = int(limit.with_name("memory.current").read_text())
        facts = limit.with_name("memory.stat").read_text().split()
        cached = int(facts[facts.index("inactive_file") + 1])  # released on demand
        left = int(limit.read_text()) - used + cached
        free = left if free is None else min(free, left)
    return free


def _meminfo() -> int | None:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return int(next(x for x in lines if x.startswith("MemAvailable")).split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return None


def refuse_if_too_large(estimate: Estimate, advice: str) -> None:
    """Raise if the predicted memory is not available.

    Parameters
    ----------
    estimate : Estimate
    advice : str
        What would need less, for the message.

    Raises
    ------
    ResourceError
        If a run needs over a tenth more memory than is free.
    """
    if estimate.available is None or estimate.memory <= 1.1 * estimate.available:
        return
    raise ResourceError(
        f"this training needs about {estimate.memory / 2**30:.1f} GiB of memory, "
        f"{estimate.available / 2**30:.1f} GiB are free. Try {advice}"
    )


def smaller_ways(network: Sam, config: TrainingConfig) -> str:
    """What would need less memory.

    Parameters
    ----------
    network : Sam
    config : TrainingConfig
        Of the run that needs too much.
    """
    ways = ["a smaller batch_size", "fewer objects"]
    if config.train == "whole":
        ways.insert(0, "train = 'decoder', which needs far less")
    elif config.train == "lora":
        ways.insert(0, "train = 'decoder', which keeps no activations of the encoder")
    if not has_dense_head(network):
        ways.append("the default model, whose encoder is small")
    return "; ".join(ways)
