"""A project in a viewer: one image after the other, saved while it is worked on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from functools import partial
from typing import Any

import numpy.typing as npt
from psygnal import Signal

from ...engine import Window
from ...errors import ParameterError
from ...projects import Project, ProjectImage
from ...projects.status import Polygon, as_region
from ...projects.suggestions import Suggestions
from ...session import Session
from ..viewer.signals import Notice
from ..viewer_session import ViewerSession
from .ahead import Ahead
from .layers import ProjectLayers
from .opening import OpenedImage, open_image, read_ahead
from .saving import ImageSaver
from .series_jobs import SeriesJobs
from .suggestion_board import SuggestionBoard
from .threads import OrderedThread

_DONE = ("complete", "skipped", "flagged")


class ProjectSession:
    """Opens a project's images in a viewer's session, saves them, and moves on.

    The image that is open is locked. Labels, objects and time are written as they change; the
    session's journal holds what is not written yet.

    Parameters
    ----------
    session : ViewerSession
    project : Project
    who : str
        Who works on it; the user's name by default.
    dispatch : callable, optional
        Takes a function and schedules it on the viewer's thread, in order. Without it, everything
        happens at once and nothing is read ahead.
    """

    opened = Signal(object)
    """An image is shown: emits the `ProjectImage`."""
    left = Signal(object)
    """An image is not shown any more: emits the `ProjectImage`."""
    changed = Signal(object)
    """An image was written: emits the `ProjectImage`."""

    def __init__(
        self,
        session: ViewerSession,
        project: Project,
        *,
        who: str = "",
        dispatch: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self.session, self.project, self.who = session, project, who
        self.dispatch = dispatch
        self.layers = ProjectLayers(session.viewer)
        self.now: OpenedImage | None = None
        """The image that is open."""
        self.apart: Session | None = None
        """A session that works on an image apart from its labels: an audit's."""
        self.is_closed = False
        self._ahead = Ahead(dispatch)
        self._opening = OrderedThread("segment-anything-opening", dispatch)
        self._saving = OrderedThread("segment-anything-saving", dispatch)
        self._saver: ImageSaver | None = None
        self._leaving: dict[str, Future[Any]] = {}
        self.board = SuggestionBoard(self)
        """The suggestions for the image that is open."""
        self.board.busy_changed.connect(self._on_suggesting)
        self.jobs = SeriesJobs(self)
        """What runs over all images that are still to do."""
        self._ticket = 0
        self._moving = False
        self._object_since: float | None = None
        viewer = session.viewer
        viewer.mouse_move_callbacks.append(self._on_mouse)
        viewer.mouse_wheel_callbacks.append(self._on_mouse)
        viewer.layers.events.removed.connect(self._on_removed)
        session.draft_changed.connect(self._on_draft)
        session.model_changed.connect(self._on_model)
        session.closed.connect(self.close)

    # -- which image -----------------------------------------------------------------------------

    @property
    def image(self) -> ProjectImage | None:
        """The image that is open."""
        return None if self.now is None else self.now.image

    def next_image(self, after: str | None = None) -> ProjectImage | None:
        """Return the next image that is to be done and that nobody else works on, or None.

        Parameters
        ----------
        after : str, optional
            Key of the image to begin after; by default the one that is open.
        """
        images = self.project.images
        key = after or (self.image.key if self.image is not None else None)
        start = next((i + 1 for i, image in enumerate(images) if image.key == key), 0)
        for image in (*images[start:], *images[:start]):
            if image.key != key and image.state not in _DONE and image.locked_by() is None:
                return image
        return None

    def is_ahead(self, key: str) -> bool:
        """Whether an image was read already."""
        return self._ahead.find(key) is not None

    def go_to(self, key: str) -> None:
        """Open an image, after everything that waits for a mask; the one before is saved.

        An object in progress stays in progress: it is there again when its image is opened next.
        Errors are reported, not raised; the image before then stays open.
        """
        image = self.project.image(key)
        self._ticket += 1
        if self.image is None or image.key != self.image.key:
            self.session.when_loaded(partial(self._open, image, self._ticket))

    def next(self) -> bool:
        """Go to the next image that is to be done; return whether there is one."""
        image = self.next_image()
        if image is not None:
            self.go_to(image.key)
        return image is not None

    def previous(self) -> bool:
        """Go to the image before in the list, whatever its state; return whether there is one."""
        images = self.project.images
        key = None if self.image is None else self.image.key
        here = next((i for i, image in enumerate(images) if image.key == key), 0)
        if here > 0:
            self.go_to(images[here - 1].key)
        return here > 0

    def _open(self, image: ProjectImage, ticket: int) -> None:
        if ticket != self._ticket or self.is_closed:
            return
        predictor, who = self.session.predictor, self.who
        pause = float(self.project.settings["pause_seconds"])
        known, leaving = self._ahead.find(image.key), self._leaving.get(image.key)

        def work() -> OpenedImage:
            if leaving is not None:
                wait([leaving])  # that it failed was reported
            return open_image(known or read_ahead(image), predictor, who, pause)

        self._opening.run(work, partial(self._show, ticket), self.session.report)

    def _show(self, ticket: int, opened: OpenedImage) -> None:
        if ticket != self._ticket or self.is_closed:
            self._saving.run(lambda: _put_back(opened), failed=self.session.report)
            return
        before, saver = self.now, self._saver
        keep = self._draft_stays()
        self._moving = True
        dims = self.session.viewer.dims
        dims.ndisplay, dims.order = 2, tuple(range(dims.ndim))  # images lie in the last two axes
        try:
            self.session.lend(
                opened.session,
                partial(self.layers.show, opened.ahead, opened.labels),
                partial(self._dropped, opened),
            )
            self._take(opened)
        finally:
            self._moving = False
        if before is not None and saver is not None:
            self._end(before, saver, keep)
        self._ahead.keep(opened.ahead)
        self.board.follow(opened)
        if opened.recovered:
            count = len(opened.session.objects)
            self.session.notice(
                Notice("recovered", f"{opened.image.key}: recovered, with {count} objects.")
            )
        self.opened.emit(opened.image)
        self.session.canvas.redecode()
        self._prepare()

    def _take(self, opened: OpenedImage) -> None:
        self.now = opened
        saver = self._saver = ImageSaver(
            opened, self._saving, self._maker, self.changed.emit, self.session.report
        )
        events = opened.session.events
        events.target_changed.connect(partial(self._on_labels, saver))
        events.objects_changed.connect(partial(self._on_objects, saver))
        opened.clock()
        self._object_since = None
        if opened.recovered:
            saver.labels_changed(Window.full(opened.saved.shape))

    def _draft_stays(self) -> bool:
        draft = None if self.now is None else self.now.session.draft
        return draft is not None and not draft.empty

    def _end(self, opened: OpenedImage, saver: ImageSaver, keep: bool) -> None:
        opened.session.events.target_changed.disconnect()
        opened.session.events.objects_changed.disconnect()
        key = opened.image.key
        self._leaving[key] = saver.leave(keep)
        self.left.emit(opened.image)

    def _dropped(self, opened: OpenedImage) -> None:
        """The viewer's session works on something else now."""
        if not self._moving and self.now is opened:
            self.leave()

    def leave(self) -> None:
        """Save and close the image that is open, and show none."""
        opened, saver = self.now, self._saver
        if opened is None or saver is None:
            return
        keep = self._draft_stays()
        self.now = self._saver = None
        self._ticket += 1
        self._moving = True
        try:
            self._end(opened, saver, keep)
            if not self.session.is_closed:
                self.board.leave()
                self.layers.remove()
        finally:
            self._moving = False

    def flush(self) -> None:
        """Wait until everything is written."""
        self._saving.run(lambda: None).result()

    def _prepare(self) -> None:
        """Encode the image that is open, and read and encode the next one."""
        if self.is_closed or self.now is None or not self.session.is_loaded or self.board.busy:
            return
        following = self.next_image()
        images = [self.now.image, *([] if following is None else [following])]
        self._ahead.prepare(images, self.session.predictor)

    def _on_model(self) -> None:
        if self.session.is_loaded:
            self.board.renew()
            self._prepare()

    def _on_suggesting(self, busy: bool) -> None:
        if not busy:
            self._prepare()

    # -- the state of the image ------------------------------------------------------------------

    def set_state(self, state: str, **status: Any) -> None:
        """Set the state of the image that is open, and perhaps other fields of its status."""
        if self.now is not None and self._saver is not None:
            self._saver.note(state=state, seconds=self.now.seconds, **status)

    def complete(self) -> bool:
        """Declare that every object of the image is labelled, and go on; see `next`."""
        return self._finish("complete")

    def skip(self) -> bool:
        """Leave the image out, and go on; see `next`."""
        return self._finish("skipped")

    def flag(self, note: str) -> bool:
        """Leave the image to somebody else, with a note, and go on; see `next`."""
        return self._finish("flagged", note=note)

    def _finish(self, state: str, **status: Any) -> bool:
        """Set a state after everything that waits for a mask, and go on."""
        if self.now is None:
            return False
        opened = self.now

        def act() -> None:
            if self.now is opened:
                self.set_state(state, **status)

        self.session.when_loaded(act)
        return self.next()

    @property
    def saver(self) -> ImageSaver:
        """Writes the image that is open.

        Raises
        ------
        ParameterError
            If none is open.
        """
        if self._saver is None:
            raise ParameterError("open an image first")
        return self._saver

    @property
    def complete_regions(self) -> tuple[Polygon, ...]:
        """Polygons of the image that is open, in which every object is labelled."""
        return () if self._saver is None else tuple(self._saver.value("complete_regions"))

    def add_complete_region(self, corners: npt.ArrayLike) -> None:
        """Declare that every object in a region is labelled.

        Parameters
        ----------
        corners : (row_min, col_min, row_max, col_max), or array-like (k, 2)
        """
        if self.now is not None and self._saver is not None:
            self._saver.note(complete_regions=(*self.complete_regions, as_region(corners)))
            self.board.show()

    # -- changes and time ------------------------------------------------------------------------

    def _on_labels(self, saver: ImageSaver, plane: tuple[int, ...], window: Window) -> None:
        self._begun(saver)
        saver.labels_changed(window)

    def _on_objects(self, saver: ImageSaver, ids: tuple[int, ...]) -> None:
        saver.objects_changed()

    def _begun(self, saver: ImageSaver) -> None:
        if saver.value("state") == "todo":
            saver.note(state="in_progress")

    def write_suggestions(
        self, suggestions: Suggestions, decided: Mapping[int, str] | None = None
    ) -> None:
        """Write the suggestions for the image that is open; see `ImageSaver`."""
        if self._saver is not None:
            self._saver.suggestions_changed(suggestions, decided)

    @property
    def model_name(self) -> str:
        """The version of the model in use, or the model's name if it is from elsewhere."""
        source = str(self.session.models.source)
        found = (v.name for v in self.project.versions if str(v.path) == source)
        return next(found, self.session.model.name)

    def _maker(self) -> Mapping[str, str]:
        """Fields of a new object's entry that are the same for all."""
        name, model = self.model_name, self.session.model.name
        return {
            "model": model,
            "version": "" if name == model else name,
            "who": "" if self.now is None else self.now.editing.who,
        }

    def _on_mouse(self, viewer: Any, event: Any) -> None:
        if self.now is not None:
            self.now.clock()

    def _on_draft(self) -> None:
        if self.now is None or self.now.session.draft is None:
            self._object_since = None
        elif self._object_since is None:
            self._object_since = self.now.clock.peek()

    @property
    def seconds_on_object(self) -> float:
        """Seconds spent on the object in progress, without pauses; 0 if there is none."""
        if self.now is None or self._object_since is None:
            return 0.0
        return self.now.clock.peek() - self._object_since

    def _on_removed(self, event: Any) -> None:
        if not self._moving and self.now is not None and event.value in self.layers.all:
            self.leave()

    def close(self) -> None:
        """Save and close the image that is open, and wait until it is written."""
        if self.is_closed:
            return
        self.leave()
        self.is_closed = True
        viewer = self.session.viewer
        viewer.mouse_move_callbacks.remove(self._on_mouse)
        viewer.mouse_wheel_callbacks.remove(self._on_mouse)
        viewer.layers.events.removed.disconnect(self._on_removed)
        self.session.draft_changed.disconnect(self._on_draft)
        self.session.model_changed.disconnect(self._on_model)
        self.session.closed.disconnect(self.close)
        self.jobs.close()
        self.board.close()
        self._ahead.close()
        self._opening.close()
        self._saving.close()


def _put_back(opened: OpenedImage) -> None:
    """Close an image that was opened but is not wanted any more."""
    try:
        opened.session.close()
        if not opened.recovered:
            opened.editing.archive_journal()
    finally:
        opened.release()
