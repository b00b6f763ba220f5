"""From objects of tiles to objects of the image.

Tiles see the pixels their windows share twice. Objects that agree there are one object. What one
tile sees whole is taken from it as a whole: exactly one tile owns it. What no tile sees whole is
put together from its pieces. Where tiles see different things, what is seen whole wins over what
is cut, then the better score over the worse; the loser keeps the pixels left to it, or goes if that
is less than half of it. Everything is decided in an order that depends on the tiles only,
so labels do not depend on who worked on which tile when.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..engine import Window
from ..progress import Progress
from .grid import TileGrid, shared, within
from .ledger import Ledger, TileResult, TileStatus
from .tiles import EDGE

SAME_IOU = 0.5
SAME_PIECE = 0.75
RIM = 3
CONFLICT = 0.25
MIN_VISIBLE = 0.5
_HELD = 96

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
        Who wins a pixel that several claim: the higher.
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


class _TileCache:
    """_TileCache of tiles, read back when needed, the last ones held."""

    def __init__(self, ledger: Ledger, held: int = _HELD) -> None:
        self._ledger, self._held = ledger, held
        self._done = ledger.status()
        self._cache: OrderedDict[int, TileResult] = OrderedDict()

    def has(self, index: int) -> bool:
        """Whether the tile was segmented and had something in it."""
        return bool(self._done[self._ledger.grid.place(index)] == TileStatus.DONE)

    def get(self, index: int) -> TileResult:
        """Return a tile's result."""
        if index in self._cache:
            self._cache.move_to_end(index)
        else:
            self._cache[index] = self._ledger.get(index)
            if len(self._cache) > self._held:
                self._cache.popitem(last=False)
        return self._cache[index]


def stitch(ledger: Ledger) -> Iterator[Progress | Stitched]:
    """Decide what the objects of the image are: yields `Progress`, and last the outcome."""
    grid = ledger.grid
    results = _TileCache(ledger)
    columns = _Objects(len(grid))
    pairs = _Pairs()
    for index in range(len(grid)):
        if results.has(index):
            columns.add(index, results.get(index))
        else:
            columns.skip(index)
    objects = columns.finish()
    for index in range(len(grid)):
        if index % 16 == 0:
            yield Progress(index, len(grid), message="comparing tiles")
        if not results.has(index) or not len(results.get(index)):
            continue
        for other in grid.neighbours(index):
            if other > index and results.has(other):
                pairs.add(
                    compare(grid, index, results.get(index), other, results.get(other)),
                    int(objects.offset[index]),
                    int(objects.offset[other]),
                )
    yield Progress(len(grid), len(grid), message="deciding")
    yield decide(grid, objects, pairs.finish())


@dataclass(frozen=True, slots=True, eq=False)
class TileObjects:
    """All tiles' objects, one after another."""

    offset: NDArray[np.int64]
    tile: NDArray[np.int64]
    boxes: NDArray[np.int64]
    areas: NDArray[np.int64]
    core_areas: NDArray[np.int64]
    touches: NDArray[np.uint8]
    scores: NDArray[np.float32]
    stability: NDArray[np.float32]


class _Objects:
    def __init__(self, tiles: int) -> None:
        self.counts = np.zeros(tiles, np.int64)
        self.parts: list[tuple[int, TileResult]] = []

    def add(self, index: int, result: TileResult) -> None:
        self.counts[index] = len(result)
        bare = TileResult(
            np.zeros((0, 0), np.uint8), result.boxes, result.areas, result.core_areas,
            result.touches, result.scores, result.stability,
        )  # fmt: skip
        self.parts.append((index, bare))

    def skip(self, index: int) -> None:
        self.counts[index] = 0

    def finish(self) -> TileObjects:
        offset = np.concatenate([[0], np.cumsum(self.counts)])

        def join(name: str, empty: NDArray) -> NDArray:
            return np.concatenate([empty, *(getattr(part, name) for _, part in self.parts)])

        return TileObjects(
            offset,
            np.repeat(np.arange(len(self.counts)), self.counts),
            join("boxes", np.zeros((0, 4), np.int64)),
            join("areas", np.zeros(0, np.int64)),
            join("core_areas", np.zeros(0, np.int64)),
            join("touches", np.zeros(0, np.uint8)),
            join("scores", np.zeros(0, np.float32)),
            join("stability", np.zeros(0, np.float32)),
        )


def compare(
    grid: TileGrid, a: int, first: TileResult, b: int, second: TileResult
) -> NDArray[np.int64]:
    """Compare two tiles on the pixels both see, but those at the rim of either's window.

    Returns
    -------
    int64 array (pairs, 5)
        Label in a, label in b, pixels in common, and pixels of each there.
    """
    one, other = grid.window(a), grid.window(b)
    common = _inside(grid, shared(one, other))
    if common is None:
        return np.zeros((0, 5), np.int64)
    x = first.labels[within(common, one)].ravel().astype(np.int64)
    y = second.labels[within(common, other)].ravel().astype(np.int64)
    both = (x > 0) & (y > 0)
    if not both.any():
        return np.zeros((0, 5), np.int64)
    width = len(second) + 1
    keys, counts = np.unique(x[both] * width + y[both], return_counts=True)
    i, j = keys // width, keys % width
    in_a = np.bincount(x, minlength=len(first) + 1)
    in_b = np.bincount(y, minlength=width)
    return np.stack([i, j, counts, in_a[i], in_b[j]], axis=1)


def _inside(grid: TileGrid, common: Window | None) -> Window | None:
    """Leave out the rim of what two windows share.

    There a neighbour that pokes in by a pixel looks like the object that it touches.
    """
    if common is None:
        return None
    low, high = _ends(grid.region)[:2], _ends(grid.region)[2:]
    starts, sides = [], []
    for start, side, first, last in zip(
        (common.row, common.col), common.shape, low, high, strict=True
    ):
        begin = start + RIM if start > first else start
        end = start + side - (RIM if start + side - 1 < last else 0)
        if end - begin < side // 2:
            begin, end = start, start + side
        starts.append(begin)
        sides.append(end - begin)
    return Window(starts[0], starts[1], sides[0], sides[1])


class _Pairs:
    def __init__(self) -> None:
        self.parts: list[NDArray[np.int64]] = [np.zeros((0, 5), np.int64)]

    def add(self, found: NDArray[np.int64], first: int, second: int) -> None:
        found = found.copy()
        found[:, 0] += first - 1
        found[:, 1] += second - 1
        self.parts.append(found)

    def finish(self) -> NDArray[np.int64]:
        return np.concatenate(self.parts)


def decide(grid: TileGrid, objects: TileObjects, pairs: NDArray[np.int64]) -> Stitched:
    """Decide from objects and their overlaps which are one, and which stay."""
    count = len(objects.areas)
    a, b, common, in_a, in_b = pairs.T if len(pairs) else np.zeros((5, 0), np.int64)
    iou = common / np.maximum(in_a + in_b - common, 1)
    whole = objects.touches == 0
    # the part both see is the same; or both see pieces of what is larger than a tile, and two
    # pieces of the one may be a single piece of the other
    inside = common / np.maximum(np.minimum(in_a, in_b), 1)
    pieces = ~whole[a] & ~whole[b] & (inside >= SAME_PIECE) & _cross(grid, objects, a, b)
    same = (iou > SAME_IOU) | pieces
    root = _components(count, a[same], b[same])
    # a piece in the margin is the neighbour's to find; what is whole there is found
    usable = whole | (objects.core_areas > 0)
    groups = _Groups(objects, root, whole, usable)
    accepted, rank = groups.choose(a, b, common)
    label = np.zeros(count, np.uint32)
    ranks = np.zeros(count, np.uint32)
    # ids in the order of the tiles, then of the objects in them
    numbers = np.zeros(groups.count, np.uint32)
    numbers[accepted] = np.arange(1, accepted.sum() + 1)
    drawn = groups.drawn
    label[drawn] = numbers[groups.of[drawn]]
    ranks[drawn] = rank[groups.of[drawn]]
    table = groups.table(grid, accepted)
    seams = _seams(grid, objects, groups, accepted, numbers, a, b, iou, common, in_a, in_b)
    kinds = np.zeros(len(table["label"]), np.uint8)
    for code, kind in enumerate(KINDS[:3], 1):
        for pair in seams["labels"][seams["kind"] == kind]:
            kinds[pair[pair > 0].astype(np.int64) - 1] = code
    table["seam"] = kinds
    return Stitched(objects.offset, label, ranks, table, seams)


def _cross(
    grid: TileGrid, objects: TileObjects, a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which pairs of pieces both go from one end to the other of the strip both tiles see.

    Others only poke into the strip, by a pixel or two, where their neighbour is.
    """
    windows = np.array([_ends(grid.window(i)) for i in range(len(grid))]).reshape(-1, 4)
    of_a, of_b = windows[objects.tile[a]], windows[objects.tile[b]]
    box_a, box_b = objects.boxes[a], objects.boxes[b]
    out = np.zeros(len(a), bool)
    for axis in (0, 1):
        for one, other in ((of_a, of_b), (of_b, of_a)):
            begin, end = other[:, axis] + EDGE, one[:, axis + 2] - EDGE
            crossing = one[:, axis] < other[:, axis]
            for box in (box_a, box_b):
                crossing = crossing & (box[:, axis] <= begin) & (box[:, axis + 2] >= end)
            out |= crossing
    return out


def _components(count: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not count:
        return np.zeros(0, np.int64)
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    component = connected_components(graph, directed=False)[1]
    # named after the first member
    first = np.full(count, count, np.int64)
    np.minimum.at(first, component, np.arange(count))
    named: NDArray[np.int64] = first[component]
    return named


class _Groups:
    """Objects of tiles that are one object of the image."""

    def __init__(
        self,
        objects: TileObjects,
        root: NDArray[np.int64],
        whole: NDArray[np.bool_],
        usable: NDArray[np.bool_],
    ) -> None:
        self.objects = objects
        roots, self.of = np.unique(root, return_inverse=True)
        self.count = len(roots)
        index = np.arange(len(root))
        # the owner: sees it whole, has most of it in its core, scores best, comes first
        share = objects.core_areas / np.maximum(objects.areas, 1)
        order = np.lexsort((index, -objects.scores, -share, ~whole))
        order = order[np.argsort(self.of[order], kind="stable")]
        starts = np.searchsorted(self.of[order], np.arange(self.count))
        self.owner = order[starts] if self.count else np.zeros(0, np.int64)
        self.whole = whole[self.owner]
        # with an owner that sees all of it, nobody else draws; else every piece does
        self.drawn = (index == self.owner[self.of]) | ~self.whole[self.of]
        self.usable = np.zeros(self.count, bool)
        np.logical_or.at(self.usable, self.of, usable)
        self.area = np.zeros(self.count, np.int64)
        np.add.at(self.area, self.of[self.drawn], objects.areas[self.drawn])
        self.score = objects.scores[self.owner]

    def choose(
        self, a: NDArray[np.int64], b: NDArray[np.int64], common: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.uint32]]:
        """Accept groups from the best to the worst; those mostly covered by better ones go."""
        order = np.lexsort((self.owner, -self.score, ~self.whole))
        rank = np.zeros(self.count, np.uint32)
        rank[order] = np.arange(self.count, 0, -1)
        clash = (self.of[a] != self.of[b]) & self.drawn[a] & self.drawn[b]
        g = np.concatenate([self.of[a[clash]], self.of[b[clash]]])
        h = np.concatenate([self.of[b[clash]], self.of[a[clash]]])
        n = np.concatenate([common[clash], common[clash]])
        by = np.argsort(g, kind="stable")
        g, h, n = g[by], h[by], n[by]
        starts = np.searchsorted(g, np.arange(self.count + 1))
        accepted = np.zeros(self.count, bool)
        for group in order:
            if not self.usable[group]:
                continue
            span = slice(starts[group], starts[group + 1])
            covered = n[span][accepted[h[span]]].sum()
            accepted[group] = covered <= (1 - MIN_VISIBLE) * self.area[group]
        return accepted, rank

    def table(self, grid: TileGrid, accepted: NDArray[np.bool_]) -> dict[str, NDArray]:
        objects = self.objects
        low = np.full((self.count, 2), np.iinfo(np.int64).max)
        high = np.zeros((self.count, 2), np.int64)
        members = self.drawn
        np.minimum.at(low, self.of[members], objects.boxes[members, :2])
        np.maximum.at(high, self.of[members], objects.boxes[members, 2:])
        tiles = np.bincount(self.of, minlength=self.count)
        owner = self.owner[accepted]
        per_plane = grid.counts[0] * grid.counts[1]
        columns = {
            "label": np.arange(1, accepted.sum() + 1, dtype=np.uint32),
            "plane": objects.tile[owner] // max(per_plane, 1),
            "area": self.area[accepted],
            "predicted_iou": objects.scores[owner],
            "stability_score": objects.stability[owner],
        }
        for i, name in enumerate(("row_min", "col_min")):
            columns[name] = low[accepted, i]
        for i, name in enumerate(("row_max", "col_max")):
            columns[name] = high[accepted, i]
        columns["tiles"] = tiles[accepted]
        columns["pieces"] = np.bincount(self.of[self.drawn], minlength=self.count)[accepted]
        return columns


def _seams(
    grid: TileGrid,
    objects: TileObjects,
    groups: _Groups,
    accepted: NDArray[np.bool_],
    numbers: NDArray[np.uint32],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    iou: NDArray[np.floating],
    common: NDArray[np.int64],
    in_a: NDArray[np.int64],
    in_b: NDArray[np.int64],
) -> dict[str, NDArray]:
    """List where tiles had to agree: what was merged, was ambiguous, or stays cut."""
    rows: list[tuple[str, int, int, int, float, tuple[int, ...]]] = []
    per_plane = max(grid.counts[0] * grid.counts[1], 1)
    sizes = np.bincount(groups.of, minlength=groups.count)
    sides = _open_sides(grid, objects, groups)
    disputed: dict[tuple[int, int], float] = {}
    overlap = common / np.maximum(np.minimum(in_a, in_b), 1)
    clash = (groups.of[a] != groups.of[b]) & (overlap >= CONFLICT)
    for i in np.flatnonzero(clash):
        g, h = sorted((int(groups.of[a[i]]), int(groups.of[b[i]])))
        if not (accepted[g] or accepted[h]) or not (groups.usable[g] and groups.usable[h]):
            continue
        loser = g if not accepted[g] else h
        if groups.whole[g] != groups.whole[h] and not (accepted[loser] or groups.whole[loser]):
            continue  # one tile sees it whole, the other a part of it: no question
        disputed[g, h] = max(disputed.get((g, h), 0.0), float(iou[i]))
    box = _boxes(objects, groups)
    for (g, h), value in sorted(disputed.items()):
        around = (*np.minimum(box[g, :2], box[h, :2]), *np.maximum(box[g, 2:], box[h, 2:]))
        plane = int(objects.tile[groups.owner[g]]) // per_plane
        rows.append(
            ("ambiguous", plane, int(numbers[g]), int(numbers[h]), value, tuple(map(int, around)))
        )
    weakest = np.ones(groups.count)
    matched = groups.of[a] == groups.of[b]
    np.minimum.at(weakest, groups.of[a[matched]], iou[matched])
    crosses = (sizes > 1) & (objects.core_areas[groups.owner] < groups.area)
    for g in np.flatnonzero(accepted & crosses).tolist():
        plane = int(objects.tile[groups.owner[g]]) // per_plane
        rows.append(
            ("merged", plane, int(numbers[g]), 0, float(weakest[g]), tuple(map(int, box[g])))
        )
    for g in np.flatnonzero(accepted & sides).tolist():
        plane = int(objects.tile[groups.owner[g]]) // per_plane
        rows.append(("cut", plane, int(numbers[g]), 0, 0.0, tuple(map(int, box[g]))))
    return {
        "seam": np.arange(1, len(rows) + 1, dtype=np.uint32),
        "kind": np.array([row[0] for row in rows], dtype="U9"),
        "plane": np.array([row[1] for row in rows], np.int64),
        "labels": np.array([row[2:4] for row in rows], np.uint32).reshape(-1, 2),
        "iou": np.array([row[4] for row in rows], np.float32),
        "box": np.array([row[5] for row in rows], np.int64).reshape(-1, 4),
    }


def _boxes(objects: TileObjects, groups: _Groups) -> NDArray[np.int64]:
    box = np.empty((groups.count, 4), np.int64)
    box[:, :2] = np.iinfo(np.int64).max
    box[:, 2:] = 0
    np.minimum.at(box[:, :2], groups.of, objects.boxes[:, :2])
    np.maximum.at(box[:, 2:], groups.of, objects.boxes[:, 2:])
    return box


def _open_sides(grid: TileGrid, objects: TileObjects, groups: _Groups) -> NDArray[np.bool_]:
    """Which groups reach a window's edge, and no tile that sees beyond it sees them there."""
    cut = np.zeros(groups.count, bool)
    order = np.argsort(groups.of, kind="stable")
    starts = np.searchsorted(groups.of[order], np.arange(groups.count + 1))
    for i in np.flatnonzero((objects.touches > 0) & groups.drawn):
        g = groups.of[i]
        if groups.whole[g] or cut[g]:
            continue
        ends = _ends(grid.window(int(objects.tile[i])))
        members = order[starts[g] : starts[g + 1]]
        seen = [False] * 4
        for j in members[members != i]:
            reach, box = _ends(grid.window(int(objects.tile[j]))), objects.boxes[j]
            seen[0] |= reach[0] < ends[0] and box[0] <= ends[0] + EDGE
            seen[1] |= reach[1] < ends[1] and box[1] <= ends[1] + EDGE
            seen[2] |= reach[2] > ends[2] and box[2] >= ends[2] - EDGE
            seen[3] |= reach[3] > ends[3] and box[3] >= ends[3] - EDGE
        cut[g] = any(objects.touches[i] >> side & 1 and not seen[side] for side in range(4))
    return cut


def _ends(window: Window) -> tuple[int, int, int, int]:
    """First row and column, last row and column."""
    return (
        window.row,
        window.col,
        window.row + window.height - 1,
        window.col + window.width - 1,
    )
