"""One-to-one matching of nearby pixels of two masks, as large as possible."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Pixels = NDArray[np.intp]
_BLOCK = 1 << 21


def match_pixels(
    found: ArrayLike, true: ArrayLike, reach: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Match pixels of two masks one to one, as many as possible.

    Nearest pixels are paired first. Augmenting paths then make the matching as large as it can be
    (Azad, Buluc and Pothen, 2017: a forest of alternating trees, of which those that led nowhere
    are kept). All neighbours of a pixel lie at the same offsets, so no graph is stored.

    Parameters
    ----------
    found, true : bool array (rows, columns)
    reach : float
        Largest distance of a pair, in pixels.

    Returns
    -------
    found_hit, true_hit : bool array (number of pixels,)
        Which pixels have a partner, in the order of `numpy.nonzero`.
    """
    margin = int(reach)  # so that no offset leads out of the image
    masks = [np.pad(np.asarray(mask, bool), margin) for mask in (found, true)]
    few, many = (np.flatnonzero(mask) for mask in masks)
    swapped = len(few) > len(many)
    if swapped:
        few, many = many, few
    offsets = _offsets(reach, masks[0].shape[1])
    free = masks[not swapped].ravel()
    # the partner's position, at each position
    of_few, of_many = np.full((2, free.size), -1)
    left = few
    for offset in offsets:
        near = free[left + offset]
        there = left[near] + offset
        of_few[left[near]], of_many[there] = there, left[near]
        free[there] = False
        left = left[~near]
    _augment(left, many, of_few, of_many, offsets)
    hits = of_few[few] >= 0, of_many[many] >= 0
    return hits[::-1] if swapped else hits


def _offsets(reach: float, width: int) -> _Pixels:
    """Steps to all pixels within reach, nearest first, in an image of that width."""
    steps = np.arange(-int(reach), int(reach) + 1)
    squares = steps[:, None] ** 2 + steps**2
    order = np.argsort(squares, axis=None, kind="stable")[: np.sum(squares <= reach**2)]
    return (steps[:, None] * width + steps).ravel()[order]


def _augment(
    left: _Pixels, many: _Pixels, of_few: _Pixels, of_many: _Pixels, offsets: _Pixels
) -> None:
    """Turn over augmenting paths that start at the pixels left, in place, until there are none."""
    root, parent = np.full((2, len(of_few)), -1)
    root[left] = left
    unseen, complete, beside = np.zeros((3, len(of_few)), bool)
    unseen[many] = True
    front = left
    while len(front):
        ends = []
        while len(front):
            there = _grow(front, unseen, parent, offsets)
            partner = of_many[there]
            end = there[partner < 0]
            roots, first = np.unique(root[parent[end]], return_index=True)
            ends.append(end[first])  # one path a tree: they never meet
            complete[roots] = True
            front = partner[partner >= 0]
            root[front] = root[parent[there[partner >= 0]]]
            front = front[~complete[root[front]]]
        end = np.concatenate(ends)
        seen = many[~unseen[many]]
        released = seen[complete[root[parent[seen]]]]
        while len(end):
            turned = parent[end]
            before = of_few[turned]
            of_few[turned], of_many[end] = end, turned
            end = before[before >= 0]
        # trees with a path are given up, and the others grow into what they leave
        unseen[released] = True
        root[(root >= 0) & complete[root]] = -1
        beside[:] = False
        for part in _blocks(released, offsets):
            around = part[:, None] - offsets
            beside[around[root[around] >= 0]] = True
        front = np.flatnonzero(beside)


def _grow(front: _Pixels, unseen: NDArray[np.bool_], parent: _Pixels, offsets: _Pixels) -> _Pixels:
    """Pixels not seen yet within reach of the front; each gets one of the front as parent."""
    new = []
    for part in _blocks(front, offsets):
        around = part[:, None] + offsets
        of, _ = near = np.nonzero(unseen[around])
        there = around[near]
        parent[there] = part[of]
        there = there[parent[there] == part[of]]
        unseen[there] = False
        new.append(there)
    return np.concatenate(new)


def _blocks(pixels: _Pixels, offsets: _Pixels) -> list[_Pixels]:
    """Parts of the pixels, so that not too many neighbours are looked at together."""
    length = max(_BLOCK // len(offsets), 1)
    return [pixels[start : start + length] for start in range(0, len(pixels), length)]
