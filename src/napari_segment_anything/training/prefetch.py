"""Batches cut in advance, so that a GPU does not wait for them."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from .cropping import CropConfig, CropSampler
from .crops import Crops


class Prefetch:
    """Batches of the next steps, cut by threads while a device computes the current one.

    Parameters
    ----------
    sampler : CropSampler
        Source of crops.
    count : int
        Crops per batch.
    config : CropConfig
        How they are cut.
    ahead : int
        Number of batches to prepare, and of threads; 0 cuts each batch when it is needed.
    """

    def __init__(self, sampler: CropSampler, count: int, config: CropConfig, ahead: int) -> None:
        self.sampler, self.count, self.config, self.ahead = sampler, count, config, ahead
        self._pool = ThreadPoolExecutor(ahead) if ahead else None
        self._coming: dict[int, Future[Crops]] = {}

    def batch(self, step: int) -> Crops:
        """The batch of a step."""
        if self._pool is None:
            return self.sampler.batch(step, self.count, self.config)
        for later in range(step, step + self.ahead + 1):
            if later not in self._coming:
                self._coming[later] = self._pool.submit(
                    self.sampler.batch, later, self.count, self.config
                )
        for old in [key for key in self._coming if key < step]:
            del self._coming[old]
        return self._coming.pop(step).result()

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
