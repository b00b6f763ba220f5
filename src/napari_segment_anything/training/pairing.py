"""Which file holds the labels of which image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import FormatError
from ..formats import open_npz
from ..formats.images import PICTURE_SUFFIXES, TIFF_SUFFIXES

IMAGE_FOLDERS = ("images", "image", "img", "raw")
LABEL_FOLDERS = ("labels", "masks", "annotations", "groundtruth")
IMAGE_ENDINGS = ("_image", "_img", "_raw")
LABEL_ENDINGS = ("_labels", "_label", "_masks", "_mask", "_instances", "_gt", "_seg")
_LABEL_SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".npz", ".zarr")
_IMAGE_SUFFIXES = (*TIFF_SUFFIXES, *PICTURE_SUFFIXES, ".npy", ".npz", ".zarr")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and what says where its objects are.

    Parameters
    ----------
    name : str
        The image's file name without suffix.
    image, labels : Path
        The same NPZ where it holds both; a part of the image's Zarr where that does.
    records : bool
        Whether `labels` is JSON of masks instead of a label image.
    """

    name: str
    image: Path
    labels: Path
    records: bool = False


def find_pairs(images: Path, labels: Path | None, skip_unlabelled: bool = False) -> list[Pair]:
    """Pair images with label images.

    Parameters
    ----------
    images : Path
        A file, or a folder of images; or one that has ``images/`` and ``labels/`` in it.
    labels : Path or None
        A file or a folder. None: beside the images, in an NPZ or Zarr itself, or in a folder beside
        that of the images.
    skip_unlabelled : bool
        Leave out images without labels instead of refusing.

    Returns
    -------
    list of Pair
        By name.

    Raises
    ------
    FormatError
        If something is missing: the message says which files, and what they could be called.
    """
    if not images.exists():
        raise FormatError(f"there is no file or folder {images}")
    if labels is not None and not labels.exists():
        raise FormatError(f"there are no labels at {labels}")
    if images.is_file() or images.suffix.lower() == ".zarr":
        found = labels if labels is not None and not _is_folder(labels) else None
        found = found or labels_of(images, labels)
        return _complete([(images, found)], skip_unlabelled, images.parent)
    inner = _first_folder(images, IMAGE_FOLDERS) if labels is None else None
    if inner is not None:
        images, labels = inner, _first_folder(images, LABEL_FOLDERS)
    files = [f for f in image_files(images) if labels is not None or not _is_label(f)]
    if not files:
        raise FormatError(
            f"{images} has no images: give TIFF, PNG, JPEG, NPY, NPZ or Zarr files, or a folder "
            "with images/ and labels/ in it"
        )
    pairs = _complete([(f, labels_of(f, labels)) for f in files], skip_unlabelled, images)
    where = labels if labels is not None else images
    used = {pair.labels.resolve() for pair in pairs}
    candidates = image_files(where) if where.is_dir() else []
    orphans = [
        f
        for f in candidates
        if f.resolve() not in used and (where != images or _is_label(f)) and f not in files
    ]
    if orphans:
        raise FormatError(
            f"{_some(orphans)} in {where}: labels without an image of their name in {images}"
        )
    return pairs


def find_records(folder: Path, skip_unlabelled: bool = False) -> list[Pair]:
    """Pair images with JSON files of their names, as SA-1B comes.

    Raises
    ------
    FormatError
        If there are none, or some lack the other.
    """
    if not folder.is_dir():
        raise FormatError(f"there is no folder {folder}")
    files = [f for f in image_files(folder) if f.suffix.lower() != ".npz"]
    if not files:
        raise FormatError(f"{folder} has no images; records are image files and JSON beside them")
    found: list[tuple[Path, Path | None]] = []
    for file in files:
        record = file.with_name(stem(file) + ".json")
        found.append((file, record if record.exists() else None))
    pairs = _complete(found, skip_unlabelled, folder, ".json")
    used = {pair.labels for pair in pairs}
    orphans = [f for f in sorted(folder.glob("*.json")) if f not in used]
    if orphans:
        raise FormatError(f"{_some(orphans)} in {folder}: records without an image of their name")
    return [Pair(pair.name, pair.image, pair.labels, records=True) for pair in pairs]


def labels_of(image: Path, where: Path | None) -> Path | None:
    """The labels of an image: in a folder, in its own file, beside it, or in a folder beside."""
    own = stem(image)
    stems = [own + ending for ending in ("", *LABEL_ENDINGS)]
    for ending in IMAGE_ENDINGS:
        if own.lower().endswith(ending):
            bare = own[: -len(ending)]
            stems += [bare + e for e in ("", *LABEL_ENDINGS)]
    if where is not None:
        return _first(where, stems, image)
    if image.suffix.lower() == ".npz" and _holds_labels(image):
        return image
    if image.suffix.lower() == ".zarr":
        inside = image / "labels"
        parts = sorted(p for p in inside.iterdir() if p.is_dir()) if inside.is_dir() else []
        if len(parts) > 1:
            names = ", ".join(p.name for p in parts)
            raise FormatError(f"{image} has several labels ({names}); name one with 'labels'")
        if parts:
            return parts[0]
    beside = _first(image.parent, [s for s in stems if s != own], image)
    if beside is not None:
        return beside
    for name in LABEL_FOLDERS:
        folder = image.parent.parent / name
        if image.parent.name.lower() in IMAGE_FOLDERS and folder.is_dir():
            found = _first(folder, stems, image)
            if found is not None:
                return found
    return None


def image_files(folder: Path) -> list[Path]:
    """Images of a folder, Zarr stores among them, sorted."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and path.is_dir() == (path.suffix.lower() == ".zarr")
    )


def stem(path: Path) -> str:
    """A file's name without its suffix, ``.ome`` included."""
    return path.name.removesuffix(path.suffix).removesuffix(".ome")


def _complete(
    found: Iterable[tuple[Path, Path | None]],
    skip_unlabelled: bool,
    where: Path,
    ending: str = "_labels",
) -> list[Pair]:
    pairs, missing = [], []
    for image, labels in found:
        if labels is None:
            missing.append(image)
        else:
            pairs.append(Pair(stem(image), image, labels))
    if missing and not (skip_unlabelled and pairs):
        example = stem(missing[0])
        wanted = f"{example}{ending}" if ending.startswith(".") else f"{example}{ending}.tif beside"
        inside = "" if ending.startswith(".") else f" it, or labels/{example}.tif"
        raise FormatError(
            f"{_some(missing)} in {where}: images without labels; expected {wanted}{inside}. "
            "unlabelled = 'skip' leaves such images out"
        )
    names = [pair.name for pair in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FormatError(f"{where} has two images called {twice[0]}; rename one")
    return sorted(pairs, key=lambda pair: pair.name)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and path.suffix.lower() != ".zarr"


def _is_label(path: Path) -> bool:
    return stem(path).lower().endswith(LABEL_ENDINGS)


def _first_folder(folder: Path, names: tuple[str, ...]) -> Path | None:
    inside = {p.name.lower(): p for p in folder.iterdir() if p.is_dir()}
    return next((inside[name] for name in names if name in inside), None)


def _first(folder: Path, stems: list[str], image: Path) -> Path | None:
    if not folder.is_dir():
        return None
    for name in stems:
        for suffix in _LABEL_SUFFIXES:
            for middle in ("", ".ome"):
                path = folder / f"{name}{middle}{suffix}"
                if path.exists() and path != image:
                    return path
    return None


def _holds_labels(path: Path) -> bool:
    with open_npz(path) as archive:
        return "labels" in archive.files


def _some(paths: list[Path]) -> str:
    names = ", ".join(path.name for path in paths[:_SHOWN])
    more = len(paths) - _SHOWN
    return f"{names} and {more} more" if more > 0 else names
