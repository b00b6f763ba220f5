"""What a large run gives back, while it runs and at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import Window
from ..errors import FormatError
from ..formats.ome_zarr import LabelsGroup, open_labels
from ..wording import counted
from .grid import TileGrid
from .ledger import Ledger, TileStatus
from .plan import LargePlan


@dataclass(frozen=True, slots=True)
class TileFailure:
    """A tile that could not be segmented.

    Parameters
    ----------
    index : int
        Its number.
    plane : tuple of int
        The plane it lies in.
    window : Window
        The pixels that are missing from the labels: the tile's core.
    reason : str
        What went wrong, the last time.
    """

    index: int
    plane: tuple[int, ...]
    window: Window
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class LargeView:
    """A run in progress.

    Parameters
    ----------
    labels : LabelsGroup
        Written tile by tile; ids are provisional until the run ends.
    grid : TileGrid
        The tiles.
    status : uint8 array (planes, tile rows, tile columns)
        `TileStatus` of each tile; updated in place as the run proceeds.
    plan : LargePlan
        What the run will cost.
    """

    labels: LabelsGroup
    grid: TileGrid
    status: NDArray[np.uint8]
    plan: LargePlan


@dataclass(frozen=True, slots=True, eq=False)
class LargeResult:
    """Labels of an image of any size, on disk.

    Parameters
    ----------
    group : LabelsGroup
        The OME-Zarr label image, with its pyramid.
    grid : TileGrid
        The tiles it was made of.
    status : uint8 array (planes, tile rows, tile columns)
        `TileStatus` of each tile.
    failed : tuple of TileFailure
        Tiles whose part of the labels is missing.
    seconds : float
        Time this call took.
    """

    group: LabelsGroup
    grid: TileGrid
    status: NDArray[np.uint8]
    failed: tuple[TileFailure, ...]
    seconds: float = 0.0
    _tables: dict[str, dict[str, NDArray]] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        failed = f", {counted(len(self.failed), 'tile')} failed" if self.failed else ""
        return f"<LargeResult: {counted(self.count, 'object')}{failed}, in {self.path}>"

    @property
    def path(self) -> str:
        """Where the label image is."""
        return str(self.group.path)

    @property
    def labels(self) -> Any:
        """The labels at full resolution: a Zarr array with the image's axes, without channels."""
        return self.group.array

    @property
    def table(self) -> dict[str, NDArray]:
        """Columns, a row per object.

        label, plane, area (pixels), predicted_iou, stability_score, row_min, col_min, row_max,
        col_max (outermost pixels), tiles (number of tiles that saw it), pieces (1: taken from one
        tile), seam (0: lies in one tile; 1 merged, 2 ambiguous, 3 cut, 4 redecoded).
        """
        return self._read("objects")

    @property
    def seams(self) -> dict[str, NDArray]:
        """Columns, a row for each place where tiles had to agree.

        seam (number), kind ("merged", "ambiguous", "cut", or "redecoded"), plane, labels (of one
        or two objects; 0 for one that was dropped), iou (least agreement on the pixels both tiles
        see), box (row_min, col_min, row_max, col_max).
        """
        return self._read("seams")

    @property
    def count(self) -> int:
        """Number of objects."""
        return len(self.table.get("label", ()))

    def _read(self, name: str) -> dict[str, NDArray]:
        if name not in self._tables:
            self._tables[name] = Ledger(self.group, self.grid).read_table(name)
        return self._tables[name]


def failures(ledger: Ledger, status: NDArray[np.uint8]) -> tuple[TileFailure, ...]:
    """Return the tiles that failed, with the reasons on record."""
    grid, reasons = ledger.grid, ledger.run.get("failed", {})
    return tuple(
        TileFailure(i, grid.plane(i), grid.core(i), reasons.get(str(i), "unknown"))
        for i in np.flatnonzero(status.ravel() == TileStatus.FAILED).tolist()
    )


def open_large(output: str | Path, label: str | None = None) -> LargeResult:
    """Open what a large run left, finished or not, without a model.

    Parameters
    ----------
    output : str or Path
        The OME-Zarr store, or the label group itself.
    label : str, optional
        Name of the label image, where there are several.

    Returns
    -------
    LargeResult
        Labels, tables, seams and failed tiles; tables are empty until the run was finished.

    Raises
    ------
    FormatError
        If there are no labels, or no large run made them.
    """
    labels = open_labels(output, label)
    ledger = Ledger.open(labels)
    if ledger is None:
        raise FormatError(f"{labels.path} has labels that no large run made")
    status = ledger.status()
    return LargeResult(labels, ledger.grid, status, failures(ledger, status))
