"""Label planes from anywhere, joined through a stack: by overlap, or as tracks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..progress import finish
from .joining import Joined, Joining, join_stacks, tracks_of
from .plane_objects import StackObjects
from .result import StackResult, Tracks


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
