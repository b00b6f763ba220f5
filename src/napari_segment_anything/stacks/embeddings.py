"""Embeddings of planes: the next ones are computed on a thread, the last ones kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import NamedTuple

from ..engine import Embedding, Predictor, Window
from .volume import Volume

KEPT = 512 << 20


class Place(NamedTuple):
    """What is encoded: a plane of a stack, whole or a window of it."""

    plane: int
    stack: tuple[int, ...] = ()
    window: Window | None = None
    span: int | None = None

    @property
    def side(self) -> int:
        """Pixels that the side of the frame stands for; 0 for the whole plane."""
        return max(self.span or 0, *(self.window.shape if self.window else (0, 0)))


class PlaneEmbeddings:
    """Embeddings of a volume's planes, for one reader.

    Parameters
    ----------
    volume : Volume
    predictor : Predictor
        Encodes; its cache, if it has one, is used.
    memory_bytes : int
        Bound of what is kept, beside what was asked for last.
    """

    def __init__(self, volume: Volume, predictor: Predictor, memory_bytes: int = KEPT) -> None:
        self.volume, self.predictor, self.memory_bytes = volume, predictor, memory_bytes
        self.encoded = 0
        self._kept: OrderedDict[Place, Embedding] = OrderedDict()
        self._used = 0
        self._begun: dict[Place, Future[Embedding]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()

    def expect(self, places: Iterable[Place]) -> None:
        """Begin with what will be asked for next; drop what was expected before and is not."""
        wanted = [place for place in places if place not in self._kept]
        for place in [place for place in self._begun if place not in wanted]:
            self._begun.pop(place).cancel()
        for place in wanted:
            if place not in self._begun:
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(1, thread_name_prefix="next-planes")
                self._begun[place] = self._pool.submit(self._embed, place)

    def get(self, place: Place) -> Embedding:
        """Return an embedding, from memory where it is kept.

        Raises
        ------
        ImageError, ResourceError
            As `Predictor.embed`, also if it was begun before.
        """
        found = self._kept.get(place)
        if found is not None:
            self._kept.move_to_end(place)
            return found
        future = self._begun.pop(place, None)
        found = self._embed(place) if future is None else future.result()
        self._kept[place] = found
        self._used += found.nbytes
        while self._used > self.memory_bytes and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._used -= old.nbytes
        return found

    def close(self) -> None:
        """Stop computing; what is kept stays."""
        self._begun.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _embed(self, place: Place) -> Embedding:
        with self._lock:
            self.encoded += 1
        return self.volume.embed(self.predictor, place.plane, place.stack, place.window, place.span)
