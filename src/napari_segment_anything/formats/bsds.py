"""Segmentations that several people drew of one image, in the files of BSDS500."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..limits import ARRAY_BYTES
from ..reading import one_line, read_bytes

BSDS_SUFFIX = ".mat"


@dataclass(frozen=True, slots=True, eq=False)
class DrawnSegmentation:
    """What one person drew.

    Parameters
    ----------
    labels : int32 array (rows, columns)
        Regions from 1; every pixel belongs to one.
    boundaries : bool array (rows, columns)
        Pixels on boundaries of regions.
    """

    labels: NDArray[np.int32]
    boundaries: NDArray[np.bool_]


def read_bsds(path: str | Path) -> tuple[DrawnSegmentation, ...]:
    """Read a file of BSDS500's folder ``groundTruth``: a segmentation for each person.

    Raises
    ------
    FormatError
        If it is missing, damaged or another kind of MATLAB file.
    """
    from scipy.io import loadmat

    data = read_bytes(path, ARRAY_BYTES, what="segmentations")
    try:
        cells = np.ravel(loadmat(io.BytesIO(data))["groundTruth"])
        drawn = tuple(_drawn(cell) for cell in cells)
    except Exception as error:  # SciPy raises many kinds for damaged files
        raise FormatError(f"{path} holds no segmentations of BSDS500: {one_line(error)}") from error
    if not drawn or len({each.labels.shape for each in drawn}) != 1:
        raise FormatError(f"{path} holds no segmentations, or some of different shapes")
    return drawn


def _drawn(cell: NDArray[np.void]) -> DrawnSegmentation:
    labels = np.asarray(cell["Segmentation"][0, 0])
    boundaries = np.asarray(cell["Boundaries"][0, 0])
    if labels.ndim != 2 or labels.shape != boundaries.shape or labels.dtype.kind not in "iu":
        raise ValueError(f"a segmentation of shape {labels.shape} and type {labels.dtype}")
    return DrawnSegmentation(labels.astype(np.int32), boundaries > 0)
