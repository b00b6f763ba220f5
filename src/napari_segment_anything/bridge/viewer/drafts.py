"""From layers that were edited by hand to the session's draft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import PromptError
from ...session.objects import inside
from .images import ImageAxes
from .sources import PlanePrompts, fill, on_plane, row_col
from .working_layers import positives

if TYPE_CHECKING:
    from napari.layers import Points

    from ...session import Draft, Session


def take_points(session: Session, layer: Points, axes: ImageAxes, plane: tuple[int, ...]) -> bool:
    """Update the draft's points from its own Points layer, after that was edited.

    Returns
    -------
    bool
        Whether anything changed. Points outside the image or on another plane are left out.
    """
    draft = session.draft
    where = plane if draft is None else draft.plane
    wanted = PlanePrompts()
    data = np.asarray(layer.data, np.float64)
    for at, positive in zip(data, positives(layer), strict=True):
        if on_plane(at[None], axes, where)[0] and inside(row_col(at, axes), axes.rows_cols):
            wanted.points.append(row_col(at, axes))
            wanted.positive.append(bool(positive))
    return sync_points(session, wanted, where)


def sync_points(session: Session, wanted: PlanePrompts, plane: tuple[int, ...]) -> bool:
    """Change the draft's points to the given ones with the fewest changes."""
    draft = session.draft
    have = [] if draft is None else [(p.position, p.positive) for p in draft.points]
    want = list(zip(wanted.points, wanted.positive, strict=True))
    if _same(have, want):
        return False
    signs_kept = [sign for _, sign in have] == [sign for _, sign in want]
    if len(have) == len(want) and signs_kept:
        for index, ((old, _), (new, _)) in enumerate(zip(have, want, strict=True)):
            if not np.allclose(old, new, atol=1e-6):
                session.move_point(index, new)
        return True
    keep = _matched(have, want)
    for index in reversed(range(len(have))):
        if index not in keep:
            session.remove_point(index)
    matched = set(keep.values())
    for index, (point, positive) in enumerate(want):
        if index not in matched:
            session.add_point(plane, point, positive)
    return True


def repeat_prompts(session: Session, draft: Draft) -> None:
    """Repeat the prompts of a draft in another session."""
    plane = draft.plane
    if draft.batch:
        session.begin_batch(
            plane,
            points=[point.position for point in draft.points if point.positive],
            boxes=[box for _, box in draft.boxes],
        )
    for point in draft.points:
        if not (draft.batch and point.positive):
            session.add_point(plane, point.position, point.positive)
    for _, box in () if draft.batch else draft.boxes:
        session.set_box(plane, box)
    for _, line in draft.scribbles:
        session.add_scribble(plane, line.line, line.positive)
    for _, region in (*draft.masks, *draft.painted):
        session.set_mask(plane, region.mask, region.window)


def _same(have: list[Any], want: list[Any]) -> bool:
    return len(have) == len(want) and all(
        sign == other and np.allclose(at, to, atol=1e-6)
        for (at, sign), (to, other) in zip(have, want, strict=True)
    )


def _matched(have: list[Any], want: list[Any]) -> dict[int, int]:
    """Return which points stay: present index -> wanted index."""
    keep: dict[int, int] = {}
    for index, (at, sign) in enumerate(have):
        for number, (to, other) in enumerate(want):
            if number not in keep.values() and sign == other and np.allclose(at, to, atol=1e-6):
                keep[index] = number
                break
    return keep


def take_shapes(
    session: Session, found: PlanePrompts, shape: tuple[int, int], plane: tuple[int, ...]
) -> None:
    """Update the draft's boxes and lines from its own Shapes layer, after that was edited.

    Raises
    ------
    PromptError
        If there are several boxes for one object.
    """
    draft = session.draft
    boxes = [ordered(box) for box in found.boxes]
    have = [] if draft is None else list(draft.boxes)
    if draft is not None and draft.batch:
        for (key, old), new in zip(have, boxes, strict=False):
            if not np.allclose(old, new, atol=1e-3):
                session.set_box(plane, new, draft=key)
        for new in boxes[len(have) :]:
            session.set_box(plane, new)
        return
    if len(boxes) > 1:
        boxes = [box for box in boxes if not any(np.allclose(box, b, atol=1e-3) for _, b in have)]
        if len(boxes) > 1:
            raise PromptError("one object has one box; begin a batch for several boxes")
    if not boxes and have:
        session.set_box(plane, None)
    elif boxes and not (have and np.allclose(have[0][1], boxes[0], atol=1e-3)):
        session.set_box(plane, boxes[0])
    known = 0 if draft is None else len(draft.scribbles)
    for line, positive in found.lines[known:]:
        session.add_scribble(plane, line, positive)
    for outline in found.regions:
        mask, window = fill(outline, shape)
        session.set_mask(plane, mask, window)


def ordered(box: Any) -> tuple[float, float, float, float]:
    """Return (row_min, col_min, row_max, col_max) of any two opposite corners of a box.

    Raises
    ------
    PromptError
        If it is not four numbers.
    """
    values = np.asarray(box, np.float64)
    if values.shape != (4,):
        raise PromptError(f"a box is (row_min, col_min, row_max, col_max), not {box!r}")
    low, high = np.minimum(values[:2], values[2:]), np.maximum(values[:2], values[2:])
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
