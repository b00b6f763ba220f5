"""Tools of the mouse that change objects: split, merge, delete; and one for complete regions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ...engine import Window
from ...errors import PromptError
from ...session.series_actions import line_pixels
from ..viewer.plane_sessions import PlaneInView

if TYPE_CHECKING:
    from ..viewer.mouse import Draw
    from ..viewer_session import ViewerSession


class ObjectTools:
    """Adds tools to the mouse of a viewer's session; choose one with `tool`.

    "split" divides the object that a line crosses; "merge" joins all objects that a line touches;
    "delete" removes the objects that lie in a rectangle by more than half; "region" declares a
    rectangle complete.

    Parameters
    ----------
    session : ViewerSession
    complete : callable
        Takes the two corners (2, 2) of a complete region.
    """

    def __init__(self, session: ViewerSession, complete: Callable[[np.ndarray], object]) -> None:
        self._session, self._complete = session, complete
        tools: dict[str, tuple[Draw, Callable[[PlaneInView, np.ndarray], object]]] = {
            "split": ("line", self.split),
            "merge": ("line", self.merge),
            "delete": ("box", self.delete),
            "region": ("box", self.declare_complete),
        }
        for name, (draw, act) in tools.items():
            session.mouse.add_tool(name, draw, act)
        self._names = tuple(tools)

    @property
    def tool(self) -> str:
        """The tool in use; "" for none."""
        return self._session.mouse.tool

    @tool.setter
    def tool(self, name: str) -> None:
        self._session.mouse.tool = name

    def split(self, seen: PlaneInView, line: np.ndarray) -> tuple[int, ...]:
        """Divide the object that a line (k, 2) lies on most; return the labels of its pieces.

        Raises
        ------
        PromptError
            If there is none, or the line does not run right across it.
        """
        crossed = self._along(seen, line)
        if not crossed:
            raise PromptError("there is no object under the line; draw it right across one")
        return self._session.commits.cut(max(crossed, key=lambda label: crossed[label]), line)

    def merge(self, seen: PlaneInView, line: np.ndarray) -> int:
        """Join all objects that a line (k, 2) touches; return the label of the result.

        Raises
        ------
        PromptError
            If it touches fewer than two.
        """
        crossed = self._along(seen, line)
        if len(crossed) < 2:
            raise PromptError("draw a line from one object into the others that belong to it")
        return self._session.commits.merge(list(crossed))

    def delete(self, seen: PlaneInView, corners: np.ndarray) -> tuple[int, ...]:
        """Delete the objects that lie in a rectangle by more than half; return their labels.

        Raises
        ------
        PromptError
            If there is none.
        """
        plane = Window.full(seen.on.axes.rows_cols)
        low, high = (np.floor(edge + 0.5).astype(int) for edge in (corners.min(0), corners.max(0)))
        low, high = np.maximum(low, 0), np.minimum(high + 1, plane.shape)
        labels = seen.on.session.target.read(seen.plane, plane)
        inside = np.bincount(labels[low[0] : high[0], low[1] : high[1]].ravel())
        every = np.bincount(labels.ravel(), minlength=len(inside))[: len(inside)]
        found = np.flatnonzero(2 * inside > every)
        ids = tuple(int(label) for label in found[found > 0])
        if not ids:
            raise PromptError("no object lies in the rectangle by more than half")
        self._session.commits.delete(ids)
        return ids

    def declare_complete(self, seen: PlaneInView, corners: np.ndarray) -> None:
        """Declare that every object of a rectangle is labelled."""
        self._complete(corners)

    def _along(self, seen: PlaneInView, line: np.ndarray) -> dict[int, int]:
        """Labels under a line in the order in which it meets them, with the pixels of each."""
        rows, cols = seen.on.axes.rows_cols
        low = np.maximum(np.floor(line.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(line.max(0)).astype(int) + 1, (rows, cols))
        if (high <= low).any():
            return {}
        window = Window(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))
        labels = seen.on.session.target.read(seen.plane, window)
        under = labels[line_pixels(line, window)]
        found, count = np.unique(under[under > 0], return_counts=True)
        pixels = dict(zip(found.tolist(), count.tolist(), strict=True))
        first = seen.on.session.object_at(seen.plane, line[0])
        return {label: pixels[label] for label in sorted(pixels, key=lambda n: (n != first, n))}

    def close(self) -> None:
        """Remove the tools."""
        for name in self._names:
            self._session.mouse.remove_tool(name)
