"""What a large run begins with: grid, labels and ledger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..engine import Window
from ..errors import ParameterError
from ..formats.ome_zarr import locate
from ..formats.run_record import resume_or_create
from ..reading import require
from .grid import TileGrid
from .image import LargeImage
from .ledger import GROUP, Ledger

OVERLAP = 1 / 8
"""Part of a tile that it shares with its neighbour, by default."""


def tiles_over(
    image: LargeImage, tile: int, overlap: int | None, region: Window | None
) -> TileGrid:
    """Return the grid of a run.

    Parameters
    ----------
    image : LargeImage
    tile : int
        Side of a tile in pixels.
    overlap : int, optional
        Pixels that neighbours share; by default an eighth of the tile.
    region : Window, optional
        The part of every plane to segment.
    """
    shared = max(0, round(tile * OVERLAP)) if overlap is None else int(overlap)
    return TileGrid.over(image.planes.shape, image.planes.plane_shape, tile, shared, region)


def destination_of(image: Any, output: str | Path | None) -> str:
    """Return path or URL of the store that labels go into: `output`, or the image's own store.

    Parameters
    ----------
    image, output
        As for `segment_large`.

    Raises
    ------
    ParameterError
        If the image has no store and no output is given.
    """
    if output is not None:
        require(output, (str, Path), "the output", "give the path or URL of an OME-Zarr store")
        return locate(output)
    if isinstance(image, (str, Path)):
        return locate(image)
    raise ParameterError("give output: where the labels go (an OME-Zarr store, new or existing)")


def open_run(
    image: LargeImage,
    destination: str,
    label: str,
    grid: TileGrid,
    wanted: Mapping[str, Any],
    overwrite: bool,
) -> Ledger:
    """Open the run's labels and ledger, or begin them.

    Parameters
    ----------
    image : LargeImage
    destination, label : str
        The store, and the name of the labels in it.
    grid : TileGrid
    wanted : mapping
        Settings of the run.
    overwrite : bool
        Begin again, whatever is there.

    Raises
    ------
    ParameterError
        If a run with other settings is on record there.
    FormatError
        If the labels were made by something else, or cannot be created.
    """
    data, kept = image.data, image.label_axes
    labels, resumed = resume_or_create(
        destination,
        label,
        GROUP,
        wanted,
        overwrite,
        shape=tuple(data.shape[i] for i in kept),
        axes="".join(data.axes[i] for i in kept),
        chunks=tuple(grid.stride if data.axes[i] in "YX" else 1 for i in kept),
        scale=[data.scale[i] for i in kept],
        units=[data.units[i] for i in kept],
        source=image.source if isinstance(image.source, str) else None,
    )
    if resumed:
        return Ledger(labels, grid)
    limits = image.settle_contrast()
    run = {**wanted, "limits": limits, "failed": {}, "opened": image.opened()}
    return Ledger.create(labels, grid, run)
