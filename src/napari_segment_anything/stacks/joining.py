"""Join the label planes of a stack: by overlap, or as tracks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from ..parameters import LINKING, check_values
from ..progress import Progress
from .linking import LINK_THRESH, link_planes
from .plane_objects import StackObjects
from .relabel import relabel
from .result import Tracks
from .tracking import LINK_THRESH as TRACK_THRESH
from .tracking import track_planes


@dataclass(frozen=True, slots=True)
class Joining:
    """How planes are joined; the defaults of values left at None depend on `link`.

    Parameters
    ----------
    link : {"3d", "overlap", "track"}
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
            if given[name] != parameter.default and not parameter.acts_in(self.link):
                modes = " or ".join(f"'{mode}'" for mode in parameter.modes)
                raise ParameterError(f"{name} is for link={modes} only")

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
        return 1 if self.link == "track" else 2

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

    def extents(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first and last plane of each number, from 0."""
        first = np.full(self.count + 1, len(self.numbers), np.int64)
        last = np.full(self.count + 1, -1, np.int64)
        for plane, numbers in enumerate(self.numbers):
            first[numbers] = np.minimum(first[numbers], plane)
            last[numbers] = np.maximum(last[numbers], plane)
        return first, last

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
        count = self.count
        first, last = (ends[1:] for ends in self.extents())
        number = np.concatenate([*self.numbers, np.zeros(0, np.int64)])
        area = np.concatenate([*(s.areas for s in measured.planes), np.zeros(0, np.int64)])
        score = np.concatenate([*(s.scores for s in measured.planes), np.zeros(0)])

        def per_number(which: NDArray[np.bool_], weights: NDArray[Any]) -> NDArray[Any]:
            return np.bincount(number[which], weights[which], minlength=count + 1)[1:]

        known, every = np.isfinite(score), np.ones(len(number), bool)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = per_number(known, area * score) / per_number(known, area)
        parents = np.array([self.parents.get(i, 0) for i in range(1, count + 1)], np.int64)
        return {
            "label": np.arange(1, count + 1) + offset,
            "first": first,
            "last": last,
            "extent": last - first + 1,
            "planes": per_number(every, np.ones(len(number))).astype(np.int64),
            "area": per_number(every, area).astype(np.int64),
            "score": means,
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
        That of the image, where `joining` has none.
    """
    if joining.link == "3d":  # sections of an object have one id already
        return _long_enough(Joined(_in_order(measured), {}), joining.least)
    if joining.link == "overlap":
        known = anisotropy if joining.anisotropy is None else joining.anisotropy
        numbers = link_planes(
            measured, link_thresh=joining.thresh, max_gap=joining.max_gap, anisotropy=known
        )
        return _long_enough(Joined(numbers, {}), joining.least)
    found = track_planes(
        measured,
        link_thresh=joining.thresh,
        max_distance=joining.max_distance,
        max_gap=joining.max_gap,
        divisions=joining.divisions is not False,
    )
    return _long_enough(Joined(*found), joining.least)


def _in_order(measured: StackObjects) -> list[NDArray[np.int64]]:
    """Number ids from 1, in the order of where they begin."""
    ids = [plane.ids for plane in measured.planes]
    first = np.concatenate([plane.places for plane in measured.planes])
    every = np.concatenate(ids)
    known, begin, inverse = np.unique(every, return_index=True, return_inverse=True)
    starts = np.repeat(np.arange(len(ids)), [len(each) for each in ids])[begin]
    rank = np.empty(len(known), np.int64)
    rank[np.lexsort((first[begin], starts))] = np.arange(1, len(known) + 1)
    return np.split(rank[inverse], np.cumsum([len(each) for each in ids])[:-1])


def _long_enough(joined: Joined, least: int) -> Joined:
    """Drop objects on fewer planes, unless they are part of a lineage; renumber the others."""
    least = min(least, len(joined.numbers))
    first, last = joined.extents()
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
        That of the image, where `joining` has none.
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
            seen, found.numbers, partial(read, stack), partial(write, stack), joining.fills, offset
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
