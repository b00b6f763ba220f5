"""How fast this processor multiplies in float32 and in bf16, measured once and kept on disk.

The instructions that a processor reports are not enough: on some, bf16 is slower than float32 for
one kind of work and faster for another.

Measured on one thread. With several, each call waits for the slowest thread, which on a busy
machine measures its load and not the types; on an idle machine the ratio is the same.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import filelock
import torch
import torch.nn.functional as F
from torch import Tensor

from ..network.quantised import Int8Linear

Work = Literal["convolutions", "linear", "decoder", "training"]
"""Kinds of work: the default model's encoder, a ViT's, the mask decoder, a training step."""

Rates = Mapping[str, tuple[float, float]]
"""For each kind of work, TFLOP/s in float32 and in bf16."""

FOLDER = "precision"
_VERSION = 1
_ROUNDS = 5
_LOCK_SECONDS = 5.0


@lru_cache(maxsize=1)
def rates() -> Rates:
    """Return how fast this processor is, from the cache or measured now.

    There is a file in the cache folder for each processor and torch version. One that cannot be
    read is replaced; if none can be written, the measurement is kept for the process.
    """
    from ..checkpoints import cache_directory

    what = {"version": _VERSION, "processor": processor(), "torch": str(torch.__version__)}
    name = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]
    path = cache_directory() / FOLDER / f"{name}.json"
    found = _read(path, what)
    if found is not None:
        return found
    with suppress(OSError, filelock.Timeout):
        path.parent.mkdir(parents=True, exist_ok=True)
        # a second process waits for the first one's figures, so that both choose the same
        with filelock.FileLock(path.with_suffix(".lock"), timeout=_LOCK_SECONDS):
            found = _read(path, what)
            if found is None:
                found = measure()
                _write(path, what, found)
    return measure() if found is None else found


def measure() -> Rates:
    """Measure now: about 50 ms of processor time.

    Calls in the two types alternate and the shortest of each counts, so that other work on the
    machine disturbs neither.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            result = {}
            for work, make in _WORK.items():
                calls, operations = make()
                single, short = _shortest(*calls)
                result[work] = (operations / single / 1e12, operations / short / 1e12)
            return result
    finally:
        torch.set_num_threads(threads)


def int8_rates() -> dict[str, float]:
    """Return how fast a linear layer of a ViT-B is in int8, fp32 and bf16, in TFLOP/s.

    Measured now, on one thread, with the rounding of the tokens: some 50 ms of processor time.
    """
    rows, width, hidden = 256, 768, 2304
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            x, layer = torch.ones(rows, width), torch.nn.Linear(width, hidden)
            eighth, short, y = Int8Linear.of(layer), copy.deepcopy(layer).bfloat16(), x.bfloat16()
            calls = {"int8": lambda: eighth(x), "fp32": lambda: layer(x), "bf16": lambda: short(y)}
            seconds = _shortest(*calls.values())
            operations = 2.0 * rows * width * hidden
            return {name: operations / s / 1e12 for name, s in zip(calls, seconds, strict=True)}
    finally:
        torch.set_num_threads(threads)


def processor() -> str:
    """Return the processor's name and the instructions that torch uses."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    flags: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return f"{name} {sorted((key, str(value)) for key, value in flags.items())}"


def _shortest(*calls: Callable[[], Any]) -> list[float]:
    # thread time excludes other threads' work; used if its resolution is fine enough
    fine = time.get_clock_info("thread_time").resolution < 1e-4
    clock = time.thread_time if fine else time.perf_counter
    found = [math.inf] * len(calls)
    for call in calls:  # the first call compiles kernels
        call()
    for _ in range(_ROUNDS):
        for index, call in enumerate(calls):
            start = clock()
            call()
            found[index] = min(found[index], clock() - start)
    return found


Pair = tuple[Callable[[], Any], Callable[[], Any]]


def _pair(make: Callable[[torch.dtype], Callable[[], Any]]) -> Pair:
    return make(torch.float32), make(torch.bfloat16)


def _image(channels: int, rows: int, cols: int, dtype: torch.dtype) -> Tensor:
    x = torch.randn(1, channels, rows, cols, dtype=dtype)
    return x.contiguous(memory_format=torch.channels_last)


def _convolutions() -> tuple[Pair, float]:
    channels, rows, cols = 64, 16, 64

    def make(dtype: torch.dtype) -> Callable[[], Any]:
        x = _image(channels, rows, cols, dtype)
        weight = torch.randn(channels, channels, 3, 3, dtype=dtype) / 24
        return lambda: F.relu(F.conv2d(x, weight, padding=1))

    return _pair(make), 2.0 * rows * cols * channels**2 * 9


def _linear() -> tuple[Pair, float]:
    rows, width, hidden = 128, 768, 384

    def make(dtype: torch.dtype) -> Callable[[], Any]:
        x = torch.randn(rows, width, dtype=dtype)
        weight = torch.randn(hidden, width, dtype=dtype) / 28
        return lambda: F.linear(x, weight)

    return _pair(make), 2.0 * rows * width * hidden


def _decoder() -> tuple[Pair, float]:
    cells, rows, width = 512, 56, 256

    def make(dtype: torch.dtype) -> Callable[[], Any]:
        seen = torch.randn(1, cells, width, dtype=dtype)
        tokens = torch.randn(1, rows, width, dtype=dtype) / 16
        weight = torch.randn(width, width, dtype=dtype) / 16

        def work() -> None:
            weights = torch.bmm(tokens, seen.transpose(1, 2)).softmax(-1)
            torch.bmm(weights, seen)
            F.gelu(F.linear(seen, weight))

        return work

    return _pair(make), 2.0 * cells * width * (2 * rows + width)


def _training() -> tuple[Pair, float]:
    channels, rows, cols, depth = 64, 16, 32, 3

    def make(dtype: torch.dtype) -> Callable[[], Any]:
        x = _image(channels, rows, cols, torch.float32)
        weights = [(torch.randn(channels, channels, 3, 3) / 24).requires_grad_()] * depth

        def work() -> None:
            y = x
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                for weight in weights:
                    y = F.relu(F.conv2d(y, weight, padding=1))
            torch.autograd.grad(y.float().mean(), weights[:1])

        return work

    return _pair(make), (3 * depth - 1) * 2.0 * rows * cols * channels**2 * 9


_WORK: dict[str, Callable[[], tuple[Pair, float]]] = {
    "convolutions": _convolutions,
    "linear": _linear,
    "decoder": _decoder,
    "training": _training,
}


def _read(path: Path, what: Mapping[str, Any]) -> Rates | None:
    """Return what a file holds; None if it is not there, damaged, or of something else."""
    try:
        data = json.loads(path.read_text("utf-8"))
        if data["of"] != what:
            return None
        found = {
            work: (float(data["rates"][work][0]), float(data["rates"][work][1]))
            for work in get_args(Work)
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    fine = all(math.isfinite(rate) and rate > 0 for pair in found.values() for rate in pair)
    return found if fine else None


def _write(path: Path, what: Mapping[str, Any], found: Rates) -> None:
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.tmp")
    text = json.dumps({"of": what, "rates": {key: list(value) for key, value in found.items()}})
    try:
        temporary.write_text(text, "utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
