"""A table of a stack's objects, and a plot of each one's score along the axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import (
    QSizePolicy,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from .qt_helpers import RowTable, note, tight

MOST_ROWS = 1000
_LINE = "#3ddc97"
_LOW = "#ff5c5c"
_PROMPT = "#ffd34d"


class Curve(QWidget):
    """A plot of one value per plane; a click chooses a plane."""

    clicked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(96)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._values: dict[int, float] = {}
        self._prompted: tuple[int, ...] = ()
        self._count, self._measure, self._low = 1, "score", 0.0
        self._plane = 0

    def show_values(
        self,
        values: Mapping[int, float],
        count: int,
        measure: str,
        prompted: tuple[int, ...] = (),
        low: float = 0.0,
    ) -> None:
        """Show the values of an object.

        Parameters
        ----------
        values : mapping of plane to value
        count : int
            Number of planes.
        measure : str
            What the values are.
        prompted : tuple of int
            Planes with prompts.
        low : float
            Values below this are marked.
        """
        self._values, self._count, self._measure = dict(values), max(1, count), measure
        self._prompted, self._low = prompted, low
        self.update()

    def show_plane(self, plane: int) -> None:
        """Mark the plane that is shown."""
        if plane != self._plane:
            self._plane = plane
            self.update()

    @property
    def _area(self) -> QRectF:
        return QRectF(30, 6, max(10, self.width() - 38), self.height() - 24)

    @property
    def _top(self) -> float:
        if self._measure == "score":
            return 1.0
        return max([1.0, *self._values.values()])

    def _at(self, plane: float, value: float) -> QPointF:
        area = self._area
        x = area.left() + area.width() * (plane + 0.5) / self._count
        return QPointF(x, area.bottom() - area.height() * min(value / self._top, 1.0))

    def plane_at(self, x: float) -> int:
        """Return the plane at a horizontal position."""
        area = self._area
        return int(np.clip((x - area.left()) / area.width() * self._count, 0, self._count - 1))

    def paintEvent(self, event: Any) -> None:
        """Draw axes, values, prompts and the current plane."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().windowText().color()
        faint = QColor(text)
        faint.setAlpha(70)
        area = self._area
        painter.setPen(QPen(faint, 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        painter.drawLine(area.topLeft(), area.bottomLeft())
        if self._low:
            painter.setPen(QPen(faint, 1, Qt.PenStyle.DotLine))
            painter.drawLine(self._at(-0.5, self._low), self._at(self._count - 0.5, self._low))
        here = self._at(self._plane, 0).x()
        painter.setPen(QPen(faint, 2))
        painter.drawLine(QPointF(here, area.top()), QPointF(here, area.bottom()))
        self._draw_words(painter, text, area)
        planes = sorted(self._values)
        points = {plane: self._at(plane, self._values[plane]) for plane in planes}
        painter.setPen(QPen(QColor(_LINE), 1.5))
        numbers = np.array(planes, np.int64)
        for part in np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1):
            painter.drawPolyline(QPolygonF([points[int(plane)] for plane in part]))
        painter.setPen(Qt.PenStyle.NoPen)
        size = 2.5 if self._count < area.width() / 5 else 1.2
        for plane, point in points.items():
            low = self._measure == "score" and self._values[plane] < self._low
            painter.setBrush(QColor(_LOW if low else _LINE))
            painter.drawEllipse(point, size, size)
        painter.setBrush(QColor(_PROMPT))
        for plane in self._prompted:
            x, y = self._at(plane, 0).x(), area.bottom() + 1
            painter.drawPolygon(
                QPolygonF([QPointF(x, y), QPointF(x - 4, y + 7), QPointF(x + 4, y + 7)])
            )
        painter.end()

    def _draw_words(self, painter: QPainter, colour: QColor, area: QRectF) -> None:
        font = painter.font()
        font.setPointSizeF(max(6.0, font.pointSizeF() - 2))
        painter.setFont(font)
        painter.setPen(colour)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        top = "1" if self._measure == "score" else f"{self._top:.0f}"
        painter.drawText(QRectF(0, area.top() - 7, area.left() - 4, 14), right, top)
        painter.drawText(QRectF(0, area.bottom() - 7, area.left() - 4, 14), right, "0")
        below = QRectF(area.left(), area.bottom() + 3, area.width(), 14)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "0")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, str(self._count - 1))

    def mousePressEvent(self, event: Any) -> None:
        """Choose the plane that was clicked."""
        self.clicked.emit(self.plane_at(event.position().x()))

    def mouseMoveEvent(self, event: Any) -> None:
        """Show the plane's value as a tooltip; dragging moves through planes."""
        plane = self.plane_at(event.position().x())
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.clicked.emit(plane)
        value = self._values.get(plane)
        number = (
            ""
            if value is None
            else f": {value:.2f}"
            if self._measure == "score"
            else f": {value:.0f} px"
        )
        QToolTip.showText(event.globalPosition().toPoint(), f"plane {plane}{number}", self)


class Review(QWidget):
    """A table of objects, the most doubtful first, and the plot of the selected one."""

    asked = Signal(int, int)
    """Emits an object and the plane to show."""

    def __init__(self) -> None:
        super().__init__()
        self.table = RowTable(["object", "planes", "worst", "mean"], 150)
        self.table.chosen.connect(self._on_selected)
        self.curve = Curve()
        self.curve.clicked.connect(self._on_clicked)
        self.title = note()
        layout = tight(QVBoxLayout(self))
        for item in (self.table, self.title, self.curve):
            layout.addWidget(item)
        self._curves: Mapping[int, Mapping[int, float]] = {}
        self._prompted: Mapping[int, tuple[int, ...]] = {}
        self._count, self._measure, self._low = 1, "score", 0.0

    @property
    def selected(self) -> int | None:
        """The object that is selected."""
        return self.table.selected

    def fill(
        self,
        curves: Mapping[int, Mapping[int, float]],
        count: int,
        measure: str,
        prompted: Mapping[int, tuple[int, ...]] | None = None,
        parents: Mapping[int, int] | None = None,
        low: float = 0.0,
        notes: Mapping[int, str] | None = None,
    ) -> None:
        """Show objects.

        Parameters
        ----------
        curves : mapping of object to mapping of plane to value
        count : int
            Number of planes.
        measure : {"score", "area"}
        prompted : mapping of object to planes, optional
        parents : mapping of object to object, optional
            For tracks.
        low : float
            Scores below this are marked.
        notes : mapping of object to str, optional
            Tooltips.
        """
        before = self.selected
        self._curves, self._count, self._measure = curves, count, measure
        self._prompted, self._low = prompted or {}, low
        scored = measure == "score"
        heads = ["object", "planes", "worst" if scored else "area", "mean" if scored else "largest"]
        if parents is not None:
            heads[3] = "parent"
        self.table.setHorizontalHeaderLabels(heads)
        numbers = sorted(number for number in curves if curves[number])
        if scored:
            numbers.sort(key=lambda n: min(curves[n].values()))
        numbers = numbers[:MOST_ROWS]
        self.table.fill({n: self._texts(n, parents) for n in numbers})
        for place, number in enumerate(numbers):
            for column in range(len(heads)):
                self.table.item(place, column).setToolTip((notes or {}).get(number, ""))
            if scored and min(curves[number].values()) < low:
                self.table.item(place, 2).setForeground(QColor(_LOW))
        self.setVisible(bool(numbers))
        if numbers:
            self.select(before if before in numbers else numbers[0])

    def _texts(self, number: int, parents: Mapping[int, int] | None) -> tuple[str, ...]:
        values = list(self._curves[number].values())
        planes = f"{min(self._curves[number])}–{max(self._curves[number])}"
        if self._measure == "score":
            first, last = f"{min(values):.2f}", f"{np.mean(values):.2f}"
        else:
            first, last = f"{sum(values):.0f}", f"{max(values):.0f}"
        if parents is not None:
            last = str(parents.get(number) or "–")
        return str(number), planes, first, last

    def select(self, number: int | None) -> None:
        """Select an object, without moving to it."""
        if number is not None and self.table.select(number):
            self._draw(number)

    def _draw(self, number: int) -> None:
        values = self._curves.get(number, {})
        what = "Predicted IoU" if self._measure == "score" else "Area"
        self.title.setText(f"{what} of object {number} along the axis")
        self.curve.show_values(
            values, self._count, self._measure, self._prompted.get(number, ()), self._low
        )

    def _on_selected(self, number: int) -> None:
        self._draw(number)
        values = self._curves[number]
        farthest = min if self._measure == "score" else max
        self.asked.emit(number, farthest(values, key=lambda plane: values[plane]))

    def _on_clicked(self, plane: int) -> None:
        number = self.selected
        if number is not None:
            self.asked.emit(number, plane)
