"""Changes by napari's brush, fill and polygon tools, as steps of the session's history.

napari reports a finished stroke in pieces: either a box, a mask in it, the labels before and the
new label; or indices with labels before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine import Window
from .images import ImageAxes

if TYPE_CHECKING:
    from napari.layers import Labels

    from .plane_sessions import PlaneSessions
    from .runners import ActionQueue
    from .undo_trail import UndoTrail


class BrushWatch:
    """Makes napari's strokes on the target, and its undo keys there, part of one history.

    napari's own history knows only brush strokes: it would undo a stroke without the object that
    the session made of it, and out of order with commits. Strokes that are older than the session
    are left to napari.

    Parameters
    ----------
    planes : PlaneSessions
    trail : UndoTrail
    queue : ActionQueue
        Undoing waits for earlier actions.
    """

    def __init__(self, planes: PlaneSessions, trail: UndoTrail, queue: ActionQueue) -> None:
        self._planes, self._trail, self._queue = planes, trail, queue
        self._layer: Labels | None = None
        self._before: dict[Any, Any] = {}
        self._ours: set[Any] = set()

    def watch(self, layer: Labels | None) -> None:
        """Watch a layer instead of the current one; None stops watching."""
        from app_model.types import KeyCode, KeyMod

        if layer is self._layer:
            return
        if self._layer is not None:
            self._layer.events.paint.disconnect(self._on_paint)
            for key in self._ours:
                self._layer.keymap.pop(key, None)
                if key in self._before:
                    self._layer.keymap[key] = self._before[key]
        self._layer = layer
        if layer is None:
            return
        layer.events.paint.connect(self._on_paint)
        self._before = dict(layer.keymap)
        undo = KeyMod.CtrlCmd | KeyCode.KeyZ
        layer.bind_key(undo, self._undo, overwrite=True)
        redo = KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ
        layer.bind_key(redo, self._redo, overwrite=True)
        now = layer.keymap
        self._ours = {key for key in now if now[key] is not self._before.get(key)}

    def _undo(self, layer: Labels) -> None:
        self._do(self._trail.undo if self._trail.can_undo else layer.undo)

    def _redo(self, layer: Labels) -> None:
        self._do(self._trail.redo if self._trail.can_redo else layer.redo)

    def _do(self, step: Callable[[], object]) -> None:
        def act() -> None:
            with self._planes.signals.reporting():
                step()

        self._queue.ask(act)

    def _on_paint(self, event: Any) -> None:
        on, layer = self._planes.current, self._layer
        if on is None or layer is None or layer.multiscale:
            return
        with self._planes.signals.reporting():
            for plane, window, before, after in strokes(event.value, layer.data, on.axes):
                on.session.paint(plane, window, before, after)


Stroke = tuple[tuple[int, ...], Window, np.ndarray, np.ndarray]


def strokes(event_value: Sequence[Any], data: Any, axes: ImageAxes) -> Iterator[Stroke]:
    """Turn a paint event into changes of planes.

    Parameters
    ----------
    event_value : sequence of pieces
        Of napari's paint event, in the order they were painted.
    data : array
        The labels. Some tools report before they write, some after: both are handled.
    axes : ImageAxes
        Of the image.

    Yields
    ------
    (plane, window, before, after)
        Labels int (height, width) without and with the stroke.
    """
    pieces = [piece for piece in map(_piece, event_value) if piece is not None]
    if not pieces:
        return
    starts = np.min([piece.low for piece in pieces], axis=0)
    stops = np.max([piece.high for piece in pieces], axis=0)
    before = np.array(data[tuple(map(slice, starts.tolist(), stops.tolist()))])
    for piece in reversed(pieces):
        before[piece.at(starts)] = piece.old
    after = before.copy()
    for piece in pieces:
        after[piece.at(starts)] = piece.new
    shift = len(axes.shape) - before.ndim
    rows, cols = (axis - shift for axis in axes.displayed)
    others = [axis for axis in range(before.ndim) if axis not in (rows, cols)]
    window = Window(starts[rows], starts[cols], before.shape[rows], before.shape[cols])
    for place in np.ndindex(*(before.shape[axis] for axis in others)):
        at: list[Any] = [slice(None)] * before.ndim
        plane = []
        for axis, offset in zip(others, place, strict=True):
            at[axis] = offset
            if axis + shift != axes.channel:
                plane.append(int(starts[axis]) + offset)
        old, new = before[tuple(at)], after[tuple(at)]
        if (old != new).any():
            yield tuple(plane), window, old, new


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Part of a stroke: corners of its box, indices in that box, labels before and after."""

    low: np.ndarray
    high: np.ndarray
    where: tuple[np.ndarray, ...]
    old: Any
    new: Any

    def at(self, origin: np.ndarray) -> tuple[np.ndarray, ...]:
        offset = self.low - origin
        return tuple(part + int(by) for part, by in zip(self.where, offset, strict=True))


def _piece(atom: Any) -> _Piece | None:
    if hasattr(atom, "slice_key"):
        low = np.array([part.start for part in atom.slice_key])
        high = np.array([part.stop for part in atom.slice_key])
        mask = np.ones(high - low, bool) if atom.mask is None else np.asarray(atom.mask)
        old = np.asarray(atom.old_values)
        under = old[mask] if old.shape == mask.shape else old.ravel()
        return _Piece(low, high, np.nonzero(mask), under, atom.new_value)
    indices = [np.atleast_1d(np.asarray(part)) for part in atom[0]]
    if not indices or not indices[0].size:
        return None
    low = np.array([part.min() for part in indices])
    high = np.array([part.max() + 1 for part in indices])
    where = tuple(part - start for part, start in zip(indices, low, strict=True))
    return _Piece(low, high, where, np.asarray(atom[1]), np.asarray(atom[2]))
