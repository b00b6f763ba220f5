"""One plane of a lazy stack, as an array that reads on indexing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class PlaneArray:
    """A plane of a lazy array with more dimensions.

    Parameters
    ----------
    array : array-like
        With ``shape``, ``dtype`` and ``__getitem__``.
    where : sequence of (int or slice)
        For each dimension of it: the index of the plane, or ``slice(None)``.
    """

    def __init__(self, array: Any, where: Sequence[int | slice]) -> None:
        self._array = array
        self._where = tuple(where)
        self._kept = [i for i, at in enumerate(where) if isinstance(at, slice)]
        self.shape = tuple(int(array.shape[i]) for i in self._kept)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)
        self.ndim = len(self.shape)
        chunks = getattr(array, "chunks", None)
        self.chunks = None if chunks is None else tuple(chunks[i] for i in self._kept)

    @classmethod
    def of(cls, level: Any, where: Sequence[int | slice], full: Sequence[int]) -> PlaneArray:
        """Select the plane from a level of a pyramid.

        Parameters
        ----------
        level : array-like
        where : sequence of (int or slice)
            For the full resolution.
        full : sequence of int
            Shape of the full resolution.
        """
        return cls(
            level,
            [
                at if isinstance(at, slice) else at * int(n) // size
                for at, n, size in zip(where, level.shape, full, strict=True)
            ],
        )

    @property
    def nbytes(self) -> int:
        """Size of the plane in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"<PlaneArray {self.shape} {self.dtype}>"

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        parts = key if isinstance(key, tuple) else (key,)
        if any(part is Ellipsis for part in parts):
            at = next(i for i, part in enumerate(parts) if part is Ellipsis)
            missing = self.ndim - len(parts) + 1
            parts = (*parts[:at], *[slice(None)] * missing, *parts[at + 1 :])
        if len(parts) > self.ndim:
            raise IndexError(f"{len(parts)} indices for a plane of {self.ndim} dimensions")
        index = list(self._where)
        for axis, part in zip(self._kept, parts, strict=False):
            index[axis] = part
        return np.asarray(self._array[tuple(index)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype)
