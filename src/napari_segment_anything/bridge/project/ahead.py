"""The next image is read and encoded before it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from ...engine import Predictor
from ...errors import SegmentAnythingError
from ...progress import Progress
from ...projects import ProjectImage
from ...session import LatestWins
from ..viewer.runners import Background, JobCallbacks
from .opening import ImageAhead, encode_ahead, read_ahead

KEPT = 3
"""Images kept in memory: the one that is shown, the next, and one more."""


class Ahead:
    """Reads and encodes images on a thread of its own.

    Parameters
    ----------
    dispatch : callable, optional
        As for `OrderedThread`. Without it, nothing is read ahead.
    """

    def __init__(self, dispatch: Callable[[Callable[[], None]], object] | None) -> None:
        self._runner = None
        if dispatch is not None:
            self._runner = Background(dispatch, LatestWins(name="segment-anything-ahead"))
        self._read: dict[str, ImageAhead] = {}

    def find(self, key: str) -> ImageAhead | None:
        """Return an image that was read, or None."""
        return self._read.get(key)

    def keep(self, ahead: ImageAhead) -> None:
        """Keep an image that was read elsewhere."""
        self._read.pop(ahead.image.key, None)
        self._read[ahead.image.key] = ahead
        while len(self._read) > KEPT:
            del self._read[next(iter(self._read))]

    def forget(self, key: str) -> None:
        """Read an image again when it is asked for."""
        self._read.pop(key, None)

    def prepare(self, images: list[ProjectImage], predictor: Predictor) -> None:
        """Read and encode images, in order, instead of those asked for before."""
        if self._runner is None:
            return
        known = {image.key: self._read.get(image.key) for image in images}

        def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, None]:
            for image in images:
                try:
                    ahead = known[image.key] or read_ahead(image)
                    yield Progress(0, 1, partial=ahead)
                    encode_ahead(ahead, predictor)
                except SegmentAnythingError:
                    continue  # reported when the image is opened
                yield Progress(1, 1)

        nothing: Callable[[Any], None] = lambda _: None  # noqa: E731
        callbacks = JobCallbacks(nothing, nothing, self._on_progress, partial(nothing, None))
        self._runner.submit(job, callbacks)

    def _on_progress(self, step: Progress) -> None:
        if isinstance(step.partial, ImageAhead):
            self.keep(step.partial)

    def close(self) -> None:
        """Stop reading."""
        if self._runner is not None:
            self._runner.close()
        self._read.clear()
