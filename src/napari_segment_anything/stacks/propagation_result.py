"""What a propagation gives, while it runs and at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import PromptError
from ..wording import counted, extent
from .propagation_state import State


@dataclass(frozen=True, slots=True)
class PropagationView:
    """What a propagation has so far.

    Parameters
    ----------
    labels : array
        As in the result; planes fill as they are done.
    plane : int
        The one that was done last.
    objects : int
        Objects that are still followed.
    """

    labels: Any
    plane: int
    objects: int


@dataclass(frozen=True, slots=True, eq=False)
class PropagationResult:
    """Objects followed through a stack.

    Parameters
    ----------
    labels : array
        Ids of objects with the axes of the volume, without channels: NumPy, or Zarr with
        `output`.
    scores : dict of int to (dict of int to float)
        For each object and plane the predicted IoU; 1 where its mask was given.
    planes : dict of int to tuple of int
        Planes that each object is on, ascending.
    prompted : dict of int to tuple of int
        Planes that it was prompted for on.
    ends : dict of int to (dict of int to str)
        For each object, the first plane it was not found on in either direction, and why:
        "score", "overlap", "area", "likeness", "empty", or "absent" where it could have returned.
        None where it reaches the stack's end.
    decoded : tuple of int
        Planes on which something was decoded in this call: all for a first run, those touched
        for an edit.
    changed : tuple of int
        Planes whose labels are not those of the run before.
    path : str or None
        Where the label image is, with `output`.
    """

    labels: Any
    scores: dict[int, dict[int, float]]
    planes: dict[int, tuple[int, ...]]
    prompted: dict[int, tuple[int, ...]]
    ends: dict[int, dict[int, str]]
    decoded: tuple[int, ...]
    changed: tuple[int, ...]
    path: str | None = None
    _state: State | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        where = f"{extent(self.labels.shape)} pixels"
        return f"<PropagationResult: {counted(len(self.planes), 'object')} in {where}>"

    def mask(self, number: int, plane: int) -> NDArray[np.bool_]:
        """Return an object's whole mask on a plane, with pixels that the labels give to others.

        Parameters
        ----------
        number : int
            Id of the object.
        plane : int

        Returns
        -------
        bool array (rows, columns)
            All False where the object is not on the plane.

        Raises
        ------
        PromptError
            If there is no such object.
        """
        if self._state is None or number not in self._state.objects:
            raise PromptError(f"there is no object {number}; there are {sorted(self.planes)}")
        shape = self._state.task.volume.plane_shape
        found = self._state.objects[number].get(plane)
        if found is None:
            return np.zeros(shape, bool)
        return found[0].crop(0, 0, *shape)

    @property
    def middles(self) -> dict[int, dict[int, tuple[float, float]]]:
        """For each object the middle of its box on each of its planes, (row, col) in the labels.

        On planes whose rows come after their columns in the volume the two are exchanged.
        """
        if self._state is None:
            return {}
        first, second = self._state.task.volume.displayed
        found: dict[int, dict[int, tuple[float, float]]] = {}
        for number, planes in self._state.objects.items():
            for plane, (mask, _) in planes.items():
                row0, col0, row1, col1 = mask.window.box
                place = ((row0 + row1) / 2, (col0 + col1) / 2)
                found.setdefault(number, {})[plane] = place if first < second else place[::-1]
        return found

    @property
    def table(self) -> dict[str, NDArray[Any]]:
        """Columns, a row per object.

        label, first, last, extent (planes), area (voxels), score (mean predicted IoU), worst (the
        plane with the lowest), parent (0).
        """
        numbers = sorted(self.planes)
        objects = {} if self._state is None else self._state.objects
        areas = [sum(mask.area for mask, _ in objects.get(i, {}).values()) for i in numbers]
        first = np.array([self.planes[i][0] for i in numbers], np.int64)
        last = np.array([self.planes[i][-1] for i in numbers], np.int64)
        means = [float(np.mean(list(self.scores[i].values()))) for i in numbers]
        worst = [min(self.scores[i], key=lambda plane: self.scores[i][plane]) for i in numbers]
        return {
            "label": np.array(numbers, np.int64),
            "first": first,
            "last": last,
            "extent": last - first + 1,
            "area": np.array(areas, np.int64),
            "score": np.array(means, np.float64),
            "worst": np.array(worst, np.int64),
            "parent": np.zeros(len(numbers), np.int64),
        }
