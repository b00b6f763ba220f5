"""Actions on the object in progress; each makes a new draft of the old one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from ..engine import PlacedMask, Window
from ..errors import PromptError
from .label_edits import LabelEdit
from .objects import (
    Draft,
    DraftPoint,
    Scribble,
    as_box,
    assign,
    drawn_mask,
    inside,
    lookup,
    require_inside,
)
from .schema import Box, Index, Label, Line, Plane, Point, RecordedMask
from .state import Action, Change, SessionState

_ANCESTORS = 8


@dataclass(frozen=True, slots=True)
class Begin(Action):
    """Begin an object on a plane."""

    do: ClassVar[str] = "begin"
    plane: Plane

    def plan(self, state: SessionState) -> Change:
        return Change(self.describe(), state.draft, begun(state, self.plane, batch=False))


@dataclass(frozen=True, slots=True)
class BeginBatch(Action):
    """Begin a batch: each point and each box is a separate object."""

    do: ClassVar[str] = "begin_batch"
    says: ClassVar[str] = "begin a batch"
    plane: Plane
    points: tuple[Point, ...]
    boxes: tuple[Box, ...]

    def plan(self, state: SessionState) -> Change:
        after = begun(state, self.plane, batch=True)
        for point in self.points:
            require_inside(point, state.source.shape)
            after = _with_point(after, point, True, None)
        for box in self.boxes:
            after = _with_box(after, _clipped(box, state.source.shape), None)
        return Change(self.describe(), state.draft, after)


@dataclass(frozen=True, slots=True)
class AddPoint(Action):
    """Add a point, inside the object or not."""

    do: ClassVar[str] = "add_point"
    plane: Plane
    point: Point
    positive: bool
    draft: Index | None

    def describe(self, edit: LabelEdit | None = None) -> str:
        return "add point" if self.positive else "add negative point"

    def plan(self, state: SessionState) -> Change:
        require_inside(self.point, state.source.shape)
        change = partial(_with_point, point=self.point, positive=self.positive, key=self.draft)
        return _prompted(self, state, change, self.plane)


@dataclass(frozen=True, slots=True)
class MovePoint(Action):
    """Move a point. Earlier masks belong to another place and are not refined any more."""

    do: ClassVar[str] = "move_point"
    index: Index
    point: Point

    def plan(self, state: SessionState) -> Change:
        require_inside(self.point, state.source.shape)

        def change(draft: Draft) -> Draft:
            points = list(draft.points)
            old = points[draft.check_index(self.index)]
            points[self.index] = replace(old, position=self.point)
            return replace(draft, points=tuple(points), ancestors=()).unpainted(old.key)

        return _prompted(self, state, change)


@dataclass(frozen=True, slots=True)
class RemovePoint(Action):
    """Remove a point."""

    do: ClassVar[str] = "remove_point"
    index: Index

    def plan(self, state: SessionState) -> Change:
        def change(draft: Draft) -> Draft:
            index = draft.check_index(self.index)
            points = draft.points[:index] + draft.points[index + 1 :]
            key = draft.points[index].key
            return replace(draft, points=points, ancestors=()).unpainted(key)

        return _prompted(self, state, change)


@dataclass(frozen=True, slots=True)
class SetBox(Action):
    """Give the object in progress a box, or remove it with None."""

    do: ClassVar[str] = "set_box"
    plane: Plane
    box: Box | None
    draft: Index | None

    def describe(self, edit: LabelEdit | None = None) -> str:
        return "remove box" if self.box is None else "set box"

    def plan(self, state: SessionState) -> Change:
        box = None if self.box is None else _clipped(self.box, state.source.shape)
        return _prompted(self, state, partial(_with_box, box=box, key=self.draft), self.plane)


@dataclass(frozen=True, slots=True)
class AddScribble(Action):
    """Add a line, inside the object or not; vertices outside the image are left out."""

    do: ClassVar[str] = "add_scribble"
    plane: Plane
    line: Line
    positive: bool
    draft: Index | None

    def plan(self, state: SessionState) -> Change:
        line = tuple(point for point in self.line if inside(point, state.source.shape))
        if not line:
            raise PromptError("the line lies outside the image, or has no point; draw on the image")

        def change(draft: Draft) -> Draft:
            draft, key = draft.key_for(self.draft, self.positive)
            scribbles = (*draft.scribbles, (key, Scribble(line, self.positive)))
            return replace(draft, scribbles=scribbles).unpainted(key)

        return _prompted(self, state, change, self.plane)


@dataclass(frozen=True, slots=True)
class SetMask(Action):
    """Give the object in progress a region to refine, or remove it with None."""

    do: ClassVar[str] = "set_mask"
    plane: Plane
    mask: RecordedMask | None
    draft: Index | None

    def describe(self, edit: LabelEdit | None = None) -> str:
        return "remove region" if self.mask is None else "refine region"

    def plan(self, state: SessionState) -> Change:
        mask = None if self.mask is None else on_image(self.mask, state.source.shape)

        def change(draft: Draft) -> Draft:
            draft, key = draft.key_for(self.draft)
            masks, painted = (
                assign(pairs, key or 0, value)
                for pairs, value in ((draft.masks, mask), (draft.painted, None))
            )
            return replace(draft, masks=masks, painted=painted, ancestors=())

        return _prompted(self, state, change, self.plane)


@dataclass(frozen=True, slots=True)
class PaintPreview(Action):
    """Replace the mask of an object in progress by one that was drawn by hand."""

    do: ClassVar[str] = "paint_preview"
    says: ClassVar[str] = "paint on the preview"
    mask: RecordedMask
    draft: Index | None

    def plan(self, state: SessionState) -> Change:
        before = state.require_draft("to paint on")
        if self.draft is None and before.batch and len(before.keys) > 1:
            raise PromptError("say which object of the batch was painted")
        mask = on_image(self.mask, state.source.shape)
        painted = assign(before.painted, before.key_or_first(self.draft), mask)
        return Change(self.describe(), before, replace(before, painted=painted, ancestors=()))


@dataclass(frozen=True, slots=True)
class Choose(Action):
    """Choose a candidate of an object in progress; None takes the best again."""

    do: ClassVar[str] = "choose"
    says: ClassVar[str] = "choose mask"
    candidate: Index | None
    draft: Index | None

    def plan(self, state: SessionState) -> Change:
        before = state.require_draft("to choose a mask for")
        key = before.key_or_first(self.draft)
        if self.candidate is not None:
            result = state.chain.results.get(before.revision)
            decoded = () if result is None else result.objects
            count = next((len(item.masks) for item in decoded if item.key == key), None)
            if self.candidate < 0 or (count is not None and self.candidate >= count):
                raise PromptError(f"there is no candidate {self.candidate}; there are {count or 0}")
        after = replace(
            before,
            candidates=assign(before.candidates, key, self.candidate),
            painted=assign(before.painted, key, None),
        )
        return Change(self.describe(), before, after)


@dataclass(frozen=True, slots=True)
class Cancel(Action):
    """Drop the object in progress."""

    do: ClassVar[str] = "cancel"

    def plan(self, state: SessionState) -> Change:
        return Change(self.describe(), state.draft, None)


@dataclass(frozen=True, slots=True)
class EditObject(Action):
    """Edit the prompts of a committed object.

    For an object without positive prompts, `mask` are its pixels, the region to refine.
    """

    do: ClassVar[str] = "edit"
    says: ClassVar[str] = "edit object {0.id}"
    id: Label
    plane: Plane
    mask: RecordedMask | None

    def plan(self, state: SessionState) -> Change:
        item = state.objects.on_plane(self.id, self.plane)
        prompts = item.prompts if self.mask is None else replace(item.prompts, mask=self.mask)
        after = Draft(
            item.plane,
            next(state.chain.revisions),
            points=tuple(
                DraftPoint(point, label, 0)
                for point, label in zip(prompts.points, prompts.labels, strict=True)
            ),
            boxes=() if prompts.box is None else ((0, prompts.box),),
            masks=() if prompts.mask is None else ((0, prompts.mask),),
            scribbles=tuple((0, scribble) for scribble in prompts.scribbles),
            candidates=() if item.candidate is None else ((0, item.candidate),),
            editing=item.id,
            window=state.chain.window_of(item.plane, prompts),
            seconds=item.seconds,
            started=state.watch.now(),
            next_key=1,
        )
        return Change(self.describe(), state.draft, after)


def on_image(mask: PlacedMask, shape: tuple[int, int]) -> PlacedMask:
    """Return the part of a mask that lies on an image of shape (rows, columns).

    Raises
    ------
    PromptError
        If there is none.
    """
    inner = mask.window.intersection(Window.full(shape))
    if inner is None:
        raise PromptError("the mask lies outside the image; draw on the image")
    return mask if inner == mask.window else drawn_mask(mask.within(inner), inner)


def begun(state: SessionState, plane: Plane, batch: bool) -> Draft:
    """Return a new draft; raise a `PromptError` if another is in progress."""
    state.require_no_draft()
    revision = next(state.chain.revisions)
    return Draft(plane, revision, batch=batch, started=state.watch.now())


def _prompted(
    action: Action,
    state: SessionState,
    change: Callable[[Draft], Draft],
    plane: Plane | None = None,
) -> Change:
    """Change prompts of the draft; make one on `plane` if there is none."""
    before = state.draft
    if plane is not None:
        if before is None or (before.plane != plane and before.empty):
            batch = before is not None and before.batch
            before = Draft(plane, 0, batch=batch, started=state.watch.now())
        elif before.plane != plane:
            raise PromptError(
                f"the object in progress lies on plane {before.plane}, not {plane}; commit or "
                "cancel it first"
            )
    if before is None:
        raise PromptError("there is no object in progress")
    ancestor = (before.revision, lookup(before.candidates, 0))
    after = change(replace(before, ancestors=(*before.ancestors, ancestor)[-_ANCESTORS:]))
    had, has = before.prompts, after.prompts
    after = replace(
        after,
        revision=next(state.chain.revisions),
        # a choice among old masks is not valid for new ones
        candidates=tuple(pair for pair in after.candidates if had.get(pair[0]) == has.get(pair[0])),
        window=state.chain.next_window(before, after),
    )
    return Change(action.describe(), state.draft, after)


def _with_point(draft: Draft, point: Point, positive: bool, key: int | None) -> Draft:
    draft, key = draft.key_for(key, positive)
    points = (*draft.points, DraftPoint(point, positive, key))
    return replace(draft, points=points).unpainted(key)


def _with_box(draft: Draft, box: Box | None, key: int | None) -> Draft:
    if box is None and key is None and draft.batch:
        raise PromptError("say which object's box to remove")
    draft, key = draft.key_for(key)
    number = key or 0
    ancestors = draft.ancestors if lookup(draft.boxes, number) is None else ()
    boxes = assign(draft.boxes, number, box)
    return replace(draft, boxes=boxes, ancestors=ancestors).unpainted(key)


def _clipped(box: Box, shape: tuple[int, int]) -> Box:
    """Return the part of a box that lies on an image of shape (rows, columns)."""
    rows, cols = shape
    low, high = np.full(4, -0.5), np.array([rows, cols, rows, cols], np.float64)
    clipped = np.clip(as_box(box), low, high)
    if clipped[0] >= min(clipped[2], rows - 0.5) or clipped[1] >= min(clipped[3], cols - 0.5):
        raise PromptError(
            f"the box {tuple(box)} lies outside the image, whose rows run from 0 to {rows - 1} "
            f"and columns from 0 to {cols - 1}"
        )
    return as_box(clipped)
