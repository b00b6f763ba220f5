"""Measures of a viewer's objects, in the features of their Labels layer and as CSV."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ...engine import Window
from ...formats import write_table
from ...progress import Progress
from ...session.committed import ObjectPlace
from ...session.measuring import Row, columns, measure_object
from .images import PixelSize, pixel_size
from .runners import Inline, JobCallbacks, JobRunner

if TYPE_CHECKING:
    from napari.layers import Labels

    from .plane_sessions import PlaneSession, PlaneSessions

_Change: TypeAlias = "tuple[PlaneSession, tuple[int, ...], Window]"
_Key: TypeAlias = "tuple[PlaneSession, int]"


class ObjectMeasures:
    """Keeps a table of a viewer's committed objects up to date; changed objects are measured again.

    Parameters
    ----------
    planes : PlaneSessions
    """

    def __init__(self, planes: PlaneSessions) -> None:
        self._planes = planes
        self._runner: JobRunner = Inline()
        self._closed = False
        self._rows: dict[_Key, Row] = {}
        self.changes: list[_Change] = []
        """Windows of planes whose objects are still to be measured."""
        self._written: set[int] = set()

    def set_runner(self, runner: JobRunner) -> None:
        """Choose where to measure, for example on another thread."""
        self._runner.close()
        self._runner = runner

    def close(self) -> None:
        """Stop measuring."""
        self._closed = True
        self._runner.close()
        self.changes.clear()

    def note(self, on: PlaneSession, plane: tuple[int, ...], window: Window) -> None:
        """Note that labels of a plane changed in a window."""
        self.changes.append((on, plane, window))

    def update(self) -> None:
        """Measure changed objects with the runner, and write the features."""
        self._note_missing()
        if not self.changes:
            if self._rows or self._written:
                self._show()  # classes may have changed
            return
        count, job = len(self.changes), self._job()

        def done(rows: dict[_Key, Row]) -> None:
            del self.changes[:count]
            self._rows.update(rows)
            self._show()

        self._runner.submit(
            lambda cancelled: job, JobCallbacks(done, self._planes.signals.report, _drop, _nothing)
        )

    def table(self) -> dict[str, list[Any]]:
        """Return the measures of all committed objects: a column each, a row per object."""
        self._note_missing()
        if self.changes:
            steps = self._job()
            Inline().submit(
                lambda _: steps, JobCallbacks(self._rows.update, _drop, _drop, _nothing)
            )
            self.changes.clear()
        return self._columns()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table as CSV.

        Raises
        ------
        FormatError
            If it cannot be written.
        """
        write_table(Path(path), self.table())

    def _present(self) -> dict[_Key, Row]:
        """Return the rows of objects that still exist."""
        there = self._planes.all
        return {
            (on, label): row
            for (on, label), row in self._rows.items()
            if on in there and label in on.session.objects
        }

    def _note_missing(self) -> None:
        """Note objects without a row, such as those of a recovered session."""
        self._rows = self._present()
        for on in self._planes.all:
            missing = {n for n in on.session.objects if (on, n) not in self._rows}
            for place in on.session.places(missing):
                self.note(on, place.item.plane, place.window)

    def _job(self) -> Generator[Progress, None, dict[_Key, Row]]:
        """Return a generator that measures the objects changed so far."""
        asked = []
        for on in self._planes.all:
            mine = [change for change in self.changes if change[0] is on]
            if mine:
                asked.append(
                    (on, on.session.places(), mine, pixel_size(self._planes.layers.image, on.axes))
                )
        return _measure(asked)

    def _show(self) -> None:
        layer = self._planes.layers.target
        if layer is not None and not self._closed:
            self._written = write_features(layer, self._columns(), self._written)

    def _columns(self) -> dict[str, list[Any]]:
        """Return the measures, with the objects' classes where any has one."""
        rows = self._present()
        classes = {
            (on, label): item.class_name
            for on in self._planes.all
            for label, item in on.session.objects.items()
        }
        if any(classes.values()):
            return columns({**row, "class": classes[key]} for key, row in rows.items())
        return columns(rows.values())


def as_features(table: Mapping[str, Any]) -> Any:
    """Return a table's columns of single values as a layer's features; "label" becomes "index"."""
    import pandas as pd

    columns = {name: column for name, column in table.items() if np.ndim(column) == 1}
    index = {"index": np.asarray(columns.pop("label"), np.int64)} if "label" in columns else {}
    return pd.DataFrame({**index, **columns})


def write_features(layer: Labels, table: dict[str, list[Any]], written: set[int]) -> set[int]:
    """Write a table into a layer's features, and keep the rows of other labels.

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
        return written  # someone else's table, in another form
    mine = as_features({"label": [], **table})
    labels = set(mine["index"].tolist())
    if len(before):
        kept = before[~before["index"].isin(labels | written)]
        mine = pd.concat([kept, mine], ignore_index=True) if len(kept) else mine
    layer.features = mine
    return labels


def _measure(
    asked: list[tuple[PlaneSession, list[ObjectPlace], list[_Change], PixelSize]],
) -> Generator[Progress, None, dict[_Key, Row]]:
    rows: dict[_Key, Row] = {}
    for on, there, changes, size in asked:
        session = on.session
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
                rows[on, place.label] = row
    return rows


def _drop(_: object) -> None:
    pass


def _nothing() -> None:
    pass
