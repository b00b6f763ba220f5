"""Embeddings of planes: the next ones are computed on a thread, the last ones kept."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import NamedTuple

from ..engine import Embedding, EmbeddingStore, Predictor, View
from ..engine.embedding import MEMORY_BYTES
from .volume import Volume


class Place(NamedTuple):
    """What is encoded: a plane of a stack, whole or from a view."""

    plane: int
    stack: tuple[int, ...] = ()
    view: View | None = None


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

    def __init__(
        self, volume: Volume, predictor: Predictor, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self.volume, self.predictor, self.encoded = volume, predictor, 0
        self.kept = EmbeddingStore[Place, Embedding](memory_bytes)
        self._begun: dict[Place, Future[Embedding]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()

    def expect(self, places: Iterable[Place]) -> None:
        """Begin with what will be asked for next; drop what was expected before and is not."""
        wanted = [place for place in places if place not in self.kept]
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
        return self.kept.get(place, lambda: self._begun_or_now(place))

    def close(self) -> None:
        """Stop computing; what is kept stays."""
        self._begun.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _begun_or_now(self, place: Place) -> Embedding:
        future = self._begun.pop(place, None)
        return self._embed(place) if future is None else future.result()

    def _embed(self, place: Place) -> Embedding:
        with self._lock:
            self.encoded += 1
        return self.volume.embed(self.predictor, place.plane, place.stack, place.view)
