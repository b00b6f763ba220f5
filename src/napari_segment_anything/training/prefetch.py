"""Batches cut in advance by other processes, so that a GPU does not wait for them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from .cropping import CropConfig, CropSampler
from .crops import Crops


class _Batches(Dataset[Crops]):
    """The batch of each step, by the number of the step."""

    def __init__(self, sampler: CropSampler, count: int, config: CropConfig) -> None:
        self.sampler, self.count, self.config = sampler, count, config

    def __getitem__(self, step: int) -> Crops:
        return self.sampler.batch(step, self.count, self.config)


class Prefetch:
    """Batches of consecutive steps, cut by other processes while a device computes.

    Parameters
    ----------
    sampler : CropSampler
        Source of crops.
    count : int
        Crops per batch.
    config : CropConfig
        How they are cut.
    workers : int
        Number of processes; 0 cuts each batch when it is needed.
    steps : int
        Number of steps of the stage: no batch is cut beyond them.
    """

    def __init__(
        self, sampler: CropSampler, count: int, config: CropConfig, workers: int, steps: int
    ) -> None:
        self._batches = _Batches(sampler, count, config)
        self.workers, self.steps = workers, steps
        self._coming: Iterator[Crops] | None = None
        self._next = 0

    def batch(self, step: int) -> Crops:
        """The batch of a step."""
        if not self.workers:
            return self._batches[step]
        if self._coming is None or step != self._next:
            loader = DataLoader(
                self._batches,
                batch_size=None,
                sampler=range(step, max(self.steps, step + 1)),
                num_workers=self.workers,
                prefetch_factor=4,
                pin_memory=torch.cuda.is_available(),
            )
            self._coming = iter(loader)
        self._next = step + 1
        return next(self._coming)

    def close(self) -> None:
        """Stop the processes."""
        self._coming = None
