"""Committed objects: their labels in the target, which are locked, which labels are free."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ..engine import PlaneSource, Window
from ..errors import PromptError
from .label_edits import Extents, LabelEdit, LabelPlan, apply
from .objects import SessionObject
from .schema import Plane
from .target import LabelTarget


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """Where an object lies on the plane that it was made on.

    Parameters
    ----------
    label : int
    item : SessionObject
    window : Window
        Holds all of its pixels there.
    """

    label: int
    item: SessionObject
    window: Window


class CommittedObjects:
    """Objects by label, and the labels that they are written to.

    Parameters
    ----------
    target : LabelTarget
        Where labels are written. It is searched for its largest label when that is first needed.
    source : PlaneSource
        The image.
    """

    def __init__(self, target: LabelTarget, source: PlaneSource) -> None:
        self.target = target
        self.source = source
        self.items: dict[int, SessionObject] = {}
        self.locked: set[int] = set()
        self._reserved = 0
        self._next_id = 0
        self._extents: Extents | None = None

    def bind(self, target: LabelTarget) -> None:
        """Write to another place from now on, which holds the same labels already."""
        self.target = target
        if self._extents is not None:
            self._extents.bind(target)

    @property
    def extents(self) -> Extents:
        """Where labels lie."""
        return self._extents or self.begin_at(self.target.largest() + 1)

    def begin_at(self, first: int) -> Extents:
        """Set the session's first own label, without searching the target for the largest."""
        self._extents = Extents(self.target, self.source, first)
        self._next_id = first
        return self._extents

    def begin_before(self, plane: Plane, window: Window, labels: np.ndarray) -> None:
        """Search the target for its largest label, without a stroke that it already contains.

        Parameters
        ----------
        plane : tuple of int
        window : Window
            Where the stroke lies.
        labels : int array (height, width)
            Labels of the window without it.
        """
        if self._extents is None:
            present = np.array(self.target.read(plane, window))
            self.target.write(plane, window, labels)
            try:
                self.begin_at(self.target.largest() + 1)
            finally:
                self.target.write(plane, window, present)

    @property
    def next_id(self) -> int:
        """The label that the next object gets; all labels are below it."""
        return max(self.largest + 1, self._reserved)

    def reserve(self, label: int) -> None:
        """Give no new object a label up to this one: another writer of the same labels uses it."""
        self._reserved = max(self._reserved, label + 1)

    @property
    def largest(self) -> int:
        """The largest label in the target or given by the session; 0 if there is none."""
        if self._extents is None:
            self.begin_at(self.target.largest() + 1)
        return self._next_id - 1

    def on_plane(self, label: int, plane: Plane) -> SessionObject:
        """Return an object as it is on a plane; without its prompts if these are on another."""
        item = self.items.get(label)
        return item if item is not None and item.plane == plane else SessionObject(label, plane)

    def plane_of(self, label: int, plane: Sequence[int] | None, purpose: str) -> Plane:
        """Return the plane that is given, or by default the object's.

        Parameters
        ----------
        label : int
        plane : sequence of int, optional
        purpose : str
            For the message: "edited".

        Raises
        ------
        PromptError
            If the image has no such plane, or an object from before the session may lie on many.
        """
        if plane is not None:
            return self.source.check_plane(plane)
        item = self.items.get(label)
        if item is None and self.source.ndim_planes:
            raise PromptError(f"say on which plane object {label} is to be {purpose}")
        return () if item is None else item.plane

    def require_unlocked(self, label: int) -> None:
        """Raise a `PromptError` if an object is locked."""
        if label in self.locked:
            raise PromptError(f"object {label} is locked; unlock it first")

    def plan(self) -> LabelPlan:
        """Begin an edit; nothing changes until `apply`."""
        extents, first = self.extents, self.largest + 1
        return LabelPlan(self.target, extents, self.items, first, self.next_id)

    def apply(self, edit: LabelEdit) -> None:
        """Write an edit's labels, and change the objects. If it fails, nothing has changed."""
        extents = self.extents
        try:
            apply(self.target, edit.patches)
        except BaseException:
            with contextlib.suppress(Exception):  # what failed once may fail again
                apply(self.target, edit.inverse().patches)
            raise
        for patch in edit.patches:
            extents.grow(patch)
        for label, _, after in edit.objects:
            if after is None:
                self.items.pop(label, None)
            else:
                self.items[label] = after
        self._next_id = edit.next_id[1]

    def places(self, ids: Collection[int] | None = None) -> list[ObjectPlace]:
        """Return where objects lie, by default all; on the session's own thread."""
        return [
            ObjectPlace(label, item, window)
            for label, item in sorted(self.items.items())
            if ids is None or label in ids
            for _, window in self.extents.find(label, item.plane)
        ]
