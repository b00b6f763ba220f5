"""Which part of a large plane is encoded for an object; a function of the object alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..engine import Window

WHOLE = 1.25
"""Planes up to this many frames wide are encoded whole."""
_CONTEXT = 1.6
_STRIDE = 3


def window_for(box: Sequence[float], canvas: tuple[int, int], side: int) -> Window | None:
    """Return the window to encode for an object; None is the whole plane.

    Windows lie on a grid, a third of a window apart: neighbours share them, and objects that
    move hardly ever change them.

    Parameters
    ----------
    box : four floats
        row_min, col_min, row_max, col_max on the canvas.
    canvas : (int, int)
        Rows and columns of a plane with its margin.
    side : int
        Of a window; larger objects get windows twice (or four times ...) as wide.
    """
    needed = _CONTEXT * (max(box[2] - box[0], box[3] - box[1]) + 1)
    while side < needed:
        side *= 2
    if max(canvas) <= WHOLE * side:
        return None
    starts, sides = [], []
    for axis in (0, 1):
        extent = canvas[axis]
        length = min(side, extent)
        centre = (box[axis] + box[axis + 2]) / 2
        steps = math.ceil(max(extent - length, 0) / (side / _STRIDE))
        step = 0.0 if steps == 0 else (extent - length) / steps
        place = 0 if step == 0 else round((centre - length / 2) / step)
        starts.append(round(min(max(place, 0), steps) * step))
        sides.append(length)
    return Window(starts[0], starts[1], sides[0], sides[1])
