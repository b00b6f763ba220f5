"""Changes of labels in the making: computed first, applied afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..engine import PlacedMask, PlaneSource, Window
from .history import Edit, ObjectChange
from .objects import SessionObject
from .regions import Patch
from .target import LabelTarget, check_id

Plane = tuple[int, ...]
_BLOCK = 2048
_TOGETHER = 1 << 24


class Extents:
    """Where labels lie, so that one object can be changed without reading everything.

    Parameters
    ----------
    first : int
        Labels from here on were made by the session: all their places are known. The others
        are searched for when they are first needed.
    """

    def __init__(self, first: int) -> None:
        self.first = first
        self._places: dict[int, dict[Plane, Window]] = {}
        self._searched: set[int] = set()

    def grow(self, patch: Patch) -> None:
        """Note where a change puts labels."""
        before, after = patch.arrays()
        for label in np.unique(after[before != after]):
            self._add(int(label), patch.plane, after == label, patch.window)

    def _add(self, label: int, plane: Plane, mask: np.ndarray, window: Window) -> None:
        placed = PlacedMask.of(mask, window.row, window.col)
        if not placed.empty:
            places, where = self._places.setdefault(label, {}), placed.window
            places[plane] = where.union(places[plane]) if plane in places else where

    def find(
        self, label: int, target: LabelTarget, source: PlaneSource, plane: Plane | None = None
    ) -> list[tuple[Plane, Window]]:
        """Return planes and windows that hold every pixel of a label (of one plane, if given)."""
        if label < self.first and label not in self._searched:
            planes: Iterable[Plane] = np.ndindex(*source.plane_shape) if plane is None else [plane]
            for where in planes:
                for window in _blocks(source.shape):
                    self._add(label, where, target.read(where, window) == label, window)
            if plane is None:
                self._searched.add(label)
        places = self._places.get(label, {})
        return [item for item in places.items() if plane is None or item[0] == plane]


@dataclass(slots=True)
class Work:
    """Changes in the making: labels as they will be, while the target stays as it is.

    Parameters
    ----------
    target : LabelTarget
    source : PlaneSource
    extents : Extents
    objects : dict of int to SessionObject
        As they are.
    next_id : int
    """

    target: LabelTarget
    source: PlaneSource
    extents: Extents
    objects: dict[int, SessionObject]
    next_id: int
    patches: list[Patch] = field(default_factory=list)
    changes: dict[int, SessionObject | None] = field(default_factory=dict)

    def read(self, plane: Plane, window: Window) -> np.ndarray:
        """Return labels as they will be."""
        labels = np.array(self.target.read(plane, window))
        for patch in self.patches:
            shared = patch.window.intersection(window) if patch.plane == plane else None
            if shared is not None:
                before, after = (part[shared.slices_in(patch.window)] for part in patch.arrays())
                changed = before != after
                labels[shared.slices_in(window)][changed] = after[changed]
        return labels

    def put(self, plane: Plane, window: Window, after: np.ndarray) -> bool:
        """Plan labels for a window; return whether anything changes."""
        before = self.read(plane, window)
        return self.add(
            Patch.between(plane, window, before, after.astype(before.dtype, copy=False))
        )

    def add(self, patch: Patch | None) -> bool:
        """Plan a change; return whether there is one."""
        if patch is not None:
            self.patches.append(patch)
        return patch is not None

    def replace(self, label: int, by: int, plane: Plane | None = None) -> bool:
        """Plan that a label becomes another one, or 0; return whether it was there."""
        changed = False
        for where, window in self.extents.find(label, self.target, self.source, plane):
            labels = self.read(where, window)
            labels[labels == label] = by
            changed |= self.put(where, window, labels)
        return changed

    def occurs(self, label: int) -> bool:
        """Whether a label will have a pixel."""
        places = self.extents.find(label, self.target, self.source)
        planned = [(patch.plane, patch.window) for patch in self.patches]
        return any((self.read(*place) == label).any() for place in [*places, *planned])

    def set(self, label: int, item: SessionObject | None) -> None:
        """Plan what an object becomes."""
        self.changes[label] = item

    def new_id(self) -> int:
        """Return a free label."""
        label = check_id(self.target, self.next_id)
        self.next_id += 1
        return label

    def drop_vanished(self) -> None:
        """Plan that objects without a pixel go."""
        touched: set[int] = set()
        for patch in self.patches:
            before, after = patch.arrays()
            touched |= {int(label) for label in np.unique(before[before != after])}
        for label in touched:
            if self.changes.get(label, self.objects.get(label)) is None:
                continue
            if not self.occurs(label):
                self.set(label, None)

    def edit(self, first_id: int) -> Edit:
        """Return what was planned."""
        changes: list[ObjectChange] = [
            (label, self.objects.get(label), after)
            for label, after in self.changes.items()
            if self.objects.get(label) != after
        ]
        return Edit(tuple(changes), tuple(self.patches), (first_id, self.next_id))


def touched(patches: Iterable[Patch]) -> list[tuple[Plane, Window]]:
    """Return the planes that are changed, and a window around the changes of each."""
    places: dict[Plane, Window] = {}
    for patch in patches:
        known = places.get(patch.plane)
        places[patch.plane] = patch.window if known is None else known.union(patch.window)
    return list(places.items())


def apply(target: LabelTarget, patches: Sequence[Patch]) -> None:
    """Write changes in order; pixels that they do not change keep what they hold now.

    Changes that lie near each other are written at once.
    """
    for plane, around in touched(patches):
        here = [patch for patch in patches if patch.plane == plane]
        if len(here) > 1 and around.height * around.width <= _TOGETHER:
            _apply(target, plane, around, here)
        else:
            for patch in here:
                _apply(target, plane, patch.window, [patch])


def _apply(target: LabelTarget, plane: Plane, around: Window, patches: Sequence[Patch]) -> None:
    labels = np.array(target.read(plane, around))
    differs = False
    for patch in patches:
        before, after = patch.arrays()
        part = labels[patch.window.slices_in(around)]
        changed = before != after
        differs |= bool((part[changed] != after[changed]).any())
        part[changed] = after[changed]
    if differs:
        target.write(plane, around, labels)


def _blocks(shape: tuple[int, int]) -> Iterator[Window]:
    for row in range(0, shape[0], _BLOCK):
        for col in range(0, shape[1], _BLOCK):
            yield Window(row, col, min(_BLOCK, shape[0] - row), min(_BLOCK, shape[1] - col))
