"""Measures of a viewer's objects: in the features of their Labels layer, and as CSV."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ...engine import Window
from ...formats import write_table
from ...progress import Progress
from ...session.committed import ObjectPlace
from ...session.measuring import Row, columns, measure_object
from .runners import Ears, Inline, Runner

if TYPE_CHECKING:
    from napari.layers import Labels

    from ..viewer_session import ViewerSession
    from .viewer_base import View

_Change: TypeAlias = "tuple[View, tuple[int, ...], Window]"
_Key: TypeAlias = "tuple[View, int]"
_PixelSize: TypeAlias = "tuple[tuple[float, float] | None, str | None]"


class ObjectMeasures:
    """Keeps a table of a viewer's committed objects up to date; a row is measured when it changes.

    Parameters
    ----------
    session : ViewerSession
    """

    def __init__(self, session: ViewerSession) -> None:
        self._session = session
        self._runner: Runner = Inline()
        self._rows: dict[_Key, Row] = {}
        self._changes: list[_Change] = []
        self._written: set[int] = set()

    def set_runner(self, runner: Runner) -> None:
        """Measure elsewhere, such as on another thread."""
        self._runner.close()
        self._runner = runner

    def close(self) -> None:
        """Measure no more."""
        self._runner.close()
        self._changes.clear()

    def note(self, view: View, plane: tuple[int, ...], window: Window) -> None:
        """Hear that labels of a plane changed in a window."""
        self._changes.append((view, plane, window))

    def update(self) -> None:
        """Measure what changed, where the runner does that, and show it in the features."""
        self._note_missing()
        if not self._changes:
            return
        count, job = len(self._changes), self._job()

        def done(rows: dict[_Key, Row]) -> None:
            del self._changes[:count]
            self._rows.update(rows)
            self._show()

        self._runner.submit(
            lambda cancelled: job, Ears(done, self._session.report, _drop, _nothing)
        )

    def table(self) -> dict[str, list[Any]]:
        """Return the measures of all committed objects, a column each, an object per row."""
        self._note_missing()
        if self._changes:
            steps = self._job()
            Inline().submit(lambda _: steps, Ears(self._rows.update, _drop, _drop, _nothing))
            self._changes.clear()
        return columns(self._present().values())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table as CSV.

        Raises
        ------
        FormatError
            If it cannot be written.
        """
        write_table(Path(path), self.table())

    def _present(self) -> dict[_Key, Row]:
        """Return the rows of objects that are there."""
        views = self._session.views
        return {
            (view, label): row
            for (view, label), row in self._rows.items()
            if view in views and label in view.session.objects
        }

    def _note_missing(self) -> None:
        """Objects of a session that was recovered have not been measured yet."""
        self._rows = self._present()
        for view in self._session.views:
            missing = {n for n in view.session.objects if (view, n) not in self._rows}
            for place in view.session.places(missing):
                self.note(view, place.item.plane, place.window)

    def _job(self) -> Generator[Progress, None, dict[_Key, Row]]:
        """Return what measures the objects that were changed so far."""
        asked = []
        for view in self._session.views:
            mine = [change for change in self._changes if change[0] is view]
            if mine:
                asked.append((view, view.session.places(), mine, self._pixel_size(view)))
        return _measure(asked)

    def _pixel_size(self, view: View) -> _PixelSize:
        image = self._session.image
        row, col = view.axes.displayed
        if (
            image is None
            or str(image.units[row]) == "pixel"
            or image.units[row] != image.units[col]
        ):
            return None, None
        return (float(abs(image.scale[row])), float(abs(image.scale[col]))), str(image.units[row])

    def _show(self) -> None:
        layer = self._session.target
        if layer is not None and not self._session.is_closed:
            self._written = write_features(layer, columns(self._present().values()), self._written)


def write_features(layer: Labels, table: dict[str, list[Any]], written: set[int]) -> set[int]:
    """Show a table in a layer's features; rows of others stay.

    Parameters
    ----------
    layer : Labels
    table : dict
        With the column "label", which napari calls "index".
    written : set of int
        Labels whose rows were written before.

    Returns
    -------
    set of int
        Labels whose rows are there now.
    """
    import pandas as pd

    before = layer.features
    if len(before) and "index" not in before:
        return written  # somebody else's, by another rule
    named = {name: column for name, column in table.items() if name != "label"}
    mine = pd.DataFrame({"index": table.get("label", []), **named})
    labels = set(mine["index"].tolist())
    if len(before):
        kept = before[~before["index"].isin(labels | written)]
        mine = pd.concat([kept, mine], ignore_index=True) if len(kept) else mine
    layer.features = mine
    return labels


def _measure(
    asked: list[tuple[View, list[ObjectPlace], list[_Change], _PixelSize]],
) -> Generator[Progress, None, dict[_Key, Row]]:
    rows: dict[_Key, Row] = {}
    for view, there, changes, size in asked:
        session = view.session
        touched: set[tuple[int, tuple[int, ...]]] = set()
        for _, plane, window in changes:
            labels = np.unique(session.target.read(plane, window))
            touched |= {(int(label), plane) for label in labels}
            yield Progress(0, 1, message="measuring")
        wanted = [place for place in there if (place.label, place.item.plane) in touched]
        for number, place in enumerate(wanted):
            yield Progress(number, len(wanted), message="measuring")
            row = measure_object(place, session.source, session.target, *size)
            if row is not None:
                rows[view, place.label] = row
    return rows


def _drop(_: object) -> None:
    pass


def _nothing() -> None:
    pass
