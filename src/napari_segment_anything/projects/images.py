"""One image of a project: its pixels by reference, and what is known about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.sources import ImageSource, open_image_plane
from ..errors import FormatError
from ..formats import read_labels
from ..formats.locking import is_locked
from ..limits import ARRAY_BYTES
from .editing import ImageEditing, editing
from .files import current, read_current
from .index import IndexEntry
from .layout import (
    JOURNAL,
    LABELS,
    LARGE_LABELS,
    LOCK,
    OBJECTS,
    STATUS,
    SUGGESTIONS,
    holder,
    read_status,
)
from .objects import ObjectEntry, read_objects
from .status import ImageStatus, Point, Polygon, State
from .suggestion_files import read_suggestions
from .suggestions import Suggestions

if TYPE_CHECKING:
    from ..engine import PlaneSource
    from ..formats import ImageData


class ProjectImage:
    """An image of a project. Reading needs no lock; `lock` it to write.

    Made by `Project.image` and `Project.images`.

    Parameters
    ----------
    project : Path
        The project's folder.
    source : ImageSource
        Where it comes from.
    entry : IndexEntry
        Its row in ``images.csv``.
    classes : callable
        Returns the names of classes that its objects may have.
    """

    def __init__(
        self,
        project: Path,
        source: ImageSource,
        entry: IndexEntry,
        classes: Callable[[], tuple[str, ...]],
    ) -> None:
        self._project = project
        self._source = source
        self._entry = entry
        self._classes = classes
        self._known: tuple[Any, ImageStatus] | None = None
        self._shape: tuple[int, int] | None = None

    def __repr__(self) -> str:
        return f"<ProjectImage {self.key}: {self.state}>"

    def is_made_of(self, source: ImageSource, entry: IndexEntry) -> bool:
        """Whether these are its source and its row."""
        return (self._source, self._entry) == (source, entry)

    # -- pixels ----------------------------------------------------------------------------------

    @property
    def key(self) -> str:
        """Its name, unique in the project, and that of its folder."""
        return self._entry.key

    @property
    def folder(self) -> Path:
        """Where its labels, objects and state are; made when it is first locked."""
        return self._project / "images" / self.key

    @property
    def path(self) -> str:
        """Absolute path, or URL, of its pixels."""
        return self._source.place_of(self._project, self._entry.path)

    @property
    def plane(self) -> Mapping[str, int]:
        """Index along each stack axis; empty for an image that is no stack."""
        return dict(self._entry.plane)

    @property
    def columns(self) -> Mapping[str, str]:
        """What a table says about it, and its well on a plate."""
        return dict(self._entry.columns)

    @property
    def channels(self) -> tuple[int, ...] | None:
        """Channels to use; None for all."""
        return self._source.channels or None

    def open(self) -> ImageData:
        """Open the plane: axes YX, CYX or YXS. Large files and stores are read on indexing.

        Raises
        ------
        ImageError
            If it is missing or damaged.
        """
        return open_image_plane(self._source, self.path, self.plane)

    def plane_source(self, data: ImageData | None = None) -> PlaneSource:
        """Open the plane as sessions and the engine take it.

        Parameters
        ----------
        data : ImageData, optional
            From `open`, where it was opened already.

        Raises
        ------
        ImageError
            If it is missing or damaged.
        """
        from ..engine import PlaneSource

        data = data or self.open()
        return PlaneSource(
            data.levels or (data.array,),
            channel_axis=data.channel_axis,
            rgb=data.rgb,
            channels=self.channels,
            name=self.key,
            path=self.path,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns.

        Raises
        ------
        ImageError
            If the image is missing or damaged.
        """
        if self._shape is None:
            data = self.open()
            rows, cols = (data.shape[data.axes.index(axis)] for axis in "YX")
            self._shape = (rows, cols)
        return self._shape

    # -- what is known about it ------------------------------------------------------------------

    @property
    def status(self) -> ImageStatus:
        """Its state and all that goes with it, as it is on the disk now.

        Raises
        ------
        FormatError
            If the file is damaged.
        """
        signature = _signature(current(self.folder, STATUS))
        if self._known is None or signature is None or self._known[0] != signature:
            found = read_current(self.folder, STATUS, read_status)
            self._known = (signature, found or ImageStatus())
        return self._known[1]

    @property
    def state(self) -> State:
        """What is to be done: "todo", "in_progress", "complete", "skipped" or "flagged"."""
        return self.status.state

    @property
    def note(self) -> str:
        """What a person wrote about it."""
        return self.status.note

    @property
    def held_out(self) -> bool | None:
        """Whether it is kept from learning; None if that was not decided."""
        return self.status.held_out

    @property
    def complete_regions(self) -> tuple[Polygon, ...]:
        """Polygons, (row, column) corners, in which every object is labelled."""
        return self.status.complete_regions

    @property
    def seconds(self) -> float:
        """Time spent on it, without pauses."""
        return self.status.seconds

    def labels(self) -> NDArray[np.int32]:
        """Read its labels: int32 (rows, columns), zeros if there are none.

        Raises
        ------
        FormatError
            If the file is damaged, or too large for memory.
        """
        name = LABELS
        if current(self.folder, LARGE_LABELS).exists():
            name = LARGE_LABELS
        try:
            found = read_current(self.folder, name, read_labels)
        except FormatError as error:
            raise FormatError(f"{self.folder / name}: {error}") from error  # which of many
        if found is None:
            size = 4 * self.shape[0] * self.shape[1]
            ARRAY_BYTES.check(size, f"the labels of {self.key} do not fit into memory")
            return np.zeros(self.shape, np.int32)
        if found.ndim != 2 or (found.size and int(found.max()) > np.iinfo(np.int32).max):
            raise FormatError(f"{self.folder / name} does not hold the labels of one plane")
        return found.astype(np.int32)

    @property
    def has_labels(self) -> bool:
        """Whether labels were written."""
        return any(current(self.folder, name).exists() for name in (LABELS, LARGE_LABELS))

    def objects(self) -> tuple[ObjectEntry, ...]:
        """Read its objects: prompts, classes, and how each was made.

        Labels without an entry are those drawn or read without prompts.

        Raises
        ------
        FormatError
            If the file is damaged.
        """
        return read_current(self.folder, OBJECTS, read_objects) or ()

    @property
    def has_suggestions(self) -> bool:
        """Whether suggestions were written."""
        return current(self.folder, SUGGESTIONS).exists()

    def suggestions(self) -> Suggestions:
        """Read what models suggested, and what was decided about it.

        Raises
        ------
        FormatError
            If the file is damaged.
        """
        found = read_current(self.folder, SUGGESTIONS, read_suggestions)
        return Suggestions(self.shape) if found is None else found

    def seen(self) -> NDArray[np.bool_]:
        """Where a person has looked for every object: bool (rows, columns)."""
        return self.status.seen(self.shape)

    def negatives(self) -> NDArray[np.float64]:
        """Points that a person marked as background, (n, 2) row and column.

        Those marked as such, and negative prompts of objects where no object lies.
        """
        points: list[Point] = list(self.status.negatives)
        objects = self.objects()
        labels = self.labels() if objects else None
        for entry in objects:
            for (row, col), positive in zip(*entry.prompts.all_points(), strict=True):
                at = (int(np.floor(row + 0.5)), int(np.floor(col + 0.5)))
                if positive or labels is None or min(at) < 0:
                    continue
                if at[0] < labels.shape[0] and at[1] < labels.shape[1] and not labels[at]:
                    points.append((row, col))
        return np.array(points, np.float64).reshape(-1, 2)

    # -- writing ---------------------------------------------------------------------------------

    @property
    def journal(self) -> Path:
        """Journal of the session on it; there while one runs, and after it was killed."""
        return self.folder / JOURNAL

    def locked_by(self) -> str | None:
        """Who works on it at the moment, for messages; None if nobody does."""
        return holder(self.folder) if is_locked(self.folder / LOCK) else None

    @contextmanager
    def lock(self, who: str = "") -> Iterator[ImageEditing]:
        """Keep others from writing this image while the block runs.

        Parameters
        ----------
        who : str
            Who works on it; the user's name by default.

        Yields
        ------
        ImageEditing

        Raises
        ------
        ResourceError
            If somebody works on it; the message says who.
        FormatError
            If its folder cannot be written.
        """
        with editing(self, who, self._classes) as opened:
            yield opened


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
