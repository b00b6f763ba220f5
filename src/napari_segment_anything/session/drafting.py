"""What can be done to an object in progress: cheap, and always possible to take back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import PlacedMask, Window
from ..engine.planning import choose_window, default_size
from ..errors import PromptError
from . import draft as drafts
from .core import SessionCore
from .draft import Draft
from .objects import Box, Scribble, as_box, as_point, inside
from .regions import drawn_mask, mask_json
from .timing import at_one_time

_ANCESTORS = 8


class Drafting(SessionCore):
    """Prompts of a session; see `Session`."""

    @at_one_time
    def begin(self, plane: Sequence[int] = ()) -> None:
        """Begin an object on a plane; the first prompt does so by itself.

        Raises
        ------
        PromptError
            If the image has no such plane, or another object is in progress.
        """
        where = self.source.check_plane(plane)
        self._require_no_draft()
        after = Draft(where, self._next_revision(), started=self._watch.now())
        self._perform("begin", {"plane": list(where)}, "begin", after)

    @at_one_time
    def begin_batch(
        self,
        plane: Sequence[int] = (),
        points: npt.ArrayLike = (),
        boxes: npt.ArrayLike = (),
    ) -> tuple[int, ...]:
        """Begin many objects at once: each point and each box is one of its own.

        Every further positive prompt is one more object; a negative one belongs to the object
        that is nearest. They are decoded and committed together.

        Parameters
        ----------
        plane : sequence of int
        points : array-like (n, 2)
            (row, column).
        boxes : array-like (m, 4)
            (row_min, col_min, row_max, col_max).

        Returns
        -------
        tuple of int
            Keys of the objects, points first.

        Raises
        ------
        PromptError
            If a prompt lies outside the image, or another object is in progress.
        """
        where = self.source.check_plane(plane)
        self._require_no_draft()
        places = [as_point(point, self.source.shape) for point in _rows(points, 2, "points")]
        frames = [self._clipped(box) for box in _rows(boxes, 4, "boxes")]
        after = Draft(where, self._next_revision(), batch=True, started=self._watch.now())
        for place in places:
            after = drafts.add_point(after, place, True, None)
        for frame in frames:
            after = drafts.set_box(after, frame, None)
        arguments = {
            "plane": list(where),
            "points": [list(place) for place in places],
            "boxes": [list(frame) for frame in frames],
        }
        self._perform("begin_batch", arguments, "begin a batch", after)
        return after.keys

    def add_point(
        self,
        plane: Sequence[int],
        point: npt.ArrayLike,
        positive: bool = True,
        draft: int | None = None,
    ) -> int | None:
        """Add a point to the object in progress.

        Parameters
        ----------
        plane : sequence of int
        point : (row, column)
        positive : bool
            Inside the object, or not.
        draft : int, optional
            Key of the object; by default, in a batch, a positive point is a new object, and
            a negative one belongs to the nearest.

        Returns
        -------
        int or None
            The key of the object that it belongs to.

        Raises
        ------
        PromptError
            If it lies outside the image, or the object in progress is on another plane.
        """
        place = as_point(point, self.source.shape)
        arguments = {"point": list(place), "positive": bool(positive), "draft": draft}
        after = self._change(
            "add_point",
            arguments,
            "add point" if positive else "add negative point",
            lambda item: drafts.add_point(item, place, bool(positive), draft),
            plane,
        )
        return after.key_of(len(after.points) - 1)

    def move_point(self, index: int, point: npt.ArrayLike) -> None:
        """Move a point of the object in progress.

        Parameters
        ----------
        index : int
            In `draft.points`.
        point : (row, column)

        Raises
        ------
        PromptError
            If there is no such point, or it would lie outside the image.
        """
        place = as_point(point, self.source.shape)
        self._change(
            "move_point",
            {"index": int(index), "point": list(place)},
            "move point",
            lambda item: drafts.move_point(item, index, place),
        )

    def remove_point(self, index: int) -> None:
        """Take a point of the object in progress away; `index` is in `draft.points`.

        Raises
        ------
        PromptError
            If there is no such point.
        """
        self._change(
            "remove_point",
            {"index": int(index)},
            "remove point",
            lambda item: drafts.remove_point(item, index),
        )

    def set_box(
        self, plane: Sequence[int], box: npt.ArrayLike | None, draft: int | None = None
    ) -> None:
        """Give the object in progress a box, or take it away with None.

        What reaches over the image's edge is cut off. In a batch, a box is a new object unless
        `draft` says which.

        Raises
        ------
        PromptError
            If the box has no area inside the image.
        """
        frame = None if box is None else self._clipped(box)
        self._change(
            "set_box",
            {"box": None if frame is None else list(frame), "draft": draft},
            "set box" if frame is not None else "remove box",
            lambda item: drafts.set_box(item, frame, draft),
            plane,
        )

    def add_scribble(
        self,
        plane: Sequence[int],
        line: npt.ArrayLike,
        positive: bool = True,
        draft: int | None = None,
    ) -> None:
        """Add a line; the network is given points along it.

        Parameters
        ----------
        plane : sequence of int
        line : array-like (k, 2)
            (row, column) of its vertices; those outside the image are left out.
        positive : bool
            Inside the object, or not.
        draft : int, optional
            As for `add_point`.

        Raises
        ------
        PromptError
            If no vertex lies on the image.
        """
        vertices = [tuple(float(at) for at in row) for row in _rows(line, 2, "a line")]
        shape = self.source.shape
        kept = tuple((row, col) for row, col in vertices if inside((row, col), shape))
        if not kept:
            raise PromptError("the line lies outside the image, or has no point; draw on the image")
        scribble = Scribble(kept, bool(positive))
        self._change(
            "add_scribble",
            {"line": [list(point) for point in kept], "positive": bool(positive), "draft": draft},
            "add scribble",
            lambda item: drafts.add_scribble(item, scribble, draft),
            plane,
        )

    def set_mask(
        self,
        plane: Sequence[int],
        mask: np.ndarray | None,
        window: Window | None = None,
        draft: int | None = None,
    ) -> None:
        """Give the object in progress a region to refine, or take it away with None.

        Parameters
        ----------
        plane : sequence of int
        mask : bool array (height, width), or None
        window : Window, optional
            Where it lies; the whole plane by default.
        draft : int, optional
            As for `set_box`.

        Raises
        ------
        PromptError
            If the mask is empty, not boolean, or does not fit the window.
        """
        region = None if mask is None else self._drawn(mask, window)
        self._change(
            "set_mask",
            {"mask": None if region is None else mask_json(region), "draft": draft},
            "refine region" if region is not None else "remove region",
            lambda item: drafts.set_mask(item, region, draft),
            plane,
        )

    def paint_preview(
        self, mask: np.ndarray, window: Window | None = None, draft: int | None = None
    ) -> None:
        """Replace the mask of the object in progress by one that was drawn by hand.

        It is what a commit takes; another prompt makes it the region to refine.

        Parameters
        ----------
        mask : bool array (height, width)
        window : Window, optional
            Where it lies; the whole plane by default.
        draft : int, optional
            Which object; needed in a batch only.

        Raises
        ------
        PromptError
            If nothing is in progress, or the mask is empty or does not fit.
        """
        if self._draft is None or self._draft.empty:
            raise PromptError("there is no object in progress to paint on")
        if draft is None and self._draft.batch and len(self._draft.keys) > 1:
            raise PromptError("say which object of the batch was painted")
        key = self._draft.keys[0] if draft is None else self._draft.check_key(draft)
        region = self._drawn(mask, window)
        self._change(
            "paint_preview",
            {"mask": mask_json(region), "draft": key},
            "paint on the preview",
            lambda item: drafts.paint(item, region, key),
            decode=False,
        )

    def choose(self, candidate: int | None, draft: int | None = None) -> None:
        """Choose a candidate; None takes the best again.

        Parameters
        ----------
        candidate : int or None
            Index in the preview's scores.
        draft : int, optional
            Which object, the first by default.

        Raises
        ------
        PromptError
            If nothing is in progress, or there is no such candidate.
        """
        if self._draft is None or self._draft.empty:
            raise PromptError("there is no object in progress to choose a mask for")
        key = self._draft.keys[0] if draft is None else self._draft.check_key(draft)
        result = self._results.get(self._draft.revision)
        if candidate is not None:
            decoded = () if result is None else result.objects
            count = next((len(item.masks) for item in decoded if item.key == key), None)
            if candidate < 0 or (count is not None and candidate >= count):
                raise PromptError(f"there is no candidate {candidate}; there are {count or 0}")
        index = None if candidate is None else int(candidate)

        def change(item: Draft) -> Draft:
            return replace(
                item,
                candidates=drafts.assign(item.candidates, key, index),
                painted=drafts.assign(item.painted, key, None),
            )

        self._change(
            "choose", {"candidate": index, "draft": key}, "choose mask", change, decode=False
        )
        self.events.preview_changed.emit()

    def cancel(self) -> None:
        """Drop what is in progress; it can be undone. Does nothing if nothing is."""
        if self._draft is not None:
            self._perform("cancel", {}, "cancel", None)

    @at_one_time
    def _change(
        self,
        kind: str,
        arguments: dict[str, Any],
        description: str,
        change: Callable[[Draft], Draft],
        plane: Sequence[int] | None = None,
        decode: bool = True,
    ) -> Draft:
        """Do something to the draft, which is made if need be."""
        before = self._draft
        if plane is not None:
            where = self.source.check_plane(plane)
            arguments = {"plane": list(where), **arguments}
            if before is None or (before.empty and before.plane != where):
                batch = before is not None and before.batch
                before = Draft(where, 0, batch=batch, started=self._watch.now())
            elif before.plane != where:
                raise PromptError(
                    f"the object in progress lies on plane {before.plane}, not {where}; commit or "
                    "cancel it first"
                )
        if before is None:
            raise PromptError("there is no object in progress")
        if not decode:
            after = change(before)
        else:
            ancestor = (before.revision, before.candidate(0))
            after = change(replace(before, ancestors=(*before.ancestors, ancestor)[-_ANCESTORS:]))
            after = self._planned(before, after)
        self._perform(kind, arguments, description, after)
        return after

    def _planned(self, before: Draft, after: Draft) -> Draft:
        """Return a changed draft with a revision and a window, without choices of old masks."""
        had, has = before.objects(), after.objects()
        kept = tuple(pair for pair in after.candidates if had.get(pair[0]) == has.get(pair[0]))
        window = before.window
        if not after.batch and 0 in has:
            result = self._results.get(before.revision)
            current = result.objects[0].asked if result and result.objects else before.window
            size = default_size(
                self.source.shape, self._predictor.model.image_size, self.window_size
            )
            known = self._embedded(after.plane, has[0])
            window = choose_window(has[0], self.source.shape, size, current, known)
        return replace(
            after,
            revision=self._next_revision(),
            candidates=kept,
            window=self._planned_window(window),
        )

    def _clipped(self, box: npt.ArrayLike) -> Box:
        values = np.asarray(as_box(box))
        rows, cols = self.source.shape
        low = np.array([-0.5, -0.5, -0.5, -0.5])
        high = np.array([rows, cols, rows, cols], np.float64)
        clipped = np.clip(values, low, high)
        if clipped[0] >= min(clipped[2], rows - 0.5) or clipped[1] >= min(clipped[3], cols - 0.5):
            raise PromptError(
                f"the box {tuple(values.tolist())} lies outside the image, whose rows run from 0 "
                f"to {rows - 1} and columns from 0 to {cols - 1}"
            )
        return as_box(clipped)

    def _drawn(self, mask: np.ndarray, window: Window | None) -> PlacedMask:
        whole = Window.full(self.source.shape)
        placed = drawn_mask(mask, whole if window is None else window)
        inner = placed.window.intersection(whole)
        if inner is None:
            raise PromptError("the mask lies outside the image; draw on the image")
        return placed if inner == placed.window else drawn_mask(placed.within(inner), inner)


def _rows(values: npt.ArrayLike, width: int, what: str) -> list[Any]:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{what} must be numbers: {error}") from error
    if array.size == 0:
        return []
    array = np.atleast_2d(array)
    if array.ndim != 2 or array.shape[1] != width or not np.isfinite(array).all():
        raise PromptError(f"{what}: an array (n, {width}) of finite numbers, not {array.shape}")
    return list(array)
