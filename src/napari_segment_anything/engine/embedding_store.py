"""Embeddings in memory, for views, sessions, stacks and the cache; also results of tiles."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, Protocol, TypeVar

MEMORY_BYTES = 512 << 20


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=_Sized)


class EmbeddingStore(Generic[K, V]):
    """Embeddings, or what was found by them, by key; bounded in bytes. Threads may share it.

    When it is full, the least recently used are dropped, but never the one added last.

    Parameters
    ----------
    memory_bytes : int
        Bound of the sum of `nbytes`, on any device.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self.memory_bytes = memory_bytes
        self._items: OrderedDict[K, V] = OrderedDict()
        self._used = 0
        self._lock = threading.Lock()

    def find(self, key: K) -> V | None:
        """Return the value of a key, or None; counts as a use."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return the value of a key; if there is none, make it and keep it."""
        found = self.find(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Keep a value."""
        with self._lock:
            previous = self._items.pop(key, None)
            self._used += value.nbytes - (0 if previous is None else previous.nbytes)
            self._items[key] = value
            while self._used > self.memory_bytes and len(self._items) > 1:
                self._used -= self._items.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._items.clear()
            self._used = 0

    @property
    def used(self) -> int:
        """Bytes kept."""
        return self._used

    def __iter__(self) -> Iterator[K]:
        """Iterate over the present keys, the least recently used first."""
        with self._lock:
            return iter(list(self._items))

    def __contains__(self, key: K) -> bool:
        with self._lock:
            return key in self._items

    def __len__(self) -> int:
        return len(self._items)
