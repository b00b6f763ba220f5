"""An image of a project, opened for annotation: read ahead, locked, recovered. On any thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...engine import PlaneSource, Predictor
from ...formats import ImageData
from ...progress import finish
from ...projects import ImageEditing, ObjectEntry, ProjectImage
from ...projects.suggestions import Suggestions
from ...session import ArrayTarget, Session, SessionObject, recover
from ..viewer.targets import PAINTABLE_SIDE
from .clock import ActiveClock
from .outline_layer import Outline, outlines_of

IN_MEMORY = 2**26
"""Pixels up to which an image is read as a whole when it is opened."""
_SAMPLE = 512
_SMALLEST = 1024
_STRIP = 1024


@dataclass(frozen=True, slots=True, eq=False)
class ImageAhead:
    """An image that was read, and perhaps encoded, before it is shown. It is not locked.

    Parameters
    ----------
    image : ProjectImage
    data : ImageData
        Its pixels, with axes YX, CYX or YXS.
    source : PlaneSource
        The same pixels, as a session takes them.
    contrast : tuple of (float, float)
        Limits to show each channel with; empty for RGB.
    levels : tuple of arrays
        What is drawn: the image, and with it reduced levels if it has some or is large.
    """

    image: ProjectImage
    data: ImageData
    source: PlaneSource
    contrast: tuple[tuple[float, float], ...]
    levels: tuple[Any, ...]

    @property
    def middle(self) -> tuple[float, float]:
        """(row, column) of the middle."""
        rows, cols = self.source.shape
        return (rows - 1) / 2, (cols - 1) / 2


def read_ahead(image: ProjectImage) -> ImageAhead:
    """Read an image.

    Raises
    ------
    ImageError
        If it is missing or damaged.
    """
    data = image.open()
    if data.lazy and np.prod(data.shape) <= IN_MEMORY:
        data = replace(data, array=np.array(data.array), levels=())
    source = image.plane_source(data)
    levels = tuple(data.levels)
    if len(levels) < 2:
        levels = pyramid(data.array, data.axes.index("Y"), data.axes.index("X"))
    return ImageAhead(image, data, source, _contrast(data), levels)


def pyramid(array: Any, rows: int = 0, cols: int = 1) -> tuple[Any, ...]:
    """Return an array, with halved copies if the plane is too large for napari's brush.

    napari would otherwise read and draw all of it. The copies have every second row and column; an
    array that is not in memory is read once.

    Parameters
    ----------
    array : array or lazy array
    rows, cols : int
        Axes of the plane.
    """
    levels = [array]
    if max(array.shape[rows], array.shape[cols]) > PAINTABLE_SIDE:
        while max(levels[-1].shape[rows], levels[-1].shape[cols]) > _SMALLEST:
            levels.append(_halved(levels[-1], rows, cols))
    return tuple(levels)


def _halved(array: Any, rows: int, cols: int) -> np.ndarray:
    strip, every = [slice(None)] * array.ndim, [slice(None)] * array.ndim
    every[rows] = every[cols] = slice(None, None, 2)
    parts = []
    for start in range(0, array.shape[rows], _STRIP):
        strip[rows] = slice(start, start + _STRIP)
        parts.append(np.asarray(array[tuple(strip)])[tuple(every)])
    return np.concatenate(parts, rows)


def _contrast(data: ImageData) -> tuple[tuple[float, float], ...]:
    """Limits between which nearly all pixels lie, from a sample of bounded size."""
    if data.rgb:
        return ()
    array = data.levels[-1] if data.levels else data.array
    sizes = zip(data.axes, array.shape, strict=True)
    steps = [1 if axis == "C" else max(1, n // _SAMPLE) for axis, n in sizes]
    sample = np.asarray(array[tuple(slice(None, None, step) for step in steps)])
    planes = sample if data.channel_axis is not None else sample[None]
    limits = []
    for plane in planes:
        finite = plane[np.isfinite(plane)]
        low, high = np.percentile(finite, (0.05, 99.95)) if finite.size else (0.0, 1.0)
        limits.append((float(low), float(max(high, low + 1e-6))))
    return tuple(limits)


def narrowed(labels: np.ndarray) -> np.ndarray:
    """Copy labels, as uint16 if they fit.

    napari converts larger types before it draws them, the whole plane after each change: 600 ms for
    8192 x 8192 pixels.
    """
    return labels.astype(np.uint16 if labels.max(initial=0) < 2**16 else labels.dtype)


def encode_ahead(ahead: ImageAhead, predictor: Predictor) -> None:
    """Encode what the first click on an image needs; it is kept in the predictor's cache."""
    session = Session(predictor, ahead.source, ArrayTarget(np.zeros(ahead.source.shape, np.int32)))
    finish(session.decode(session.hover_request((), ahead.middle)))


@dataclass(slots=True, eq=False)
class OpenedImage:
    """An image that is locked, with a session on its labels.

    Parameters
    ----------
    ahead : ImageAhead
    editing : ImageEditing
    labels : tuple of uint16 or int32 arrays (rows, columns)
        To be shown, where the session writes to once it is lent to a viewer; see `pyramid`.
    saved : int32 array (rows, columns)
        The same, for the thread that writes them to the project.
    session : Session
    clock : ActiveClock
        The session's.
    entries : dict of int to (SessionObject, ObjectEntry)
        Objects as they were written last, by label.
    recovered : bool
        Whether a session that was killed was recovered.
    release : callable
        Unlocks the image.
    seconds_before : float
        Spent on the image before it was opened.
    suggestions : Suggestions
        As they were stored.
    outlines : dict of int to Outline
        Of the open suggestions.
    """

    ahead: ImageAhead
    editing: ImageEditing
    labels: tuple[np.ndarray, ...]
    saved: np.ndarray
    session: Session
    clock: ActiveClock
    entries: dict[int, tuple[SessionObject, ObjectEntry]]
    recovered: bool
    release: Callable[[], None]
    seconds_before: float
    suggestions: Suggestions
    outlines: dict[int, Outline]

    @property
    def image(self) -> ProjectImage:
        """The image of the project."""
        return self.ahead.image

    @property
    def seconds(self) -> float:
        """Spent on the image altogether, without pauses."""
        return self.seconds_before + self.clock.peek()


def open_image(
    ahead: ImageAhead, predictor: Predictor, who: str = "", pause: float = 60.0
) -> OpenedImage:
    """Lock an image, and begin a session on its labels, or go on with one that was killed.

    Parameters
    ----------
    ahead : ImageAhead
    predictor : Predictor
    who : str
        Who works on it.
    pause : float
        Seconds without an action that count as a pause.

    Raises
    ------
    ResourceError
        If somebody else works on it.
    FormatError
        If its labels, its objects or its journal are damaged.
    """
    image = ahead.image
    with ExitStack() as stack:
        editing = stack.enter_context(image.lock(who))
        labels = image.labels()
        known = {entry.id: entry for entry in image.objects()}
        suggestions = image.suggestions()
        numbers = {item.object_id: item.id for item in suggestions if item.object_id}
        clock, target = ActiveClock(pause), ArrayTarget(labels)
        recovered = editing.journal.exists()
        if recovered:
            session = recover(editing.journal, predictor, ahead.source, target, clock=clock)
        else:
            session = Session(predictor, ahead.source, target, journal=editing.journal, clock=clock)
            session.add_known(entry.to_session(numbers.get(entry.id)) for entry in known.values())
        entries = {
            label: (item, known[label])
            for label, item in session.objects.items()
            if label in known and known[label].to_session(numbers.get(label)) == item
        }
        release = stack.pop_all().close
    return OpenedImage(
        ahead,
        editing,
        pyramid(narrowed(labels)),
        labels,
        session,
        clock,
        entries,
        recovered,
        release,
        image.seconds,
        suggestions,
        outlines_of(suggestions),
    )
