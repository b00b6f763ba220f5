"""The latest decoded results: masks for undo, logits for refinement."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from .decoding import DecodeResult
from .objects import ObjectPrompts
from .preview import DecodedObject

CAPACITY = 1 << 27


class DecodedResults:
    """Results by the draft's revision; the oldest are dropped when they take too much memory.

    What is kept depends only on the results, so that a replay finds the same ones.

    Parameters
    ----------
    capacity : int
        Bytes of masks and logits.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._items: OrderedDict[int, DecodeResult] = OrderedDict()
        self._used = 0

    def add(self, result: DecodeResult) -> None:
        """Keep a result."""
        self._items[result.revision] = result
        self._used += _size(result)
        while self._used > self._capacity and len(self._items) > 1:
            _, dropped = self._items.popitem(last=False)
            self._used -= _size(dropped)

    def get(self, revision: int) -> DecodeResult | None:
        """Return a result, or None."""
        return self._items.get(revision)

    def __contains__(self, revision: int) -> bool:
        return revision in self._items

    def same(self, plane: tuple[int, ...], prompts: ObjectPrompts) -> Iterator[DecodedObject]:
        """Yield objects decoded from the same prompts on a plane, the latest first."""
        for result in reversed(self._items.values()):
            if result.plane == plane:
                yield from (item for item in result.objects if item.prompts == prompts)

    def clear(self) -> None:
        """Drop everything."""
        self._items.clear()
        self._used = 0


def _size(result: DecodeResult) -> int:
    return sum(item.nbytes for item in result.objects)
