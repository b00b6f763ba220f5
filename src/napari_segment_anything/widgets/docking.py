"""How a panel fits its window: scrolling contents, and the place of its dock."""

from __future__ import annotations

import contextlib
from typing import Any

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QDockWidget,
    QFrame,
    QLabel,
    QMainWindow,
    QScrollArea,
    QScrollBar,
    QWidget,
)

USUAL = 352
"""Initial width of a panel in pixels; the rest is left to the canvas."""
LOWEST = 140
"""Minimum height of the scrolled part of a panel in pixels."""


class Scroll(QScrollArea):
    """Scrolls its contents vertically, at their full width.

    The mouse wheel scrolls; it changes a combo box, slider or number only if that has the focus.
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

    @property
    def bar_room(self) -> int:
        """Width of the scroll bar in pixels, with the margin that styles add."""
        return int(self.verticalScrollBar().sizeHint().width()) + 4

    def minimumSizeHint(self) -> QSize:
        """Return the width of contents and scroll bar, and a small height."""
        layout = self.widget().layout()
        rows = [layout.itemAt(i).widget() for i in range(layout.count())]
        folded = max((item.minimumSizeHint().width() for item in rows if item), default=0)
        edges = layout.contentsMargins()
        folded += (
            edges.left() + edges.right()
        )  # hidden rows count: showing them must not change the width
        wanted = max(self.widget().minimumSizeHint().width(), folded) + self.bar_room
        if self.isVisible():  # before that, the theme's fonts and paddings are not applied
            self._widest = wanted = max(self._widest, wanted)  # never narrower again
        return QSize(wanted, LOWEST)

    def sizeHint(self) -> QSize:
        """Return the size at which nothing is scrolled."""
        return self.minimumSizeHint().expandedTo(self.widget().sizeHint())

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Follow the contents' width, and scroll where the widget under the mouse has no focus."""
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
        """Leave room for the scroll bar, shown or not, so that it moves nothing when it appears."""
        super().resizeEvent(event)
        self.widget().setMaximumWidth(self.width() - self.bar_room)

    def showEvent(self, event: Any) -> None:
        """Watch the widgets that react to the mouse wheel."""
        super().showEvent(event)
        self._guard()
        for item in self.widget().findChildren(QWidget):
            item.ensurePolished()  # hidden rows count for the width
        self.updateGeometry()

    def _guard(self) -> None:
        for kind in (QComboBox, QAbstractSlider, QAbstractSpinBox):
            for item in self.widget().findChildren(kind):
                if id(item) not in self._guarded and not isinstance(item, QScrollBar):
                    self._guarded.add(id(item))
                    if item.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                        item.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                    item.installEventFilter(self)


_MARK = "segment_anything_panel"
"""Property of a panel that has been placed; later panels are tabbed with it."""


class Docking(QObject):
    """Tabs a panel's dock with those of its siblings, and sets short titles."""

    def __init__(self, panel: QWidget, title: str, tab: str) -> None:
        super().__init__(panel)
        self._panel, self._title, self._tab = panel, title, tab
        self._dock: QDockWidget | None = None
        panel.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Place the dock when the panel is first shown in it."""
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
        alone = True
        for other in window.findChildren(QDockWidget):
            inner = other.widget()
            here = other is not dock and window.dockWidgetArea(other) == area
            alone = alone and not (here and other.isVisible())
            sibling = inner is not None and inner.property(_MARK) and not other.isHidden()
            if sibling and not other.isFloating() and window.dockWidgetArea(other) == area:
                window.tabifyDockWidget(other, dock)
                break
        if not dock.isFloating():
            least = self._panel.minimumSizeHint().width()
            width = max(USUAL if alone else dock.width(), least)
            window.resizeDocks([dock], [width], Qt.Orientation.Horizontal)
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
