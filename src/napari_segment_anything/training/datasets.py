"""The labelled images of a run: read, split by image, and prepared."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import FormatError, ImageError, ParameterError
from ..formats import RLE, read_image, read_labels, read_sa1b
from ..formats.images import ImageData
from ..progress import Progress
from .config import DataConfig, TrainingConfig
from .data import LabelledImage, labelled_image, validation_rank
from .generated import generate, nested
from .pairing import Pair, find_pairs, find_records
from .sets import WEIGHTS, load_sets
from .shapes import shapes

GIVEN = "given"
ImagePairs = Iterable[tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Datasets:
    """Images to train on and to validate on.

    Parameters
    ----------
    train, validation : list of LabelledImage
        No image has planes in both.
    weights : dict of str to float
        By set.
    """

    train: list[LabelledImage] = field(default_factory=list)
    validation: list[LabelledImage] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)

    def describe(self) -> list[dict[str, Any]]:
        """Name, set, part, size, objects and hash of every image, for the record."""
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
        """Memory that the images take."""
        return sum(
            i.image.nbytes
            + i.labels.nbytes
            + i.interior.nbytes
            + (0 if i.wholes is None else i.wholes.nbytes)
            for i in (*self.train, *self.validation)
        )


def load_datasets(
    config: TrainingConfig,
    base: Path,
    given: ImagePairs | None = None,
    held_out: ImagePairs | None = None,
) -> Generator[Progress, None, Datasets]:
    """Read the images of a run.

    Parameters
    ----------
    config : TrainingConfig
        Its `data` sets.
    base : Path
        What relative paths start from.
    given, held_out : iterables of (image, labels), optional
        Arrays to train on and to validate on, beside those of the configuration.

    Yields
    ------
    Progress
        After each image.

    Raises
    ------
    FormatError, ImageError
        If data is missing, unpaired, of unequal sizes or empty; the message names the file.
    ParameterError
        If no image is left to train on, or two sets have the same name.
    """
    found = Datasets()
    for data in config.data:
        title = data.title
        if data.collection:
            yield from _collection(found, data, base, config)
            continue
        if title in found.weights:
            raise ParameterError(f"two sets are called {title}; give one of them a 'name'")
        found.weights[title] = data.weight
        if data.generated:
            images = generate(data.generated, config.seed)
            _share_out(found, [(i.name, [i]) for i in images], data, title)
        else:
            own = yield from _files(data, base, title)
            _share_out(found, own, data, title)
    for part, pairs in ((found.train, given), (found.validation, held_out)):
        kind = "" if part is found.train else "held-out-"
        for number, (image, labels) in enumerate(_pairs(pairs)):
            part.append(labelled_image(f"{GIVEN}/{kind}{number}", GIVEN, image, labels))
            found.weights[GIVEN] = 1.0
    if not found.train:
        raise ParameterError("there is nothing to train on: name the images in a [[data]] table")
    if not any(image.typical_size for image in found.train):
        raise FormatError(
            "no image to train on has a labelled object: every label image is 0 throughout"
        )
    return found


def _pairs(given: ImagePairs | None) -> Iterator[tuple[Any, Any]]:
    try:
        for pair in () if given is None else given:
            image, labels = pair
            yield image, labels
    except (TypeError, ValueError) as error:
        raise ParameterError(f"images are pairs of (image, labels): {error}") from error


def _collection(
    found: Datasets, data: DataConfig, base: Path, config: TrainingConfig
) -> Iterator[Progress]:
    root = _path(base, data.collection)
    if not (root / "index.json").exists():
        raise FormatError(
            f"{root} is not the folder of sets that the split 'default' is for: it has no "
            "index.json. Name the folder with --data"
        )
    yield Progress(0, 2, message="reading images")
    found.train.extend(load_sets(root, "train"))
    found.train.extend(generate(config.generated, config.seed))
    found.train.extend(nested(config.generated // 2, config.seed))
    found.train.extend(shapes(config.generated, config.seed))
    yield Progress(1, 2, message="reading images")
    found.validation.extend(load_sets(root, "validation"))
    found.weights.update({name: weight * data.weight for name, weight in WEIGHTS.items()})


def _files(
    data: DataConfig, base: Path, title: str
) -> Generator[Progress, None, list[tuple[str, list[LabelledImage]]]]:
    skip = data.unlabelled == "skip"
    if data.records:
        pairs = find_records(_path(base, data.records), skip)
    else:
        labels = _path(base, data.labels) if data.labels else None
        pairs = find_pairs(_path(base, data.images or data.folder), labels, skip)
    images = []
    for number, pair in enumerate(pairs):
        yield Progress(number, len(pairs), message=f"reading {title}/{pair.name}")
        images.append((pair.name, list(read_pair(pair, data, title))))
    _check(title, [plane for _, planes in images for plane in planes])
    return images


def _path(base: Path, text: str) -> Path:
    return base / Path(text).expanduser()


def _share_out(
    found: Datasets, images: list[tuple[str, list[LabelledImage]]], data: DataConfig, title: str
) -> None:
    """Divide a set by image into what is trained on and what is held out."""
    held = held_out_names([name for name, _ in images], data, title)
    for name, planes in images:
        if name in held:
            found.validation.extend(planes)
        elif not data.train or name in data.train:
            found.train.extend(planes)


def held_out_names(names: list[str], data: DataConfig, title: str) -> set[str]:
    """Names of the images of a set that are held out for validation.

    Raises
    ------
    ParameterError
        If a listed image is not there, or listed for both.
    """
    listed = {*data.train, *(data.validation if isinstance(data.validation, tuple) else ())}
    unknown = sorted(listed - set(names))
    if unknown:
        raise ParameterError(f"the set {title} has no image {unknown[0]}; it has {names[:5]} ...")
    if isinstance(data.validation, tuple):
        both = sorted(set(data.validation) & set(data.train))
        if both:
            raise ParameterError(f"{both[0]} of {title} is listed for training and for validation")
        return set(data.validation)
    free = [name for name in names if name not in data.train]
    ranked = sorted(free, key=lambda name: validation_rank(f"{title}/{name}"))
    count = round(data.validation * len(names))
    if data.validation > 0:
        count = max(count, 1)
    if count and count >= len(names):
        raise ParameterError(
            f"the set {title} has {len(names)} image(s), too few to hold some out for validation; "
            "set validation = 0"
        )
    return set(ranked[:count])


def read_pair(pair: Pair, data: DataConfig, group: str) -> Iterator[LabelledImage]:
    """Read an image with its labels; of a stack, evenly spaced planes that have objects.

    Raises
    ------
    FormatError, ImageError
        If a file cannot be read, or image and labels do not fit together.
    """
    name = f"{group}/{pair.name}"
    image = read_image(pair.image, axes=data.axes or None, lazy=None)
    if pair.records:
        labels, wholes = _masks(pair, name)
    else:
        labels, wholes = read_labels(pair.labels), None
    stacks = [axis for axis in image.stack_axes if image.shape[image.axes.index(axis)] > 1]
    labels = labels.reshape([n for n in labels.shape[:-2] if n > 1] + list(labels.shape[-2:]))
    if len(stacks) == 1 and labels.ndim == 2 and image.array.ndim == 3:
        count = image.shape[image.axes.index(stacks[0])]
        if count <= 4 and image.array.shape[1:] == labels.shape:  # so these are channels
            yield _plane(name, group, image, labels, wholes, data, channel_axis=0)
            return
    if len(stacks) > 1 or labels.ndim != 2 + len(stacks):
        raise FormatError(
            f"{name}: the image has axes {image.axes} and shape {image.shape}, its labels the "
            f"shape {labels.shape}; both must be planes, or stacks along one axis. 'axes' says "
            "what the dimensions of the files are"
        )
    if not stacks:
        yield _plane(name, group, image.plane(), labels, wholes, data)
        return
    depth = image.shape[image.axes.index(stacks[0])]
    if depth != len(labels):
        raise FormatError(f"{name}: {depth} planes of the image, {len(labels)} of its labels")
    step = max(1, depth // data.planes)
    for k in range(step // 2, depth, step):
        if labels[k].any():
            plane = image.plane(**{stacks[0]: k})
            yield _plane(f"{name}:{k}", group, plane, labels[k], wholes, data)


def _plane(
    name: str,
    group: str,
    image: ImageData,
    labels: NDArray[Any],
    wholes: NDArray[Any] | None,
    data: DataConfig,
    channel_axis: int | None = None,
) -> LabelledImage:
    axis = data.channel_axis if data.channel_axis is not None else channel_axis
    axis = axis if axis is not None else image.channel_axis
    try:
        return labelled_image(
            name,
            group,
            np.asarray(image.array[...]),
            labels,
            wholes,
            channel_axis=axis,
            channels=data.channels,
        )
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error


def _masks(pair: Pair, name: str) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
    record = read_sa1b(pair.labels)
    layers = pack_masks(
        [mask.segmentation for mask in record.records], (record.height, record.width)
    )
    return layers[0], layers[1:] if len(layers) > 1 else None


def pack_masks(masks: list[RLE], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Overlapping masks to as few label images as need be, the small ones first.

    Parameters
    ----------
    masks : list of RLE
        Of equal size.
    shape : (int, int)
        Rows and columns.

    Returns
    -------
    int32 array (layers, rows, columns)
        At least one layer. A mask goes to the first one where at most a fiftieth of it, or of a
        mask there, is lost to what both claim.
    """
    layers: list[NDArray[np.int32]] = [np.zeros(shape, np.int32)]
    areas = [np.zeros(len(masks) + 1, np.int64)]
    order = sorted(range(len(masks)), key=lambda i: masks[i].area)
    for number, index in enumerate(order, start=1):
        mask = masks[index].decode()
        area = int(mask.sum())
        if not area:
            continue
        for layer, held in zip(layers, areas, strict=True):
            shared = np.bincount(layer[mask], minlength=len(held))
            shared[0] = 0
            if shared.sum() <= 0.02 * area and (shared <= 0.02 * held).all():
                break
        else:
            layer, held = np.zeros(shape, np.int32), np.zeros(len(masks) + 1, np.int64)
            layers.append(layer)
            areas.append(held)
        layer[mask & (layer == 0)] = number
        held[number] = area
    return np.stack(layers)


def _check(title: str, images: list[LabelledImage]) -> None:
    """Raise where a set has no object at all; warn where its labels look like one mask."""
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
