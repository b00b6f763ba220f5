"""Read labelled planes from images and labels of every supported format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, ImageError
from ..formats import RLE, open_npz, read_image, read_labels, read_sa1b
from ..formats.bsds import BSDS_SUFFIX, read_bsds
from ..formats.images import ImageData, guess_axes
from ..samples import sample
from ..wording import extent
from .coco import bare, coco_images
from .finding import Entry
from .opening import SAMPLE, read_source

_STACK = "TZQ"
_STRIP = 64


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPlane:
    """A 2-D image with its true objects.

    Parameters
    ----------
    name : str
        "set/file", and ":plane" for a plane of a stack.
    file : str
        "set/file".
    set : str
        The set it belongs to.
    columns : mapping of str to str
        Metadata of the image.
    image : array (rows, columns), (rows, columns, 3|4), or channels at `channel_axis`
        Pixel values as in the file.
    channel_axis : int or None
        Axis of the channels.
    labels : integer array (rows, columns)
        0 is background, one id an object.
    wholes : integer array (rows, columns) or (layers, rows, columns), or None
        Labels of larger objects that contain or overlap those of `labels`.
    seen : bool array (rows, columns) or None
        Where every object is labelled; None if that is everywhere.
    boundaries : tuple of bool array (rows, columns)
        Boundaries that people drew, one of each; empty if there are none.
    """

    name: str
    file: str
    set: str
    columns: Mapping[str, str]
    image: NDArray[Any]
    channel_axis: int | None
    labels: NDArray[Any]
    wholes: NDArray[Any] | None = None
    seen: NDArray[np.bool_] | None = None
    boundaries: tuple[NDArray[np.bool_], ...] = ()


def read_planes(
    entry: Entry,
    planes: int = 10,
    *,
    axes: str | None = None,
    channel_axis: int | None = None,
    channels: Sequence[int] | None = None,
    every_axis: bool = False,
    wholes: str = "",
    seen: str = "",
) -> Iterator[LabelledPlane]:
    """Read an image and its labels; of a stack, evenly spaced planes that hold objects.

    Parameters
    ----------
    entry : Entry
        From `find_entries`.
    planes : int
        Number of planes of a stack, at most.
    axes : str, optional
        Axes of the file, such as "ZYX", if it has no axis metadata.
    channel_axis : int, optional
        Axis of the channels, if the file has no axis metadata.
    channels : sequence of int, optional
        Channels to use.
    every_axis : bool
        Take planes of a volume along rows and columns too, if these measure at least 64 pixels on
        each side.
    wholes : str
        Name of an array in an NPZ with labels of larger objects.
    seen : str
        Name of an array in an NPZ that is nonzero where every object is labelled.

    Raises
    ------
    FormatError, ImageError
        If a file cannot be read, or image and labels do not fit together.
    """
    name = entry.name
    image = _image(entry, axes, channel_axis)
    drawn: tuple[NDArray[np.bool_], ...] = ()
    if entry.labels.suffix.lower() == BSDS_SUFFIX:
        people = read_bsds(entry.labels)
        labels, around, looked = people[0].labels, None, None
        drawn = tuple(person.boundaries for person in people)
    else:
        labels, around, looked = _labels(entry, wholes, seen)
    stacks = [a for a in image.stack_axes if image.shape[image.axes.index(a)] > 1]
    few = image.axes[1:] == "YX" and image.shape[0] <= 4
    if stacks and few and labels.shape == image.shape[1:]:  # so they are channels
        image, stacks = replace(image, axes="CYX", channel_axis=0), []
    if len(stacks) > 1 or labels.ndim != 2 + len(stacks):
        raise FormatError(
            f"{name}: the image has axes {image.axes} and shape {image.shape}, its labels the "
            f"shape {labels.shape}; both must be planes, or stacks along one axis. 'axes' says "
            "what the dimensions of the files are"
        )
    grid = [*stacks, "Y", "X"]
    sides = tuple(image.shape[image.axes.index(axis)] for axis in grid)
    if sides != labels.shape:
        shown, true = map(extent, (sides, labels.shape))
        raise FormatError(
            f"{name}: the image has {shown} pixels, its labels {true}; they must lie on the same "
            "grid"
        )

    def plane(title: str, *arrays: Any, **at: int) -> LabelledPlane:
        array, axis = _cut(name, image, at, channels)
        made = LabelledPlane(title, name, entry.set, entry.columns, array, axis, *arrays)
        return replace(made, boundaries=drawn)

    if not stacks:
        yield plane(name, labels, around, looked)
        return
    for number, axis in enumerate(grid if every_axis else grid[:1]):
        count = sides[number]
        if number and min(n for i, n in enumerate(sides) if i != number) < _STRIP:
            continue
        step = max(1, count // planes)
        for k in range(step // 2, count, step):
            truth = np.take(labels, k, number)
            if truth.any():
                more = [None if a is None else np.take(a, k, number) for a in (around, looked)]
                title = f"{name}:{k}" if number == 0 else f"{name}:{axis}{k}"
                yield plane(title, truth, *more, **{axis: k})


def _image(entry: Entry, axes: str | None, channel_axis: int | None) -> ImageData:
    if entry.sample:
        return read_source(f"{SAMPLE}{entry.image}")
    image = read_image(entry.image, axes=axes or None, lazy=None)
    if channel_axis is None or image.channel_axis is not None or axes:
        return image
    if not -len(image.shape) <= channel_axis < len(image.shape):
        raise ImageError(f"{entry.name} has {len(image.shape)} dimensions, no {channel_axis}")
    place = channel_axis % len(image.shape)
    rest = guess_axes([n for i, n in enumerate(image.shape) if i != place], entry.name)
    letters = rest[:place] + "C" + rest[place:]
    return replace(image, axes=letters, channel_axis=place, rgb=False)


def _labels(entry: Entry, *names: str) -> list[Any]:
    """Labels, and further arrays of these names in an NPZ, None where there are none."""
    none = (None,) * len(names)
    if entry.sample:
        labels = sample(str(entry.image)).labels
        if labels is None:
            raise ImageError(f"the built-in image {entry.image} has no labels to compare with")
        return [labels, *none]
    if entry.labels.suffix.lower() == ".json":
        listed = coco_images(entry.labels)
        record = read_sa1b(entry.labels) if listed is None else listed[bare(entry.image.name)]
        masks = [mask.segmentation for mask in record.records]
        ids = None if listed is None else [mask.id for mask in record.records]
        layers = pack_masks(masks, (record.height, record.width), ids)
        return [layers[0], layers[1:] if len(layers) > 1 else None, *none[1:]]
    labels, more = read_labels(entry.labels), list[NDArray[Any] | None](none)
    if any(names) and entry.labels.suffix.lower() == ".npz":
        with open_npz(entry.labels) as archive:
            more = [archive[n] if n and n in archive.files else None for n in names]
    for name, array in zip(names, more, strict=True):
        if array is not None and array.shape != labels.shape:
            raise FormatError(f"{entry.name}: {name} and labels differ in shape")
    shape = [n for n in labels.shape[:-2] if n > 1] + list(labels.shape[-2:])
    return [labels.reshape(shape), *(None if a is None else a.reshape(shape) for a in more)]


def _cut(
    name: str, image: ImageData, at: Mapping[str, int], channels: Sequence[int] | None
) -> tuple[NDArray[Any], int | None]:
    """One plane of an image with the chosen channels, and their axis."""
    index = [
        at.get(a, 0 if a in _STACK and n == 1 else slice(None))
        for a, n in zip(image.axes, image.shape, strict=True)
    ]
    letters = "".join(
        a for a, where in zip(image.axes, index, strict=True) if isinstance(where, slice)
    )
    array = np.asarray(image.array[tuple(index)])
    axis = letters.index("C") if "C" in letters else None
    if channels is None:
        return array, axis
    axis = len(letters) - 1 if axis is None and "S" in letters else axis
    count = 0 if axis is None else array.shape[axis]
    wrong = [channel for channel in channels if not 0 <= channel < count]
    if axis is None or wrong:
        raise ImageError(f"{name} has {count} channels, none of number {(*wrong, *channels)[0]}")
    taken = np.take(array, channels, axis)
    return (taken.squeeze(axis), None) if len(channels) == 1 else (taken, axis)


def pack_masks(
    masks: list[RLE], shape: tuple[int, int], ids: Sequence[int] | None = None
) -> NDArray[np.int32]:
    """Put overlapping masks into as few label images as need be, small ones first.

    Parameters
    ----------
    masks : list of RLE
        Of equal size.
    shape : (int, int)
        Rows and columns.
    ids : sequence of int, optional
        Label of each mask, at least 1; by default they are numbered from the smallest mask.

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
    packed = np.stack(layers)
    if ids is None:
        return packed
    return np.array([0, *(ids[index] for index in order)], np.int32)[packed]
