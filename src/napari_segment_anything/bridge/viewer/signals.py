"""Signals, notices and errors of a viewer's session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psygnal import Signal

from ...errors import SegmentAnythingError


@dataclass(frozen=True, slots=True)
class Notice:
    """A message for the user; an empty text withdraws it.

    Parameters
    ----------
    topic, text : str
        A notice replaces the one before it on the same topic.
    action : (str, callable), optional
        Title and function of a button.
    """

    topic: str
    text: str = ""
    action: tuple[str, Callable[[], object]] | None = None


class ViewerSignals:
    """The signals of a viewer's session. Without listeners, errors are shown as notifications."""

    draft_changed = Signal()
    """Prompts of the object in progress changed."""
    preview_changed = Signal(object)
    """The preview changed: emits it, or None."""
    objects_changed = Signal(object)
    """Committed objects changed: emits their ids."""
    committed = Signal(tuple)
    """`commit_when_decoded` has committed: emits the labels."""
    history_changed = Signal()
    """What can be undone or redone changed."""
    layers_changed = Signal()
    """Another image or target is in use."""
    model_changed = Signal()
    """Another model is in use."""
    model_failed = Signal(str, object)
    """A model could not be loaded: emits its name or path, and the exception."""
    busy_changed = Signal(bool)
    """Decoding or loading began or ended."""
    progressed = Signal(object)
    """Emits every Progress."""
    failed = Signal(object)
    """Emits an exception that came from the canvas or from another thread."""
    noticed = Signal(object)
    """Emits a `Notice`, to be shown until the user has dealt with it."""
    click_ignored = Signal(str)
    """A click was not a prompt: emits the reason."""
    plane_changed = Signal()
    """Another plane is shown."""
    closed = Signal()
    """The session was closed."""

    def notice(self, notice: Notice) -> None:
        """Emit `noticed`, or show a notification if it has no listeners."""
        if len(self.noticed):
            self.noticed.emit(notice)
        elif notice.text:
            _notify(notice.text)

    def report(self, error: BaseException) -> None:
        """Emit `failed`, or show a notification if it has no listeners."""
        if len(self.failed):
            self.failed.emit(error)
        else:
            _notify(str(error))

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Report errors of ours instead of raising them into napari's event loop."""
        try:
            yield
        except SegmentAnythingError as error:
            self.report(error)


def _notify(text: str) -> None:
    from napari.utils.notifications import show_warning

    show_warning(text)
