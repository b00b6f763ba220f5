"""How a panel fits its window: contents that scroll, a foot that stays, a place for its dock."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractSlider,
    QComboBox,
    QDockWidget,
    QFrame,
    QLabel,
    QMainWindow,
    QScrollArea,
    QScrollBar,
    QVBoxLayout,
    QWidget,
)

from .parts import tight

LOWEST = 140
"""Pixels that the scrolled part of a panel needs; the window may be as low as that allows."""


class Scroll(QScrollArea):
    """Shows contents at their full width, whatever the height.

    The wheel scrolls: it changes a choice or a slider only after that was clicked.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self._widest = 0
        self._guarded: set[int] = set()
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidget(content)

    def minimumSizeHint(self) -> QSize:
        """Return the width of the contents beside a scroll bar, and a small height."""
        bar = self.verticalScrollBar().sizeHint().width()
        wanted = self.widget().minimumSizeHint().width() + bar
        self._widest = max(self._widest, wanted)  # what opens a fold must not widen the dock
        return QSize(self._widest, LOWEST)

    def sizeHint(self) -> QSize:
        """Return the size at which nothing needs to scroll."""
        return self.minimumSizeHint().expandedTo(self.widget().sizeHint())

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Follow the contents' width, and keep the wheel from what has no focus."""
        if event.type() == QEvent.Type.LayoutRequest and watched is self.widget():
            self._guard()
            self.updateGeometry()
        elif event.type() == QEvent.Type.Wheel and id(watched) in self._guarded:
            if watched.hasFocus():
                return False
            bar = self.verticalScrollBar()
            bar.setValue(bar.value() - event.angleDelta().y() // 2)
            return True
        return bool(super().eventFilter(watched, event))

    def resizeEvent(self, event: Any) -> None:
        """Leave room for the scroll bar, there or not: its coming must not move anything."""
        super().resizeEvent(event)
        self.widget().setMaximumWidth(self.width() - self.verticalScrollBar().sizeHint().width())

    def showEvent(self, event: Any) -> None:
        """Look for what the wheel would change."""
        super().showEvent(event)
        self._guard()

    def _guard(self) -> None:
        for kind in (QComboBox, QAbstractSlider):
            for item in self.widget().findChildren(kind):
                if id(item) not in self._guarded and not isinstance(item, QScrollBar):
                    self._guarded.add(id(item))
                    if item.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                        item.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                    item.installEventFilter(self)


def fill_panel(
    panel: QWidget, items: Sequence[QWidget], foot: Sequence[QWidget], title: str, tab: str
) -> None:
    """Lay a panel out, and have its dock lie behind those of its siblings.

    Parameters
    ----------
    panel : QWidget
    items : sequence of QWidget
        From top to bottom; they scroll. The last one takes the height that is left.
    foot : sequence of QWidget
        Below them, always in sight: nothing moves when their height changes.
    title, tab : str
        Of the dock, and of its tab among several.
    """
    content = QWidget()
    inner = tight(QVBoxLayout(content), 6)
    inner.setContentsMargins(8, 8, 8, 4)
    for item in items[:-1]:
        inner.addWidget(item)
    inner.addWidget(items[-1], 1)
    bottom = QWidget()
    below = tight(QVBoxLayout(bottom), 4)
    below.setContentsMargins(8, 2, 8, 4)
    for item in foot:
        below.addWidget(item)
    outer = tight(QVBoxLayout(panel), 0)
    outer.addWidget(Scroll(content), 1)
    outer.addWidget(bottom)
    _Docking(panel, title, tab)


_MARK = "segment_anything_panel"
"""The property of a panel that lies where it belongs; later ones join it there."""


class _Docking(QObject):
    """Tabs a panel's dock with its siblings', and gives it titles that fit."""

    def __init__(self, panel: QWidget, title: str, tab: str) -> None:
        super().__init__(panel)
        self._panel, self._title, self._tab = panel, title, tab
        self._dock: QDockWidget | None = None
        panel.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """See the panel get a dock, and be shown in it."""
        if event.type() == QEvent.Type.Show and self._dock is None:
            QTimer.singleShot(0, self._settle)  # napari is still placing it
        return False

    def _settle(self) -> None:
        with contextlib.suppress(RuntimeError):  # the window was closed meanwhile
            dock = self._panel.parentWidget()
            if self._dock is not None or not isinstance(dock, QDockWidget):
                return
            self._dock = dock
            dock.topLevelChanged.connect(lambda *_: QTimer.singleShot(0, self._name))
            dock.dockLocationChanged.connect(lambda *_: QTimer.singleShot(0, self._name))
            self._name()
            window = dock.parentWidget()
            if isinstance(window, QMainWindow):
                self._join(window, dock)
            self._panel.setProperty(_MARK, True)

    def _join(self, window: QMainWindow, dock: QDockWidget) -> None:
        area = window.dockWidgetArea(dock)
        for other in window.findChildren(QDockWidget):
            inner = other.widget()
            sibling = inner is not None and inner.property(_MARK) and not other.isHidden()
            if sibling and not other.isFloating() and window.dockWidgetArea(other) == area:
                window.tabifyDockWidget(other, dock)
                break
        dock.raise_()

    def _name(self) -> None:
        with contextlib.suppress(RuntimeError):
            dock = self._dock
            if dock is None:
                return
            dock.setWindowTitle(self._tab)
            bar = dock.titleBarWidget()
            label = None if bar is None else bar.findChild(QLabel)
            if label is not None:
                label.setText(self._title)
