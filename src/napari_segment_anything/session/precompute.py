"""Embeddings computed before they are needed: which windows, and how a session finds them.

Windows of a large image usually lie around the prompts. Precomputed ones lie on a grid; a list of
them beside the cache lets a session choose one that fits.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import EmbeddingCache, Model, PlaneSource, Predictor, Window
from ..engine.cache import WINDOWS
from ..engine.encode_plan import MARGIN
from ..errors import FormatError, ImageError, ParameterError
from ..limits import TILES
from ..progress import Progress


@dataclass(frozen=True, slots=True)
class Ahead:
    """The result of `embed_ahead`.

    Parameters
    ----------
    encoded, found : int
        Windows that were encoded, and those that were in the cache already.
    bytes : int
        Size on disk of the encoded ones.
    seconds : float
        Computing time.
    """

    encoded: int
    found: int
    bytes: int
    seconds: float


def ahead_windows(
    shape: tuple[int, int], size: int, reach: int = 0, region: Window | None = None
) -> list[Window]:
    """Return windows such that a session finds one of them for every prompt.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image.
    size : int
        Side of a window, from `EncodePlan.size`.
    reach : int
        Side of the largest box that is to have a window; 0 for points only.
    region : Window, optional
        Return only windows for prompts in this part of the image.

    Raises
    ------
    ParameterError
        If windows of this size are too small for boxes of that side.
    """
    if size >= max(shape):
        return [Window.full(shape)]
    if not 0 <= reach <= size // 2:
        raise ParameterError(f"boxes with a window of {size} pixels are up to {size // 2}")
    step = math.floor(size - 1 - 2 * size / MARGIN - reach)
    if step < 1:
        raise ParameterError(f"windows of {size} pixels are too small to embed ahead")
    count = math.prod(max(1, side // step) for side in shape)
    TILES.check(count, "the image is too large for windows of this size", ImageError)
    windows = []
    for row, height in _spread(shape[0], size, step):
        for col, width in _spread(shape[1], size, step):
            window = Window(row, col, height, width)
            if region is None or window.intersection(region) is not None:
                windows.append(window)
    return windows


def _spread(extent: int, size: int, step: int) -> Iterator[tuple[int, int]]:
    side = min(size, extent)
    count = math.ceil((extent - side) / step)
    for index in range(count + 1):
        yield (extent - side) * index // max(count, 1), side


def embed_ahead(
    predictor: Predictor,
    source: PlaneSource,
    planes: Sequence[Sequence[int]],
    windows: Sequence[Window],
    *,
    in_memory: bool = False,
    together: int | None = None,
) -> Generator[Progress, None, Ahead]:
    """Compute embeddings of windows into the predictor's cache, for later sessions.

    Existing ones are kept, so a run that was stopped can be resumed.

    Parameters
    ----------
    predictor : Predictor
        With a cache on disk.
    source : PlaneSource
        The image. Sessions find its windows by its path.
    planes : sequence of (sequence of int)
        Which planes; ``[()]`` for a 2-D image.
    windows : sequence of Window
        Windows of each plane, from `ahead_windows`.
    in_memory : bool
        Read each plane whole, as a viewer does that holds the image in memory: the contrast limits
        of large planes are then estimated from other pixels.
    together : int, optional
        Number of embeddings that the cache has to hold at a time, if more images follow.

    Yields
    ------
    Progress
        After each window.

    Raises
    ------
    ParameterError
        If there is no cache on disk, or it is too small.
    FormatError
        If the cache cannot be written.
    """
    cache = predictor.cache
    if cache is None or cache.directory is None:
        raise ParameterError("embedding ahead needs a cache on disk")
    began = time.perf_counter()
    total, encoded, found, written = len(planes) * len(windows), 0, 0, 0
    yield Progress(0, total, message="embedding")
    for plane in planes:
        where = source.check_plane(plane)
        image, arguments = source.image(where), None
        if in_memory:
            image = np.asarray(image[0] if isinstance(image, list) else image)
            arguments = _whole(source, image)
        listed = WindowList(cache, source, where, predictor.model)
        for window in windows:
            if arguments is None:
                arguments = source.embed_arguments(where)
            if predictor.embed_ahead(image, window=window, **arguments):
                if not encoded:
                    written = _check_room(cache, together or total)
                encoded += 1
            else:
                found += 1
            listed.add(window)
            yield Progress(encoded + found, total, message="embedding")
    return Ahead(encoded, found, written * encoded, time.perf_counter() - began)


def _whole(source: PlaneSource, image: np.ndarray) -> dict[str, Any]:
    """Arguments of `embed` for a plane that is in memory."""
    view = PlaneSource(
        image,
        channel_axis=source.plane_channel_axis,
        rgb=source.rgb,
        channels=source.channels,
        contrast_limits=source.contrast_limits,
    )
    return view.embed_arguments(())


def _check_room(cache: EmbeddingCache, count: int) -> int:
    """Return the bytes of the embedding written last; raise an error if all do not fit."""
    directory = cache.directory
    if directory is None:
        return 0
    newest = max(directory.glob("*.zarr"), key=lambda path: path.stat().st_mtime)
    size = sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())
    needed = size * count
    if needed > cache.disk_bytes:
        raise ParameterError(
            f"{count} embeddings take about {needed / 2**30:.2g} GB, and the cache may have "
            f"{cache.disk_bytes / 2**30:.2g}: choose a region or fewer planes, or raise the bound "
            "here and in the viewer's settings"
        )
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise ParameterError(
            f"{count} embeddings take about {needed / 2**30:.2g} GB, and {directory} has "
            f"{free / 2**30:.2g} free: make room, or choose a region or fewer planes"
        )
    return size


class WindowList:
    """The precomputed windows of one plane, with one model.

    Parameters
    ----------
    cache : EmbeddingCache
        On disk; the list is a file beside the embeddings.
    source : PlaneSource
        Identified by its path; no pixel is read.
    plane : tuple of int
    model : Model
    """

    def __init__(
        self, cache: EmbeddingCache, source: PlaneSource, plane: tuple[int, ...], model: Model
    ) -> None:
        self._path: Path | None = None
        if cache.directory is not None and source.path is not None:
            place = source.path if "://" in source.path else os.path.realpath(source.path)
            kept = (model.fingerprint, model.encoder_precision)
            what = [place.rstrip("/"), source.shape, plane, *kept]
            key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
            self._path = cache.directory / WINDOWS / f"{key}.txt"
        self._state: tuple[int, int] | None = None
        self._rows = np.zeros((0, 4), np.int64)

    def add(self, window: Window) -> None:
        """Put a window on the list.

        Raises
        ------
        FormatError
            If the file cannot be written.
        """
        row = [window.row, window.col, window.height, window.width]
        if self._path is None or (self._read() == row).all(axis=1).any():
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:  # one write: lines of two processes do not mix
                file.write(("\n" + " ".join(map(str, row)) + "\n").encode())
        except OSError as error:
            raise FormatError(f"{self._path} cannot be written: {error.strerror}.") from error

    def around(self, extent: Sequence[float]) -> list[Window]:
        """Return the windows that contain an extent (row_min, col_min, row_max, col_max)."""
        rows = self._read()
        low, high = rows[:, :2], rows[:, :2] + rows[:, 2:]
        inside = (low <= np.asarray(extent)[:2]) & (np.asarray(extent)[2:] <= high)
        return [Window(*row) for row in rows[inside.all(axis=1)].tolist()]

    def _read(self) -> np.ndarray:
        if self._path is None:
            return self._rows
        try:
            state = self._path.stat()
            if self._state != (state.st_mtime_ns, state.st_size):
                lines = self._path.read_text("ascii", "replace").split("\n")
                rows = [parts for line in lines if len(parts := line.split()) == 4]
                good = [list(map(int, row)) for row in rows if all(p.isdecimal() for p in row)]
                good = [row for row in good if row[2] > 0 and row[3] > 0]
                self._rows = np.array(good, np.int64).reshape(-1, 4)
                self._state = (state.st_mtime_ns, state.st_size)
        except OSError:  # there is none
            self._rows, self._state = np.zeros((0, 4), np.int64), None
        return self._rows
