"""What actions on committed objects change."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from ..engine import PlacedMask, Window
from ..errors import PromptError
from .label_edits import Plane, Work
from .objects import SessionObject
from .regions import Patch, clusters
from .target import check_id


def commit(
    work: Work,
    plane: Plane,
    masks: Sequence[tuple[PlacedMask, SessionObject]],
    editing: int | None,
    overwrite: bool,
    locked: Collection[int] = (),
) -> tuple[int, ...]:
    """Plan new objects; return their labels.

    Parameters
    ----------
    work : Work
    plane : tuple of int
    masks : sequence of (PlacedMask, SessionObject)
        Labels are given in this order; among them, the higher score wins contested pixels.
    editing : int or None
        The object that the only mask replaces.
    overwrite : bool
        Whether other labels give way.
    locked : collection of int
        Those that do not, whatever `overwrite` says.

    Raises
    ------
    PromptError
        If no mask gets a pixel.
    ParameterError
        If a label does not fit the target.
    """
    if editing is not None:
        work.replace(editing, 0)
    windows = {i: mask.window for i, (mask, _) in enumerate(masks) if not mask.empty}
    own: dict[int, np.ndarray] = {}
    places: dict[int, tuple[np.ndarray, tuple[slice, slice]]] = {}
    for members in clusters(windows):
        around = reduce(Window.union, (windows[i] for i in members))
        labels = work.read(plane, around)
        free = ~np.isin(labels, [*locked]) if overwrite else labels == 0
        for i in sorted(members, key=lambda i: (-_rank(masks[i][1]), i)):
            where = windows[i].slices_in(around)
            own[i] = masks[i][0].mask & free[where]
            free[where] &= ~own[i]
            places[i] = (labels, where)
    ids = []
    for i, (_, item) in enumerate(masks):
        if i not in own or not own[i].any():
            continue
        label = check_id(work.target, editing) if editing is not None else work.new_id()
        labels, where = places[i]
        before = labels[where].copy()
        labels[where][own[i]] = label
        work.add(Patch.between(plane, windows[i], before, labels[where]))
        work.set(label, replace(item, id=label, state="committed"))
        ids.append(label)
    if not ids:
        if all(mask.empty for mask, _ in masks):
            raise PromptError("the mask is empty: there is nothing to commit; move or add a point")
        raise PromptError(
            "every pixel of the mask belongs to other labels already; choose overwrite to replace "
            "them (unless they are locked), or edit that object"
        )
    work.drop_vanished()
    return tuple(ids)


def delete(work: Work, ids: Sequence[int], plane: Plane | None) -> None:
    """Plan that labels go.

    Raises
    ------
    PromptError
        If one is not there.
    """
    for label in ids:
        if not work.replace(label, 0, plane) and label not in work.objects:
            raise PromptError(f"there is no object {label}")
        gone = plane is None or not work.occurs(label)
        if gone and label in work.objects:
            work.set(label, None)


def merge(work: Work, ids: Sequence[int], plane: Plane | None) -> int:
    """Plan that labels become the first of them; return it.

    Raises
    ------
    PromptError
        If there are fewer than two, or one is not there.
    """
    wanted = list(dict.fromkeys(int(label) for label in ids))
    if len(wanted) < 2:
        raise PromptError("merging takes at least two objects")
    first = wanted[0]
    require(work, first, plane)
    kept = work.objects.get(first)
    for label in wanted[1:]:
        if not work.replace(label, first, plane):
            raise PromptError(f"there is no object {label}")
        other = work.objects.get(label)
        if other is None:
            continue
        if plane is None or not work.occurs(label):
            work.set(label, None)
        kept = other if kept is None else _joined(kept, other)
    if kept is not None:
        work.set(first, replace(kept, id=first))
    return first


def split_off(work: Work, label: int, region: PlacedMask, plane: Plane) -> int:
    """Plan that the part of a label inside a region becomes a new one; return it.

    Raises
    ------
    PromptError
        If that is none of it, or all.
    """
    require(work, label, plane)
    new = work.new_id()
    labels = work.read(plane, region.window)
    part = region.mask & (labels == label)
    labels[part] = new
    if not part.any():
        raise PromptError(f"the region holds no pixel of object {label}")
    work.put(plane, region.window, labels)
    if not work.occurs(label):
        raise PromptError(f"the region holds all of object {label}; nothing would be left of it")
    item = work.objects.get(label)
    if item is None:
        work.set(new, SessionObject(new, plane))
        return new
    prompts = item.prompts
    taken = [_covers(region.window, part, point) for point in prompts.points]
    halves = [
        replace(
            prompts,
            points=tuple(p for p, t in zip(prompts.points, taken, strict=True) if t is side),
            labels=tuple(b for b, t in zip(prompts.labels, taken, strict=True) if t is side),
            box=None,
            scribbles=tuple(
                s
                for s in prompts.scribbles
                if all(_covers(region.window, part, p) for p in s.points()) is side
            ),
            mask=None,
        )
        for side in (False, True)
    ]
    plain = replace(item, candidate=None, scores=(), score=None)
    work.set(label, replace(plain, prompts=halves[0]))
    work.set(new, replace(plain, id=new, prompts=halves[1], plane=plane, seconds=0.0))
    return new


def relabel(work: Work, label: int, new: int, plane: Plane | None) -> None:
    """Plan that a label becomes another, unused one.

    Raises
    ------
    PromptError
        If it is not there, or the other one is in use.
    ParameterError
        If the other one does not fit the target.
    """
    check_id(work.target, new)
    if new == label:
        raise PromptError(f"object {label} has this label already")
    if new in work.objects or work.occurs(new):
        raise PromptError(f"label {new} is in use; merge the two, or choose another one")
    if not work.replace(label, new, plane):
        raise PromptError(f"there is no object {label}")
    item = work.objects.get(label)
    if item is not None:
        if plane is None or not work.occurs(label):
            work.set(label, None)
        work.set(new, replace(item, id=new))
    work.next_id = max(work.next_id, new + 1)


def paint(work: Work, plane: Plane, window: Window, before: np.ndarray, after: np.ndarray) -> None:
    """Plan what a brush did; the target may hold it already.

    Raises
    ------
    PromptError
        If it changed nothing.
    """
    patch = Patch.between(plane, window, before, after)
    if patch is None:
        raise PromptError("nothing was painted")
    work.add(patch)
    old, new = patch.arrays()
    for label in np.unique(new[old != new]):
        if label > 0 and int(label) not in work.objects:
            work.set(int(label), SessionObject(int(label), plane))
        work.next_id = max(work.next_id, int(label) + 1)
    work.drop_vanished()


def require(work: Work, label: int, plane: Plane | None = None) -> None:
    """Check that a label has a pixel.

    Raises
    ------
    PromptError
        If not.
    """
    for where, window in work.extents.find(label, work.target, work.source, plane):
        if (work.read(where, window) == label).any():
            return
    raise PromptError(f"there is no object {label}")


def region_of(work: Work, label: int, plane: Plane) -> PlacedMask | None:
    """Return the pixels of a label on a plane; None if there is none."""
    for where, window in work.extents.find(label, work.target, work.source, plane):
        mask = work.read(where, window) == label
        if mask.any():
            return PlacedMask.of(mask, window.row, window.col)
    return None


def _joined(first: SessionObject, second: SessionObject) -> SessionObject:
    joined = first.prompts
    if first.plane == second.plane:
        joined = joined.joined(second.prompts)
    return replace(
        first,
        prompts=joined,
        candidate=None,
        scores=(),
        score=None,
        seconds=first.seconds + second.seconds,
    )


def _rank(item: SessionObject) -> float:
    """Return who wins contested pixels: what was drawn by hand, then the higher score."""
    return 2.0 if item.score is None else item.score


def _covers(window: Window, mask: np.ndarray, point: Any) -> bool:
    row, col = (int(np.floor(at + 0.5)) for at in point)
    row, col = row - window.row, col - window.col
    return 0 <= row < window.height and 0 <= col < window.width and bool(mask[row, col])
