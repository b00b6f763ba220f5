"""The session that a viewer's widgets share: opened by the first, closed after the last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QWidget

from ..bridge import Background, ViewerSession, attach
from ..progress import Progress
from ..session import LatestWins, new_journal_path
from .chosen import ChosenImage
from .jobs import MainThread
from .loading import embedding_cache
from .settings import PluginSettings
from .status import StatusLine

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from .panel import Panel

_LOADING = "loading"


class SharedSession:
    """A viewer's session that computes on another thread, with the number of widgets using it.

    It also holds the image chosen for all of them.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.settings = PluginSettings()
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
        self._set_up(self.settings.get("prompt"))
        self.session.set_runner(Background(self.dispatch))
        measuring = LatestWins(name="segment-anything-measures")
        self.session.measures.set_runner(Background(self.dispatch, measuring))
        if not self.session.is_loaded:
            self.session.set_model(engine["model"])
        self._panels: list[Panel] = []
        self._starting: list[StatusLine] = []
        self.session.model_changed.connect(self._on_model)
        self.session.model_failed.connect(self._on_model_failed)
        self.session.progressed.connect(self._on_progress)
        self.session.busy_changed.connect(self._on_busy)
        self.images = ChosenImage()
        self._follow_session()
        self.images.changed.connect(self._take_image)
        self.session.layers_changed.connect(self._follow_session)
        self.selected_objects: Callable[[], list[int]] = list
        """Labels of the objects that are selected in a list."""
        self._users = 0

    def _take_image(self) -> None:
        """Set the session's image to the chosen one."""
        with self.session.reporting():
            self.session.set_image(self.images.layers or None)
            self.session.set_options(channel_axis=self.images.channel_axis)

    def _follow_session(self) -> None:
        """Choose the image that the session took by itself, at a click or from a script."""
        image = self.session.image
        if image is not None and image not in self.images.layers:
            self.images.choose(self.session.layers.images, self.session.options["channel_axis"])

    def _set_up(self, kept: dict[str, Any]) -> None:
        """Set tool and options from the preferences."""
        self.session.mode = kept["mode"]
        self.session.batch = kept["batch"]
        self.session.hover_preview = kept["hover"]
        names = ("overwrite", "multimask", "min_mask_region_area")
        self.session.set_options(**{name: kept[name] for name in names})

    def _new_journal(self, name: str) -> Path:
        return new_journal_path(name, self.settings.get("engine")["journal_directory"])

    def bind_model(self, panel: Panel) -> Callable[[], None]:
        """Connect a panel's model field, which then shows the current model and what went wrong.

        While a model is loaded or downloaded, the panel's status shows that unless it is busy
        with something else, with a button that stops a download.

        Returns
        -------
        callable
            Disconnects it.
        """
        self._panels.append(panel)
        panel.status.cancelled.connect(self._stop_loading)
        panel.models.changed.connect(self.choose_model)
        if self.session.models.source is not None:
            panel.models.qt.value = self.session.models.source
        return lambda: self._panels.remove(panel)

    def choose_model(self, source: str) -> None:
        """Load another model on another thread; the old one stays in use until then."""
        for panel in self._panels:
            panel.notices.drop("model")
            panel.models.qt.value = source
        self.session.set_model(source)
        self.session.when_loaded(lambda: None)  # load it now

    def start(self, status: StatusLine, begin: Callable[[], object]) -> None:
        """Call `begin` when the model is loaded, or not at all if that fails.

        Called again while the model is being loaded, it cancels the first call.

        Parameters
        ----------
        status : StatusLine
            Shows that the model is being loaded.
        begin : callable
        """
        if self.session.is_loaded:
            begin()
            return
        if status in self._starting:
            self._starting.remove(status)
            status.rest("Stopped.")
            return

        def loaded() -> None:
            if status in self._starting:
                self._starting.remove(status)
                status.rest()
                begin()

        self._starting.append(status)
        status.busy("Loading the model …", doing=_LOADING)
        self.session.when_loaded(loaded)

    def _on_model(self) -> None:
        """Remember a loaded model for the next start."""
        source = self.session.models.source
        if source is None:
            return
        if self.session.is_loaded:
            self.settings.set("engine", model=source)
        for panel in self._panels:
            panel.models.qt.value = source

    def _on_model_failed(self, source: str, error: BaseException) -> None:
        """Show that a model could not be loaded, until the user dismisses it."""
        for status in self._starting:
            status.rest("Not started: the model could not be loaded.")
        self._starting.clear()
        used = self.session.models.source
        if used is not None:
            for panel in self._panels:
                panel.models.qt.value = used
        rest = "" if used in (None, source) else f" The model in use is {used}."
        for panel in self._panels:
            panel.notices.tell(
                "model",
                f"{Path(source).name} could not be loaded: {str(error).rstrip('.')}.{rest}",
                ("Try again", lambda: self.choose_model(source)),
                ("OK", self._drop_model_notice),
            )

    def _on_progress(self, step: Progress) -> None:
        if not self.session.models.is_loading:
            return
        for status in (panel.status for panel in self._panels):
            if status.doing == "":
                status.busy("Loading the model …", doing=_LOADING)
            if status.doing == _LOADING:
                status.show_progress(step, stoppable=step.total > 1)

    def _on_busy(self, busy: bool) -> None:
        for status in (panel.status for panel in self._panels):
            if status.doing == _LOADING and not self.session.models.is_loading:
                status.rest()

    def _stop_loading(self) -> None:
        self.session.models.stop_loading()

    def _drop_model_notice(self) -> None:
        for panel in self._panels:
            panel.notices.drop("model")

    def enter(self) -> None:
        """Add a user of the session."""
        self._users += 1

    def leave_later(self, viewer: ViewerModel) -> None:
        """Leave, for a command without a widget: the session stays until the window is closed."""
        if self._users > 1:
            self._users -= 1
            return
        window = getattr(getattr(viewer, "window", None), "_qt_window", None)
        if window is not None:
            self._watch = WindowWatch(window, lambda: self.leave(viewer))

    def leave(self, viewer: ViewerModel) -> None:
        """Remove a user of the session; the last one closes it."""
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
    """Calls a function once, when the window that holds a widget is closed.

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
        # napari may delete a window at once; then no event is delivered any more
        widget.destroyed.connect(lambda *_: self._finish())

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Notice that the widget is shown in a window, and that the window is closed."""
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
            return  # closing was cancelled
        self._finish()

    def _finish(self) -> None:
        closed, self._closed = self._closed, lambda: None
        self._window = None  # a widget that outlives its window must not keep it alive
        closed()
