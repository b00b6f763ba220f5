"""Actions for annotating a series: suggestions that are taken, classes, objects cut by a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.ndimage import binary_dilation, distance_transform_edt, label

from ..engine import PlacedMask, Window
from ..errors import PromptError
from .draft_actions import begun, on_image
from .label_edits import LabelEdit
from .object_actions import counted_objects, editable, prompts_in, write
from .objects import DraftPoint, ObjectPrompts, SessionObject, SuggestedMask, require_inside
from .schema import Label, Line, Number, Plane, Point, Text
from .state import Action, Change, SessionEvents, SessionState


@dataclass(frozen=True, slots=True)
class AddKnown(Action):
    """Note objects that the labels hold from before the session, with their prompts."""

    do: ClassVar[str] = "add_known"
    in_history: ClassVar[bool] = False
    objects: tuple[SessionObject, ...]

    def settle(self, state: SessionState) -> None:
        state.objects.items.update({item.id: item for item in self.objects if item.id is not None})

    def announce(self, events: SessionEvents) -> None:
        events.objects_changed.emit(tuple(item.id for item in self.objects))


@dataclass(frozen=True, slots=True)
class TakeUp(Action):
    """Begin an object with the mask of a suggestion, which further prompts refine.

    The point that was clicked is a prompt of the object: with a mask and an error alone, the
    network often loses the object.
    """

    do: ClassVar[str] = "take_up"
    says: ClassVar[str] = "take up a suggestion"
    plane: Plane
    suggestion: SuggestedMask
    point: Point | None = None

    def plan(self, state: SessionState) -> Change:
        mask = on_image(self.suggestion.mask, state.source.shape)
        clicked = () if self.point is None else (self.point,)
        for point in clicked:
            require_inside(point, state.source.shape)
        prompts = ObjectPrompts(clicked, (True,) * len(clicked), mask=mask)
        after = replace(
            begun(state, self.plane, batch=False),
            points=tuple(DraftPoint(point, True, 0) for point in clicked),
            painted=((0, mask),),
            window=state.chain.window_of(self.plane, prompts),
            suggested=replace(self.suggestion, mask=mask),
            next_key=1,
        )
        return Change(self.describe(), state.draft, after)


@dataclass(frozen=True, slots=True)
class TakeSuggestions(Action):
    """Make objects of suggestions as they are. The better one gets the pixels of both.

    Parameters
    ----------
    plane : tuple of int
    suggestions : tuple of SuggestedMask
        Those without a free pixel are left out.
    class_name : str
    fingerprint : str
        Of the model that made them.
    seconds : float
        Spent on all of them.
    """

    do: ClassVar[str] = "take_suggestions"
    edits: ClassVar[bool] = True
    plane: Plane
    suggestions: Annotated[tuple[SuggestedMask, ...], Field(min_length=1)]
    class_name: Text = ""
    fingerprint: Text = ""
    seconds: Number = 0.0

    def describe(self, edit: LabelEdit | None = None) -> str:
        return counted_objects("take", () if edit is None else edit.written)

    def plan(self, state: SessionState) -> Change:
        state.require_no_draft()
        each = round(self.seconds / len(self.suggestions), 6)
        masks = []
        for item in self.suggestions:
            made = SessionObject(
                None,
                self.plane,
                score=item.score,
                fingerprint=self.fingerprint,
                seconds=each,
                class_name=self.class_name,
                made_by="suggestion",
                suggestion=item.number,
            )
            masks.append((on_image(item.mask, state.source.shape), made))
        plan = state.objects.plan()
        write(plan, self.plane, masks, None, None)
        return self.after(state, plan.edit())


@dataclass(frozen=True, slots=True)
class Classify(Action):
    """Give objects a class; the empty one takes it away."""

    do: ClassVar[str] = "classify"
    edits: ClassVar[bool] = True
    ids: tuple[Label, ...]
    class_name: Text

    def describe(self, edit: LabelEdit | None = None) -> str:
        return f"{counted_objects('classify', self.ids)} as {self.class_name or 'nothing'}"

    def plan(self, state: SessionState) -> Change:
        plan = editable(state, self.ids)
        for number in self.ids:
            plan.require(number)
            plane = state.objects.plane_of(number, None, "classified")
            item = plan.objects.get(number, SessionObject(number, plane))
            plan.set(number, replace(item, class_name=self.class_name))
        return self.after(state, plan.edit())


@dataclass(frozen=True, slots=True)
class Cut(Action):
    """Split an object along a line that runs right across it.

    The largest piece keeps the label and the prompts that lie in it.
    """

    do: ClassVar[str] = "cut"
    says: ClassVar[str] = "split object {0.label}"
    edits: ClassVar[bool] = True
    label: Label
    line: Line
    plane: Plane | None

    def plan(self, state: SessionState) -> Change:
        plan = editable(state, [self.label])
        plane = state.objects.plane_of(self.label, self.plane, "split")
        plan.require(self.label, plane)
        found = plan.mask(self.label, plane)
        pieces = None if found is None else pieces_along(found, self.line)
        if found is None or pieces is None:
            raise PromptError(
                f"the line does not divide object {self.label}; draw it right across the object"
            )
        labels = plan.read(plane, found.window)
        item = plan.objects.get(self.label, SessionObject(self.label, plane))
        plain = replace(item.changed_by_hand, candidate=None, scores=(), score=None)
        plan.set(
            self.label, replace(plain, prompts=prompts_in(item.prompts, found.window, pieces == 1))
        )
        for number in range(2, int(pieces.max()) + 1):
            new, here = plan.new_id(), pieces == number
            labels[here] = new
            own = prompts_in(item.prompts, found.window, here)
            plan.set(new, replace(plain, id=new, prompts=own, plane=plane, seconds=0.0))
        plan.put(plane, found.window, labels)
        return self.after(state, plan.edit())


def line_pixels(line: npt.ArrayLike, window: Window) -> np.ndarray:
    """Draw a line of (row, column) vertices: bool (height, width) of a window.

    Neighbouring pixels share an edge or a corner, so that a line separates what lies on its two
    sides as regions whose pixels share edges.
    """
    drawn = np.zeros(window.shape, bool)
    vertices = np.asarray(line, np.float64)
    for first, second in pairwise(vertices):
        steps = int(np.ceil(np.abs(second - first).max())) + 1
        along = np.linspace(first, second, steps + 1)
        rows, cols = np.floor(along + 0.5).astype(int).T - [[window.row], [window.col]]
        here = (rows >= 0) & (rows < window.height) & (cols >= 0) & (cols < window.width)
        drawn[rows[here], cols[here]] = True
    return drawn


def pieces_along(mask: PlacedMask, line: Sequence[Point]) -> np.ndarray | None:
    """Divide a mask along a line.

    Parameters
    ----------
    mask : PlacedMask
    line : sequence of (row, column)

    Returns
    -------
    int array (height, width) or None
        Of the mask's window: 0 outside, then pieces from 1, the largest first. Parts that the line
        does not touch stay with the first. None if the line does not divide the mask.
    """
    inside = mask.mask
    cut = line_pixels(line, mask.window) & inside
    parts, count = label(inside & ~cut)
    beside = np.unique(parts[binary_dilation(cut, np.ones((3, 3), bool))])
    beside = beside[beside > 0]
    if len(beside) < 2:
        return None
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    order = beside[np.argsort(-sizes[beside], kind="stable")]
    number = np.ones(count + 1, np.int32)
    number[0] = 0
    number[order] = np.arange(1, len(order) + 1)
    pieces = number[parts]
    nearest = distance_transform_edt(pieces == 0, return_distances=False, return_indices=True)
    pieces[cut] = pieces[tuple(nearest[:, cut])]
    return pieces
