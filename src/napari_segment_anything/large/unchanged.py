"""Whether an image is still the one that the finished tiles of a run were read from."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from ..errors import ParameterError
from ..progress import Progress
from .ledger import Ledger
from .runners import Runner, Turns
from .tiles import ImageTiles, read_with_hash

_BATCH = 256
_MESSAGE = "checking that the image is the same"


def check_unchanged(
    tiles: ImageTiles, ledger: Ledger, runner: Runner, indices: Sequence[int]
) -> Generator[Progress, None, None]:
    """Check that tiles would be read from the same pixels as before.

    Marks are compared first, which are made of the size, time or ETag of the chunks. Where they
    differ or there are none, pixels are read again and their hashes compared. So a copied image is
    read once; its marks are then stored.

    Parameters
    ----------
    tiles : ImageTiles
        Of the image as it is now.
    ledger : Ledger
    runner : Runner
        Where pixels are read.
    indices : sequence of int
        The finished tiles in question.

    Yields
    ------
    Progress

    Raises
    ------
    ParameterError
        If the pixels differ; the message says where.
    ImageError
        If they cannot be read any more.
    """
    grid, stored = ledger.grid, ledger.read()
    doubtful: list[int] = []
    for start in range(0, len(indices), _BATCH):
        batch = indices[start : start + _BATCH]
        for index, mark in zip(batch, tiles.marks(batch), strict=True):
            if not mark or mark != int(stored[grid.place(index)][1]):
                doubtful.append(index)
        yield Progress(len(batch) + start - len(doubtful), len(indices), message=_MESSAGE)
    if not doubtful:
        return
    done = len(indices) - len(doubtful)
    for outcome in runner.run(_what_is_read, tiles, doubtful, tiles.size):
        if outcome is not None:
            index, found = outcome
            if isinstance(found, Exception):
                raise found
            if found[0] != int(stored[grid.place(index)][0]):
                window = grid.window(index)
                rows, cols = window.slices
                plane = f"plane {grid.plane(index)}, " if grid.planes else ""
                raise ParameterError(
                    f"the image has changed since the run was begun, in {plane}rows {rows.start} "
                    f"to {rows.stop - 1}, columns {cols.start} to {cols.stop - 1}, which are "
                    "segmented already: give the image as it was to resume, another label name, "
                    "or overwrite=True to begin again"
                )
            stored[grid.place(index)] = np.array(found, np.uint64)
            done += 1
        yield Progress(done, len(indices), message=_MESSAGE)
    ledger.replace_read(stored)


def _what_is_read(tiles: ImageTiles, index: int, turns: Turns) -> tuple[int, int]:
    turns.check()
    return read_with_hash(tiles, index)[1]
