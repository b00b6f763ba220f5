"""Read images without labels: whole planes, and windows of large ones."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets import rank
from ..datasets.finding import stem
from ..datasets.sources import FoundImage, ImageSource, find_source_images, open_image_plane
from ..engine.contrast import Limits, resolve_contrast_limits, stretch
from ..engine.image import open_image
from ..errors import ImageError, ParameterError
from ..progress import Progress
from .config import DataConfig, TrainingConfig
from .data import LabelledImage, content_hash
from .loading import GIVEN, TrainingImages, add_set, share_out

LARGE = 2048
WINDOW = 1024
"""Planes with a side above `LARGE` pixels are read in windows of this side."""


def load_unlabelled(
    config: TrainingConfig,
    base: Path,
    given: Iterable[Any] | None = None,
    held_out: Iterable[Any] | None = None,
) -> Generator[Progress, None, TrainingImages]:
    """Read the images of a pre-training; labels that there are are not read.

    Parameters
    ----------
    config : TrainingConfig
        Its `data` sets, whose "folder" or "images" is a folder, a pattern, a table, a file, a
        store, a plate or a URL, see `ImageSource`.
    base : Path
        Folder that relative paths start from.
    given, held_out : iterables of array, optional
        Further images to train on and to validate on, as for `Predictor.embed`.

    Yields
    ------
    Progress
        After each image.

    Returns
    -------
    TrainingImages
        Without objects.

    Raises
    ------
    FormatError, ImageError
        If there is no image, or one cannot be read; the message names it.
    ParameterError
        If no image is left to train on, two sets have the same name, or a set needs labels.
    """
    windows = config.masking.windows if config.masking else 1
    found = TrainingImages()
    for data in config.data:
        add_set(found, data)
        yield from _read(found, data, base, windows)
    for part, arrays in ((found.train, given), (found.validation, held_out)):
        kind = "" if part is found.train else "held-out-"
        for number, array in enumerate(() if arrays is None else arrays):
            part.extend(_windows(f"{GIVEN}/{kind}{number}", GIVEN, array, None, None, windows))
            found.weights[GIVEN] = 1.0
    if not found.train:
        raise ParameterError("there is nothing to train on: name the images in a [[data]] table")
    return found


def _read(found: TrainingImages, data: DataConfig, base: Path, windows: int) -> Iterator[Progress]:
    source = _source(data)
    planes = _spread(list(find_source_images(source, base)), data)
    names = _names([source.place_of(base, plane.path) for plane in planes])
    images: dict[str, list[LabelledImage]] = {}
    for number, plane in enumerate(planes):
        place = source.place_of(base, plane.path)
        own = names[place]
        yield Progress(number, len(planes), message=f"reading {data.title}/{own}")
        name = "".join([f"{data.title}/{own}", *(f":{a}{k}" for a, k in plane.plane.items())])
        opened = open_image_plane(source, place, plane.plane)
        try:
            images.setdefault(own, []).extend(
                _windows(
                    name,
                    data.title,
                    opened.levels or (opened.array,),
                    opened.channel_axis if data.channel_axis is None else data.channel_axis,
                    data.channels,
                    windows,
                )
            )
        except ImageError as error:
            raise ImageError(f"{place}: {error}") from error
    share_out(found, images, data)


def _source(data: DataConfig) -> ImageSource:
    """Where the images of a set are."""
    wrong = [
        key for key in ("records", "generated", "labels", "split", "where") if getattr(data, key)
    ]
    if wrong:
        raise ParameterError(
            f"{wrong[0]}: images are pre-trained on without labels; give the set a 'folder' or "
            "'images' alone"
        )
    return ImageSource(data.folder or data.images, data.axes)


def _names(places: Sequence[str]) -> dict[str, str]:
    """Names of image files: without folder and suffix where these tell them apart."""
    short = {place: stem(Path(place)) for place in dict.fromkeys(places)}
    return short if len(set(short.values())) == len(short) else {place: place for place in short}


def _spread(planes: Sequence[FoundImage], data: DataConfig) -> list[FoundImage]:
    """Evenly spaced planes of each stack, and images of the set, as many as it allows."""
    files = [list(own) for _, own in itertools.groupby(planes, lambda plane: plane.path)]
    files = _few(files, data.limit or len(files))
    return [plane for own in files for plane in _few(own, data.planes)]


def _few(items: list[Any], count: int) -> list[Any]:
    """At most so many of the items, evenly spaced."""
    count = min(count, len(items))
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def _windows(
    name: str,
    group: str,
    image: Any,
    channel_axis: int | None,
    channels: Sequence[int] | None,
    windows: int,
) -> Iterator[LabelledImage]:
    """A plane, or windows of a large one, as images without objects."""
    source = open_image(image, channel_axis=channel_axis, channels=channels)
    limits = resolve_contrast_limits(source)
    height, width = source.shapes[0]
    if max(height, width) <= LARGE:
        yield _unlabelled(name, group, source.read(0, slice(None), slice(None)), limits)
        return
    rows, cols = min(height, WINDOW), min(width, WINDOW)
    count = min(windows, max(height * width // (rows * cols), 1))
    rng = np.random.default_rng(int(rank(name) * 2**32))
    for _ in range(count):
        top, left = (int(rng.integers(n + 1)) for n in (height - rows, width - cols))
        pixels = source.read(0, slice(top, top + rows), slice(left, left + cols))
        yield _unlabelled(f"{name}[{top},{left}]", group, pixels, limits)


def _unlabelled(name: str, group: str, pixels: NDArray[Any], limits: Limits) -> LabelledImage:
    shown = stretch(pixels, limits)
    shown = np.round(shown if shown.ndim == 3 else shown[..., None]).astype(np.uint8)
    # no memory for labels that are not there
    nothing = np.broadcast_to(np.int32(0), shown.shape[:2])
    return LabelledImage(
        name=name,
        group=group,
        image=np.ascontiguousarray(shown),
        labels=nothing,
        interior=np.broadcast_to(np.uint8(0), shown.shape[:2]),
        wholes=None,
        typical_size=0.0,
        digest=content_hash(np.asarray(pixels)),
    )
