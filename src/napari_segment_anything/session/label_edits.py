"""Changes of labels: planned, then journalled, then written; compressed and invertible."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

import numpy as np
from pydantic import AfterValidator
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from ..engine import PlacedMask, PlaneSource, Window
from ..errors import PromptError
from ..limits import MASK_PIXELS
from ..reading import inflate
from .objects import SessionObject
from .schema import IntegerType, Label, Packed, Plane, Rectangle
from .target import LabelTarget, check_id

_BLOCK = 2048
_TOGETHER = 1 << 24


@dataclass(frozen=True, slots=True)
class LabelPatch:
    """A change of labels in a window of a plane.

    Parameters
    ----------
    plane : tuple of int
        Which plane.
    window : Window
        Where, in full-resolution pixels.
    dtype : str
        Of the labels.
    before, after : bytes
        Labels (height, width), deflated.
    """

    plane: Plane
    window: Rectangle
    dtype: IntegerType
    before: Packed
    after: Packed

    @classmethod
    def between(
        cls, plane: Plane, window: Window, before: np.ndarray, after: np.ndarray
    ) -> LabelPatch | None:
        """Make the patch that turns `before` into `after`; None where they are equal.

        Parameters
        ----------
        plane : tuple of int
        window : Window
            Where the labels lie, in full-resolution pixels.
        before, after : int array (height, width)
        """
        changed = PlacedMask.of(before != after, window.row, window.col)
        if changed.empty:
            return None
        dtype, inner = before.dtype.newbyteorder("<"), changed.window
        where = inner.slices_in(window)
        parts = [np.ascontiguousarray(part[where], dtype) for part in (before, after)]
        packed = [zlib.compress(part.tobytes(), 6) for part in parts]
        return cls(tuple(plane), inner, dtype.str, packed[0], packed[1])

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return labels before and after: each int (height, width)."""
        size = self.window.height * self.window.width * np.dtype(self.dtype).itemsize
        before, after = (
            np.frombuffer(inflate(data, size, "a change of labels"), self.dtype).reshape(
                self.window.shape
            )
            for data in (self.before, self.after)
        )
        return before, after

    def onto(self, labels: np.ndarray) -> np.ndarray:
        """Return labels (height, width) of the window with the changed pixels replaced."""
        before, after = self.arrays()
        return np.where(before != after, after, labels)

    def inverse(self) -> LabelPatch:
        """Return the patch that reverts this one."""
        return LabelPatch(self.plane, self.window, self.dtype, self.after, self.before)


def _checked(patch: LabelPatch) -> LabelPatch:
    """Check a patch from a journal: its size is bounded, and it unpacks to no more than that."""
    MASK_PIXELS.check(patch.window.height * patch.window.width, "a change of labels in the journal")
    patch.arrays()
    return patch


ObjectChange: TypeAlias = tuple[Label, SessionObject | None, SessionObject | None]


@dataclass(frozen=True, slots=True)
class LabelEdit:
    """What an action does to committed objects and their labels.

    Parameters
    ----------
    objects : tuple of (label, before, after)
        None where there is no object.
    patches : tuple of LabelPatch
        In the order they are applied.
    next_id : (int, int)
        The next free label before and after.
    """

    objects: tuple[ObjectChange, ...] = ()
    patches: tuple[Annotated[LabelPatch, AfterValidator(_checked)], ...] = ()
    next_id: tuple[Label, Label] = (0, 0)

    @property
    def ids(self) -> tuple[int, ...]:
        """Objects that change."""
        return tuple(label for label, _, _ in self.objects)

    @property
    def written(self) -> tuple[int, ...]:
        """Objects that are there afterwards."""
        return tuple(label for label, _, after in self.objects if after is not None)

    def inverse(self) -> LabelEdit:
        """Return the edit that reverts this one."""
        return LabelEdit(
            tuple((label, after, before) for label, before, after in reversed(self.objects)),
            tuple(patch.inverse() for patch in reversed(self.patches)),
            (self.next_id[1], self.next_id[0]),
        )


class Extents:
    """Where labels are, so that one object can be changed without reading all labels.

    Parameters
    ----------
    target : LabelTarget
    source : PlaneSource
    first : int
        Labels from this one on were made by the session, so all their places are known. Others
        are searched for when they are first needed.
    """

    def __init__(self, target: LabelTarget, source: PlaneSource, first: int) -> None:
        self._target, self._source, self._first = target, source, first
        self._places: dict[int, dict[Plane, Window]] = {}
        self._searched: set[int] = set()

    def bind(self, target: LabelTarget) -> None:
        """Search another place from now on, which holds the same labels."""
        self._target = target

    def grow(self, patch: LabelPatch) -> None:
        """Note where a change puts labels."""
        before, after = patch.arrays()
        for label in np.unique(after[before != after]):
            self._add(int(label), patch.plane, after == label, patch.window)

    def find(self, label: int, plane: Plane | None = None) -> list[tuple[Plane, Window]]:
        """Return planes and windows that hold every pixel of a label (of one plane, if given)."""
        if label < self._first and label not in self._searched:
            planes: Iterable[Plane] = [plane] if plane is not None else self._planes()
            for where in planes:
                for window in _blocks(self._source.shape):
                    self._add(label, where, self._target.read(where, window) == label, window)
            if plane is None:
                self._searched.add(label)
        places = self._places.get(label, {})
        return [item for item in places.items() if plane is None or item[0] == plane]

    def _planes(self) -> Iterator[Plane]:
        return iter(np.ndindex(*self._source.plane_shape))

    def _add(self, label: int, plane: Plane, mask: np.ndarray, window: Window) -> None:
        found = PlacedMask.of(mask, window.row, window.col)
        if not found.empty:
            places, where = self._places.setdefault(label, {}), found.window
            places[plane] = where.union(places[plane]) if plane in places else where


@dataclass(slots=True)
class LabelPlan:
    """An edit that is being planned: labels as they will be. The target does not change.

    Parameters
    ----------
    target : LabelTarget
    extents : Extents
    objects : dict of int to SessionObject
        As they are.
    first_id : int
        The next free label as recorded.
    next_id : int
        The next free label.
    """

    target: LabelTarget
    extents: Extents
    objects: dict[int, SessionObject]
    first_id: int
    next_id: int
    patches: list[LabelPatch] = field(default_factory=list)
    changes: dict[int, SessionObject | None] = field(default_factory=dict)

    def read(self, plane: Plane, window: Window) -> np.ndarray:
        """Return labels as they will be: int (height, width)."""
        labels = np.array(self.target.read(plane, window))
        for patch in self.patches:
            shared = patch.window.intersection(window) if patch.plane == plane else None
            if shared is not None:
                inner = shared.slices_in(patch.window)
                before, after = (part[inner] for part in patch.arrays())
                changed = before != after
                labels[shared.slices_in(window)][changed] = after[changed]
        return labels

    def put(self, plane: Plane, window: Window, after: np.ndarray) -> bool:
        """Plan labels for a window; return whether anything changes."""
        before = self.read(plane, window)
        after = after.astype(before.dtype, copy=False)
        return self.add(LabelPatch.between(plane, window, before, after))

    def add(self, patch: LabelPatch | None) -> bool:
        """Plan a change; return whether there is one."""
        if patch is not None:
            self.patches.append(patch)
        return patch is not None

    def replace(self, label: int, by: int, plane: Plane | None = None) -> bool:
        """Plan that a label becomes another one, or 0; return whether it was there."""
        changed = False
        for where, window in self.extents.find(label, plane):
            labels = self.read(where, window)
            labels[labels == label] = by
            changed |= self.put(where, window, labels)
        return changed

    def occurs(self, label: int) -> bool:
        """Whether a label will have a pixel."""
        places = self.extents.find(label)
        planned = [(patch.plane, patch.window) for patch in self.patches]
        return any((self.read(*place) == label).any() for place in [*places, *planned])

    def require(self, label: int, plane: Plane | None = None) -> None:
        """Check that a label has a pixel, on one plane if that is given.

        Raises
        ------
        PromptError
            If not.
        """
        if not any((self.read(*place) == label).any() for place in self.extents.find(label, plane)):
            raise PromptError(f"there is no object {label}")

    def mask(self, label: int, plane: Plane) -> PlacedMask | None:
        """Return the pixels of a label on a plane; None if there is none."""
        for where, window in self.extents.find(label, plane):
            mask = self.read(where, window) == label
            if mask.any():
                return PlacedMask.of(mask, window.row, window.col)
        return None

    def set(self, label: int, item: SessionObject | None) -> None:
        """Plan what an object becomes."""
        self.changes[label] = item

    def new_id(self) -> int:
        """Return a free label."""
        label = check_id(self.target, self.next_id)
        self.next_id += 1
        return label

    def drop_vanished(self) -> None:
        """Plan that objects without a pixel are dropped."""
        losing: set[int] = set()
        for patch in self.patches:
            before, after = patch.arrays()
            losing |= set(np.unique(before[before != after]).tolist())
        for label in losing:
            item = self.changes.get(label, self.objects.get(label))
            if item is not None and not self.occurs(label):
                self.set(label, None)

    def edit(self) -> LabelEdit:
        """Return what was planned."""
        changes: list[ObjectChange] = [
            (label, self.objects.get(label), after) for label, after in self.changes.items()
        ]
        return LabelEdit(tuple(changes), tuple(self.patches), (self.first_id, self.next_id))


def touched(patches: Iterable[LabelPatch]) -> list[tuple[Plane, Window]]:
    """Return the planes that are changed, and a window around the changes of each."""
    places: dict[Plane, Window] = {}
    for patch in patches:
        known = places.get(patch.plane)
        places[patch.plane] = patch.window if known is None else known.union(patch.window)
    return list(places.items())


def apply(target: LabelTarget, patches: Sequence[LabelPatch]) -> None:
    """Write changes in order; other pixels of their windows keep their present labels.

    Changes near each other are written together.
    """
    for plane, around in touched(patches):
        here = [patch for patch in patches if patch.plane == plane]
        if len(here) > 1 and around.height * around.width <= _TOGETHER:
            _apply(target, plane, around, here)
        else:
            for patch in here:
                _apply(target, plane, patch.window, [patch])


def _apply(
    target: LabelTarget, plane: Plane, around: Window, patches: Sequence[LabelPatch]
) -> None:
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


def clusters(windows: Mapping[int, Window]) -> list[list[int]]:
    """Group windows by overlap: those of different groups share no pixel. Return their keys."""
    if not windows:
        return []
    keys = list(windows)
    boxes = np.array([(w.row, w.col, w.row + w.height, w.col + w.width) for w in windows.values()])
    near = (boxes[:, None, :2] < boxes[None, :, 2:]).all(-1)
    count, group = connected_components(csr_array(near & near.T), directed=False)
    return [[keys[i] for i in np.flatnonzero(group == number)] for number in range(count)]


def _blocks(shape: tuple[int, int]) -> Iterator[Window]:
    for row in range(0, shape[0], _BLOCK):
        for col in range(0, shape[1], _BLOCK):
            yield Window(row, col, min(_BLOCK, shape[0] - row), min(_BLOCK, shape[1] - col))
