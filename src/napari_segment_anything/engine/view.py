"""Views: at which scale an object is shown to the model, closer if small, from farther if large."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .windows import Window

_STEPS = 2
"""Sizes of views within a factor of two."""
_PLACES = 4
"""Views of the grid along a view's side; fewer for small objects."""
_FEW_PLACES = 2
_SMALL = 4
"""An object is small if its side is at most this part of the view's."""
_LEAST_SPAN = 32
_MOST_FRAMES = 16
_LEAST_CONTEXT = 2
_FARTHER = (2, 4)
_SLACK = 1.5
_BELOW_MOST = 0.8
"""Part of `Focus.most` to aim at for objects that are too large."""


@dataclass(frozen=True, slots=True)
class View:
    """A window to encode, and the scale at which the frame shows it.

    Parameters
    ----------
    window : Window
        In full-resolution pixels.
    span : int, optional
        Pixels of the image along the side of the frame, if more than the window has; see
        `Predictor.embed`.
    """

    window: Window
    span: int | None = None

    @property
    def side(self) -> int:
        """Full-resolution pixels along the side of the frame."""
        return max(self.span or 0, *self.window.shape)


@dataclass(frozen=True, slots=True)
class Focus:
    """Sizes at which a model segments prompted objects well; part of its metadata.

    Parameters
    ----------
    least, most : float
        In pixels of the frame, the longer side of an object's box.
    best : float
        What to aim at for objects below these; for those above it is four fifths of `most`.
    unsure : float
        If a point's best mask has a predicted IoU below this, views from farther away are tried:
        the inside of a very large object alone does not show what it is.
    """

    least: float
    most: float
    best: float
    unsure: float = 0.0

    def view(
        self,
        box: Sequence[float],
        shape: tuple[int, int],
        image_size: int,
        current: View,
        slack: float = 1.0,
    ) -> View:
        """Return the view that shows an object at a good size.

        Views lie on a grid of sizes and places, so that neighbours share them.

        Parameters
        ----------
        box : four floats
            row_min, col_min, row_max, col_max of the object, outermost pixels.
        shape : (int, int)
            Rows and columns of the image.
        image_size : int
            Frame side.
        current : View
            Returned if the object is inside and has a good size there.
        slack : float
            Factor by which it may be smaller or larger than that.
        """
        size = longer_side(box)
        seen = size * image_size / current.side
        if self.least / slack <= seen <= self.most * slack and current.window.holds(box):
            return current
        aim = self.best if seen <= self.most else _BELOW_MOST * self.most
        wanted = max(size * image_size / aim, _LEAST_SPAN)
        # without a pyramid all of it has to be read
        wanted = min(wanted, max(_MOST_FRAMES * image_size, _LEAST_CONTEXT * size))
        return self.near(box, shape, wanted)

    def near(self, box: Sequence[float], shape: tuple[int, int], side: float) -> View:
        """Return the view around a box whose side is near to a given one."""
        centre = ((box[0] + box[2] + 1) / 2, (box[1] + box[3] + 1) / 2)
        # small objects have room on all sides on a coarser grid too
        places = _FEW_PLACES if longer_side(box) * _SMALL <= side else _PLACES
        return _around(centre, side, shape, places)

    def farther(
        self, point: Sequence[float], shape: tuple[int, int], image_size: int, first: View
    ) -> list[View]:
        """Return views to try if masks score low: two and four times as far away.

        Parameters
        ----------
        point : two floats
            (row, column) of the object.
        shape, image_size
            As for `view`.
        first : View
            The first view.
        """
        sides = [factor * first.side for factor in _FARTHER]
        return [_around(point, side, shape) for side in sides if side <= _MOST_FRAMES * image_size]

    def accepts(
        self,
        box: Sequence[float] | None,
        score: float,
        image_size: int,
        view: View,
        before: float,
    ) -> bool:
        """Return whether a mask found from farther away replaces the one found so far.

        Parameters
        ----------
        box : four floats or None
            Of the best mask there.
        score : float
            Its predicted IoU. It is reliable only at the sizes that the model knows, and smaller
            objects would have been found from closer.
        image_size : int
            Frame side.
        view : View
            From where it was seen.
        before : float
            Predicted IoU of the mask found so far.
        """
        if box is None or score <= before:
            return False
        seen = longer_side(box) * image_size / view.side
        return self.best <= seen <= self.most * _SLACK


def longer_side(box: Sequence[float]) -> float:
    """Return the longer side, in pixels, of a box given by its outermost pixels."""
    return max(box[2] - box[0], box[3] - box[1]) + 1


def _around(
    centre: Sequence[float], wanted: float, shape: tuple[int, int], places: float = _PLACES
) -> View:
    side = round(2 ** (round(_STEPS * math.log2(wanted)) / _STEPS))
    window = grid_window(centre, side, shape, places)
    return View(window, side if side > max(window.shape) else None)


def grid_window(
    centre: Sequence[float], side: int, shape: tuple[int, int], places: float
) -> Window:
    """Return the window nearest to a place, of a regular grid of windows over an image.

    Parameters
    ----------
    centre : two floats
        (row, column).
    side : int
        Of a window, cut to the image.
    shape : (int, int)
        Rows and columns of the image.
    places : float
        Windows along their own side: with 2 each covers half of the next.
    """
    starts, lengths = [], []
    for axis in (0, 1):
        length = min(side, shape[axis])
        room = shape[axis] - length
        steps = math.ceil(room * places / side)
        place = 0 if not steps else round((centre[axis] - length / 2) * steps / room)
        starts.append(0 if not steps else round(min(max(place, 0), steps) * room / steps))
        lengths.append(length)
    return Window(starts[0], starts[1], lengths[0], lengths[1])
