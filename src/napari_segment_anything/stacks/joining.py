"""Join the label planes of a stack: by overlap, or as tracks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, ParameterError
from .linking import LINK_THRESH, check_linking, link_planes
from .plane_objects import StackObjects
from .relabel import relabel
from .result import StackResult, Tracks
from .tracking import LINK_THRESH as TRACK_THRESH
from .tracking import check_tracking, track_planes

LINKS = ("overlap", "track")


@dataclass(frozen=True, slots=True)
class Joining:
    """How planes are joined; values left at None are settled by `link`.

    Parameters
    ----------
    link : {"overlap", "track"}
    link_thresh : float, optional
    max_gap : int
    min_extent : int, optional
    anisotropy : float, optional
    max_distance : float, optional
        Tracking only.
    divisions : bool
        Tracking only.
    fill_gaps : bool, optional
        By default with "overlap" only.

    Raises
    ------
    ParameterError
        If a value is out of range, or has no effect.
    """

    link: str = "overlap"
    link_thresh: float | None = None
    max_gap: int = 1
    min_extent: int | None = None
    anisotropy: float | None = None
    max_distance: float | None = None
    divisions: bool | None = None
    fill_gaps: bool | None = None

    def __post_init__(self) -> None:
        if self.link not in LINKS:
            raise ParameterError(f"link is 'overlap' or 'track', not {self.link!r}")
        if self.link == "overlap":
            for name in ("max_distance", "divisions"):
                if getattr(self, name) is not None:
                    raise ParameterError(f"{name} is for link='track' only")
        elif self.anisotropy is not None:
            raise ParameterError("anisotropy is for link='overlap' only: frames have no distance")
        check_linking(self.thresh, self.max_gap, self.least, self.anisotropy)
        check_tracking(self.max_distance)

    @property
    def thresh(self) -> float:
        """Overlap threshold in use."""
        if self.link_thresh is not None:
            return self.link_thresh
        return LINK_THRESH if self.link == "overlap" else TRACK_THRESH

    @property
    def least(self) -> int:
        """Minimum extent in use: two planes of a volume, any number of frames."""
        if self.min_extent is not None:
            return self.min_extent
        return 2 if self.link == "overlap" else 1

    @property
    def fills(self) -> bool:
        """Whether gaps are filled."""
        return self.link == "overlap" if self.fill_gaps is None else self.fill_gaps


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Numbers of the objects of one stack.

    Parameters
    ----------
    numbers : list of int64 array
        For each plane the final number of each of its objects, from 1; 0 for those dropped.
    parents : dict of int to int
    max_distance : float
        NaN but for tracking.
    """

    numbers: list[NDArray[np.int64]]
    parents: dict[int, int]
    max_distance: float = float("nan")

    @property
    def count(self) -> int:
        """The largest number."""
        return max((int(n.max()) for n in self.numbers if len(n)), default=0)

    def table(self, measured: StackObjects) -> dict[str, NDArray[Any]]:
        """Columns as in `StackResult.table`, without stack."""
        planes = np.repeat(np.arange(len(self.numbers)), [len(n) for n in self.numbers])
        number = np.concatenate([*self.numbers, np.zeros(0, np.int64)])
        area = np.concatenate([*(s.areas for s in measured.planes), np.zeros(0, np.int64)])
        score = np.concatenate([*(s.scores for s in measured.planes), np.zeros(0)])
        keep = number > 0
        planes, number, area, score = planes[keep], number[keep], area[keep], score[keep]
        count = self.count
        first = np.full(count + 1, len(self.numbers), np.int64)
        last = np.full(count + 1, -1, np.int64)
        np.minimum.at(first, number, planes)
        np.maximum.at(last, number, planes)
        seen = np.bincount(number, minlength=count + 1)
        areas = np.bincount(number, area, minlength=count + 1)
        known = np.isfinite(score)
        weights = np.bincount(number[known], area[known], minlength=count + 1)
        sums = np.bincount(number[known], (area * score)[known], minlength=count + 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums / weights
        label = np.arange(1, count + 1)
        return {
            "label": label,
            "first": first[1:],
            "last": last[1:],
            "extent": (last - first + 1)[1:],
            "planes": seen[1:],
            "area": areas[1:].astype(np.int64),
            "score": means[1:],
            "parent": np.array([self.parents.get(int(i), 0) for i in label], np.int64),
        }


def join_stack(measured: StackObjects, joining: Joining, anisotropy: float | None) -> Joined:
    """Give the objects of a stack their numbers.

    Parameters
    ----------
    measured : StackObjects
        With a reach of `joining.max_gap` + 1.
    joining : Joining
    anisotropy : float, optional
        What the image says, where `joining` has none.
    """
    if joining.link == "overlap":
        known = anisotropy if joining.anisotropy is None else joining.anisotropy
        numbers = link_planes(
            measured, link_thresh=joining.thresh, max_gap=joining.max_gap, anisotropy=known
        )
        return _long_enough(Joined(numbers, {}), joining.least)
    lineage = track_planes(
        measured,
        link_thresh=joining.thresh,
        max_distance=joining.max_distance,
        max_gap=joining.max_gap,
        divisions=joining.divisions is not False,
    )
    return _long_enough(
        Joined(lineage.numbers, lineage.parents, lineage.max_distance), joining.least
    )


def _long_enough(joined: Joined, least: int) -> Joined:
    """Drop what is on fewer planes, unless it is part of a lineage; number the rest anew."""
    count = joined.count
    least = min(least, len(joined.numbers))
    first = np.full(count + 1, len(joined.numbers), np.int64)
    last = np.full(count + 1, -1, np.int64)
    for plane, numbers in enumerate(joined.numbers):
        first[numbers] = np.minimum(first[numbers], plane)
        last[numbers] = np.maximum(last[numbers], plane)
    keep = last - first + 1 >= least
    related = {*joined.parents, *joined.parents.values()}
    keep[list(related)] = True
    keep[0] = False
    rank = np.where(keep, np.cumsum(keep), 0)
    parents = {int(rank[c]): int(rank[p]) for c, p in joined.parents.items()}
    return Joined([rank[numbers] for numbers in joined.numbers], parents, joined.max_distance)


def tracks_of(
    measured: Sequence[tuple[StackObjects, Joined, int]],
    position: Callable[[int, int, NDArray[np.float64]], NDArray[np.float64]],
    labels: Any,
    rows: Mapping[str, NDArray[Any]],
) -> Tracks:
    """Make the tracks of one or several stacks.

    Parameters
    ----------
    measured : sequence of (StackObjects, Joined, int)
        Each stack, its numbers, and what is added to them.
    position : callable
        From stack, plane and centroids (n, 2) to positions in the labels.
    labels : array
    rows : mapping of str to array
        The table.
    """
    data, area, score, label = [], [], [], []
    graph: dict[int, list[int]] = {}
    for stack, (seen, joined, offset) in enumerate(measured):
        for plane, numbers in enumerate(joined.numbers):
            objects = seen.planes[plane]
            kept = numbers > 0
            places = position(stack, plane, objects.centroids[kept])
            data.append(np.column_stack([numbers[kept] + offset, places]))
            area.append(objects.areas[kept])
            score.append(objects.scores[kept])
            label.append(objects.ids[kept])
        graph |= {c + offset: [p + offset] for c, p in joined.parents.items()}
    table = np.concatenate(data).astype(np.float64)
    order = np.lexsort((*table.T[1:][::-1], table[:, 0]))
    ids = table[order, 0].astype(np.int64)
    return Tracks(
        table[order],
        graph,
        {
            "area": np.concatenate(area)[order],
            "score": np.concatenate(score)[order],
            "label": np.concatenate(label)[order],
            "parent": np.array([graph.get(int(i), [0])[0] for i in ids], np.int64),
        },
        max((j.max_distance for _, j, _ in measured), default=float("nan")),
        labels,
        rows,
    )


def link(
    label_planes: Iterable[Any],
    *,
    link_thresh: float | None = None,
    max_gap: int = 1,
    min_extent: int | None = None,
    anisotropy: float | None = None,
    fill_gaps: bool = True,
    scores: Sequence[Mapping[int, float]] | None = None,
) -> StackResult:
    """Give objects of label planes that overlap one id: 2-D segmentations to a volume.

    Parameters
    ----------
    label_planes : array (planes, rows, columns), or iterable of arrays (rows, columns)
        Integers; 0 is background. Ids of different planes have nothing to do with each other.
    link_thresh : float, optional
        Least overlap (IoU), relative to that of two sections of a ball of this size at this
        distance; 0.3 by default.
    max_gap : int
        Planes in between that an object may be missing from.
    min_extent : int, optional
        Objects on fewer planes, from first to last, are dropped; 2 by default.
    anisotropy : float, optional
        Distance of two planes in pixels of a plane; 1 by default.
    fill_gaps : bool
        Draw objects on planes in between.
    scores : sequence of mapping, optional
        For each plane the score of each label.

    Returns
    -------
    StackResult
        With labels in memory.

    Raises
    ------
    ImageError, ParameterError
        If planes or options cannot be used.
    """
    joining = Joining("overlap", link_thresh, max_gap, min_extent, anisotropy, fill_gaps=fill_gaps)
    labels, table, *_ = _join(label_planes, joining, scores)
    return StackResult(labels, table)


def track(
    label_planes: Iterable[Any],
    *,
    link_thresh: float | None = None,
    max_distance: float | None = None,
    max_gap: int = 1,
    min_extent: int | None = None,
    divisions: bool = True,
    fill_gaps: bool = False,
    scores: Sequence[Mapping[int, float]] | None = None,
) -> Tracks:
    """Follow objects of label planes in time, with divisions.

    Parameters
    ----------
    label_planes : array (frames, rows, columns), or iterable of arrays (rows, columns)
        Integers; 0 is background. Ids of different frames have nothing to do with each other.
    link_thresh : float, optional
        Objects that overlap by at least this IoU may be linked whatever their distance; 0.1 by
        default.
    max_distance : float, optional
        Pixels an object may move in a frame; by default found from the data.
    max_gap : int
        Frames in between that an object may be missing from.
    min_extent : int, optional
        Tracks over fewer frames are dropped, unless they divide or come from a division; 1 by
        default.
    divisions : bool
        Look for them.
    fill_gaps : bool
        Draw objects on frames in between.
    scores : sequence of mapping, optional
        For each frame the score of each label.

    Returns
    -------
    Tracks
        For napari's Tracks layer; `labels` (in memory) are for a Labels layer.

    Raises
    ------
    ImageError, ParameterError
        If frames or options cannot be used.
    """
    joining = Joining(
        "track", link_thresh, max_gap, min_extent, None, max_distance, divisions, fill_gaps
    )
    labels, table, measured, joined = _join(label_planes, joining, scores)

    def position(_: int, frame: int, places: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([np.full(len(places), frame), places])

    return tracks_of([(measured, joined, 0)], position, labels, table)


def _join(
    label_planes: Iterable[Any],
    joining: Joining,
    scores: Sequence[Mapping[int, float]] | None,
) -> tuple[NDArray[np.uint32], dict[str, NDArray[Any]], StackObjects, Joined]:
    measured = StackObjects(joining.max_gap + 1)
    planes = []
    for number, plane in enumerate(label_planes):
        array = np.asarray(plane)
        measured.add(array, None if scores is None else scores[number])
        planes.append(array)
    if not planes:
        raise ImageError("there are no label planes")
    joined = join_stack(measured, joining, None)
    labels = np.zeros((len(planes), *planes[0].shape), np.uint32)

    def write(plane: int, final: NDArray[np.uint32]) -> None:
        labels[plane] = final

    for _ in relabel(measured, joined, lambda plane: planes[plane], write, joining.fills):
        pass
    table = joined.table(measured)
    table["stack"] = np.zeros(len(table["label"]), np.int64)
    return labels, table, measured, joined
