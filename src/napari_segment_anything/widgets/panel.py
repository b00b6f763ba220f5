"""What the widgets share: image, model, messages, layout and clean-up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import napari
from magicgui.widgets import Container
from magicgui.widgets.bases import Widget
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from ..errors import SegmentAnythingError
from .choosers import ImageField
from .docking import Docking, Scroll
from .forms import QtField
from .model_box import ModelBox
from .notices import Notices
from .qt_helpers import row, tight
from .sections import Section
from .shared import WindowWatch, shared_session
from .status import StatusLine


class Panel(QWidget):
    """Base of the widgets, with the session that they share.

    `parameters` is a magicgui container with everything that can be set.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    parameters: Container

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.shared = shared_session(self.viewer)
        self.session = self.shared.session
        self.settings = self.shared.settings
        self.images = ImageField(self.viewer, self.shared.images)
        self.models = QtField(
            "model", "Model", ModelBox(), tooltip="A name, a file, a folder, or a model of the hub"
        )
        self.notices = Notices()
        self.status = StatusLine()
        self.is_shut = False
        self._ends = contextlib.ExitStack()
        self._ends.callback(self.shared.leave, self.viewer)
        self._ends.callback(self.images.close_down)

    def lay_out(self, items: Sequence[Any], title: str, tab: str) -> None:
        """Lay the panel out, and tab its dock with those of its siblings.

        Parameters
        ----------
        items : sequence of magicgui widget, tuple of these, QWidget or Section
            From top to bottom; a tuple is a row. They scroll; the messages below them stay
            visible. The last item takes the remaining height, unless it is a Section.
        title, tab : str
            Of the dock, and of its tab.
        """
        rows = Section(items).rows()
        flat = [one for item in rows for one in (item if isinstance(item, tuple) else (item,))]
        widgets = [item for item in flat if isinstance(item, Widget)]
        self.parameters = Container()
        self.parameters.extend(widgets)  # which gives labels the same width
        layout = tight(self.parameters.native.layout(), 5)
        self.parameters.margins = (8, 8, 8, 4)
        labelled = {id(item): layout.takeAt(0).widget() for item in widgets}
        for holder in labelled.values():
            label = holder.findChild(QLabel)
            if label is not None and label.parent() is holder:  # the theme adds padding
                label.setMinimumWidth(label.minimumWidth() + 6)
        for item in rows:
            if isinstance(item, tuple):
                for one in item:
                    if labelled[id(one)] is not one.native:
                        labelled[id(one)].hide()
                line = row(*(one.native for one in item), *([None] if len(item) > 1 else []))
            else:
                line = labelled.get(id(item), item)
            layout.addWidget(line)
        layout.addStretch(1)
        if not isinstance(items[-1], Section):
            layout.setStretch(layout.count() - 2, 1000)
        scroll = Scroll(self.parameters.native)
        foot = QWidget()
        below = tight(QVBoxLayout(foot), 4)
        below.setContentsMargins(8, 2, 8 + scroll.bar_room, 4)
        below.addWidget(self.notices)
        below.addWidget(self.status)
        outer = tight(QVBoxLayout(self), 0)
        outer.addWidget(scroll, 1)
        outer.addWidget(foot)
        for item in items:
            if isinstance(item, Section):
                item.show()
        Docking(self, title, tab)
        self._ends.callback(self.shared.bind_model(self))
        self._watch = WindowWatch(self, self.shut)

    def reset_choices(self, *_: Any) -> None:
        """Offer the viewer's current layers; napari calls this when they change."""
        if not self.is_shut:
            self.parameters.reset_choices()

    def follow(self, signal: Any, slot: Callable[..., Any]) -> None:
        """Connect a signal of an object that outlives the panel.

        Parameters
        ----------
        signal : psygnal, Qt or napari signal
        slot : callable
            Disconnected when the panel is closed.
        """
        signal.connect(slot)
        self._ends.callback(signal.disconnect, slot)

    def delayed(self, milliseconds: int, action: Callable[[], object]) -> QTimer:
        """Return a timer that calls a function once, a while after it was started last.

        Parameters
        ----------
        milliseconds : int
        action : callable
            Not called once the panel is closed.
        """
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.timeout.connect(lambda: None if self.is_shut else action())
        return timer

    def at_the_end(self, function: Callable[[], object]) -> None:
        """Register a function to call when the panel is closed."""
        self._ends.callback(function)

    def attempt(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function, and show its error if it raises one of ours."""
        try:
            return action(*arguments)
        except SegmentAnythingError as error:
            self.status.warn(error)
            return None

    def shut(self) -> None:
        """Stop all jobs and disconnect from the viewer."""
        if not self.is_shut:
            self.is_shut = True
            self._ends.close()
