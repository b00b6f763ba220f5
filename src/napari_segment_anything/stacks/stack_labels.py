"""Labels of a stack, written plane by plane: in memory, or in an OME-Zarr store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, ResourceError
from ..formats import LabelsGroup, create_labels, open_labels
from ..formats.ome_zarr import label_names
from ..formats.run_record import RunRecord, make_record, recorded_run, resume_or_create
from ..limits import LABELS_BYTES
from .volume import Volume

_CHUNK = 512
_RECORD = "stack"
_DONE = 1


class UnlinkedPlanes(RunRecord):
    """The record of a run over a stack: every plane's own labels and scores, before linking.

    Beside what `RunRecord` has, its group ``stack`` holds ``sections``, the labels of each plane,
    and ``scores``, an array for each plane. The final labels are written from these: if linking is
    killed, it begins again, without the model. When everything is written, the group is removed.

    Parameters
    ----------
    labels : LabelsGroup
        Where the final labels go.
    """

    def __init__(self, labels: LabelsGroup) -> None:
        super().__init__(labels, _RECORD)
        self._sections: Any = self.group["sections"]
        self._scores: Any = self.group["scores"]
        self._done = self.status() == _DONE

    @classmethod
    def create(cls, labels: LabelsGroup, planes: int, run: Mapping[str, Any]) -> UnlinkedPlanes:
        """Begin a record in a new label group.

        Parameters
        ----------
        labels : LabelsGroup
        planes : int
            Number of planes of all stacks.
        run : mapping
            Settings of the run.
        """
        array = labels.array
        group = make_record(labels, _RECORD, (planes,), (1,))
        group.create_array(
            "sections", shape=array.shape, chunks=array.chunks, dtype=np.uint32, fill_value=0
        )
        group.create_group("scores")
        record = cls(labels)
        record.note(**run)
        return record

    def has(self, number: int) -> bool:
        """Whether an earlier call has done a plane."""
        return bool(self._done[number])

    def put(
        self,
        number: int,
        index: tuple[Any, ...],
        labels: NDArray[np.uint32],
        scores: Mapping[int, float],
    ) -> None:
        """Keep a plane.

        Parameters
        ----------
        number : int
            Of the plane, counted over all stacks.
        index : tuple
            Where it lies in the labels.
        labels : uint32 array
        scores : mapping of int to float
            Predicted IoU of each label.
        """
        self.write(index, labels)
        self._put_scores(str(number), scores)
        self.set_status(number, _DONE)

    def put_part(self, number: int, scores: Mapping[int, float]) -> None:
        """Note that a part of a volume is done, after its labels were written.

        Parameters
        ----------
        number : int
            Of the part.
        scores : mapping of int to float
            Predicted IoU of each of its objects.
        """
        self._put_scores(f"part {number}", scores)

    def part_scores(self, number: int) -> dict[int, float] | None:
        """Return the scores of a part's objects; None if no earlier call has done it."""
        name = f"part {number}"
        return self._read_scores(name) if name in self._scores else None

    def write(self, index: tuple[Any, ...], labels: NDArray[np.uint32]) -> None:
        """Write labels that are not final."""
        self._sections[index] = labels

    def labels_of(self, index: tuple[Any, ...]) -> NDArray[np.uint32]:
        """Return the labels of a plane or part."""
        return np.asarray(self._sections[index])

    def scores_of(self, number: int) -> dict[int, float]:
        """Return the scores of a plane that is done."""
        try:
            return self._read_scores(str(number))
        except KeyError as error:
            raise FormatError(
                f"the record of plane {number} is damaged; begin again with overwrite=True"
            ) from error

    def _put_scores(self, name: str, scores: Mapping[int, float]) -> None:
        table = np.array(sorted(scores.items()), np.float64).reshape(-1, 2)
        self._scores.create_array(name, data=table, chunks=(max(1, len(table)), 2), overwrite=True)

    def _read_scores(self, name: str) -> dict[int, float]:
        table = np.asarray(self._scores[name][...])
        return {int(label): float(score) for label, score in table}


class StackLabels:
    """Labels of a volume, written and read plane by plane.

    Parameters
    ----------
    volume : Volume
    output : str or Path, optional
        OME-Zarr store, new or existing; by default an array in memory.
    name : str
        Of the labels in the store.
    overwrite : bool
        Replace labels of that name.
    stack : tuple of int, optional
        Labels of this one stack only; by default of all.
    run : mapping, optional
        Settings of a run that keeps a record in the store: where a run with the same settings was
        stopped, it is resumed, unless `overwrite` is True.

    Raises
    ------
    FormatError
        If the labels cannot be created.
    ParameterError
        If a run with other settings was stopped there.
    ResourceError
        If they do not fit into memory.
    """

    def __init__(
        self,
        volume: Volume,
        output: str | Path | None = None,
        name: str = "segment_anything",
        overwrite: bool = False,
        stack: tuple[int, ...] | None = None,
        run: Mapping[str, Any] | None = None,
    ) -> None:
        self.volume = volume
        gone = volume.others if stack is not None else ()
        self._kept = [axis for axis in range(len(volume.shape)) if axis not in gone]
        shape = tuple(volume.shape[axis] for axis in self._kept)
        self.group: LabelsGroup | None = None
        self.unlinked: UnlinkedPlanes | None = None
        if output is None:
            self.array: Any = _in_memory(shape)
            return
        layout: dict[str, Any] = {
            "shape": shape,
            "axes": "".join(volume.axes[axis] for axis in self._kept),
            "chunks": [
                min(_CHUNK, volume.shape[axis]) if axis in volume.displayed else 1
                for axis in self._kept
            ],
            "scale": [volume.scale[axis] for axis in self._kept],
            "units": [volume.units[axis] for axis in self._kept],
            "source": volume.path,
        }
        if run is None:
            self.group = create_labels(output, name, overwrite=overwrite, **layout)
        else:
            self.group, resumed = resume_or_create(output, name, _RECORD, run, overwrite, **layout)
            planes = volume.count * len(volume.stacks)
            self.unlinked = (
                UnlinkedPlanes(self.group)
                if resumed
                else UnlinkedPlanes.create(self.group, planes, run)
            )
        self.array = self.group.array

    @property
    def path(self) -> str | None:
        """Where the label image is; None in memory."""
        return None if self.group is None else str(self.group.path)

    def write(self, plane: int, stack: tuple[int, ...], labels: NDArray[np.uint32]) -> None:
        """Write the labels (rows, columns) of a plane, given by its number and its stack."""
        self.array[self._index(plane, stack)] = self._turned(labels)

    def read(self, plane: int, stack: tuple[int, ...]) -> NDArray[np.uint32]:
        """Read the labels (rows, columns) of a plane, given by its number and its stack."""
        return self._turned(np.asarray(self.array[self._index(plane, stack)]))

    def keep(
        self,
        number: int,
        plane: int,
        stack: tuple[int, ...],
        labels: NDArray[np.uint32],
        scores: Mapping[int, float],
    ) -> None:
        """Write a plane that is not linked yet; in a store also to the record.

        Parameters
        ----------
        number : int
            Of the plane, counted over all stacks.
        plane : int
        stack : tuple of int
        labels : uint32 array (rows, columns)
        scores : mapping of int to float
            Predicted IoU of each label.
        """
        if labels.any():
            self.write(plane, stack, labels)
        if self.unlinked is not None:
            self.unlinked.put(number, self._index(plane, stack), self._turned(labels), scores)

    def read_part(
        self, stack: tuple[int, ...], box: tuple[slice, slice, slice]
    ) -> NDArray[np.uint32]:
        """Read labels that are not final: uint32 (planes, rows, columns) of a box of a stack."""
        index, order = self._box(stack, box)
        kept = self.array[index] if self.unlinked is None else self.unlinked.labels_of(index)
        return np.array(kept).transpose(np.argsort(order))

    def write_part(
        self, stack: tuple[int, ...], box: tuple[slice, slice, slice], labels: NDArray[np.uint32]
    ) -> None:
        """Write labels that are not final, in a store also to the record.

        Parameters
        ----------
        stack : tuple of int
        box : tuple of slice
            Planes, rows, columns.
        labels : uint32 array (planes, rows, columns)
        """
        index, order = self._box(stack, box)
        self.array[index] = labels.transpose(order)
        if self.unlinked is not None:
            self.unlinked.write(index, labels.transpose(order))

    def keep_part(self, number: int, scores: Mapping[int, float]) -> None:
        """Note that a part is done, where there is a record; see `UnlinkedPlanes.put_part`."""
        if self.unlinked is not None:
            self.unlinked.put_part(number, scores)

    def part_scores(self, number: int) -> dict[int, float] | None:
        """Return what `keep_part` was given by this call or an earlier one; None if it was not."""
        return None if self.unlinked is None else self.unlinked.part_scores(number)

    def note(self, **facts: Any) -> None:
        """Note facts of the run, where there is a record."""
        if self.unlinked is not None:
            self.unlinked.note(**facts)

    def noted(self, name: str) -> Any:
        """Return a fact that an earlier call noted; None if it did not."""
        return None if self.unlinked is None else self.unlinked.run.get(name)

    def section(self, plane: int, stack: tuple[int, ...]) -> NDArray[np.uint32]:
        """Read a plane as it was before it was linked."""
        if self.unlinked is None:
            return self.read(plane, stack)
        return self._turned(self.unlinked.labels_of(self._index(plane, stack)))

    def finish(self) -> None:
        """Note that all labels are final."""
        if self.unlinked is not None:
            self.unlinked.remove()
            self.unlinked = None

    def _turned(self, labels: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Turn a plane between (rows, columns) and the order of its axes in the labels."""
        first, second = self.volume.displayed
        return labels if first < second else labels.T

    def _box(
        self, stack: tuple[int, ...], box: tuple[slice, slice, slice]
    ) -> tuple[tuple[Any, ...], NDArray[np.intp]]:
        """Where a box lies in the labels, and the order in which its axes come there."""
        volume = self.volume
        index, axes = list(volume.index(0, stack)), (volume.axis, *volume.displayed)
        for axis, part in zip(axes, box, strict=True):
            index[axis] = part
        return tuple(index[axis] for axis in self._kept), np.argsort(axes)

    def _index(self, plane: int, stack: tuple[int, ...]) -> tuple[Any, ...]:
        index = self.volume.index(plane, stack)
        return tuple(index[axis] for axis in self._kept)


def _in_memory(shape: tuple[int, ...]) -> NDArray[np.uint32]:
    what = "the labels are too large for memory: give output=, a store for them"
    LABELS_BYTES.check(4 * math.prod(shape), what, ResourceError)
    try:
        return np.zeros(shape, np.uint32)
    except MemoryError as error:
        raise ResourceError(
            f"labels of shape {shape} do not fit into memory; write them to an OME-Zarr store with "
            "output="
        ) from error


def stopped(output: str | Path, name: str) -> bool:
    """Whether a store has labels of a name, and a run that made them was stopped."""
    return (
        name in label_names(output) and recorded_run(open_labels(output, name), _RECORD) is not None
    )
