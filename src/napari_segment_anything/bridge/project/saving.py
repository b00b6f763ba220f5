"""Writes an open image's labels and objects to the project, while the work on it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...engine import PlacedMask, Window
from ...projects import ObjectEntry, ProjectImage
from ...projects.pending import STATUS_FIELDS, clear_pending, note_pending
from ...projects.suggestions import Suggestions
from ...session import SessionObject
from .opening import OpenedImage
from .threads import OrderedThread


class ImageSaver:
    """Writes one open image as it changes; changes that come while it writes are written together.

    Methods belong to the viewer's thread, but for `occupied` and `masks`. They copy what has
    changed and return at once.

    Parameters
    ----------
    opened : OpenedImage
    thread : OrderedThread
        Where files are written.
    maker : mapping of str to str
        Fields of new entries: model, version, who.
    saved : callable
        Called with the image on the viewer's thread after it was written.
    failed : callable
        Called there with the exception if it could not be; the next change tries again.
    """

    def __init__(
        self,
        opened: OpenedImage,
        thread: OrderedThread,
        maker: Callable[[], Mapping[str, str]],
        saved: Callable[[ProjectImage], object],
        failed: Callable[[Exception], object],
    ) -> None:
        self._opened, self._thread, self._maker = opened, thread, maker
        self._saved, self._failed = saved, failed
        self._lock = threading.Lock()
        self._own = opened.saved
        self._patches: list[tuple[Window, np.ndarray]] = []
        self._objects: dict[int, SessionObject] | None = None
        self._status: dict[str, Any] = {}
        self._known: dict[str, Any] = {}
        self._relabelled = False
        self._suggestions: Suggestions | None = None
        self._waits = False

    def labels_changed(self, window: Window) -> None:
        """Write the labels of a window."""
        pixels = self._opened.session.target.read((), window)
        with self._lock:
            self._patches.append((window, np.array(pixels)))
        self.objects_changed()

    def objects_changed(self) -> None:
        """Write the objects."""
        with self._lock:
            self._objects = self._opened.session.objects
        self.note(seconds=self._opened.seconds)

    def suggestions_changed(
        self, suggestions: Suggestions, decided: Mapping[int, str] | None = None
    ) -> None:
        """Write the suggestions.

        Parameters
        ----------
        suggestions : Suggestions
        decided : mapping of int to str, optional
            What was decided that the session's journal does not hold: status by id.
        """
        with self._lock:  # all at once, so that a write that ends meanwhile forgets nothing
            self._suggestions = suggestions
            if decided:
                note_pending(self._opened.image.folder, {"decided": decided})
            asked, self._waits = self._waits, True
        self._ask(asked)

    def note(self, **status: Any) -> None:
        """Write fields of the image's status, such as `state`."""
        with self._lock:
            self._status |= status
            self._known |= status
            if kept := {name: status[name] for name in STATUS_FIELDS if name in status}:
                note_pending(self._opened.image.folder, kept)
            asked, self._waits = self._waits, True
        self._ask(asked)

    def _ask(self, asked: bool) -> None:
        """Have everything written, unless that was asked for already."""
        if asked:
            return
        self._thread.run(self._write, lambda _: self._saved(self._opened.image), self._failed)

    def value(self, name: str) -> Any:
        """Return a field of the image's status as it was set last, written or not."""
        with self._lock:
            return self._known.get(name, getattr(self._opened.image.status, name))

    def occupied(self) -> NDArray[np.uint8]:
        """Return 1 where nothing is to be suggested: uint8 (rows, columns).

        Not on the viewer's thread: it waits for files that are being written.
        """
        status = replace(
            self._opened.image.status,
            state=self.value("state"),
            complete_regions=self.value("complete_regions"),
        )
        seen = status.seen(self._own.shape)
        return self._read(lambda labels: seen | (labels != 0)).astype(np.uint8)

    def masks(self, ids: Sequence[int]) -> list[PlacedMask]:
        """Return the pixels of objects, where there are any; on which thread, see `occupied`."""
        found = self._read(lambda labels: [PlacedMask.of(labels == label) for label in ids])
        return [mask for mask in found if not mask.empty]

    def _read(self, read: Callable[[np.ndarray], Any]) -> Any:
        """Call a function with the labels, once all changes so far are in them."""

        def work() -> Any:
            with self._lock:
                patches, self._patches = self._patches, []
            self._apply(patches)
            return read(self._own)

        return self._thread.run(work).result()

    def _apply(self, patches: Sequence[tuple[Window, np.ndarray]]) -> None:
        for window, pixels in patches:
            self._own[window.slices] = pixels
        self._relabelled |= bool(patches)

    def _write(self) -> None:
        with self._lock:
            self._waits = False
            patches, self._patches = self._patches, []
            objects, self._objects = self._objects, None
            status, self._status = self._status, {}
            suggestions, self._suggestions = self._suggestions, None
        self._apply(patches)
        try:
            self._opened.editing.write(
                labels=self._own if self._relabelled else None,
                objects=None if objects is None else self._entries(objects),
                suggestions=suggestions,
                **status,
            )
        except Exception:
            with self._lock:  # written with the next change, or when the image is left
                self._objects = self._objects if self._objects is not None else objects
                self._status = status | self._status
                self._suggestions = self._suggestions or suggestions
            raise
        self._relabelled = False
        with self._lock:
            if not self._waits:
                clear_pending(self._opened.image.folder)

    def _entries(self, objects: Mapping[int, SessionObject]) -> list[ObjectEntry]:
        known, maker = self._opened.entries, self._maker()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        for label, item in objects.items():
            if label not in known or known[label][0] != item:
                known[label] = (item, ObjectEntry.of(item, time=now, **maker))
        return [known[label][1] for label in objects]

    def leave(self, keep: bool = False) -> Future[Any]:
        """Write everything, end the session, and unlock the image.

        Parameters
        ----------
        keep : bool
            Whether an object is in progress: the journal then stays, and the object is there again
            when the image is opened next.

        Returns
        -------
        Future
            Done when the image is unlocked.
        """
        opened = self._opened
        self.note(seconds=opened.seconds)

        def end() -> None:
            try:
                with self._lock:
                    waits = bool(self._patches or self._relabelled or self._objects is not None)
                    waits = waits or bool(self._status) or self._suggestions is not None
                if waits:
                    self._write()
                opened.session.close()
                if not keep:
                    opened.editing.archive_journal()
            finally:
                opened.release()

        return self._thread.run(end, lambda _: self._saved(opened.image), self._failed)
