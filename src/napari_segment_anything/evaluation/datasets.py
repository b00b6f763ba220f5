"""Labelled images in folders: finding images, their labels, and what is known about them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from ..errors import FormatError, ImageError, ParameterError
from ..formats import open_npz, read_image
from ..formats.images import PICTURE_SUFFIXES, TIFF_SUFFIXES
from ..formats.labels import read_labels
from ..reading import below, read_json, require_file
from ..samples import sample

IMAGE_SUFFIXES = (*TIFF_SUFFIXES, *PICTURE_SUFFIXES, ".npy", ".npz")
LABEL_ENDINGS = ("_labels", "_label", "_masks", "_mask", "_instances", "_gt")
LABEL_FOLDERS = ("labels", "masks", "annotations", "groundtruth")
SAMPLE = "sample:"
_NOT_METADATA = {"file", "shape", "dtype", "instances", "keys", "set", "image"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One labelled image file, not read yet.

    Parameters
    ----------
    set : str
        The set it belongs to: the name of its folder.
    image : Path
        The image.
    labels : Path
        Its labels; the same file where an NPZ holds both.
    columns : mapping of str to str
        What is known about it, such as its modality.
    sample : bool
        Whether it is a built-in sample, which `image` and `labels` then name.
    """

    set: str
    image: Path
    labels: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    sample: bool = False

    @property
    def name(self) -> str:
        """Its set and its file: set/file."""
        return f"{self.set}/{self.image.name}"


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
        What is known about it.
    image : array (rows, columns), (rows, columns, 3|4), or channels at `channel_axis`
        As it is in the file.
    channel_axis : int or None
        Position of the channels.
    labels : integer array (rows, columns)
        0 is background, one id an object.
    """

    name: str
    file: str
    set: str
    columns: Mapping[str, str]
    image: NDArray[Any]
    channel_axis: int | None
    labels: NDArray[Any]


def find_entries(
    sources: Sequence[str | Path],
    labels: str | Path | None = None,
    metadata: str | Path | None = None,
) -> list[Entry]:
    """Find labelled images.

    Parameters
    ----------
    sources : sequence of path
        Files; folders of images (one set, named after the folder); folders of such folders (a
        set each); built-in samples that have labels (``sample:NAME``). A folder may hold an
        ``index.json`` of the form ``{set: [{"file": name, column: value, ...}, ...]}``, which
        limits it to the files listed and gives columns.
    labels : path, optional
        Folder (or, for a single image, file) of the labels: files of the images' names, perhaps
        with one of `LABEL_ENDINGS`. Without it, an NPZ holds ``image`` and ``labels``, and other
        labels lie beside the image with one of the endings, or in a folder next to the images'
        named after `LABEL_FOLDERS`.
    metadata : path, optional
        CSV with a column ``file`` (name, name without suffix, or set/name) and further columns.

    Returns
    -------
    list of Entry
        Sorted within each set. Images without labels are not in it.

    Raises
    ------
    ImageError
        If a source is missing, or no labelled image is found.
    FormatError
        If an index or the metadata cannot be read.
    """
    entries: list[Entry] = []
    unlabelled: list[Path] = []
    where = None if labels is None else Path(labels).expanduser()
    if where is not None and not where.exists():
        raise ImageError(f"there are no labels at {where}")
    for source in sources:
        if str(source).startswith(SAMPLE):
            title = str(source).removeprefix(SAMPLE)
            held = Path(title)
            entries.append(Entry("samples", held, held, {"sample": title}, sample=True))
            continue
        path = Path(source).expanduser()
        if not path.exists():
            raise ImageError(f"there is no file or folder {path}")
        for name, image, columns in _images(path):
            truth = _labels_of(image, where)
            if truth is None:
                unlabelled.append(image)
            else:
                entries.append(Entry(name, image, truth, columns))
    if not entries:
        example = f", such as {unlabelled[0]}" if unlabelled else ""
        raise ImageError(
            f"no labelled images in {', '.join(map(str, sources))}: {len(unlabelled)} images "
            f"without labels{example}. Name the folder of the labels with --labels."
        )
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ImageError(f"two images are called {twice}; give their folders different names")
    return entries if metadata is None else _with_metadata(entries, Path(metadata).expanduser())


def _images(path: Path) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """(set, image, columns) of each image under a path."""
    if path.is_file():
        yield path.resolve().parent.name, path, {}
        return
    index = path / "index.json"
    if index.exists():
        for name, items in _read_index(index).items():
            for item in sorted(items, key=lambda item: str(item["file"])):
                image = below(path, f"{name}/{item['file']}", "the image")
                if image.exists():
                    columns = {k: str(v) for k, v in item.items() if k not in _NOT_METADATA}
                    yield name, image, columns
        return
    own = _files(path)
    if own:
        name = path.resolve().name
        if name.lower() in ("images", "image", "img", "raw"):
            name = path.resolve().parent.name
        yield from ((name, image, {}) for image in own)
        return
    for folder in sorted(p for p in path.iterdir() if p.is_dir()):
        if folder.name.lower() in LABEL_FOLDERS:
            continue
        inner = folder / "images"
        yield from _images(inner if inner.is_dir() else folder)


def _files(folder: Path) -> list[Path]:
    def is_image(path: Path) -> bool:
        return (
            path.suffix.lower() in IMAGE_SUFFIXES
            and not path.name.startswith(".")
            and not _stem(path).lower().endswith(LABEL_ENDINGS)
        )

    return sorted(path for path in folder.iterdir() if is_image(path))


def _stem(path: Path) -> str:
    return path.name.removesuffix(path.suffix).removesuffix(".ome")


def _read_index(path: Path) -> dict[str, list[dict[str, Any]]]:
    index: dict[str, list[dict[str, Any]]] = read_json(
        path, dict[str, list[dict[str, Any]]], what="index of images"
    )
    if not all(isinstance(item.get("file"), str) for items in index.values() for item in items):
        raise FormatError(f'{path}: every image needs a "file"')
    return index


def _labels_of(image: Path, where: Path | None) -> Path | None:
    """The file that holds an image's labels."""
    if where is not None and where.is_file():
        return where
    if where is None and image.suffix.lower() == ".npz":
        with open_npz(image) as archive:
            return image if "labels" in archive.files else None
    stem = _stem(image)
    if where is not None:
        return _first(where, [stem + ending for ending in ("", *LABEL_ENDINGS)], image)
    beside = _first(image.parent, [stem + ending for ending in LABEL_ENDINGS], image)
    if beside is not None:
        return beside
    for name in LABEL_FOLDERS:
        folder = image.parent.parent / name
        if folder.is_dir():
            found = _first(folder, [stem + ending for ending in ("", *LABEL_ENDINGS)], image)
            if found is not None:
                return found
    return None


def _first(folder: Path, stems: Iterable[str], image: Path) -> Path | None:
    for stem in stems:
        for suffix in (".tif", ".tiff", ".ome.tif", ".png", ".npy", ".npz"):
            path = folder / (stem + suffix)
            if path.exists() and path != image:
                return path
    return None


def _with_metadata(entries: list[Entry], path: Path) -> list[Entry]:
    try:
        with require_file(path, "metadata").open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except FormatError:
        raise
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read as CSV: {error}") from error
    if not rows or "file" not in rows[0]:
        raise FormatError(f'{path} needs a header with a column "file"')
    known: dict[str, dict[str, str]] = {}
    for row in rows:
        columns = {str(k): v for k, v in row.items() if k not in _NOT_METADATA and v}
        known[row["file"]] = columns
    result = []
    for entry in entries:
        found: dict[str, str] = {}
        for key in (_stem(entry.image), entry.image.name, entry.name):
            found |= known.get(key, {})
        result.append(replace(entry, columns={**entry.columns, **found}))
    return result


class _Part(TypedDict):
    part: str


def select_split(entries: Sequence[Entry], split: str, file: Path) -> list[Entry]:
    """Images of one part of a split.

    Parameters
    ----------
    entries : sequence of Entry
        What there is.
    split : str
        The part, such as "validation".
    file : Path
        JSON ``{set: {file: {"part": name}}}``, or ``{set: {file: name}}``.

    Raises
    ------
    FormatError
        If the file is not one.
    ParameterError
        If no image belongs to the part; the message names the parts there are.
    """
    held = read_json(file, dict[str, dict[str, _Part | str]], what="split of images")
    parts = {
        f"{group}/{name}": value if isinstance(value, str) else value["part"]
        for group, files in held.items()
        for name, value in files.items()
    }
    chosen = [entry for entry in entries if parts.get(entry.name) == split]
    if not chosen:
        raise ParameterError(
            f"none of the {len(entries)} images is in the part '{split}' of {file.name}, which "
            f"has the parts {', '.join(sorted(set(parts.values())))}"
        )
    return chosen


def read_planes(entry: Entry, limit: int = 10) -> Iterator[LabelledPlane]:
    """Read an image and its labels; of a stack, evenly spaced planes that hold objects.

    Parameters
    ----------
    entry : Entry
        From `find_entries`.
    limit : int
        At most about this many planes.

    Raises
    ------
    ImageError
        If image and labels do not fit together.
    """
    image, channel_axis, rgb, labels = _sample(entry) if entry.sample else _files_of(entry)
    if image.ndim == 3 and image.shape[1:] == labels.shape and image.shape[0] <= 4 and not rgb:
        channel_axis = 0  # the labels tell that these few planes are channels
    grid = list(image.shape)
    if rgb:
        grid.pop()
    elif channel_axis is not None:
        grid.pop(channel_axis)
    if tuple(grid) != labels.shape or labels.ndim > 3:
        raise ImageError(
            f"{entry.name}: the image has the shape {image.shape}, its labels {labels.shape}; "
            "images with one stack axis at most are evaluated"
        )
    name, group, columns = entry.name, entry.set, entry.columns
    if labels.ndim == 2:
        yield LabelledPlane(name, name, group, columns, image, channel_axis, labels)
        return
    stack = 1 if channel_axis == 0 else 0
    axis = channel_axis if channel_axis is None or channel_axis == 0 else channel_axis - 1
    step = max(1, len(labels) // limit)
    for number in range(step // 2, len(labels), step):
        if labels[number].any():
            plane = np.take(image, number, stack)
            title = f"{name}:{number}"
            yield LabelledPlane(title, name, group, columns, plane, axis, labels[number])


def _files_of(entry: Entry) -> tuple[NDArray[Any], int | None, bool, NDArray[Any]]:
    """Image, channel axis, whether it is colour, labels."""
    found = read_image(entry.image, lazy=False)
    return np.asarray(found.array), found.channel_axis, found.rgb, read_labels(entry.labels)


def _sample(entry: Entry) -> tuple[NDArray[Any], int | None, bool, NDArray[Any]]:
    found = sample(str(entry.image))
    if found.labels is None:
        raise ImageError(f"the built-in image {entry.image} has no labels to compare with")
    return np.asarray(found.image), found.channel_axis, found.rgb, found.labels
