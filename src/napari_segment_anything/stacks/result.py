"""What segmenting, linking and tracking a stack give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..wording import counted, extent


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """Tracks of a time-lapse, as napari's Tracks layer takes them.

    ``viewer.add_tracks(tracks.data, graph=tracks.graph, properties=tracks.properties)``

    Parameters
    ----------
    data : float64 array (n, 2 + axes)
        Track id, then the position: frame, row, col (of a volume with further axes, all its
        indices, in order). Sorted by id, then frame.
    graph : dict of int to list of int
        Parents of each track that came from a division.
    properties : dict of str to array (n,)
        area (pixels), score (predicted IoU; NaN where unknown), label (on its plane, before
        tracking), parent (0 for none).
    max_distance : float
        Pixels a frame that objects were allowed to move.
    labels : array
        Labels with the ids of tracks.
    table : mapping of str to array
        As `StackResult.table`.
    """

    data: NDArray[np.float64]
    graph: dict[int, list[int]]
    properties: dict[str, NDArray[Any]]
    max_distance: float = float("nan")
    labels: Any = None
    table: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Count the tracks."""
        return len(np.unique(self.data[:, 0]))

    @property
    def divisions(self) -> dict[int, list[int]]:
        """Daughters of each track that divides."""
        found: dict[int, list[int]] = {}
        for child, parents in self.graph.items():
            for parent in parents:
                found.setdefault(parent, []).append(child)
        return {parent: sorted(children) for parent, children in sorted(found.items())}


@dataclass(frozen=True, slots=True, eq=False)
class StackResult:
    """Objects of a stack, each with one id on all its planes.

    Parameters
    ----------
    labels : array
        With the axes of the volume, without channels: NumPy uint32, or Zarr with `output`.
    table : mapping of str to array
        Columns, a row per object: label, first, last (planes), extent (planes from first to last),
        planes (it was seen on), area (voxels, without filled gaps), score (mean predicted IoU,
        weighted by area; NaN where unknown), parent (0 for none), stack (which of several
        stacks, counted along the other axes, the last fastest).
    tracks : Tracks or None
        With link="track".
    path : str or None
        Where the label image is, with `output`.
    failed : mapping of tuple to str
        Planes that could not be segmented, by their indices, and why. They are empty.
    """

    labels: Any
    table: Mapping[str, NDArray[Any]]
    tracks: Tracks | None = None
    path: str | None = None
    failed: Mapping[tuple[int, ...], str] = field(default_factory=dict)

    def __repr__(self) -> str:
        shape = extent(self.labels.shape)
        failed = f", {counted(len(self.failed), 'plane')} failed" if self.failed else ""
        return f"<StackResult: {counted(len(self), 'object')} in {shape} pixels{failed}>"

    def __len__(self) -> int:
        """Count the objects."""
        return len(self.table["label"])


@dataclass(frozen=True, slots=True)
class StackView:
    """What a run over a stack has so far.

    Parameters
    ----------
    labels : array
        As in the result. Until planes are linked, each has ids of its own.
    plane : tuple of int
        Indices of the plane that was done last.
    linked : bool
        Whether ids are final on the planes up to it.
    """

    labels: Any
    plane: tuple[int, ...]
    linked: bool
