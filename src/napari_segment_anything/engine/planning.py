"""Which window of a large image to encode for prompts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

from ..errors import ParameterError
from .view import grid_window
from .windows import Window

WHOLE_FRAMES = 2
"""An image up to this many frames wide is encoded whole."""
_CONTEXT = 1.5
_PLACES = 4 / 3
_SMALL = 8
"""Prompts up to this part of a window's side take one of a grid, which neighbours share."""
MARGIN = 8
"""A known window is taken for prompts at least this part of its side away from its edges."""
_KEEP = 16
_TOUCH = 64


class Prompted(Protocol):
    """What has prompts."""

    def extent(self) -> tuple[float, float, float, float]:
        """Return row_min, col_min, row_max, col_max of all that says where the object is."""


def default_size(shape: tuple[int, int], image_size: int, window_size: int | None) -> int:
    """Return the side of a window, in full-resolution pixels.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image.
    image_size : int
        The model's frame side.
    window_size : int or None
        What was asked for; None takes the whole image up to two frames, else one frame.
    """
    if window_size is not None:
        if window_size < 1:
            raise ParameterError(f"window_size is at least 1 pixel, not {window_size}")
        return int(window_size)
    return max(shape) if max(shape) <= WHOLE_FRAMES * image_size else image_size


def choose_window(
    prompts: Prompted,
    shape: tuple[int, int],
    size: int,
    current: Window | None = None,
    known: Iterable[Window] = (),
) -> Window:
    """Choose where to decode an object.

    In this order: the window it already has, while every prompt lies inside and not at its very
    edge; a window of `known` that has the prompts well inside; the nearest of a grid of windows;
    one around the prompts, larger than `size`, where they need it.

    Parameters
    ----------
    prompts : Prompted
        At least one.
    shape : (int, int)
        Rows and columns of the image.
    size : int
        Side of a new window.
    current : Window, optional
        The object's window so far.
    known : iterable of Window
        Windows encoded before.
    """
    if size >= max(shape):
        return Window.full(shape)
    extent = prompts.extent()
    needed = max(extent[2] - extent[0], extent[3] - extent[1]) + 1
    if current is not None and _room(extent, current, shape) >= max(current.shape) / _KEEP:
        return current
    fitting = [
        (_room(extent, window, shape), -index, window)
        for index, window in enumerate(known)
        if max(window.shape) >= needed * _CONTEXT or window.shape == shape
    ]
    good = [item for item in fitting if item[0] >= max(item[2].shape) / MARGIN]
    if good:
        return max(good, key=lambda item: item[:2])[2]
    side = max(size, math.ceil(needed * _CONTEXT))
    centre = ((extent[0] + extent[2]) / 2, (extent[1] + extent[3]) / 2)
    if needed * _SMALL <= side:
        return grid_window(centre, side, shape, _PLACES)
    return Window.around(centre, shape, side)


def grown(
    window: Window,
    mask_window: Window,
    touching: int,
    prompts: Prompted,
    shape: tuple[int, int],
) -> Window | None:
    """Return a window of twice the side for a mask that is cut off; None if it is not.

    Parameters
    ----------
    window : Window
        Where the mask was decoded.
    mask_window : Window
        The mask's bounds.
    touching : int
        Pixels of the mask at edges of the window that are not the image's.
    prompts : Prompted
        They stay inside.
    shape : (int, int)
        Rows and columns of the image.
    """
    if touching < max(3, max(window.shape) // _TOUCH) or window.shape == tuple(shape):
        return None
    side = 2 * max(window.shape)
    extent = prompts.extent()
    low = (min(extent[0], mask_window.row), min(extent[1], mask_window.col))
    high = (
        max(extent[2], mask_window.row + mask_window.height - 1),
        max(extent[3], mask_window.col + mask_window.width - 1),
    )
    centre = ((low[0] + high[0]) / 2, (low[1] + high[1]) / 2)
    return Window.around(centre, shape, side)


def _room(
    extent: tuple[float, float, float, float], window: Window, shape: tuple[int, int]
) -> float:
    """Return pixels between prompts and the window's edges that are not the image's."""
    room = math.inf
    ends = (window.row + window.height, window.col + window.width)
    for axis, start in enumerate((window.row, window.col)):
        before, after = extent[axis] - start, ends[axis] - 1 - extent[axis + 2]
        if before < -0.5 or after < -1.0:
            return -math.inf
        if start > 0:
            room = min(room, before)
        if ends[axis] < shape[axis]:
            room = min(room, after)
    return room
