"""Which parts of a plane a finder looks at, one after the other, and their pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..automatic.grid import ImageCrop
from ..engine import PlaneSource, Window, open_image
from ..engine.contrast import stretch
from ..large import TileGrid

WHOLE = 2
"""Planes up to this many frames a side are looked at as a whole."""
_REDUCED = 6
"""Larger ones up to this many frames also, for objects that are larger than tiles overlap."""


def plan_views(
    shape: tuple[int, int], frame: int, tile: int | None = None, overlap: int | None = None
) -> tuple[ImageCrop, ...]:
    """Choose the parts of a plane to look at.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the plane.
    frame : int
        Side in pixels that the finder sees at full resolution.
    tile : int, optional
        Side of a tile in pixels; by default the frame, and no tiles in planes of up to two frames.
    overlap : int, optional
        Pixels that neighbouring tiles share; by default a quarter of the tile. Larger objects are
        found in the whole plane only, where that is looked at too.

    Returns
    -------
    tuple of ImageCrop
        The whole plane, in layer 0, unless it is too large; tiles are in layer 1.

    Raises
    ------
    ParameterError
        If tiles are too small, or the overlap leaves nothing of them.
    """
    whole = ImageCrop(0, 0, *shape, 0)
    if max(shape) <= (WHOLE * frame if tile is None else tile):
        return (whole,)
    tile = frame if tile is None else tile
    grid = TileGrid.over(shape, (), tile, tile // 4 if overlap is None else overlap)
    windows = (grid.window(index) for index in range(len(grid)))
    tiles = tuple(ImageCrop(w.row, w.col, w.height, w.width, 1) for w in windows)
    return (whole, *tiles) if max(shape) <= _REDUCED * frame else tiles


def read_rgb(source: PlaneSource, window: Window) -> NDArray[np.uint8]:
    """Read a window of a plane as a network sees it: uint8 (rows, columns, 3)."""
    options = source.embed_arguments()
    limits = options.pop("contrast_limits")
    pixels = open_image(source.image(), **options).read(0, *window.slices)
    shown = stretch(pixels, limits)
    if shown.dtype != np.uint8:
        shown = np.rint(shown).astype(np.uint8)
    return np.repeat(shown[..., None], 3, axis=2) if shown.ndim == 2 else shown
