"""What to do when memory runs out: smaller batches, then the CPU; every step is reported."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from ..errors import ResourceError

logger = logging.getLogger(__name__)

R = TypeVar("R")


class MemoryWarning(UserWarning):
    """Memory ran out; work continues with less of it, more slowly."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that memory ran out, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        sign in text for sign in ("out of memory", "can't allocate memory", "not enough memory")
    )


def run_in_batches(
    work: Callable[[slice, torch.device], R],
    count: int,
    batch_size: int,
    devices: Sequence[torch.device],
    what: str,
) -> tuple[list[R], tuple[str, ...]]:
    """Do `count` units of work in batches that fit into memory.

    When memory runs out, the batch that failed is done again with half as many units; a single
    unit that does not fit moves to the next device. What was done already is kept.

    Parameters
    ----------
    work : callable (slice, device) -> result
        Does the units of a slice on a device.
    count, batch_size : int
        Units in all, and in a batch at first.
    devices : sequence of torch.device
        To try in this order.
    what : str
        Names the work in reports.

    Returns
    -------
    results : list
        One per batch, in order.
    notes : tuple of str
        Steps taken to fit into memory; each was also logged and given as a `MemoryWarning`.

    Raises
    ------
    ResourceError
        If a single unit does not fit on the last device.
    """
    results: list[R] = []
    notes: list[str] = []
    remaining = list(devices)
    start = 0
    while start < count:
        batch = slice(start, min(start + batch_size, count))
        failure = None
        try:
            results.append(work(batch, remaining[0]))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            failure = str(error)
        if failure is None:
            start = batch.stop
            continue
        # outside the except block, so that the failed call's tensors are freed by now
        device = remaining[0]
        _free(device)
        size = batch.stop - batch.start
        if size > 1:
            batch_size = size // 2
            note = f"{what}: memory ran out on {device}, going on with batches of {batch_size}"
        elif len(remaining) > 1:
            remaining.pop(0)
            note = f"{what}: memory ran out on {device}, going on on {remaining[0]}"
        else:
            raise ResourceError(
                f"{what}: not enough memory on {device} ({failure.splitlines()[0]}); "
                "close other programs or take a smaller model"
            )
        notes.append(note)
        logger.warning(note)
        warnings.warn(note, MemoryWarning, stacklevel=2)
    return results, tuple(notes)


def _free(device: torch.device) -> None:
    if device.type == "cuda" and torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif device.type == "mps" and torch.backends.mps.is_available():
        torch.mps.empty_cache()
