"""A small plot of curves over the steps of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

COLOURS = ("#3ddc97", "#ffb347", "#6cb6ff", "#ff7a9c")
Points = Sequence[tuple[float, float]]


class CurvePlot(QWidget):
    """Curves, each scaled to the height of the plot, with their latest values."""

    def __init__(self, height: int = 110) -> None:
        super().__init__()
        self.setFixedHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._curves: dict[str, Points] = {}
        self._end = 1.0

    def show_curves(self, curves: Mapping[str, Points], end: float = 0.0) -> None:
        """Show curves.

        Parameters
        ----------
        curves : mapping of str to sequence of (step, value)
        end : float
            The last step that there will be; the last that there is if that is later.
        """
        self._curves = {name: points for name, points in curves.items() if points}
        last = [points[-1][0] for points in self._curves.values()]
        self._end = max([1.0, end, *last])
        self.update()

    @property
    def names(self) -> tuple[str, ...]:
        """The curves that are shown."""
        return tuple(self._curves)

    def paintEvent(self, event: Any) -> None:
        """Draw the axes, the curves and a legend."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().windowText().color()
        faint = QColor(text)
        faint.setAlpha(70)
        line = painter.fontMetrics().height()
        area = QRectF(4, line + 6, max(10, self.width() - 8), self.height() - 2 * line - 12)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        painter.drawLine(area.topLeft(), area.bottomLeft())
        painter.setPen(text)
        below = QRectF(area.left(), area.bottom() + 2, area.width(), line)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "step 0")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{self._end:.0f}")
        left = area.left()
        for number, (name, points) in enumerate(self._curves.items()):
            colour = QColor(COLOURS[number % len(COLOURS)])
            values = [value for _, value in points]
            low, high = min(values), max(values)
            span = high - low or 1.0
            line_points = [
                QPointF(
                    area.left() + area.width() * step / self._end,
                    area.bottom() - area.height() * (0.06 + 0.88 * (value - low) / span),
                )
                for step, value in points
            ]
            painter.setPen(QPen(colour, 1.6))
            painter.drawPolyline(QPolygonF(line_points))
            painter.setBrush(colour)
            for place in line_points if len(line_points) < 12 else line_points[-1:]:
                painter.drawEllipse(place, 2.2, 2.2)
            words = f"{name} {values[-1]:.3f}"
            painter.drawText(QRectF(left, 1, area.width(), line), Qt.AlignmentFlag.AlignLeft, words)
            left += painter.fontMetrics().horizontalAdvance(words) + 12
        painter.end()
