"""From objects of single frames to tracks: assignment from frame to frame, gaps, divisions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from .plane_objects import Overlaps, PlaneObjects, StackObjects

LINK_THRESH = 0.1
_MEMORY = 6
_SYMMETRY = 0.5
_SUM = (0.6, 1.8)
_APART = 2.5
_SHRUNK = 0.85


def track_planes(
    measured: StackObjects,
    *,
    link_thresh: float = LINK_THRESH,
    max_distance: float | None = None,
    max_gap: int = 1,
    divisions: bool = True,
) -> tuple[list[NDArray[np.int64]], dict[int, int], float]:
    """Follow objects from frame to frame.

    Objects of neighbouring frames are assigned to each other at the least total cost, made of
    distance (after subtracting their common motion), overlap and change of area (after Jaqaman et
    al. 2008). Tracks that begin beside one that ends, or that loses much of its area, are its
    daughters if there are two of similar size on opposite sides of it. The rest is joined over
    gaps.

    Parameters
    ----------
    measured : StackObjects
        Of the time-lapse, with a reach of `max_gap` + 1.
    link_thresh : float
        Objects that overlap by at least this IoU may be linked whatever their distance.
    max_distance : float, optional
        Pixels an object may move in a frame; by default three times what most objects move, and
        between three quarters of a typical diameter and two of them.
    max_gap : int
        Frames in between that an object may be missing from.
    divisions : bool
        Look for them.

    Returns
    -------
    list of int64 array
        For each frame the track of each of its objects, from 1.
    dict of int to int
        For each track that came from a division the one that divided.
    float
        Pixels an object was allowed to move in a frame.
    """
    frames = measured.planes
    drift = [_drift(a, b) for a, b in pairwise(frames)]
    if max_distance is None:
        max_distance = _typical_distance(frames, drift)
    after: list[NDArray[np.int64]] = [np.full(len(seen), -1, np.int64) for seen in frames]
    for t in range(len(frames) - 1):
        rows, cols = _assign(
            *_costs(
                frames[t], frames[t + 1], measured.overlaps[t, t + 1],
                drift[t], max_distance, link_thresh,
            ),
            len(frames[t]), len(frames[t + 1]),
        )  # fmt: skip
        after[t][rows] = cols
    paths = _paths(frames, after)
    parents: dict[int, int] = {}
    if divisions:
        paths, parents = _divide(frames, paths, drift, max_distance)
    paths, parents = _close_gaps(
        measured, paths, parents, drift, max_distance, link_thresh, max_gap
    )
    order = sorted(range(len(paths)), key=lambda i: paths[i][0])
    rank = {old: new for new, old in enumerate(order, start=1)}
    numbers = [np.zeros(len(seen), np.int64) for seen in frames]
    for index, path in enumerate(paths):
        for t, place in path:
            numbers[t][place] = rank[index]
    graph = {rank[child]: rank[parent] for child, parent in parents.items()}
    return numbers, dict(sorted(graph.items())), float(max_distance)


Track = list[tuple[int, int]]
"""(frame, place in the frame) of the objects of a track."""


def _drift(a: PlaneObjects, b: PlaneObjects) -> NDArray[np.float64]:
    """What all objects move in common: median over pairs that are each other's nearest."""
    rows, cols = _mutual(a, b)
    if len(rows) < 3:
        return np.zeros(2)
    moved: NDArray[np.float64] = np.median(b.centroids[cols] - a.centroids[rows], axis=0)
    return moved


def _mutual(
    a: PlaneObjects, b: PlaneObjects, drift: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not len(a) or not len(b):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    start = a.centroids if drift is None else a.centroids + drift
    _, forth = cKDTree(b.centroids).query(start)
    _, back = cKDTree(start).query(b.centroids)
    rows = np.flatnonzero(back[forth] == np.arange(len(a)))
    return rows, np.asarray(forth[rows], np.int64)


def _typical_distance(frames: list[PlaneObjects], drift: list[NDArray[np.float64]]) -> float:
    areas = [seen.areas for seen in frames if len(seen)]
    if not areas:
        return 1.0
    diameter = 2 * float(np.sqrt(np.median(np.concatenate(areas)) / np.pi))
    moved = []
    for a, b, common in zip(frames, frames[1:], drift, strict=False):
        rows, cols = _mutual(a, b, common)
        moved.append(np.linalg.norm(b.centroids[cols] - a.centroids[rows] - common, axis=1))
    steps = np.concatenate(moved) if moved else np.zeros(0)
    far = 3 * float(np.quantile(steps, 0.9)) if len(steps) else diameter
    return float(np.clip(far, 0.75 * diameter, 2 * diameter))


def _costs(
    a: PlaneObjects,
    b: PlaneObjects,
    shared: Overlaps,
    drift: NDArray[np.float64],
    reach: float,
    link_thresh: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs that may be linked, and by how much that is better than not linking them."""
    if not len(a) or not len(b):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    start = a.centroids + drift
    near = cKDTree(start).sparse_distance_matrix(cKDTree(b.centroids), reach, output_type="ndarray")
    overlap = {}
    for first, second, pixels in zip(shared.first, shared.second, shared.pixels, strict=True):
        union = a.areas[first] + b.areas[second] - pixels
        overlap[int(first), int(second)] = float(pixels / union)
    pairs = {(int(i), int(j)) for i, j in zip(near["i"], near["j"], strict=True)}
    pairs |= {pair for pair, iou in overlap.items() if iou >= link_thresh}
    if not pairs:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    rows, cols = (np.array(side, np.int64) for side in zip(*sorted(pairs), strict=True))
    distance = np.linalg.norm(b.centroids[cols] - start[rows], axis=1) / reach
    iou = np.array([overlap.get((int(i), int(j)), 0.0) for i, j in zip(rows, cols, strict=True)])
    change = np.abs(np.log(b.areas[cols] / a.areas[rows]))
    cost = np.minimum(distance, 1.5) ** 2 + (1 - iou) + 0.5 * np.minimum(change, 2.0)
    gain = 3.0 - cost
    keep = gain > 0
    return rows[keep], cols[keep], gain[keep]


def _assign(
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    gain: NDArray[np.float64],
    n: int,
    m: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One-to-one pairs with the largest total gain; solved for each group that hangs together."""
    if not len(rows):
        return rows, cols
    graph = coo_matrix((np.ones(len(rows)), (rows, cols + n)), shape=(n + m, n + m))
    _, group = connected_components(graph, directed=False)
    order = np.argsort(group[rows], kind="stable")
    ends = np.flatnonzero(np.diff(group[rows][order])) + 1
    first, second = [], []
    for which in np.split(order, ends):
        r, i = np.unique(rows[which], return_inverse=True)
        c, j = np.unique(cols[which], return_inverse=True)
        table = np.zeros((len(r), len(c)))
        table[i, j] = gain[which]
        x, y = linear_sum_assignment(table, maximize=True)
        real = table[x, y] > 0
        first.append(r[x[real]])
        second.append(c[y[real]])
    return np.concatenate(first), np.concatenate(second)


def _paths(frames: list[PlaneObjects], after: list[NDArray[np.int64]]) -> list[Track]:
    begun = [np.zeros(len(seen), bool) for seen in frames]
    paths = []
    for t, seen in enumerate(frames):
        for place in range(len(seen)):
            if begun[t][place]:
                continue
            path, u, at = [], t, place
            while True:
                begun[u][at] = True
                path.append((u, at))
                follower = int(after[u][at]) if u + 1 < len(frames) else -1
                if follower < 0:
                    break
                u, at = u + 1, follower
            paths.append(path)
    return paths


def _divide(
    frames: list[PlaneObjects],
    paths: list[Track],
    drift: list[NDArray[np.float64]],
    reach: float,
) -> tuple[list[Track], dict[int, int]]:
    """Cut tracks where they divide; give each daughter its parent."""
    owner = {step: index for index, path in enumerate(paths) for step in path}
    starts: dict[int, list[int]] = {}
    for index, path in enumerate(paths):
        if path[0][0]:
            starts.setdefault(path[0][0], []).append(index)
    found = []
    for t, new in starts.items():
        mothers = frames[t - 1]
        if not len(mothers):
            continue
        tree = cKDTree(mothers.centroids + drift[t - 1])
        fresh = {paths[index][0][1] for index in new}
        for index in new:
            place = paths[index][0][1]
            radius = _APART * float(np.sqrt(frames[t].areas[place] / np.pi)) + reach
            for mother in tree.query_ball_point(frames[t].centroids[place], radius):
                track = paths[owner[t - 1, mother]]
                at = track.index((t - 1, mother))
                if at + 1 < len(track):
                    if track[at + 1][0] != t:
                        continue
                    siblings = [track[at + 1][1]]
                else:
                    siblings = [other for other in fresh if other > place]
                for sibling in siblings:
                    cost = _division_cost(
                        frames, track[: at + 1], (place, sibling), t, drift[t - 1],
                        at + 1 < len(track),
                    )  # fmt: skip
                    if cost is not None:
                        found.append((cost, t, mother, place, sibling))
    taken: set[tuple[int, int]] = set()
    cuts: dict[int, list[tuple[int, int, int, int]]] = {}
    for _, t, mother, first, second in sorted(found):
        # a daughter may divide again, but not be another's daughter too
        marks = {(t, first), (t, second), (-t, mother)}
        if taken & marks:
            continue
        taken |= marks
        cuts.setdefault(owner[t - 1, mother], []).append((t, mother, first, second))
    pieces: list[Track] = []
    for index, path in enumerate(paths):
        begin = 0
        for t, *_ in sorted(cuts.get(index, [])):
            end = next((i for i, step in enumerate(path) if step[0] >= t), len(path))
            if begin < end:
                pieces.append(path[begin:end])
            begin = end
        if begin < len(path):
            pieces.append(path[begin:])
    where = {step: number for number, path in enumerate(pieces) for step in path}
    parents = {}
    for divisions in cuts.values():
        for t, mother, first, second in divisions:
            for daughter in (first, second):
                parents[where[t, daughter]] = where[t - 1, mother]
    return pieces, parents


def _division_cost(
    frames: list[PlaneObjects],
    track: Track,
    daughters: tuple[int, int],
    t: int,
    drift: NDArray[np.float64],
    goes_on: bool,
) -> float | None:
    """How little this looks like a division; None if it is none.

    A cell that divides rounds up and shrinks before: its size is that of some frames ago.
    """
    area = float(np.median([frames[u].areas[place] for u, place in track[-_MEMORY:]]))
    u, place = track[-1]
    centre = frames[u].centroids[place] + drift
    sizes = frames[t].areas[list(daughters)].astype(float)
    places = frames[t].centroids[list(daughters)]
    radius = float(np.sqrt(area / np.pi))
    symmetry = sizes.min() / sizes.max()
    total = sizes.sum() / area
    middle = float(np.linalg.norm((places * sizes[:, None]).sum(0) / sizes.sum() - centre))
    apart = float(np.linalg.norm(places - centre, axis=1).max())
    if symmetry < _SYMMETRY or not _SUM[0] <= total <= _SUM[1]:
        return None
    if middle > radius or apart > _APART * radius:
        return None
    if goes_on and sizes[1] > _SHRUNK * area:
        return None
    opposite = (places[0] - centre) @ (places[1] - centre)
    if opposite > 0 and middle > 0.5 * radius:
        return None
    return float(abs(np.log(total)) + 0.5 * abs(np.log(symmetry)) + middle / radius)


def _close_gaps(
    measured: StackObjects,
    paths: list[Track],
    parents: dict[int, int],
    drift: list[NDArray[np.float64]],
    reach: float,
    link_thresh: float,
    max_gap: int,
) -> tuple[list[Track], dict[int, int]]:
    """Join tracks that end and begin again within `max_gap` frames."""
    frames = measured.planes
    divided = set(parents.values())
    ends = [i for i, path in enumerate(paths) if i not in divided and path[-1][0] < len(frames) - 1]
    starts = [i for i, path in enumerate(paths) if i not in parents and path[0][0] > 0]
    ends_in: dict[int, dict[int, int]] = {}
    starts_in: dict[int, dict[int, int]] = {}
    for row, index in enumerate(ends):
        frame, place = paths[index][-1]
        ends_in.setdefault(frame, {})[place] = row
    for column, index in enumerate(starts):
        frame, place = paths[index][0]
        starts_in.setdefault(frame, {})[place] = column
    rows, cols, gains = [], [], []
    for u, here in ends_in.items():
        for missing in range(1, max_gap + 1):
            t = u + missing + 1
            there = starts_in.get(t)
            if not there:
                continue
            found = _costs(
                frames[u], frames[t], measured.overlaps[u, t], np.sum(drift[u:t], axis=0),
                reach * float(np.sqrt(missing + 1)), link_thresh,
            )  # fmt: skip
            for i, j, gain in zip(*(side.tolist() for side in found), strict=True):
                if i in here and j in there and gain > 0.5 * missing:
                    rows.append(here[i])
                    cols.append(there[j])
                    gains.append(gain - 0.5 * missing)
    if not rows:
        return paths, parents
    first, second = _assign(np.array(rows), np.array(cols), np.array(gains), len(ends), len(starts))
    follower = {ends[i]: starts[j] for i, j in zip(first, second, strict=True)}
    heads = [i for i in range(len(paths)) if i not in set(follower.values())]
    joined: list[Track] = []
    renamed: dict[int, int] = {}
    for head in heads:
        whole, index = list(paths[head]), head
        renamed[head] = len(joined)
        while index in follower:
            index = follower[index]
            renamed[index] = len(joined)
            whole += paths[index]
        joined.append(whole)
    return joined, {renamed[c]: renamed[p] for c, p in parents.items()}
