"""Write to one image of a project, under its lock."""

from __future__ import annotations

import getpass
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import ParameterError
from ..formats import write_labels
from ..formats.locking import exclusive
from ..reading import below
from .files import Writer, complete_commit, json_writer, write_together
from .layout import (
    HOLDER,
    LABELS,
    LARGE_LABELS,
    LOCK,
    OBJECTS,
    STATUS,
    SUGGESTIONS,
    holder,
)
from .objects import ObjectEntry, label_ids, objects_writer
from .pending import STATUS_FIELDS, clear_pending, decided, pending_changes
from .status import ImageStatus, as_points, as_region, check_state
from .suggestion_files import suggestions_writer
from .suggestions import Status, Suggestions

if TYPE_CHECKING:
    from .images import ProjectImage

LARGE = 2**26
"""Pixels from which labels are written as OME-Zarr."""
_WAIT = 0.5
_DONE = ("complete", "skipped", "flagged")


class ImageEditing:
    """What is written to an image; made by `ProjectImage.lock`.

    Every method writes at once: a process killed at any time leaves all of what one call writes,
    or nothing of it.

    Parameters
    ----------
    image : ProjectImage
    who : str
        Who writes.
    classes : callable
        Returns the names of classes that objects may have.
    """

    def __init__(
        self, image: ProjectImage, who: str, classes: Callable[[], tuple[str, ...]]
    ) -> None:
        self.image = image
        self.who = who
        self._classes = classes

    @property
    def journal(self) -> Path:
        """The journal of a session on the image.

        If it is there before the session begins, the last one was killed; recover from it.
        """
        return self.image.journal

    def archive_journal(self) -> Path | None:
        """Put the journal of a session that has ended into ``journals``; return where it is."""
        if not self.journal.exists():
            return None
        folder = self.image.folder / "journals"
        folder.mkdir(exist_ok=True)
        name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        target = folder / f"{name}.jsonl"
        self.journal.rename(target)
        return target

    def write(
        self,
        *,
        labels: npt.ArrayLike | None = None,
        objects: Sequence[ObjectEntry] | None = None,
        suggestions: Suggestions | None = None,
        **status: Any,
    ) -> None:
        """Replace what is given, all of it together.

        Parameters
        ----------
        labels : integer array (rows, columns), optional
            0 is background.
        objects : sequence of ObjectEntry, optional
            All objects of the image.
        suggestions : Suggestions, optional
            All suggestions of the image.
        **status
            Fields of `ImageStatus`: ``state``, ``note``, ``seconds``, ``held_out``,
            ``complete_regions``, ``negatives``.

        Raises
        ------
        ParameterError
            If labels or suggestions have another shape than the image, an object another class
            than the project's, or a field is unknown.
        FormatError
            If it cannot be written; everything is as before.
        """
        files: dict[str, Writer] = {}
        if labels is not None:
            name, write = self._labels(labels)
            files[name] = write
        if objects is not None:
            self._check(objects)
            files[OBJECTS] = objects_writer(objects)
        if labels is not None or objects is not None:
            status["objects"] = self._counts(labels, objects)
        if suggestions is not None:
            self._check_shape("suggestions", suggestions.shape)
            files[SUGGESTIONS] = suggestions_writer(suggestions)
        if status:
            files[STATUS] = json_writer(self._changed(status).to_json())
        if files:
            write_together(self.image.folder, files)

    def set_suggestions(self, suggestions: Suggestions) -> None:
        """Replace the suggestions."""
        self.write(suggestions=suggestions)

    def set_state(self, state: str, note: str | None = None) -> None:
        """Set the state, and with it the note.

        Parameters
        ----------
        state : {"todo", "in_progress", "complete", "skipped", "flagged"}
        note : str, optional
            Kept by default.
        """
        self.write(state=state, note=self.image.note if note is None else note)

    def add_complete_region(self, region: npt.ArrayLike) -> None:
        """Declare that every object in a region is labelled.

        Parameters
        ----------
        region : (row_min, col_min, row_max, col_max), or array-like (corners, 2)
            A rectangle or a polygon, in pixels.
        """
        regions = (*self.image.complete_regions, as_region(region))
        self.write(complete_regions=regions)

    def add_negatives(self, points: npt.ArrayLike) -> None:
        """Mark points, (n, 2) row and column, as background."""
        self.write(negatives=(*self.image.status.negatives, *as_points(points)))

    def add_seconds(self, seconds: float) -> None:
        """Add time spent on the image."""
        self.write(seconds=self.image.seconds + seconds)

    def _changed(self, values: dict[str, Any]) -> ImageStatus:
        known = ImageStatus.__dataclass_fields__
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ParameterError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        if "complete_regions" in values:
            values["complete_regions"] = tuple(map(as_region, values["complete_regions"]))
        if "negatives" in values:
            values["negatives"] = as_points(values["negatives"])
        if "seconds" in values and not 0 <= float(values["seconds"]) < 1e9:
            raise ParameterError(f"seconds are at least 0, not {values['seconds']}")
        before = self.image.status
        now = datetime.now(UTC).isoformat(timespec="seconds")
        if "state" in values:
            state = check_state(values["state"])
            if state != "todo" and not before.opened:
                values.setdefault("opened", now)
            values.setdefault("finished", now if state in _DONE else "")
        return replace(before, who=self.who, **values)

    def _labels(self, labels: npt.ArrayLike) -> tuple[str, Writer]:
        array = np.asarray(labels)
        self._check_shape("labels", array.shape)
        name = LARGE_LABELS if array.size >= LARGE else LABELS
        return name, lambda path: write_labels(path, array)

    def _counts(
        self, labels: npt.ArrayLike | None, objects: Sequence[ObjectEntry] | None
    ) -> dict[str, int]:
        """Number of labels of each class, those without an entry under ""."""
        entries = self.image.objects() if objects is None else objects
        if labels is None:
            bare = sum(self.image.status.objects.values()) - len(entries)
            counts = Counter(entry.class_name for entry in entries) + Counter({"": max(0, bare)})
        else:
            classes = {entry.id: entry.class_name for entry in entries}
            counts = Counter(classes.get(label, "") for label in label_ids(labels))
        return dict(counts)

    def _check_shape(self, what: str, shape: tuple[int, ...]) -> None:
        if shape != self.image.shape:
            raise ParameterError(
                f"the {what} have shape {shape}, the image {self.image.key} {self.image.shape}"
            )

    def _check(self, objects: Sequence[ObjectEntry]) -> None:
        ids: set[int] = set()
        classes = self._classes()
        for entry in objects:
            if entry.id in ids:
                raise ParameterError(f"two objects have the id {entry.id}")
            ids.add(entry.id)
            if entry.class_name and entry.class_name not in classes:
                known = ", ".join(classes) or "none"
                raise ParameterError(
                    f"the project has no class {entry.class_name!r}; its classes are: {known}"
                )


@contextmanager
def editing(
    image: ProjectImage, who: str, classes: Callable[[], tuple[str, ...]]
) -> Iterator[ImageEditing]:
    """Lock an image; see `ProjectImage.lock`."""
    who = who or user_name()
    folder = image.folder
    below(folder.parents[1], f"images/{image.key}", "the image's folder")

    def busy() -> str:
        return (
            f"{image.key} is being worked on by {holder(folder)}; take another image, or wait "
            "until it is closed"
        )

    with exclusive(folder / LOCK, busy, _WAIT):
        complete_commit(folder)
        me = {
            "who": who,
            "host": platform.node(),
            "process": str(os.getpid()),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        json_writer(me)(folder / HOLDER)
        try:
            opened = ImageEditing(image, who, classes)
            _recover(opened)
            yield opened
        finally:
            (folder / HOLDER).unlink(missing_ok=True)


def _recover(opened: ImageEditing) -> None:
    """Write what a viewer that was killed had not written."""
    image = opened.image
    status: dict[str, Any] = {}
    decisions: dict[int, Status] = {}
    for change in pending_changes(image.folder):
        decisions |= change.get("decided", {})
        status |= {name: change[name] for name in STATUS_FIELDS if name in change}  # type: ignore[literal-required]
    before = image.suggestions() if decisions else None
    if status or before is not None:
        opened.write(suggestions=None if before is None else decided(before, decisions), **status)
    clear_pending(image.folder)  # also a line that is incomplete, to which others would be added


def user_name() -> str:
    """Name of the user of this process; "" if it has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
