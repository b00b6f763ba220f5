"""Offers to recover unsaved work when its image is opened."""

from __future__ import annotations

import os
from datetime import date
from typing import TYPE_CHECKING

from ..bridge.viewer.images import axes_of, source_of
from ..errors import ParameterError, SegmentAnythingError
from ..session import Journal, UnsavedWork, discard, unsaved_work
from ..wording import counted
from .jobs import Jobs, in_one_step

if TYPE_CHECKING:
    from ..bridge import ViewerSession
    from .panel import Panel

TOPIC = "unsaved"


def recover(session: ViewerSession, path: str | os.PathLike[str]) -> int:
    """Recover a session from its journal; return its number of objects.

    They are written to a new Labels layer, unless that session continued existing labels.

    Parameters
    ----------
    session : ViewerSession
    path : str or path-like
        The journal.

    Raises
    ------
    ParameterError
        If it did, and no Labels layer is chosen.
    SegmentAnythingError
        As `ViewerSession.recover`.
    """
    header, _ = Journal.read(path)
    if not int(header["target"]["largest"]):
        session.set_target(None)
    elif session.target is None:
        raise ParameterError(
            "that session continued existing labels; open them, choose them under Labels, "
            "then recover"
        )
    session.recover(path)
    return len(session.objects)


class RecoveryOffer:
    """Looks for unsaved work on the chosen image, and offers to recover it.

    Parameters
    ----------
    panel : Panel
        Shows the offer and its outcome.
    """

    def __init__(self, panel: Panel) -> None:
        self._shared, self._notices, self._status = panel.shared, panel.notices, panel.status
        self._jobs = Jobs(panel, name="segment-anything-recovery")
        self._jobs.finished.connect(self._offer)
        self._shared.images.changed.connect(self.look)
        self.look()

    def close_down(self) -> None:
        """Stop looking."""
        self._shared.images.changed.disconnect(self.look)
        self._jobs.close()

    def look(self) -> None:
        """Look for unsaved work on the image, on another thread."""
        self._notices.drop(TOPIC)
        self._jobs.cancel()
        session, images = self._shared.session, self._shared.images
        if not images.layers or session.objects:
            return
        try:
            axes = axes_of(session.viewer, images.layers, images.channel_axis)
            options = session.options
            source = source_of(
                images.layers,
                axes,
                channels=options["channels"],
                contrast_limits=options["contrast_limits"],
            )
        except SegmentAnythingError:
            return  # reported when a prompt is placed there
        folder = self._shared.settings.get("engine")["journal_directory"]

        self._jobs.start(in_one_step(lambda: unsaved_work(source, folder)))

    def _offer(self, found: list[UnsavedWork]) -> None:
        if not found:
            return
        work = found[0]
        more = f" ({len(found) - 1} older)" if len(found) > 1 else ""
        self._notices.tell(
            TOPIC,
            f"{counted(work.objects, 'object')} from {_when(work)}{more}",
            ("Recover", lambda: self._recover(work)),
            ("Discard", lambda: self._discard(work)),
            sign="",
        )

    def _recover(self, work: UnsavedWork) -> None:
        def now() -> None:
            try:
                count = recover(self._shared.session, work.path)
            except SegmentAnythingError as error:
                self._status.warn(error)
                self._offer([work])
            else:
                self._status.rest(f"{counted(count, 'object')} recovered.")

        self._shared.session.when_loaded(now)

    def _discard(self, work: UnsavedWork) -> None:
        try:
            discard(work.path)
        except SegmentAnythingError as error:
            self._status.warn(error)
            return
        self._status.rest(f"Not offered again; it is still in {work.path.name}.")
        self.look()


def _when(work: UnsavedWork) -> str:
    today = work.ended.date() == date.today()
    return work.ended.strftime("%H:%M" if today else "%d %b %Y, %H:%M")
