"""Actions on committed objects: each plans an edit of labels and objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..engine import PlacedMask, Window
from ..errors import ParameterError, PromptError
from .draft_actions import on_image
from .label_edits import LabelEdit, LabelPatch, LabelPlan, clusters
from .objects import ObjectPrompts, SessionObject, SuggestedMask, lookup
from .schema import Label, Plane, Point, RecordedMask, Text
from .state import Action, Change, SessionState
from .target import check_id


@dataclass(frozen=True, slots=True)
class Commit(Action):
    """Write the object in progress to the labels, or all of a batch."""

    do: ClassVar[str] = "commit"
    edits: ClassVar[bool] = True
    class_name: Text = ""

    def describe(self, edit: LabelEdit | None = None) -> str:
        return counted_objects(self.do, () if edit is None else edit.written)

    def plan(self, state: SessionState) -> Change:
        draft = state.require_draft("to commit")
        preview = state.chain.preview(draft)
        prompts = draft.prompts
        if preview is None:
            raise PromptError(
                "the mask is not there yet: call update() or wait for it"
                if any(item.decodable for item in prompts.values())
                else "there are negative prompts only; add a positive point, a box or a mask"
            )
        seconds = round(state.spent(draft) / len(preview.objects), 6)
        edited = state.objects.items.get(draft.editing or 0)
        masks = []
        for item in preview.objects:
            painted, own = lookup(draft.painted, item.key), prompts[item.key]
            made = SessionObject(
                None,
                draft.plane,
                own if painted is None else replace(own, mask=painted),
                lookup(draft.candidates, item.key),
                item.decoded.scores if painted is None else (),
                item.score,
                state.chain.predictor.model.fingerprint,
                seconds,
            )
            made = _with_origin(made, edited, draft.suggested, painted, self.class_name)
            masks.append((item.mask, made))
        plan = state.objects.plan()
        kept = state.objects.locked if state.chain.settings.overwrite else None
        write(plan, draft.plane, masks, draft.editing, kept)
        return self.after(state, plan.edit())

    def after(self, state: SessionState, edit: LabelEdit) -> Change:
        return Change(self.describe(edit), state.draft, None, edit)


@dataclass(frozen=True, slots=True)
class Delete(Action):
    """Delete objects, also such that are older than the session; on one plane only, if given."""

    do: ClassVar[str] = "delete"
    edits: ClassVar[bool] = True
    ids: tuple[Label, ...]
    plane: Plane | None

    def describe(self, edit: LabelEdit | None = None) -> str:
        return counted_objects(self.do, self.ids)

    def plan(self, state: SessionState) -> Change:
        plan = editable(state, self.ids)
        for label in self.ids:
            if not plan.replace(label, 0, self.plane) and label not in plan.objects:
                raise PromptError(f"there is no object {label}")
            _drop(plan, label, self.plane)
        return self.after(state, plan.edit())


@dataclass(frozen=True, slots=True)
class Merge(Action):
    """Merge objects into the first, which gets the prompts of all."""

    do: ClassVar[str] = "merge"
    edits: ClassVar[bool] = True
    ids: tuple[Label, ...]
    plane: Plane | None

    def describe(self, edit: LabelEdit | None = None) -> str:
        return counted_objects(self.do, self.ids)

    def plan(self, state: SessionState) -> Change:
        plan = editable(state, self.ids)
        first, *others = dict.fromkeys(self.ids) or [0]
        if not others:
            raise PromptError("merging takes at least two objects")
        plan.require(first, self.plane)
        kept = plan.objects.get(first)
        for label in others:
            if not plan.replace(label, first, self.plane):
                raise PromptError(f"there is no object {label}")
            other = _drop(plan, label, self.plane)
            if other is not None:
                kept = other if kept is None else _joined(kept, other)
        if kept is not None:
            plan.set(first, replace(kept.changed_by_hand, id=first))
        return self.after(state, plan.edit())


@dataclass(frozen=True, slots=True)
class SplitOff(Action):
    """Make the part of an object that lies in a region a new object."""

    do: ClassVar[str] = "split_off"
    says: ClassVar[str] = "split object {0.label}"
    edits: ClassVar[bool] = True
    label: Label
    mask: RecordedMask
    plane: Plane | None

    def plan(self, state: SessionState) -> Change:
        plan = editable(state, [self.label])
        plane = state.objects.plane_of(self.label, self.plane, "split")
        mask = on_image(self.mask, state.source.shape)
        plan.require(self.label, plane)
        new = plan.new_id()
        labels = plan.read(plane, mask.window)
        part = mask.mask & (labels == self.label)
        if not part.any():
            raise PromptError(f"the region holds no pixel of object {self.label}")
        labels[part] = new
        plan.put(plane, mask.window, labels)
        if not plan.occurs(self.label):
            raise PromptError(
                f"the region holds all of object {self.label}; nothing would be left of it"
            )
        item = plan.objects.get(self.label)
        if item is None:
            plan.set(new, SessionObject(new, plane))
        else:
            plain = replace(item.changed_by_hand, candidate=None, scores=(), score=None)
            rest, taken = (
                prompts_in(item.prompts, mask.window, part, side) for side in (False, True)
            )
            plan.set(self.label, replace(plain, prompts=rest))
            plan.set(new, replace(plain, id=new, prompts=taken, plane=plane, seconds=0.0))
        return self.after(state, plan.edit())


@dataclass(frozen=True, slots=True)
class Relabel(Action):
    """Give an object another label."""

    do: ClassVar[str] = "relabel"
    says: ClassVar[str] = "relabel object {0.label} to {0.new}"
    edits: ClassVar[bool] = True
    label: Label
    new: Label
    plane: Plane | None

    def plan(self, state: SessionState) -> Change:
        plan = editable(state, [self.label])
        check_id(plan.target, self.new)
        if self.new == self.label:
            raise PromptError(f"object {self.label} has this label already")
        if self.new in plan.objects or plan.occurs(self.new):
            raise PromptError(f"label {self.new} is in use; merge the two, or choose another one")
        if not plan.replace(self.label, self.new, self.plane):
            raise PromptError(f"there is no object {self.label}")
        item = _drop(plan, self.label, self.plane)
        if item is not None:
            plan.set(self.new, replace(item, id=self.new))
        plan.next_id = max(plan.next_id, self.new + 1)
        return self.after(state, plan.edit())


@dataclass(frozen=True, slots=True)
class Paint(Action):
    """Add a brush stroke, whether or not the labels hold it already.

    A journal records only its edit.
    """

    do: ClassVar[str] = "paint"
    edits: ClassVar[bool] = True
    patch: Annotated[LabelPatch | None, Field(exclude=True)] = None

    def plan(self, state: SessionState) -> Change:
        patch = self.patch
        if patch is None:
            raise PromptError("nothing was painted")
        plan = state.objects.plan()
        plan.add(patch)
        before, after = patch.arrays()
        changed = before != after
        for label in np.unique([before[changed], after[changed]]).tolist():
            item = plan.objects.get(label)
            if item is not None and item.changed_by_hand is not item:
                plan.set(label, item.changed_by_hand)
        for label in np.unique(after[changed]).tolist():
            if label > 0 and label not in plan.objects:
                plan.set(label, SessionObject(label, patch.plane))
            plan.next_id = max(plan.next_id, label + 1)
        plan.drop_vanished()
        return self.after(state, plan.edit())

    @classmethod
    def of(
        cls,
        state: SessionState,
        plane: Plane,
        window: Window,
        before: np.ndarray,
        after: np.ndarray,
    ) -> Paint:
        """Make the action of labels (height, width) of a window without and with the stroke.

        Raises
        ------
        ParameterError
            If they do not fit the window, or the target's dtype.
        """
        dtype = state.objects.target.dtype
        if before.shape != window.shape or after.shape != window.shape:
            raise ParameterError(f"what was painted has another shape than its window, {window}")
        old, new = before.astype(dtype), after.astype(dtype)
        if (old != before).any() or (new != after).any():
            raise ParameterError(f"a painted label does not fit labels of type {dtype}")
        state.objects.begin_before(plane, window, old)
        return cls(LabelPatch.between(plane, window, old, new))

    def again(self, state: SessionState, edit: LabelEdit | None) -> Paint:
        if edit is None or len(edit.patches) != 1:
            raise PromptError("nothing was painted")
        (patch,) = edit.patches
        now = state.objects.target.read(patch.plane, patch.window)
        return self.of(state, patch.plane, patch.window, now, patch.onto(now))


def counted_objects(verb: str, ids: Sequence[int]) -> str:
    """Return what was done with objects: "delete object 3", or "delete 4 objects"."""
    return f"{verb} object {ids[0]}" if len(ids) == 1 else f"{verb} {len(ids)} objects"


def editable(state: SessionState, ids: Sequence[int]) -> LabelPlan:
    """Begin an edit of objects, if these may be changed."""
    for label in ids:
        if state.draft is not None and state.draft.editing == label:
            raise PromptError(f"object {label} is being edited; commit or cancel it first")
        state.objects.require_unlocked(label)
    return state.objects.plan()


def _drop(plan: LabelPlan, label: int, plane: Plane | None) -> SessionObject | None:
    """Plan that an object is dropped, unless it has pixels on other planes; return it."""
    item = plan.objects.get(label)
    if item is not None and (plane is None or not plan.occurs(label)):
        plan.set(label, None)
    return item


def write(
    plan: LabelPlan,
    plane: Plane,
    masks: Sequence[tuple[PlacedMask, SessionObject]],
    editing: int | None,
    kept: set[int] | None,
) -> None:
    """Plan new objects of masks.

    Labels are given in the order of the masks; the higher score wins contested pixels. `kept` are
    the existing labels that are not overwritten; None keeps all.
    """
    if editing is not None:
        plan.replace(editing, 0)
    windows = {i: mask.window for i, (mask, _) in enumerate(masks) if not mask.empty}
    own: dict[int, np.ndarray] = {}
    parts: dict[int, np.ndarray] = {}
    for members in clusters(windows):
        around = reduce(Window.union, (windows[i] for i in members))
        labels = plan.read(plane, around)
        free = labels == 0 if kept is None else ~np.isin(labels, [*kept])
        for i in sorted(members, key=lambda i: (-_rank(masks[i][1]), i)):
            where = windows[i].slices_in(around)
            own[i] = masks[i][0].mask & free[where]
            free[where] &= ~own[i]
            parts[i] = labels[where]
    written = False
    for i, (_, item) in enumerate(masks):
        if i not in own or not own[i].any():
            continue
        written = True
        label = plan.new_id() if editing is None else check_id(plan.target, editing)
        before = parts[i].copy()
        parts[i][own[i]] = label
        plan.add(LabelPatch.between(plane, windows[i], before, parts[i]))
        plan.set(label, replace(item, id=label, state="committed"))
    if not written:
        raise PromptError(
            "the mask is empty: there is nothing to commit; move or add a point"
            if all(mask.empty for mask, _ in masks)
            else "every pixel of the mask belongs to other labels already; choose overwrite to "
            "replace them (unless they are locked), or edit that object"
        )
    plan.drop_vanished()


def _joined(first: SessionObject, second: SessionObject) -> SessionObject:
    joined = first.prompts
    if first.plane == second.plane:
        joined = joined.joined(second.prompts)
    seconds = first.seconds + second.seconds
    return replace(first, prompts=joined, candidate=None, scores=(), score=None, seconds=seconds)


def prompts_in(
    prompts: ObjectPrompts, window: Window, part: np.ndarray, inside: bool = True
) -> ObjectPrompts:
    """Return the prompts that lie in a part of an object, or the others; no box and no mask."""

    def here(points: Sequence[Point]) -> bool:
        return all(_covers(window, part, point) for point in points) is inside

    pairs = zip(prompts.points, prompts.labels, strict=True)
    kept = [(point, label) for point, label in pairs if here([point])]
    return ObjectPrompts(
        tuple(point for point, _ in kept),
        tuple(label for _, label in kept),
        scribbles=tuple(line for line in prompts.scribbles if here(line.points())),
    )


def _covers(window: Window, mask: np.ndarray, point: Point) -> bool:
    row, col = (int(np.floor(at + 0.5)) for at in point)
    row, col = row - window.row, col - window.col
    return 0 <= row < window.height and 0 <= col < window.width and bool(mask[row, col])


def _with_origin(
    made: SessionObject,
    edited: SessionObject | None,
    suggested: SuggestedMask | None,
    painted: PlacedMask | None,
    class_name: str,
) -> SessionObject:
    """Return an object with its class, and how it was made.

    Parameters
    ----------
    made : SessionObject
    edited : SessionObject or None
        The object that it replaces.
    suggested : SuggestedMask or None
        What it began with.
    painted : PlacedMask or None
        Its mask, where that was not decoded.
    class_name : str
        Of a new object.
    """
    if edited is not None:
        kept = edited.changed_by_hand
        return replace(
            made, class_name=kept.class_name, made_by=kept.made_by, suggestion=kept.suggestion
        )
    made = replace(made, class_name=class_name)
    if suggested is None:
        return made
    number = suggested.number
    if painted == suggested.mask:
        return replace(made, score=suggested.score, made_by="suggestion", suggestion=number)
    return replace(made, made_by="corrected", suggestion=number)


def _rank(item: SessionObject) -> float:
    """Return the rank of an object at contested pixels: drawn by hand first, then by score."""
    return 2.0 if item.score is None else item.score
