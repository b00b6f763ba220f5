"""From objects of tiles to objects of the image.

Tiles see the pixels that their windows share twice. Objects that agree there are one object. What
one tile sees whole is taken from that tile alone; what no tile sees whole is put together from its
pieces. Where tiles disagree, objects seen whole win over cut ones, then the better score wins; the
other one keeps the pixels that are left to it, or is dropped if those are less than half of it.
Everything follows an order given by the tiles, so labels do not depend on who worked on which tile
when.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..progress import Progress
from .comparing import Comparisons, compare_tiles
from .grid import TileGrid
from .ledger import Ledger
from .runners import Runner, Turns
from .tile_objects import Pairs, TileObjects
from .tiles import EDGE

SAME_IOU = 0.5
SAME_PIECE = 0.75
CONFLICT = 0.25
MIN_VISIBLE = 0.5

KINDS = ("merged", "ambiguous", "cut", "redecoded")


@dataclass(frozen=True, slots=True, eq=False)
class Stitched:
    """Which objects of tiles make which objects of the image.

    Parameters
    ----------
    offset : int64 array (tiles + 1,)
        Objects of tile i are numbered from ``offset[i]`` to ``offset[i + 1]``.
    label : uint32 array (m,)
        Final id of each object of a tile; 0 where it is not drawn.
    rank : uint32 array (m,)
        Which object wins a pixel that several claim: the one with the higher rank.
    table : dict of str to array
        A row for each final object.
    seams : dict of str to array
        A row for each place where tiles had to agree.
    """

    offset: NDArray[np.int64]
    label: NDArray[np.uint32]
    rank: NDArray[np.uint32]
    table: dict[str, NDArray]
    seams: dict[str, NDArray]

    def of(self, index: int) -> slice:
        """Return where a tile's objects are."""
        return slice(int(self.offset[index]), int(self.offset[index + 1]))


def stitch(
    ledger: Ledger, runner: Runner, comparisons: Comparisons | None = None
) -> Generator[Progress, None, Stitched]:
    """Decide what the objects of the image are, from the results of all tiles.

    Parameters
    ----------
    ledger : Ledger
    runner : Runner
        Where tiles are compared that were not yet.
    comparisons : Comparisons, optional
        What was found while tiles were segmented.
    """
    known = Comparisons(ledger, ledger.status()) if comparisons is None else comparisons
    left = known.left()
    grid, done = ledger.grid, 0
    size = 4 * grid.tile * grid.tile
    for outcome in runner.run(compare_tiles, ledger, left, size):
        if outcome is not None:
            item, found = outcome
            if isinstance(found, Exception):  # such as a lost worker: do it in this process
                found = compare_tiles(ledger, item, Turns(1))
            known.take(item, found)
            done += 1
        yield Progress(done, len(left), message="comparing tiles")
    yield Progress(1, 1, message="deciding")
    return decide(grid, *known.result())


def decide(grid: TileGrid, objects: TileObjects, pairs: Pairs) -> Stitched:
    """Decide from objects and their overlaps which are one, and which stay.

    Parameters
    ----------
    grid : TileGrid
    objects : TileObjects
    pairs : Pairs
        Of `objects`.
    """
    count, whole = len(objects.areas), objects.touches == 0
    a, b = pairs.a, pairs.b
    # the part both see is the same; or both see pieces of what is larger than a tile, and two
    # pieces of the one may be a single piece of the other
    pieces = ~whole[a] & ~whole[b] & (pairs.inside >= SAME_PIECE) & _cross(objects, a, b)
    same = (pairs.iou > SAME_IOU) | pieces
    groups = _TileGroups(objects, _components(count, a[same], b[same]), whole)
    accepted, rank = groups.choose(pairs)
    # ids in the order of the tiles, then of the objects in them
    numbers = np.zeros(groups.count, np.uint32)
    numbers[accepted] = np.arange(1, accepted.sum() + 1)
    table = groups.table(grid, accepted)
    seams = _seams(grid, groups, accepted, numbers, pairs)
    kinds = np.zeros(len(table["label"]), np.uint8)
    for code, kind in enumerate(KINDS[:3], 1):
        named = seams["labels"][seams["kind"] == kind]
        kinds[named[named > 0].astype(np.int64) - 1] = code
    table["seam"] = kinds
    return Stitched(
        objects.offset,
        np.where(groups.drawn, numbers[groups.of], 0).astype(np.uint32),
        np.where(groups.drawn, rank[groups.of], 0).astype(np.uint32),
        table,
        seams,
    )


def _cross(objects: TileObjects, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pairs of pieces both go from one end to the other of the strip both tiles see.

    Others only reach into the strip, by a pixel or two, where their neighbour is.
    """
    out = np.zeros(len(a), bool)
    for axis in (0, 1):
        for i, j in ((a, b), (b, a)):
            one, other = objects.windows[i], objects.windows[j]
            begin, end = other[:, axis] + EDGE, one[:, axis + 2] - EDGE
            crossing = one[:, axis] < other[:, axis]
            for box in (objects.boxes[a], objects.boxes[b]):
                crossing = crossing & (box[:, axis] <= begin) & (box[:, axis + 2] >= end)
            out |= crossing
    return out


def _components(count: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which objects are one, each component numbered in the order of its first member."""
    if not count:
        return np.zeros(0, np.int64)
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    component = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


class _TileGroups:
    """Objects of tiles that are one object of the image."""

    def __init__(
        self, objects: TileObjects, of: NDArray[np.int64], whole: NDArray[np.bool_]
    ) -> None:
        self.objects, self.of = objects, of
        self.count = int(of.max(initial=-1)) + 1
        index = np.arange(len(of))
        # the owner sees it whole, has most of it in its core, scores best, comes first
        share = objects.core_areas / np.maximum(objects.areas, 1)
        order = np.lexsort((index, -objects.scores, -share, ~whole, of))
        self.owner = order[np.searchsorted(of[order], np.arange(self.count))]
        self.whole = whole[self.owner]
        # with an owner that sees all of it, no other tile draws it; else every piece is drawn
        self.drawn = (index == self.owner[of]) | ~self.whole[of]
        # fragments in the margin are left to the neighbouring tile; what is whole there counts
        self.usable = self._any(whole | (objects.core_areas > 0))
        self.area = np.zeros(self.count, np.int64)
        np.add.at(self.area, of[self.drawn], objects.areas[self.drawn])
        self.score = objects.scores[self.owner]

    def _any(self, members: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether any member of each group is one of these."""
        return np.bincount(self.of[members], minlength=self.count) > 0

    def boxes(self, members: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Box around some members of each group."""
        box = np.empty((self.count, 4), np.int64)
        box[:, :2], box[:, 2:] = np.iinfo(np.int64).max, 0
        np.minimum.at(box[:, :2], self.of[members], self.objects.boxes[members, :2])
        np.maximum.at(box[:, 2:], self.of[members], self.objects.boxes[members, 2:])
        return box

    def choose(self, pairs: Pairs) -> tuple[NDArray[np.bool_], NDArray[np.uint32]]:
        """Accept groups from the best to the worst, without those that better ones mostly cover.

        Returns
        -------
        accepted : bool array (groups,)
        rank : uint32 array (groups,)
            The best has the highest.
        """
        order = np.lexsort((self.owner, -self.score, ~self.whole))
        rank = np.zeros(self.count, np.uint32)
        rank[order] = np.arange(self.count, 0, -1)
        of_a, of_b = self.of[pairs.a], self.of[pairs.b]
        clash = (of_a != of_b) & self.drawn[pairs.a] & self.drawn[pairs.b]
        g = np.concatenate([of_a[clash], of_b[clash]])
        h = np.concatenate([of_b[clash], of_a[clash]])
        by = np.argsort(g, kind="stable")
        h, shared_pixels = h[by], np.tile(pairs.common[clash], 2)[by]
        starts = np.searchsorted(g[by], np.arange(self.count + 1))
        accepted = np.zeros(self.count, bool)
        for group in order[self.usable[order]]:
            span = slice(starts[group], starts[group + 1])
            covered = shared_pixels[span][accepted[h[span]]].sum()
            accepted[group] = covered <= (1 - MIN_VISIBLE) * self.area[group]
        return accepted, rank

    def planes(self, grid: TileGrid) -> NDArray[np.int64]:
        """Return the number of each group's plane."""
        return self.objects.tile[self.owner] // max(grid.counts[0] * grid.counts[1], 1)

    def table(self, grid: TileGrid, accepted: NDArray[np.bool_]) -> dict[str, NDArray]:
        """Return a row for each group that is accepted."""
        box = self.boxes(self.drawn)
        columns: dict[str, NDArray] = {
            "plane": self.planes(grid),
            "area": self.area,
            "predicted_iou": self.score,
            "stability_score": self.objects.stability[self.owner],
            "row_min": box[:, 0],
            "col_min": box[:, 1],
            "row_max": box[:, 2],
            "col_max": box[:, 3],
            "tiles": np.bincount(self.of, minlength=self.count),
            "pieces": np.bincount(self.of[self.drawn], minlength=self.count),
        }
        label = np.arange(1, accepted.sum() + 1, dtype=np.uint32)
        return {"label": label, **{name: column[accepted] for name, column in columns.items()}}

    def open_sides(self) -> NDArray[np.bool_]:
        """Which groups reach a window's edge, and no tile that sees beyond it sees them there."""
        objects, cut = self.objects, np.zeros(self.count, bool)
        order = np.argsort(self.of, kind="stable")
        starts = np.searchsorted(self.of[order], np.arange(self.count + 1))
        for i in np.flatnonzero((objects.touches > 0) & self.drawn & ~self.whole[self.of]):
            group = self.of[i]
            members = order[starts[group] : starts[group + 1]]
            others, ends = members[members != i], objects.windows[i]
            reach, box = objects.windows[others], objects.boxes[others]
            low = (reach[:, :2] < ends[:2]) & (box[:, :2] <= ends[:2] + EDGE)
            high = (reach[:, 2:] > ends[2:]) & (box[:, 2:] >= ends[2:] - EDGE)
            seen = np.concatenate([low, high], axis=1).any(axis=0)
            touched = (objects.touches[i] >> np.arange(4)) & 1 > 0
            cut[group] |= bool((touched & ~seen).any())
        return cut


def _seams(
    grid: TileGrid,
    groups: _TileGroups,
    accepted: NDArray[np.bool_],
    numbers: NDArray[np.uint32],
    pairs: Pairs,
) -> dict[str, NDArray]:
    """List where tiles had to agree: what was merged, was ambiguous, or stays cut."""
    rows: list[tuple[str, int, int, float, NDArray[np.int64]]] = []
    of_a, of_b, iou = groups.of[pairs.a], groups.of[pairs.b], pairs.iou
    box = groups.boxes(np.ones(len(groups.of), bool))
    disputed: dict[tuple[int, int], float] = {}
    for i in np.flatnonzero((of_a != of_b) & (pairs.inside >= CONFLICT)):
        g, h = sorted((int(of_a[i]), int(of_b[i])))
        if not (accepted[g] or accepted[h]) or not (groups.usable[g] and groups.usable[h]):
            continue
        loser = g if not accepted[g] else h
        if groups.whole[g] != groups.whole[h] and not (accepted[loser] or groups.whole[loser]):
            continue  # one tile sees it whole, the other a part of it: no question
        disputed[g, h] = max(disputed.get((g, h), 0.0), float(iou[i]))
    for (g, h), value in sorted(disputed.items()):
        around = [*np.minimum(box[g, :2], box[h, :2]), *np.maximum(box[g, 2:], box[h, 2:])]
        rows.append(("ambiguous", g, int(numbers[h]), value, np.array(around)))
    weakest = np.ones(groups.count)
    matched = of_a == of_b
    np.minimum.at(weakest, of_a[matched], iou[matched])
    several = np.bincount(groups.of, minlength=groups.count) > 1
    crosses = several & (groups.objects.core_areas[groups.owner] < groups.area)
    for g in np.flatnonzero(accepted & crosses).tolist():
        rows.append(("merged", g, 0, float(weakest[g]), box[g]))
    for g in np.flatnonzero(accepted & groups.open_sides()).tolist():
        rows.append(("cut", g, 0, 0.0, box[g]))
    of = np.array([row[1] for row in rows], np.int64)
    other = np.array([row[2] for row in rows], np.uint32)
    return {
        "seam": np.arange(1, len(rows) + 1, dtype=np.uint32),
        "kind": np.array([row[0] for row in rows], "U9"),
        "plane": groups.planes(grid)[of],
        "labels": np.stack([numbers[of], other], axis=1),
        "iou": np.array([row[3] for row in rows], np.float32),
        "box": np.array([row[4] for row in rows], np.int64).reshape(-1, 4),
    }
