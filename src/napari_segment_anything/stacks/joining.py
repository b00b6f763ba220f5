"""Join the label planes of a stack: by overlap, or as tracks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, ParameterError
from ..parameters import LINKING, check_values
from ..progress import Progress, finish
from .linking import LINK_THRESH, link_planes
from .plane_objects import StackObjects
from .relabel import relabel
from .result import StackResult, Tracks
from .tracking import LINK_THRESH as TRACK_THRESH
from .tracking import track_planes


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
        given = asdict(self)
        check_values(LINKING, given)
        for name, parameter in LINKING.items():
            if given[name] is not None and not parameter.acts_in(self.link):
                raise ParameterError(f"{name} is for link='{parameter.modes[0]}' only")

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

    def table(self, measured: StackObjects, stack: int, offset: int) -> dict[str, NDArray[Any]]:
        """Return the columns of `StackResult.table`.

        Parameters
        ----------
        measured : StackObjects
        stack : int
            Which of several stacks this is.
        offset : int
            Added to every number.
        """
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
        parents = np.array([self.parents.get(i, 0) for i in range(1, count + 1)], np.int64)
        return {
            "label": np.arange(1, count + 1) + offset,
            "first": first[1:],
            "last": last[1:],
            "extent": (last - first + 1)[1:],
            "planes": seen[1:],
            "area": areas[1:].astype(np.int64),
            "score": means[1:],
            "parent": np.where(parents > 0, parents + offset, 0),
            "stack": np.full(count, stack, np.int64),
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


def join_stacks(
    stacks: Sequence[StackObjects],
    joining: Joining,
    anisotropy: float | None,
    read: Callable[[int, int], NDArray[np.integer]],
    write: Callable[[int, int, NDArray[np.uint32]], object],
) -> Generator[Progress, None, tuple[dict[str, NDArray[Any]], list[Joined]]]:
    """Number the objects of stacks, each stack by itself, and write their labels.

    Parameters
    ----------
    stacks : sequence of StackObjects
        With a reach of `joining.max_gap` + 1.
    joining : Joining
    anisotropy : float, optional
        What the image says, where `joining` has none.
    read : callable
        From stack and plane to its labels, with their own ids.
    write : callable
        Takes stack, plane and its final labels.

    Yields
    ------
    Progress
        After each plane; `partial` is (stack, plane).

    Returns
    -------
    dict of str to array
        Columns as in `StackResult.table`.
    list of Joined
        Numbers of each stack, counted from 1.
    """
    tables: list[dict[str, NDArray[Any]]] = []
    joined: list[Joined] = []
    done, total, offset = 0, sum(len(seen.planes) for seen in stacks), 0
    for stack, seen in enumerate(stacks):
        found = join_stack(seen, joining, anisotropy)
        planes = relabel(
            seen, found, partial(read, stack), partial(write, stack), joining.fills, offset
        )
        for plane in planes:
            done += 1
            yield Progress(done, total, (stack, plane), "linking")
        tables.append(found.table(seen, stack, offset))
        joined.append(found)
        offset += found.count
    return {name: np.concatenate([each[name] for each in tables]) for name in tables[0]}, joined


def tracks_of(
    stacks: Sequence[StackObjects],
    joined: Sequence[Joined],
    position: Callable[[int, int, NDArray[np.float64]], NDArray[np.float64]],
    labels: Any,
    rows: Mapping[str, NDArray[Any]],
) -> Tracks:
    """Make the tracks of one or several stacks.

    Parameters
    ----------
    stacks : sequence of StackObjects
    joined : sequence of Joined
        Numbers of each stack.
    position : callable
        From stack, plane and centroids (n, 2) to positions in the labels.
    labels : array
    rows : mapping of str to array
        The table.
    """
    data, area, score, label = [], [], [], []
    graph: dict[int, list[int]] = {}
    offset = 0
    for stack, (seen, found) in enumerate(zip(stacks, joined, strict=True)):
        for plane, numbers in enumerate(found.numbers):
            objects = seen.planes[plane]
            kept = numbers > 0
            places = position(stack, plane, objects.centroids[kept])
            data.append(np.column_stack([numbers[kept] + offset, places]))
            area.append(objects.areas[kept])
            score.append(objects.scores[kept])
            label.append(objects.ids[kept])
        graph |= {c + offset: [p + offset] for c, p in found.parents.items()}
        offset += found.count
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
        max((found.max_distance for found in joined), default=float("nan")),
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

    return tracks_of([measured], joined, position, labels, table)


def _join(
    label_planes: Iterable[Any],
    joining: Joining,
    scores: Sequence[Mapping[int, float]] | None,
) -> tuple[NDArray[np.uint32], dict[str, NDArray[Any]], StackObjects, list[Joined]]:
    """Join label planes in memory."""
    measured = StackObjects(joining.max_gap + 1)
    planes = [np.asarray(plane) for plane in label_planes]
    for number, plane in enumerate(planes):
        measured.add(plane, None if scores is None else scores[number])
    if not planes:
        raise ImageError("there are no label planes")
    labels = np.zeros((len(planes), *planes[0].shape), np.uint32)
    steps = join_stacks(
        [measured], joining, None, lambda _, plane: planes[plane],
        lambda _, plane, final: np.copyto(labels[plane], final),
    )  # fmt: skip
    table, joined = finish(steps)
    return labels, table, measured, joined
