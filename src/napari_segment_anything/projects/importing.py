"""Read annotations from elsewhere into a project."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..automatic.overlaps import priority, resolve_overlaps
from ..datasets.finding import LABEL_ENDINGS, LABEL_FOLDERS, image_files, stem
from ..errors import FormatError, ParameterError
from ..formats import ImageRecords, MaskRecord, read_coco, read_labels, read_sa1b
from ..limits import RECORDS_BYTES
from ..progress import Progress
from ..reading import convert, read_json
from ..session import ObjectPrompts
from .exporting import NO_CLASS, OBJECTS_SUFFIX, PROVENANCE
from .images import ProjectImage
from .objects import ObjectEntry, entry_from, read_objects
from .status import ImageStatus, check_state

if TYPE_CHECKING:
    from .project import Project

IMPORTS = ("labels", "sa1b", "coco")
_KEPT = ("state", "note", "complete_regions", "negatives", "seconds", "held_out")


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What was imported.

    Parameters
    ----------
    images : tuple of str
        Keys of the images that got annotations.
    objects : int
    hidden : int
        Masks that were left out since smaller ones cover most of them.
    unknown : tuple of str
        Names in the source that no image of the project has.
    """

    images: tuple[str, ...]
    objects: int
    hidden: int
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FoundAnnotations:
    """Annotations of one image: its name, a function that reads them, and its status."""

    name: str
    read: Callable[[ProjectImage], Annotations]
    status: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """Labels and objects of one image, and how many masks smaller ones cover."""

    labels: NDArray[Any]
    objects: tuple[ObjectEntry, ...] = ()
    hidden: int = 0


def import_annotations(
    project: Project,
    source: str | Path,
    format: str = "auto",
    *,
    state: str | None = None,
    overwrite: bool = False,
    who: str = "",
) -> Generator[Progress, None, ImportResult]:
    """Import annotations for images of a project, which are found by their keys or file names.

    Parameters
    ----------
    project : Project
    source : path
        A label image or a folder of them, JSON of masks as in SA-1B or a folder of them, a COCO
        file, or what `export_project` wrote, whose provenance is kept.
    format : {"auto", "labels", "sa1b", "coco"}
    state : str, optional
        State that the images get: by default that in an export, else "in_progress".
    overwrite : bool
        Replace labels and objects that images have.
    who : str
        Who imports.

    Yields
    ------
    Progress
        After each image.

    Returns
    -------
    ImportResult

    Raises
    ------
    ParameterError
        If no image has one of the names, or one has labels already.
    FormatError
        If a file is damaged or has another size than its image; nothing is imported.
    ResourceError
        If somebody works on one of the images; those before it are imported.
    """
    if state is not None:
        check_state(state)
    pairs, unknown = find_annotations(project, source, format)
    taken = [image.key for _, image in pairs if image.has_labels]
    if taken and not overwrite:
        raise ParameterError(
            f"{len(taken)} images have labels already, such as {taken[0]}; overwrite them, or "
            "import into another project"
        )
    keys, objects, hidden = [], 0, 0
    for number, (item, image) in enumerate(pairs):  # so that all are imported, or none
        yield Progress(number, 2 * len(pairs), message=f"checking {image.key}")
        item.read(image)
    for number, (item, image) in enumerate(pairs, start=len(pairs)):
        yield Progress(number, 2 * len(pairs), message=image.key)
        made = item.read(image)
        status = {**item.status, **({} if state is None else {"state": state})}
        status.setdefault("state", "in_progress")
        names = {entry.class_name for entry in made.objects} - {""}
        project.add_classes(names)
        with project.image(image.key).lock(who) as editing:
            editing.write(labels=made.labels, objects=made.objects, **status)
        keys.append(image.key)
        objects += sum(image.status.objects.values())
        hidden += made.hidden
    return ImportResult(tuple(keys), objects, hidden, unknown)


def find_annotations(
    project: Project, source: str | Path, format: str = "auto"
) -> tuple[list[tuple[FoundAnnotations, ProjectImage]], tuple[str, ...]]:
    """Find annotations of a project's images, by their keys or file names.

    Parameters
    ----------
    project : Project
    source, format
        As for `import_annotations`.

    Returns
    -------
    list of (FoundAnnotations, ProjectImage)
    tuple of str
        Names in the source that no image has.

    Raises
    ------
    ParameterError
        If no image has one of the names.
    FormatError
        If there is nothing to read, or a file of masks is damaged.
    """
    path = Path(source).expanduser()
    found = list(_find(path, format))
    images = _Names(project.images)
    pairs = [(item, image) for item in found for image in images.find(item.name)]
    named = {item.name for item, _ in pairs}
    unknown = tuple(item.name for item in found if item.name not in named)
    if not pairs:
        raise ParameterError(
            f"no image of {project.name} is called like those of {path}: {', '.join(unknown[:3])}"
        )
    return pairs, unknown


class _Names:
    """Images by what files call them."""

    def __init__(self, images: Sequence[ProjectImage]) -> None:
        self._by_key = {image.key.casefold(): image for image in images}
        self._by_stem: dict[str, list[ProjectImage]] = {}
        for image in images:
            name = stem(Path(image.path)).casefold()
            self._by_stem.setdefault(name, []).append(image)

    def find(self, name: str) -> list[ProjectImage]:
        """Images of a name, perhaps with an ending of labels; the planes of a stack share one."""
        bare = name.casefold()
        shorter = [bare.removesuffix(e) for e in LABEL_ENDINGS if bare.endswith(e)]
        for text in (bare, *shorter):
            if text in self._by_key:
                return [self._by_key[text]]
            if text in self._by_stem:
                return self._by_stem[text]
        return []


def _find(path: Path, format: str) -> Iterator[FoundAnnotations]:
    """Annotations at a path."""
    if format not in ("auto", *IMPORTS):
        raise ParameterError(f"format is one of auto, {', '.join(IMPORTS)}; not {format!r}")
    if not path.exists():
        raise FormatError(f"there is no file or folder {path}")
    if path.is_dir() and path.suffix.lower() != ".zarr":
        coco = path / "annotations.json"
        inner = next((path / n for n in LABEL_FOLDERS if (path / n).is_dir()), path)
        masks = sorted(p for p in path.glob("*.json") if p.name != PROVENANCE)
        if format == "coco" or (format == "auto" and coco.exists()):
            yield from _from_coco(coco)
        elif format == "labels" or (format == "auto" and (inner != path or not masks)):
            yield from _from_label_files(image_files(inner), _recorded(path))
        else:
            for file in masks:
                yield from _from_sa1b(file)
        return
    if path.suffix.lower() != ".json":
        yield from _from_label_files([path], {})
    elif format == "sa1b" or (format == "auto" and _is_sa1b(path)):
        yield from _from_sa1b(path)
    else:
        yield from _from_coco(path)


def _is_sa1b(path: Path) -> bool:
    held = read_json(path, dict[str, Any], what="file of masks", limit=RECORDS_BYTES)
    return "image" in held


def _from_label_files(
    files: Sequence[Path], recorded: Mapping[str, Mapping[str, Any]]
) -> Iterator[FoundAnnotations]:
    if not files:
        raise FormatError("there are no label images, JSON of masks or COCO file to import")
    for file in files:
        name = stem(file)
        entries = file.with_name(f"{name}{OBJECTS_SUFFIX}")

        def read(image: ProjectImage, file: Path = file, entries: Path = entries) -> Annotations:
            objects = read_objects(entries) if entries.exists() else ()
            return Annotations(plane_labels(image, file), objects)

        yield FoundAnnotations(name, read, recorded.get(name, {}))


def _from_sa1b(path: Path) -> Iterator[FoundAnnotations]:
    records = read_sa1b(path)
    yield FoundAnnotations(
        stem(path), _painted(records, str(path)), _status(records.provenance, str(path))
    )


def _from_coco(path: Path) -> Iterator[FoundAnnotations]:
    for records in read_coco(path):
        where = f"{path}, {records.file_name}"
        key = records.provenance.get("key")
        name = key if isinstance(key, str) else stem(Path(records.file_name))
        yield FoundAnnotations(name, _painted(records, where), _status(records.provenance, where))


def _painted(records: ImageRecords, where: str) -> Callable[[ProjectImage], Annotations]:
    def read(image: ProjectImage) -> Annotations:
        size = (records.height, records.width)
        if size != image.shape:
            raise FormatError(f"{where} is {size} pixels, the image {image.key} {image.shape}")
        masks = [record.segmentation for record in records.records]
        area = np.array([mask.area for mask in masks], np.int64)
        score = np.nan_to_num([record.predicted_iou for record in records.records])
        order = priority("small", area, score)
        painted = resolve_overlaps(masks, order, size, min_piece=0.0)
        ids = _ids(records.records)
        table = np.zeros(len(masks) + 1, np.int64)
        objects = []
        for label, number, record in zip(painted.label, ids, records.records, strict=True):
            if label:
                table[label] = number
                if set(record.provenance) != {"id"}:  # drawn without prompts
                    objects.append(_entry(record, number, where))
        return Annotations(table[painted.labels], tuple(objects), int((painted.label == 0).sum()))

    return read


def _ids(records: Sequence[MaskRecord]) -> list[int]:
    """Recorded labels of an image's masks if these are unique and valid, else 1, 2, ..."""
    ids = [record.provenance.get("id") for record in records]
    good = [n for n in ids if isinstance(n, int) and 0 < n < 2**31]
    return good if len(set(good)) == len(ids) else list(range(1, len(records) + 1))


def _entry(record: MaskRecord, number: int, where: str) -> ObjectEntry:
    if record.provenance:
        return entry_from({**record.provenance, "id": number}, f"{where}, object {number}")
    points = tuple((row, col) for col, row in record.point_coords)
    return ObjectEntry(
        number,
        "" if record.category == NO_CLASS else record.category,
        ObjectPrompts(points, (True,) * len(points)),
        score=None if math.isnan(record.predicted_iou) else record.predicted_iou,
        made_by="imported",
    )


def _recorded(folder: Path) -> dict[str, dict[str, Any]]:
    """Status of each image in an export of label images, by key."""
    path = folder / PROVENANCE
    if not path.exists():
        return {}
    held = read_json(path, dict[str, Any], what="record of an export", limit=RECORDS_BYTES)
    images = held.get("images")
    if not isinstance(images, list):
        return {}
    return {
        str(image.get("key")): _status(image, str(path))
        for image in images
        if isinstance(image, dict)
    }


def _status(provenance: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The recorded status of an image, without what only its project knows."""
    held = provenance.get("status")
    if not isinstance(held, dict):
        return {}
    status: ImageStatus = convert(held, ImageStatus, f"{where}, 'status'")
    return {name.name: getattr(status, name.name) for name in fields(status) if name.name in _KEPT}


def plane_labels(image: ProjectImage, path: str | Path) -> NDArray[Any]:
    """Read the labels of an image from a file, of one plane or of the whole stack.

    Parameters
    ----------
    image : ProjectImage
    path : path
        The file.

    Returns
    -------
    integer array (rows, columns)

    Raises
    ------
    FormatError
        If it cannot be read, or is of another size than the image.
    """
    labels = read_labels(path)
    index = tuple(image.plane.values())
    extra = labels.ndim - 2
    if (
        extra
        and extra == len(index)
        and all(i < n for i, n in zip(index, labels.shape, strict=False))
    ):
        labels = labels[index]
    labels = labels.reshape([n for n in labels.shape[:-2] if n > 1] + list(labels.shape[-2:]))
    if labels.shape != image.shape:
        raise FormatError(f"{path} has shape {labels.shape}, the image {image.key} {image.shape}")
    return labels
