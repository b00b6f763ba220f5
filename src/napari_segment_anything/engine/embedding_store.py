"""Embeddings in memory: the one store behind views, sessions, stacks and the cache."""

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
    """Embeddings, or what was read off them, by key; bounded in bytes. Threads may share it.

    When it is full, the least recently used are dropped; the last one put in always stays.

    Parameters
    ----------
    memory_bytes : int
        Bound of `nbytes` of all together, on whatever device they are.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self.memory_bytes = memory_bytes
        self._items: OrderedDict[K, V] = OrderedDict()
        self._used = 0
        self._lock = threading.Lock()

    def find(self, key: K) -> V | None:
        """Return what is kept under a key, or None. It counts as used."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return what is kept under a key; make and keep it if there is nothing."""
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
        """Iterate over the keys there are now, the least recently used first."""
        with self._lock:
            return iter(list(self._items))

    def __contains__(self, key: K) -> bool:
        with self._lock:
            return key in self._items

    def __len__(self) -> int:
        return len(self._items)
