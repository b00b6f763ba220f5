"""Where labels go as they come: an array in memory, or an OME-Zarr store."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ResourceError
from ..formats import LabelsGroup, create_labels
from ..limits import LABELS_BYTES
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

    Raises
    ------
    FormatError
        If the labels cannot be created.
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
    ) -> None:
        self.volume, self.stack = volume, stack
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

    def write(self, plane: int, stack: tuple[int, ...], labels: NDArray[np.uint32]) -> None:
        """Write a plane."""
        first, second = self.volume.displayed
        self.array[self._index(plane, stack)] = labels if first < second else labels.T

    def read(self, plane: int, stack: tuple[int, ...]) -> NDArray[np.uint32]:
        """Read a plane."""
        first, second = self.volume.displayed
        labels = np.asarray(self.array[self._index(plane, stack)])
        return labels if first < second else labels.T

    def _index(self, plane: int, stack: tuple[int, ...]) -> tuple[Any, ...]:
        index = self.volume.index(plane, stack)
        return tuple(index[axis] for axis in self._kept)
