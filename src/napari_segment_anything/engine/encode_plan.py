"""Which windows and views of an image are encoded for prompts.

A view shows a window at a scale: closer where the object is small, from farther away where it is
large.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import ParameterError
from .ask import Ask, bounding_box
from .windows import PlacedMask, Window

WHOLE_FRAMES = 2
"""An image up to this many frames wide is encoded whole."""
MARGIN = 8
"""A known window is taken for prompts at least this part of its side away from its edges."""
_CONTEXT = 1.5
"""A window is at least so many times as wide as its prompts."""
_PLACES = 4 / 3
"""Windows of the grid along a window's side."""
_SMALL = 8
"""Prompts up to this part of a window's side take a window of the grid, which neighbours share."""
_KEEP = 16
"""A window is kept while prompts lie at least this part of its side away from its edges."""
_TOUCH = 64
"""A mask is cut off if it has this part of the window's side in pixels at its edges."""
_STEADY = 1.5
"""Slack for an object that was seen before: small changes of its size do not change the view."""

# Views
_STEPS = 2
"""Sizes of views within a factor of two."""
_VIEW_PLACES = 4
"""Views of the grid along a view's side; fewer for small objects."""
_FEW_PLACES = 2
_SMALL_IN_VIEW = 4
"""An object is small in a view if its side is at most this part of the view's."""
_LEAST_SPAN = 32
_MOST_FRAMES = 16
_LEAST_CONTEXT = 2
_FARTHER = (2, 4)
_SLACK = 1.5
_BELOW_MOST = 0.8
"""Part of `Focus.most` to aim at for objects that are too large."""

# Windows of objects that are followed from plane to plane
_FOLLOWED_FRAMES = 1.25
_FOLLOWED_CONTEXT = 1.6
_FOLLOWED_PLACES = 3


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
        return max(self.span or 0, self.window.height, self.window.width)


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


@dataclass(frozen=True, slots=True)
class EncodePlan:
    """Chooses the windows and views of an image to encode for one model.

    An object's windows and views depend on the image and its own prompts, and lie on grids, so
    that neighbours and further clicks share them.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image.
    image_size : int
        The model's frame side in pixels.
    focus : Focus, optional
        Sizes at which the model segments objects well; without it, and with `window_size`, views
        are plain windows.
    window_size : int, optional
        Side of a window in full-resolution pixels; by default the whole image up to two frames,
        else one frame.

    Raises
    ------
    ParameterError
        If `window_size` is below 1.
    """

    shape: tuple[int, int]
    image_size: int
    focus: Focus | None = None
    window_size: int | None = None
    size: int = field(init=False)
    """Side of a window, in full-resolution pixels."""

    def __post_init__(self) -> None:
        size, longest = self.window_size, max(self.shape)
        if size is not None and size < 1:
            raise ParameterError(f"window_size is at least 1 pixel, not {size}")
        if size is None:
            whole = longest <= WHOLE_FRAMES * self.image_size
            size = longest if whole else self.image_size
        else:
            object.__setattr__(self, "focus", None)
        object.__setattr__(self, "size", int(size))

    # -- windows ---------------------------------------------------------------------------------

    def window(
        self, ask: Ask, current: Window | None = None, known: Iterable[Window] = ()
    ) -> Window:
        """Choose the window to decode an object in first.

        In this order: its current window, while every prompt is inside and not close to its edge;
        a window of `known` with the prompts well inside; the nearest window of a grid; a window
        around the prompts, larger than `size` if necessary.

        Parameters
        ----------
        ask : Ask
        current : Window, optional
            The object's window so far.
        known : iterable of Window
            Windows encoded before.
        """
        if self.size >= max(self.shape):
            return Window.full(self.shape)
        extent = ask.extent()
        needed = longer_side(extent)
        if current is not None and self._room(extent, current) >= max(current.shape) / _KEEP:
            return current
        fitting = [
            (self._room(extent, window), -index, window)
            for index, window in enumerate(known)
            if max(window.shape) >= needed * _CONTEXT or window.shape == self.shape
        ]
        good = [item for item in fitting if item[0] >= max(item[2].shape) / MARGIN]
        if good:
            return max(good, key=lambda item: item[:2])[2]
        side = max(self.size, math.ceil(needed * _CONTEXT))
        centre = ((extent[0] + extent[2]) / 2, (extent[1] + extent[3]) / 2)
        if needed * _SMALL <= side:
            return grid_window(centre, side, self.shape, _PLACES)
        return Window.around(centre, self.shape, side)

    def first_window(self, ask: Ask) -> Window:
        """Return the window to decode an object in first: its own, or the one of `window`."""
        if ask.text is not None and not ask.located:
            return Window.full(self.shape)
        return self.window(ask) if ask.window is None else ask.window

    def wider(self, mask: PlacedMask, window: Window, ask: Ask) -> Window | None:
        """Return a window of twice the side for a mask that is cut off by its window.

        Parameters
        ----------
        mask : PlacedMask
        window : Window
            In which it was decoded.
        ask : Ask
            Its prompts are kept inside.

        Returns
        -------
        Window or None
            None if the mask is not cut off.
        """
        if window.shape == tuple(self.shape):
            return None
        longest = max(window.shape)
        seen = mask.within(window)
        cuts = (
            (window.row > 0, seen[0]),
            (window.col > 0, seen[:, 0]),
            (window.row + window.height < self.shape[0], seen[-1]),
            (window.col + window.width < self.shape[1], seen[:, -1]),
        )  # the window's edges that are not the image's
        touching = sum(int(np.count_nonzero(line)) for cut, line in cuts if cut)
        if touching < max(3, longest // _TOUCH):
            return None
        box = bounding_box(np.array(ask.extent()), np.array(mask.window.box))
        centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        return Window.around(centre, self.shape, 2 * longest)

    # -- views -----------------------------------------------------------------------------------

    def first_view(self, ask: Ask) -> View:
        """Return the view to decode first: that of its logits, or one that suits its box."""
        if ask.feed_view is not None:
            return ask.feed_view
        whole = View(self.first_window(ask))
        return whole if ask.box is None else self.better_view(ask, ask.box, whole)

    def better_view(self, ask: Ask, box: Sequence[float], current: View) -> View:
        """Return the view in which an object has a good size: `current`, if it has there.

        Parameters
        ----------
        ask : Ask
        box : four floats
            row_min, col_min, row_max, col_max of the object, or of an estimate of it.
        current : View
            The view so far.
        """
        if self.focus is None:
            return current
        # a box gives the size exactly; after a mask, small differences do not change the view
        slack = 1.0 if ask.feed is None or ask.box is not None else _STEADY
        around = bounding_box(np.array(box), ask.positive, ask.drawn)
        return self.suited(around, current, slack)

    def suited(self, box: Sequence[float], current: View, slack: float = 1.0) -> View:
        """Return a view that shows an object at a good size.

        Views lie on a grid of sizes and places, so that neighbours share them.

        Parameters
        ----------
        box : four floats
            row_min, col_min, row_max, col_max of the object, outermost pixels.
        current : View
            Returned if the object is inside and has a good size there, or without a focus.
        slack : float
            Factor by which it may be smaller or larger than that.
        """
        focus, frame = self.focus, self.image_size
        if focus is None:
            return current
        size = longer_side(box)
        seen = size * frame / current.side
        if focus.least / slack <= seen <= focus.most * slack and current.window.holds(box):
            return current
        aim = focus.best if seen <= focus.most else _BELOW_MOST * focus.most
        wanted = max(size * frame / aim, _LEAST_SPAN)
        # without a pyramid all of it has to be read
        return self._near(box, min(wanted, max(_MOST_FRAMES * frame, _LEAST_CONTEXT * size)))

    def _near(self, box: Sequence[float], side: float) -> View:
        """Return the view around a box whose side is near to a given one."""
        centre = ((box[0] + box[2] + 1) / 2, (box[1] + box[3] + 1) / 2)
        # small objects have room on all sides on a coarser grid too
        few = longer_side(box) * _SMALL_IN_VIEW <= side
        return self._around(centre, side, _FEW_PLACES if few else _VIEW_PLACES)

    def _around(self, centre: Sequence[float], wanted: float, places: int) -> View:
        side = round(2 ** (round(_STEPS * math.log2(wanted)) / _STEPS))
        window = grid_window(centre, side, self.shape, places)
        return View(window, side if side > max(window.shape) else None)

    def farther_views(self, ask: Ask) -> list[View]:
        """Return views to try, in this order, if the masks for points alone score low.

        They are two and four times as far away as the first one.
        """
        if self.focus is None:
            return []
        place, first = ask.positive.mean(axis=0), View(self.first_window(ask)).side
        sides = [factor * first for factor in _FARTHER]
        views = [
            self._around(place, side, _VIEW_PLACES)
            for side in sides
            if side <= _MOST_FRAMES * self.image_size
        ]
        corners = bounding_box(ask.positive, ask.drawn)
        return [view for view in views if ask.fits(view.window) and view.window.holds(corners)]

    def accepts_farther(self, mask: PlacedMask, score: float, view: View, before: float) -> bool:
        """Return whether a mask found from farther away replaces the one found so far.

        Parameters
        ----------
        mask : PlacedMask
            The best one there.
        score : float
            Its predicted IoU. It is reliable only at the sizes that the model knows, and smaller
            objects would have been found from closer.
        view : View
            From where it was seen.
        before : float
            Predicted IoU of the mask found so far.
        """
        if self.focus is None or mask.empty or score <= before:
            return False
        seen = longer_side(mask.window.box) * self.image_size / view.side
        return self.focus.best <= seen <= self.focus.most * _SLACK

    def followed_view(self, box: Sequence[float], prompted: Sequence[float] | None = None) -> View:
        """Return the view for an object that is followed from plane to plane.

        It keeps roughly the size in the frame that it has on the plane with its prompts, because
        its appearance there is compared with that on other planes.

        Parameters
        ----------
        box : four floats
            Of the object, on the plane before.
        prompted : four floats, optional
            Of the object, on the plane with its prompts.
        """
        base = View(self._followed_window(box))
        if self.focus is None or prompted is None:
            return self.suited(box, base)
        first, current = self.followed_view(prompted), base
        if first.side != base.side and first != View(Window.full(self.shape)):
            current = self._near(box, first.side)
        return self.suited(box, current, _STEADY)

    def _followed_window(self, box: Sequence[float]) -> Window:
        """Return a window of a grid; a third of a window apart, so that it rarely changes."""
        side, needed = self.window_size or self.image_size, _FOLLOWED_CONTEXT * longer_side(box)
        while side < needed:
            side *= 2
        if max(self.shape) <= _FOLLOWED_FRAMES * side:
            return Window.full(self.shape)
        centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        return grid_window(centre, side, self.shape, _FOLLOWED_PLACES)

    def _room(self, extent: Sequence[float], window: Window) -> float:
        """Return pixels between prompts and the window's edges that are not the image's."""
        room = math.inf
        ends = (window.row + window.height, window.col + window.width)
        for axis, start in enumerate((window.row, window.col)):
            before, after = extent[axis] - start, ends[axis] - 1 - extent[axis + 2]
            if before < -0.5 or after < -1.0:
                return -math.inf
            if start > 0:
                room = min(room, before)
            if ends[axis] < self.shape[axis]:
                room = min(room, after)
        return room


def longer_side(box: Sequence[float]) -> float:
    """Return the longer side, in pixels, of a box given by its outermost pixels."""
    return max(box[2] - box[0], box[3] - box[1]) + 1


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
