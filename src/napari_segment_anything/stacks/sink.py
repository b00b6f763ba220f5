"""Where labels go as they come: an array in memory, or an OME-Zarr store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ResourceError
from ..formats import LabelsGroup, create_labels, open_labels
from ..formats.ome_zarr import label_names
from ..limits import LABELS_BYTES
from .record import Record, unfinished
from .volume import Volume

_CHUNK = 512


class Sink:
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
        Settings of a run that keeps a `Record` in the store: labels of that name that a run with
        the same settings was stopped at are gone on with, unless `overwrite` is True.

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
        self.volume, self.stack = volume, stack
        self.record: Record | None = None
        gone = volume.others if stack is not None else ()
        self._kept = [axis for axis in range(len(volume.shape)) if axis not in gone]
        shape = tuple(volume.shape[axis] for axis in self._kept)
        self.group: LabelsGroup | None = None
        if output is None:
            try:
                what = "the labels are too large for memory: give output=, a store for them"
                LABELS_BYTES.check(4 * math.prod(shape), what, ResourceError)
                self.array: Any = np.zeros(shape, np.uint32)
            except MemoryError as error:
                raise ResourceError(
                    f"labels of shape {shape} do not fit into memory; write them to an OME-Zarr "
                    "store with output="
                ) from error
            return
        if run is not None and not overwrite and name in label_names(output):
            group = open_labels(output, name, mode="r+")
            self.record = Record.resume(group, run)
            if self.record is not None:
                self.group, self.array = group, group.array
                return
            # killed after the labels were made, before the run was on record
            overwrite = group.array.nchunks_initialized == 0
        chunks = [
            min(_CHUNK, volume.shape[axis]) if axis in volume.displayed else 1
            for axis in self._kept
        ]
        known = [volume.scale[axis] for axis in self._kept]
        units = [volume.units[axis] for axis in self._kept]
        told = any(unit is not None for unit in units) or any(size != 1 for size in known)
        self.group = create_labels(
            output,
            name,
            shape=shape,
            axes="".join(volume.axes[axis] for axis in self._kept),
            dtype=np.uint32,
            chunks=chunks,
            scale=known if told else None,
            units=units if told else None,
            source=volume.path,
            overwrite=overwrite,
        )
        self.array = self.group.array
        if run is not None:
            self.record = Record.create(self.group, volume.count * len(volume.stacks), run)

    def write(self, plane: int, stack: tuple[int, ...], labels: NDArray[np.uint32]) -> None:
        """Write a plane."""
        first, second = self.volume.displayed
        self.array[self._index(plane, stack)] = labels if first < second else labels.T

    def read(self, plane: int, stack: tuple[int, ...]) -> NDArray[np.uint32]:
        """Read a plane."""
        first, second = self.volume.displayed
        labels = np.asarray(self.array[self._index(plane, stack)])
        return labels if first < second else labels.T

    def keep(
        self,
        number: int,
        plane: int,
        stack: tuple[int, ...],
        labels: NDArray[np.uint32],
        scores: Mapping[int, float],
    ) -> None:
        """Write a plane that is not linked yet; with a record, so that it is not lost."""
        if labels.any():
            self.write(plane, stack, labels)
        if self.record is not None:
            first, second = self.volume.displayed
            turned = labels if first < second else labels.T
            self.record.put(number, self._index(plane, stack), turned, scores)

    def kept(self, number: int) -> bool:
        """Whether a run that was stopped has done a plane."""
        return self.record is not None and self.record.has(number)

    def scores(self, number: int) -> dict[int, float]:
        """Read the scores of a plane that `kept`."""
        return {} if self.record is None else self.record.scores(number)

    def section(self, plane: int, stack: tuple[int, ...]) -> NDArray[np.uint32]:
        """Read a plane as it was before it was linked."""
        if self.record is None:
            return self.read(plane, stack)
        first, second = self.volume.displayed
        labels = self.record.labels(self._index(plane, stack))
        return labels if first < second else labels.T

    def finish(self) -> None:
        """Note that all labels are final."""
        if self.record is not None and self.group is not None:
            self.record.finish(self.group)
            self.record = None

    def _index(self, plane: int, stack: tuple[int, ...]) -> tuple[Any, ...]:
        index = self.volume.index(plane, stack)
        return tuple(index[axis] for axis in self._kept)


def stopped(output: str | Path, name: str) -> bool:
    """Whether a store has labels of that name that a run over a stack was stopped at."""
    return name in label_names(output) and unfinished(open_labels(output, name))
