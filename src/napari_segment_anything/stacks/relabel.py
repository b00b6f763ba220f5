"""Write the final numbers of a stack plane by plane, and fill gaps of objects."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.util import map_array

from ..engine import PlacedMask
from .masks import centre, signed_distance
from .plane_objects import StackObjects


def relabel(
    measured: StackObjects,
    numbers: Sequence[NDArray[np.int64]],
    read: Callable[[int], NDArray[np.integer]],
    write: Callable[[int, NDArray[np.uint32]], object],
    fills: bool,
    offset: int = 0,
) -> Generator[int, None, None]:
    """Write the final numbers, plane by plane, and fill gaps.

    Parameters
    ----------
    measured : StackObjects
    numbers : sequence of int64 array
        For each plane the final number of each of its objects; 0 for those dropped.
    read, write : callable
        A plane of labels with its own ids; and the final one.
    fills : bool
        Draw objects on the planes between that they are missing from, on background only.
    offset : int
        Added to every number.

    Yields
    ------
    int
        Each plane, once it is written.
    """
    gaps = _gaps(numbers) if fills else {}
    waiting: dict[int, tuple[int, PlacedMask]] = {}
    held: dict[int, NDArray[np.uint32]] = {}
    for plane, final_numbers in enumerate(numbers):
        labels = np.asarray(read(plane))
        final = renumber(labels, measured.planes[plane].ids, final_numbers, offset)
        held[plane] = final
        for number in set(final_numbers.tolist()) & gaps.keys():
            here = PlacedMask.of(final == number + offset)
            if here.empty:
                continue
            if number in waiting:
                start, before = waiting.pop(number)
                for missing in range(start + 1, plane):
                    mask = between(before, here, (missing - start) / (plane - start))
                    mask.paste(held[missing], number + offset, free_only=True)
            if plane < gaps[number]:
                waiting[number] = (plane, here)
        first = min((start for start, _ in waiting.values()), default=plane + 1)
        for ready in sorted(p for p in held if p < first):
            write(ready, held.pop(ready))
            yield ready
    for ready in sorted(held):
        write(ready, held[ready])
        yield ready


def _gaps(planes: Sequence[NDArray[np.int64]]) -> dict[int, int]:
    """Objects that are missing somewhere in between, and the last plane after a gap."""
    last: dict[int, int] = {}
    found: dict[int, int] = {}
    for plane, numbers in enumerate(planes):
        for number in numbers.tolist():
            if number and number in last and plane > last[number] + 1:
                found[number] = plane
            last[number] = plane
    return found


def renumber(
    labels: NDArray[np.integer],
    ids: NDArray[np.int64],
    numbers: NDArray[np.int64],
    offset: int = 0,
) -> NDArray[np.uint32]:
    """Replace ids by numbers; 0 stays 0.

    Parameters
    ----------
    labels : integer array (rows, columns)
    ids : int64 array (n,)
        The ids in it, ascending.
    numbers : int64 array (n,)
        The number of each; objects whose number is 0 are removed.
    offset : int
        Added to every number.

    Returns
    -------
    uint32 array (rows, columns)
    """
    values = np.where(numbers > 0, numbers + offset, 0).astype(np.uint32)
    return np.asarray(map_array(np.array(labels), ids, values))  # which takes no read-only arrays


def between(first: PlacedMask, second: PlacedMask, share: float) -> PlacedMask:
    """Return the shape between two sections.

    Signed distances of both are averaged (Raya and Udupa 1990), each moved so that the centres
    lie on a line.

    Parameters
    ----------
    first, second : PlacedMask
        Sections on two planes.
    share : float
        0 at the first plane, 1 at the second.
    """
    centres = [centre(mask) for mask in (first, second)]
    middle = (1 - share) * centres[0] + share * centres[1]
    moves = [np.round(middle - place).astype(int).tolist() for place in centres]
    boxes = np.array([m.window.box for m in (first, second)]) + np.tile(moves, 2)
    (row, col), (bottom, right) = boxes[:, :2].min(0) - 1, boxes[:, 2:].max(0) + 1
    distances = [
        signed_distance(mask.crop(row - down, col - across, bottom + 1 - row, right + 1 - col))
        for mask, (down, across) in zip((first, second), moves, strict=True)
    ]
    shape = (1 - share) * distances[0] + share * distances[1] > 0
    top, left = max(0, -row), max(0, -col)  # moved over the plane's edge by rounding
    return PlacedMask.of(shape[top:, left:], row + top, col + left)
