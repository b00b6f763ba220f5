"""Find labelled images in files and folders, and the file with the labels of each."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import FormatError, ParameterError
from ..formats import open_npz
from ..formats.bsds import BSDS_SUFFIX
from ..reading import below, read_json, require_file
from .coco import IMAGE_SUFFIXES, bare, coco_images
from .opening import SAMPLE

IMAGE_FOLDERS = ("images", "image", "img", "raw")
LABEL_FOLDERS = ("labels", "masks", "annotations", "groundtruth")
IMAGE_ENDINGS = ("_image", "_img", "_raw")
LABEL_ENDINGS = ("_labels", "_label", "_masks", "_mask", "_instances", "_gt", "_seg")
_LABEL_SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".npz", ".zarr", BSDS_SUFFIX)
OBJECT_SUFFIXES = (*_LABEL_SUFFIXES, ".geojson", ".csv")
"""Files of objects that another program found, besides JSON."""
_INDEX = "index.json"
_NOT_METADATA = {"file", "shape", "dtype", "instances", "keys", "set", "image"}
_SHOWN = 3


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
        Its labels: a label image, JSON of masks as SA-1B has them, a COCO file for all images, the
        image's own NPZ, or a part of its Zarr store.
    columns : mapping of str to str
        Metadata, such as its modality.
    sample : bool
        Whether it is a built-in sample; `image` and `labels` are its name then.
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

    @property
    def stem(self) -> str:
        """The image's file name without its suffix."""
        return stem(self.image)


def find_entries(
    sources: Sequence[str | Path],
    labels: str | Path | None = None,
    metadata: str | Path | None = None,
    *,
    records: bool = False,
    unlabelled: str = "skip",
    where: Mapping[str, str] | None = None,
) -> list[Entry]:
    """Find labelled images.

    Parameters
    ----------
    sources : sequence of path
        Files; folders of images, or with a folder ``images`` in them (a set each, named after
        the folder); folders of such folders; built-in samples that have labels (``sample:NAME``).
        A folder may hold an ``index.json`` of the form
        ``{set: [{"file": name, column: value, ...}, ...]}``, which limits it to the files listed
        and gives columns.
    labels : path, optional
        Folder of the labels (for a single image, their file; or a COCO file for all): files of the
        images' names, perhaps with one of `LABEL_ENDINGS`. Without it, labels are searched in an
        NPZ or Zarr store itself, next to the image under such a name, in a folder of
        `LABEL_FOLDERS` next to the image's folder, and finally as JSON with the image's name.
    metadata : path, optional
        A CSV with a column ``file`` (name, name without suffix, or set/name) and further columns;
        or an ``index.json``.
    records : bool
        Search only JSON.
    unlabelled : {"skip", "error"}
        Leave out images without labels, or raise, also for labels without an image.
    where : mapping of str to str, optional
        Only images with these values in these columns.

    Returns
    -------
    list of Entry
        Sorted by name within each set.

    Raises
    ------
    FormatError
        If something is missing, ambiguous, or cannot be read; the message names files.
    ParameterError
        If no image has the values of `where`, or `unlabelled` is neither of its values.
    """
    if unlabelled not in ("skip", "error"):
        raise ParameterError(f"unlabelled is 'error' or 'skip', not {unlabelled!r}")
    apart = None if labels is None else Path(labels).expanduser()
    if apart is not None and not apart.exists():
        raise FormatError(f"there are no labels at {apart}")
    entries: list[Entry] = []
    missing: list[Path] = []
    for source in sources:
        if str(source).startswith(SAMPLE):
            title = str(source).removeprefix(SAMPLE)
            held = Path(title)
            entries.append(Entry("samples", held, held, {"sample": title}, sample=True))
            continue
        path = Path(source).expanduser()
        found = list(_images(path, apart))
        one = None if apart is None or _is_folder(apart) else apart
        listed = coco_images(one) if one and one.suffix.lower() == ".json" else None
        if one and listed is None and len(found) > 1:
            raise FormatError(f"{apart} is one file, but {path} has {len(found)} images")
        for group, image, columns in found:
            there = listed is None or bare(image.name) in listed
            truth = labels_of(image, apart, records) if there else None
            if truth is None:
                missing.append(image)
            else:
                entries.append(Entry(group, image, truth, columns))
    if missing and (unlabelled == "error" or not entries):
        raise FormatError(_missing(missing, records))
    if unlabelled == "error":
        _refuse_orphans(entries, records)
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"two images are called {twice}; give their folders different names")
    if metadata is not None:
        entries = _with_columns(entries, Path(metadata).expanduser())
    if where:
        chosen = [e for e in entries if all(e.columns.get(k) == v for k, v in where.items())]
        if not chosen:
            wanted = " and ".join(f"{k} = {v}" for k, v in where.items())
            raise ParameterError(f"none of the {len(entries)} images has {wanted}")
        return chosen
    return entries


def find_images(folder: Path) -> list[Path]:
    """List the images of a folder as `find_entries` finds them, labelled or not.

    Parameters
    ----------
    folder : Path
        With images, or with a folder ``images`` or further folders in it.

    Raises
    ------
    FormatError
        If it has none.
    """
    return [image for _, image, _ in _images(folder, None)]


def _images(path: Path, apart: Path | None) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """(set, image, columns) of each image under a path."""
    if not path.exists():
        raise FormatError(f"there is no file or folder {path}")
    if not _is_folder(path):
        yield set_name(path.resolve().parent), path, {}
        return
    found = list(_images_below(path, apart))
    if not found:
        raise FormatError(
            f"{path} has no images: give TIFF, PNG, JPEG, NPY, NPZ or Zarr files, or a folder "
            "with images/ and labels/ in it"
        )
    yield from found


def _images_below(folder: Path, apart: Path | None) -> Iterator[tuple[str, Path, dict[str, str]]]:
    index = folder / _INDEX
    if index.exists():
        for group, items in _read_index(index).items():
            for item in sorted(items, key=lambda item: str(item["file"])):
                image = below(folder, f"{group}/{item['file']}", "the image")
                if image.exists():
                    yield group, image, _columns(item)
        return
    folder = _first_folder(folder, IMAGE_FOLDERS) or folder
    together = apart is None or apart.resolve() == folder.resolve()
    own = [file for file in image_files(folder) if not (together and _is_label(file))]
    if own:
        name = set_name(folder.resolve())
        yield from ((name, image, {}) for image in own)
        return
    for inner in sorted(p for p in folder.iterdir() if _is_folder(p)):
        if inner.name.lower() not in LABEL_FOLDERS:
            yield from _images_below(inner, apart)


def set_name(folder: Path) -> str:
    """Name of the set whose images lie in a folder."""
    return folder.parent.name if folder.name.lower() in IMAGE_FOLDERS else folder.name


def image_files(folder: Path) -> list[Path]:
    """Images of a folder, Zarr stores among them, sorted."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and path.is_dir() == (path.suffix.lower() == ".zarr")
    )


def labels_of(
    image: Path,
    apart: Path | None = None,
    records: bool = False,
    suffixes: Sequence[str] = _LABEL_SUFFIXES,
) -> Path | None:
    """Find the labels of one image.

    Parameters
    ----------
    image : Path
        A file, or a Zarr store.
    apart : Path, optional
        Their file, or the only folder to search.
    records : bool
        Search only JSON.
    suffixes : sequence of str
        Of the files to search, besides JSON.

    Raises
    ------
    FormatError
        If a Zarr store holds several labels.
    """
    own = stem(image)
    bare = [own[: -len(e)] for e in IMAGE_ENDINGS if own.lower().endswith(e)]
    stems = [name + ending for name in (own, *bare) for ending in ("", *LABEL_ENDINGS)]
    if apart is not None and not _is_folder(apart):
        return apart
    record = (apart or image.parent) / f"{own}.json"
    if records:
        return record if record.exists() else None
    if apart is not None:
        return _first(apart, stems, image, suffixes) or (record if record.exists() else None)
    if image.suffix.lower() == ".npz":
        with open_npz(image) as archive:
            if "labels" in archive.files:
                return image
    if image.suffix.lower() == ".zarr":
        inside = image / "labels"
        parts = sorted(p for p in inside.iterdir() if p.is_dir()) if inside.is_dir() else []
        if len(parts) > 1:
            names = ", ".join(p.name for p in parts)
            raise FormatError(f"{image} has several labels ({names}); name one with 'labels'")
        if parts:
            return parts[0]
    found = _first(image.parent, [s for s in stems if s != own], image)
    sibling = _first_folder(image.parent.parent, LABEL_FOLDERS) if found is None else None
    above = image.parent.parent
    if sibling is None and found is None and above.name.lower() in IMAGE_FOLDERS:
        # images/PART/ beside labels/PART/, as in BSDS500
        part = _first_folder(above.parent, LABEL_FOLDERS)
        sibling = None if part is None else _first_folder(part, (image.parent.name.lower(),))
    if sibling is not None:
        found = _first(sibling, stems, image)
    return found or (record if record.exists() else None)


def stem(path: Path) -> str:
    """A file's name without its suffix, ``.ome`` included."""
    return path.name.removesuffix(path.suffix).removesuffix(".ome")


def _first(
    folder: Path, stems: Iterable[str], image: Path, suffixes: Sequence[str] = _LABEL_SUFFIXES
) -> Path | None:
    for name in stems:
        for suffix in suffixes:
            for middle in ("", ".ome"):
                path = folder / f"{name}{middle}{suffix}"
                if path.exists() and path != image:
                    return path
    return None


def _first_folder(folder: Path, names: tuple[str, ...]) -> Path | None:
    inside = {p.name.lower(): p for p in folder.iterdir() if p.is_dir()}
    return next((inside[name] for name in names if name in inside), None)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and path.suffix.lower() != ".zarr"


def _is_label(path: Path) -> bool:
    return stem(path).lower().endswith(LABEL_ENDINGS)


def _missing(images: Sequence[Path], records: bool) -> str:
    example = stem(images[0])
    wanted = f"{example}_labels.tif next to it, or labels/{example}.tif; 'labels' (--labels) names "
    wanted += "another folder, unlabelled = 'skip' leaves such images out"
    expected = f"{example}.json" if records else wanted
    return f"{_some(images)} in {images[0].parent}: images without labels; expected {expected}"


def _refuse_orphans(entries: Sequence[Entry], records: bool) -> None:
    """Raise for labels without an image."""
    files = [entry for entry in entries if not entry.sample and entry.labels != entry.image]
    known = {file for entry in files for file in (entry.image, entry.labels)}
    homes = {entry.image.parent for entry in files}
    for folder in sorted({e.labels.parent for e in files if e.image not in e.labels.parents}):
        labels = sorted(folder.glob("*.json")) if records else image_files(folder)
        if not records and folder in homes:
            labels = [file for file in labels if _is_label(file)]
        orphans = [file for file in labels if file not in known and file.name != _INDEX]
        if orphans:
            raise FormatError(
                f"{_some(orphans)} in {folder}: labels without an image of their name"
            )


def _some(paths: Sequence[Path]) -> str:
    names = ", ".join(path.name for path in paths[:_SHOWN])
    more = len(paths) - _SHOWN
    return f"{names} and {more} more" if more > 0 else names


def _columns(item: Mapping[str, Any]) -> dict[str, str]:
    known = {str(k): v for k, v in item.items() if k not in _NOT_METADATA}
    return {name: str(value) for name, value in known.items() if value not in ("", None)}


def _read_index(path: Path) -> dict[str, list[dict[str, Any]]]:
    index: dict[str, list[dict[str, Any]]] = read_json(
        path, dict[str, list[dict[str, Any]]], what="index of images"
    )
    if not all(isinstance(item.get("file"), str) for items in index.values() for item in items):
        raise FormatError(f'{path}: every image needs a "file"')
    return index


def _with_columns(entries: list[Entry], path: Path) -> list[Entry]:
    known: dict[str, dict[str, str]] = {}
    if path.suffix.lower() == ".json":
        for group, items in _read_index(path).items():
            known |= {f"{group}/{item['file']}": _columns(item) for item in items}
    else:
        known = {row["file"]: _columns(row) for row in _read_csv(path)}
    result = []
    for entry in entries:
        found: dict[str, str] = {}
        for key in (entry.stem, entry.image.name, entry.name):
            found |= known.get(key, {})
        result.append(replace(entry, columns={**entry.columns, **found}))
    return result


def _read_csv(path: Path) -> list[dict[str, str]]:
    try:
        with require_file(path, "metadata").open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except FormatError:
        raise
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read as CSV: {error}") from error
    if not rows or "file" not in rows[0]:
        raise FormatError(f'{path} needs a header with a column "file"')
    return rows
