"""What tiles and their neighbours have in common, found while other tiles are segmented."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .ledger import Ledger, TileResult, TileStatus
from .runners import Turns
from .tile_objects import Pairs, TileObjects, compare

Compared = tuple[TileResult, list[NDArray[np.int64]]]
"""A tile's objects without pixels, and what `compare` returns for each of the others."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A tile, and the neighbours to compare it with.

    Parameters
    ----------
    index : int
    others : tuple of int
    """

    index: int
    others: tuple[int, ...]


def compare_tiles(ledger: Ledger, item: Comparison, turns: Turns) -> Compared:
    """Compare a tile with its neighbours.

    Parameters
    ----------
    ledger : Ledger
    item : Comparison
    turns : Turns
        Not waited for, as this takes little processor time.

    Raises
    ------
    ResourceError
        If a tile's result cannot be read back.
    """
    found, rows = ledger.get(item.index), []
    for other in item.others:
        turns.check()
        a, b = sorted((item.index, other))
        rows.append(compare(ledger.grid, a, ledger.get(a), b, ledger.get(b)))
    return found.without_pixels(), rows


class Comparisons:
    """Each tile is compared with the neighbours that were segmented before it.

    Parameters
    ----------
    ledger : Ledger
    status : uint8 array (planes, tile rows, tile columns)
        Current state of all tiles.
    """

    def __init__(self, ledger: Ledger, status: NDArray[np.uint8]) -> None:
        self.grid, self._status = ledger.grid, status
        self._earlier = np.flatnonzero(status.ravel() == TileStatus.DONE).tolist()
        self._due: dict[int, Comparison] = {}
        self._ready: deque[Comparison] = deque()
        self._objects: dict[int, TileResult] = {}
        self._rows: dict[tuple[int, int], NDArray[np.int64]] = {}

    def finished(self, index: int) -> None:
        """Take note of a tile with objects."""
        near = self.grid.neighbours(index)
        others = tuple(n for n in near if self._status[self.grid.place(n)] == TileStatus.DONE)
        self._due[index] = Comparison(index, others)
        self._ready.append(self._due[index])

    def ready(self) -> Iterator[Comparison]:
        """Yield what can be compared by now, each once."""
        while self._ready:
            yield self._ready.popleft()

    def left(self) -> list[Comparison]:
        """Return what was not compared yet, or failed; also tiles of earlier calls."""
        known = set(self._earlier)
        for index in self._earlier:
            near = self.grid.neighbours(index)
            others = tuple(n for n in near if n > index and n in known)
            self._due[index] = Comparison(index, others)
        self._earlier = []
        return list(self._due.values())

    def take(self, item: Comparison, found: Compared) -> None:
        """Keep what was found."""
        del self._due[item.index]
        self._objects[item.index], rows = found
        for other, each in zip(item.others, rows, strict=True):
            if len(each):
                a, b = sorted((item.index, other))
                self._rows[a, b] = each

    def result(self) -> tuple[TileObjects, Pairs]:
        """Return all objects and pairs, in an order that does not depend on when they were found.

        It is the order of the tiles, and of the neighbours of each.
        """
        grid = self.grid
        objects = TileObjects.collect(grid, sorted(self._objects), self._objects.__getitem__)
        found = [np.zeros((0, 5), np.int64)]
        for index in sorted(self._objects):
            for other in grid.neighbours(index):
                rows = self._rows.get((index, other)) if other > index else None
                if rows is not None:
                    starts = objects.offset[index] - 1, objects.offset[other] - 1
                    found.append(rows + np.array([*starts, 0, 0, 0]))
        return objects, Pairs(*np.concatenate(found).T)
