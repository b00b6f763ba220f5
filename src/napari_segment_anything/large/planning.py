"""What a large run would take, from one timed tile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..automatic import segment_everything
from ..engine import Model, Window
from .image import LargeImage
from .opening import model_and_spec, tiles_over
from .plan import LargePlan, peak_memory
from .runners import ThreadRunner
from .tiles import (
    EMPTY_THRESH,
    PROBES,
    Job,
    keep_model,
    measure,
    model_of,
    read_window,
    shows_nothing,
)


def plan_large(
    image: Any,
    model: Model | str | Path = "default",
    *,
    tile: int | None = None,
    overlap: int | None = None,
    region: Window | None = None,
    workers: int | None = None,
    mode: str = "auto",
    axes: str | None = None,
    channel_axis: int | None = None,
    channels: Sequence[int] | None = None,
    contrast_limits: Any = "auto",
    **parameters: Any,
) -> LargePlan:
    """Say what `segment_large` would take, from one timed tile; writes nothing.

    Parameters are those of `segment_large`. Time is for threads of this process.

    Returns
    -------
    LargePlan
        Tiles, time, memory and disk; `describe()` gives lines for people.
    """
    loaded, spec = model_and_spec(model, "auto", "auto", False)
    large = LargeImage.of(image, axes, channel_axis, channels, contrast_limits)
    large = replace(large, contrast_limits=large.settle_contrast())
    grid = tiles_over(large, loaded, tile, overlap, region)
    keep_model(spec, loaded)
    runner = ThreadRunner(workers, loaded.device.type)
    # nothing is written: the job has no labels
    job = Job(large, None, grid, spec, mode, "small", parameters, EMPTY_THRESH)  # type: ignore[arg-type]
    middle = len(grid) // 2
    for index in sorted({int(i) for i in np.linspace(0, len(grid) - 1, PROBES)} | {middle},
                        key=lambda i: abs(i - middle)):  # fmt: skip
        began = time.perf_counter()
        with peak_memory() as peak:
            pixels = read_window(job, index)
            if shows_nothing(job, pixels):
                continue
            table = segment_everything(
                pixels, model_of(spec), mode, channel_axis=2,
                contrast_limits=large.contrast_limits, **parameters,
            )  # fmt: skip
            stored = len(measure(table, grid, index, "small").pack())
        timed = time.perf_counter() - began, stored, peak.bytes
        return LargePlan.of(grid, 0, runner.workers, timed)
    return LargePlan.of(grid, 0, runner.workers)
