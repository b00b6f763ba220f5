"""One viewer's session as its widgets share it: opened by the first, closed after the last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QWidget

from ..bridge import Background, ViewerSession, attach
from ..session import new_journal_path
from .chosen import ChosenImage
from .jobs import MainThread
from .loading import embedding_cache
from .settings import Settings

if TYPE_CHECKING:
    from napari.components import ViewerModel


class SharedSession:
    """A viewer's session with its jobs on another thread; counted by the widgets that use it.

    It also holds what is chosen for all of them: the image and the model.
    """

    model_chosen = Signal(str)
    """Emits the name or the path of a model, however it was chosen."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.settings = Settings()
        self.dispatch = MainThread()
        engine = self.settings.get("engine")
        self.session: ViewerSession = attach(viewer)
        self.session.set_options(
            device=engine["device"],
            precision=engine["precision"],
            window_size=engine["window_size"],
            cache=embedding_cache(engine),
            journal=self._new_journal if engine["journal"] else None,
        )
        self.session.set_runner(Background(self.dispatch))
        self.model: str = engine["model"]
        if self.session.is_loaded:
            self.model = self.session.model.source or self.session.model.name
        else:
            self.session.set_model(self.model)
        self.images = ChosenImage()
        self._follow_session()
        self.images.changed.connect(self._take_image)
        self.session.layers_changed.connect(self._follow_session)
        self._users = 0

    def choose_model(self, source: str) -> None:
        """Use another model, by name or path, from now on."""
        self.settings.set("engine", model=source)
        self.model = source
        self.model_chosen.emit(source)
        self.session.set_model(source)

    def _take_image(self) -> None:
        """Have the session work on the image that was chosen."""
        with self.session.reporting():
            self.session.set_image(self.images.layers or None)
            self.session.set_options(channel_axis=self.images.channel_axis)

    def _follow_session(self) -> None:
        """Show the image that the session took by itself, at a click or from a script."""
        image = self.session.image
        if image is not None and image not in self.images.layers:
            self.images.choose((image,), self.session.options["channel_axis"])

    def _new_journal(self, name: str) -> Path:
        return new_journal_path(name, self.settings.get("engine")["journal_directory"])

    def enter(self) -> None:
        """Count one more widget."""
        self._users += 1

    def leave_later(self, viewer: ViewerModel) -> None:
        """Count a command that has no widget: its session stays until the window is closed."""
        if self._users > 1:
            self._users -= 1
            return
        window = getattr(getattr(viewer, "window", None), "_qt_window", None)
        if window is not None:
            self._watch = WindowWatch(window, lambda: self.leave(viewer))

    def leave(self, viewer: ViewerModel) -> None:
        """Count one widget less; the last one closes the session."""
        self._users -= 1
        if self._users == 0:
            self.dispatch.close()
            self.session.close()
            _shared.pop(id(viewer), None)


_shared: dict[int, SharedSession] = {}


def shared_session(viewer: ViewerModel) -> SharedSession:
    """Return the session that a viewer's widgets share."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    found = _shared.get(id(viewer))
    if found is None or found.session.is_closed or found.session.viewer is not viewer:
        found = _shared[id(viewer)] = SharedSession(viewer)
    found.enter()
    return found


class WindowWatch(QObject):
    """Calls a function once when the window that a widget lies in is closed for good.

    Parameters
    ----------
    widget : QWidget
    closed : callable
    """

    def __init__(self, widget: QWidget, closed: Callable[[], object]) -> None:
        super().__init__(widget)
        self._widget, self._closed = widget, closed
        self._window: QWidget | None = None
        widget.installEventFilter(self)
        # napari may delete a window at once, and nothing is delivered any more
        widget.destroyed.connect(lambda *_: self._finish())

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """See the widget shown (then its window is known) and the window closed."""
        if event.type() == QEvent.Type.Show and watched is self._widget:
            window = self._widget.window()
            if window is not self._window and window is not self._widget:
                self._window = window
                window.installEventFilter(self)
        elif event.type() == QEvent.Type.Close and watched in (self._window, self._widget):
            self._window = watched if self._window is None else self._window
            QTimer.singleShot(0, self._look)
        elif event.type() == QEvent.Type.DeferredDelete and watched is self._widget:
            self._finish()
        return False

    def _look(self) -> None:
        if self._window is not None and self._window.isVisible():
            return  # the user decided otherwise
        self._finish()

    def _finish(self) -> None:
        closed, self._closed = self._closed, lambda: None
        closed()
