"""Read the labelled images of a run and divide them into training and validation images."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from ..datasets import Entry, find_entries, rank, read_planes, split_parts, spread
from ..datasets import held_out as held_out_names
from ..datasets.opening import SAMPLE
from ..errors import FormatError, ImageError, ParameterError
from ..progress import Progress
from .config import DataConfig, TrainingConfig
from .data import LabelledImage, labelled_image
from .generated import generate, nested
from .seen import REJECTED
from .shapes import shapes

GIVEN = "given"
ImagePairs = Iterable[tuple[Any, Any] | tuple[Any, Any, Any]]
_DRAWN = {"generated": generate, "nested": nested, "shapes": shapes}


@dataclass(frozen=True, slots=True)
class TrainingImages:
    """Images to train on and to validate on.

    Parameters
    ----------
    train, validation : list of LabelledImage
        No image has planes in both.
    weights : dict of str to float
        Weight of each set.
    """

    train: list[LabelledImage] = field(default_factory=list)
    validation: list[LabelledImage] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)

    def describe(self) -> list[dict[str, Any]]:
        """Name, set, part, shape, object count and hash of every image."""
        return [
            {
                "name": image.name,
                "set": image.group,
                "part": part,
                "shape": list(image.labels.shape),
                "objects": int(np.count_nonzero(np.bincount(image.labels.ravel())[1:])),
                "sha256": image.digest,
            }
            for part, images in (("train", self.train), ("validation", self.validation))
            for image in images
        ]

    @property
    def nbytes(self) -> int:
        """Memory use in bytes."""
        return sum(image.nbytes for image in (*self.train, *self.validation))


def load_images(
    config: TrainingConfig,
    base: Path,
    given: ImagePairs | None = None,
    held_out: ImagePairs | None = None,
) -> Generator[Progress, None, TrainingImages]:
    """Read the images of a run.

    Parameters
    ----------
    config : TrainingConfig
        Its `data` sets.
    base : Path
        Folder that relative paths start from.
    given, held_out : iterables of (image, labels) or (image, labels, seen), optional
        Further arrays to train on and to validate on.

    Yields
    ------
    Progress
        After each image.

    Returns
    -------
    TrainingImages

    Raises
    ------
    FormatError, ImageError
        If data is missing, unpaired, of unequal sizes or empty; the message names the file.
    ParameterError
        If no image is left to train on, or two sets have the same name.
    """
    found = TrainingImages()
    for data in config.data:
        add_set(found, data)
        title = data.title
        if data.generated:
            images = _DRAWN[data.kind](data.generated, config.seed)
            images = [replace(image, group=title) for image in images]
            share_out(found, {image.name: [image] for image in images}, data)
        else:
            yield from _read(found, data, base)
    for part, pairs in ((found.train, given), (found.validation, held_out)):
        kind = "" if part is found.train else "held-out-"
        for number, (image, labels, seen) in enumerate(_triples(pairs)):
            name = f"{GIVEN}/{kind}{number}"
            part.append(labelled_image(name, GIVEN, image, labels, seen=seen))
            found.weights[GIVEN] = 1.0
    if not found.train:
        raise ParameterError("there is nothing to train on: name the images in a [[data]] table")
    if not any(image.typical_size for image in found.train):
        raise FormatError(
            "no image to train on has a labelled object: every label image is 0 throughout"
        )
    return found


def add_set(found: TrainingImages, data: DataConfig) -> None:
    """Add a set, without images yet.

    Parameters
    ----------
    found : TrainingImages
        What is there already.
    data : DataConfig
        The set.

    Raises
    ------
    ParameterError
        If there is a set of this name.
    """
    if data.title in found.weights:
        raise ParameterError(f"two sets are called {data.title}; give one of them a 'name'")
    found.weights[data.title] = data.weight


def _triples(given: ImagePairs | None) -> Iterator[tuple[Any, Any, Any]]:
    try:
        for pair in () if given is None else given:
            image, labels, *rest = pair
            (seen,) = rest or (None,)
            yield image, labels, seen
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"images are pairs of (image, labels), or (image, labels, seen): {error}"
        ) from error


def _read(found: TrainingImages, data: DataConfig, base: Path) -> Iterator[Progress]:
    """Read the files of one set; if it has a split, only those that have a part in it."""
    source = data.folder or data.images or data.records
    entries = find_entries(
        [source if source.startswith(SAMPLE) else base / Path(source).expanduser()],
        base / Path(data.labels).expanduser() if data.labels else None,
        base / Path(data.metadata).expanduser() if data.metadata else None,
        records=bool(data.records),
        unlabelled=data.unlabelled,
        where=data.where,
    )
    parts = split_parts(data.split) if data.split else {}
    if data.split:
        entries = [e for e in entries if parts.get(e.name) in ("train", "validation")]
        if not entries:
            raise ParameterError(f"{data.split} has no image of the set {data.title}")
    entries = spread(entries, data.limit or None)
    several = len({entry.set for entry in entries}) > 1
    images: dict[str, list[LabelledImage]] = {}
    sides: dict[str, str] = {}
    for number, entry in enumerate(entries):
        name = f"{entry.set}/{entry.stem}" if several else entry.stem
        if name in images:
            raise FormatError(f"the set {data.title} has two images called {name}; rename one")
        yield Progress(number, len(entries), message=f"reading {data.title}/{name}")
        images[name] = list(_planes(entry, f"{data.title}/{name}", data))
        sides[name] = parts.get(entry.name, "")
    _check(data.title, [plane for planes in images.values() for plane in planes])
    share_out(found, images, data, sides)


def _planes(entry: Entry, name: str, data: DataConfig) -> Iterator[LabelledImage]:
    for plane in read_planes(
        entry,
        data.planes,
        axes=data.axes,
        channel_axis=data.channel_axis,
        channels=data.channels,
        every_axis=data.every_axis,
        wholes=data.wholes,
        seen=data.levels or data.seen,
    ):
        seen = plane.seen
        if seen is None:
            seen = None if data.complete else np.zeros(plane.labels.shape, bool)
        elif data.levels and (seen.dtype != np.uint8 or seen.max(initial=0) > REJECTED):
            raise FormatError(f"{plane.name}: {data.levels} has levels from 0 to {REJECTED}, uint8")
        elif not data.levels:
            seen = seen != 0
        try:
            yield labelled_image(
                name + plane.name.removeprefix(entry.name),
                data.title,
                plane.image,
                plane.labels,
                plane.wholes,
                channel_axis=plane.channel_axis,
                seen=seen,
            )
        except ImageError as error:
            raise ImageError(f"{plane.name}: {error}") from error


def share_out(
    found: TrainingImages,
    images: dict[str, list[LabelledImage]],
    data: DataConfig,
    sides: dict[str, str] | None = None,
) -> None:
    """Divide the images of a set into training and validation images.

    Parameters
    ----------
    found : TrainingImages
        Takes them.
    images : dict of str to list of LabelledImage
        Planes of each image, by the image's name.
    data : DataConfig
        The set.
    sides : dict of str to str, optional
        Part of each image in a split, "" for none.
    """
    held = held_out_names(list(images), data.validation, data.train, data.title)
    mine = []
    for name, planes in images.items():
        side = sides.get(name) if sides else ""
        if side == "validation" or name in held:
            found.validation.extend(planes)
        elif not data.train or name in data.train:
            mine.append(name)
    used = set(sorted(mine, key=rank)[: max(round(data.share * len(mine)), 1)])
    for name in mine:
        found.train.extend(images[name] if name in used else [])


def _check(title: str, images: list[LabelledImage]) -> None:
    """Raise if a set has no object; warn if its labels look like one binary mask."""
    if not any(image.typical_size for image in images):
        raise FormatError(f"the set {title} has no labelled object: its labels are 0 throughout")
    single = 0
    for image in images:
        ids = np.flatnonzero(np.bincount(image.labels.ravel())[1:])
        if len(ids) == 1 and ndimage.label(image.labels > 0)[1] > 3:
            single += 1
    if single == len(images):
        warnings.warn(
            f"the labels of {title} have one id for many separate regions: every object needs an "
            "id of its own",
            stacklevel=2,
        )
