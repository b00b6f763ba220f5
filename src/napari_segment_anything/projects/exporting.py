"""Write a project's annotations in the formats of others, with their provenance."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, ParameterError
from ..formats import (
    ImageData,
    ImageRecords,
    MaskRecord,
    encode_labels,
    write_coco,
    write_labels,
    write_sa1b,
    write_table,
)
from ..formats._stores import store_errors
from ..formats.atomic import staging
from ..formats.tiff_writing import write_image
from ..measures import measure_labels
from ..progress import Progress
from ..reading import require
from .files import json_writer
from .images import ProjectImage
from .objects import ObjectEntry, entry_json, objects_writer
from .status import STATES, check_state
from .training_set import write_training_set

if TYPE_CHECKING:
    from .project import Project

EXPORTS = ("labels", "sa1b", "coco", "training")
PROVENANCE = "provenance.json"
OBJECTS_SUFFIX = ".objects.json"
NO_CLASS = "object"
"""COCO category of objects without a class."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was exported.

    Parameters
    ----------
    folder : Path
    images : tuple of str
        Keys of the images.
    objects : int
    """

    folder: Path
    images: tuple[str, ...]
    objects: int


@dataclass(frozen=True, slots=True, eq=False)
class ExportedImage:
    """An image with all that is exported of it.

    Parameters
    ----------
    image : ProjectImage
    data : ImageData
        Its pixels, not read yet.
    labels : int32 array (rows, columns)
    objects : dict of int to ObjectEntry
        By label; labels that were drawn without prompts have none.
    """

    image: ProjectImage
    data: ImageData
    labels: NDArray[np.int32]
    objects: Mapping[int, ObjectEntry]

    def provenance(self) -> dict[str, Any]:
        """Where it comes from, and what was done on it, as plain values."""
        image = self.image
        return {
            "key": image.key,
            "path": image.path,
            "plane": dict(image.plane),
            "columns": dict(image.columns),
            "status": image.status.to_json(),
        }


def export_project(
    project: Project,
    output: str | Path,
    format: str = "labels",
    *,
    states: Sequence[str] | None = None,
    with_images: bool = False,
    overwrite: bool = False,
) -> Generator[Progress, None, ExportResult]:
    """Export annotations to a folder, which appears when it is complete.

    Parameters
    ----------
    project : Project
    output : path
        A new folder.
    format : {"labels", "sa1b", "coco", "training"}
        Label images; a JSON file of masks for each image, as SA-1B has it; one JSON file for all,
        as COCO has it; or images, labels and a configuration for `train`.
    states : sequence of str, optional
        Images to export. By default those that are complete; for "training" also those in
        progress, of which only what is labelled counts.
    with_images : bool
        Write pixels as well; "training" always does.
    overwrite : bool
        Replace a folder.

    Yields
    ------
    Progress
        After each image.

    Returns
    -------
    ExportResult

    Raises
    ------
    ParameterError
        If an argument is invalid, the folder exists, or no image is in one of the states.
    FormatError, ImageError
        If a file is missing or damaged, or cannot be written. Nothing is written then.
    """
    if format not in EXPORTS:
        raise ParameterError(f"format is one of {', '.join(EXPORTS)}, not {format!r}")
    require(output, (str, Path), "the output", "give the path of a new folder")
    folder = Path(output).expanduser().absolute()
    if folder.exists() and not (overwrite and folder.is_dir()):
        raise ParameterError(f"{folder} exists already: choose another name, or overwrite it")
    if folder.resolve() in (project.folder.resolve(), *project.folder.resolve().parents):
        raise ParameterError(f"{folder} holds the project; choose another folder")
    images = chosen_images(project, states, format)
    write = _WRITERS[format]
    facts: dict[str, Any] = {"images": [], "table": []}
    with store_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with staging(folder.parent) as place:
            made = place / folder.name
            made.mkdir()
            steps = _exported(images, facts)
            yield from write(project, steps, made, len(images), with_images)
            write_table(made / "objects.csv", joined_tables(facts["table"]))
            json_writer(_origin(project, format, facts["images"]))(made / PROVENANCE)
            if folder.exists():
                folder.rename(place / "replaced")
            made.rename(folder)
    count = sum(len(table["label"]) for table in facts["table"])
    return ExportResult(folder, tuple(image.key for image in images), count)


def chosen_images(
    project: Project, states: Sequence[str] | None, format: str = ""
) -> list[ProjectImage]:
    """Return the images of a project that are in one of the states; parameters as for export.

    Raises
    ------
    ParameterError
        If a state is unknown, or no image is in one of them.
    """
    if states is None:
        wanted = ["complete", "in_progress"] if format == "training" else ["complete"]
    else:
        wanted = [check_state(state) for state in states]
    images = [
        image
        for image in project.images
        if image.state in wanted and (image.has_labels or image.state == "complete")
    ]
    if not images:
        named = " or ".join(state.replace("_", " ") for state in wanted)
        others = [state for state in STATES if state not in wanted]
        raise ParameterError(
            f"no annotated image of {project.name} is {named}; other states are {', '.join(others)}"
        )
    return images


def _exported(images: Sequence[ProjectImage], facts: dict[str, Any]) -> Iterator[ExportedImage]:
    """Read images one by one, and note what is written about all."""
    for image in images:
        labels = image.labels()
        one = ExportedImage(image, image.open(), labels, {e.id: e for e in image.objects()})
        facts["images"].append(one.provenance())
        facts["table"].append(objects_table(one))
        yield one


def objects_table(one: ExportedImage) -> dict[str, Any]:
    """Measures, class and provenance of each object of an image, as columns."""
    data = one.data
    table = measure_labels(one.labels, scale=data.pixel_size, unit=data.units[data.axes.index("Y")])
    entries = [one.objects.get(int(label), ObjectEntry(int(label))) for label in table["label"]]
    own: dict[str, Callable[[ObjectEntry], Any]] = {
        "class": lambda e: e.class_name,
        "made_by": lambda e: e.made_by,
        "score": lambda e: np.nan if e.score is None else e.score,
        "seconds": lambda e: e.seconds,
        "model": lambda e: e.model,
        "version": lambda e: e.version,
        "fingerprint": lambda e: e.fingerprint,
        "who": lambda e: e.who,
        "time": lambda e: e.time,
    }
    return {
        "image": [one.image.key] * len(entries),
        "label": table.pop("label"),
        **{name: [value(entry) for entry in entries] for name, value in own.items()},
        **table,
    }


def joined_tables(tables: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the rows of tables below each other; missing columns are NaN."""
    names = list(dict.fromkeys(name for table in tables for name in table))
    return {
        name: [
            value for table in tables for value in table.get(name, [np.nan] * len(table["label"]))
        ]
        for name in names
    }


def _records(one: ExportedImage, classes: Sequence[str], file_name: str) -> ImageRecords:
    """The masks of an image, with category ids for COCO."""
    records = []
    for label, code in encode_labels(one.labels).items():
        entry = one.objects.get(label, ObjectEntry(label))
        points, inside = entry.prompts.all_points()
        scores = {} if entry.score is None else {"predicted_iou": entry.score}
        category = classes.index(entry.class_name) if entry.class_name in classes else len(classes)
        records.append(
            MaskRecord.from_mask(
                code,
                id=label,
                point_coords=tuple((c, r) for (r, c), p in zip(points, inside, strict=True) if p),
                category_id=category + 1,
                provenance=entry_json(entry) if label in one.objects else {"id": label},
                **scores,
            )
        )
    rows, cols = one.labels.shape
    return ImageRecords(cols, rows, tuple(records), file_name, provenance=one.provenance())


def _file_name(one: ExportedImage, with_images: bool) -> str:
    return f"{one.image.key}.tif" if with_images else Path(one.image.path).name


Steps = Generator[Progress, None, None]


def _write_labels(
    project: Project, images: Iterator[ExportedImage], folder: Path, total: int, pixels: bool
) -> Steps:
    (folder / "labels").mkdir()
    for number, one in enumerate(images):
        yield Progress(number, total, message=one.image.key)
        data = one.data
        write_labels(
            folder / "labels" / f"{one.image.key}.tif",
            one.labels,
            scale=data.pixel_size,
            unit=data.units[data.axes.index("Y")],
        )
        if one.objects:
            path = folder / "labels" / f"{one.image.key}{OBJECTS_SUFFIX}"
            objects_writer(list(one.objects.values()))(path)
        if pixels:
            write_image(folder / "images" / f"{one.image.key}.tif", data)


def _write_sa1b(
    project: Project, images: Iterator[ExportedImage], folder: Path, total: int, pixels: bool
) -> Steps:
    for number, one in enumerate(images):
        yield Progress(number, total, message=one.image.key)
        records = _records(one, (), _file_name(one, pixels))
        write_sa1b(folder / f"{one.image.key}.json", records)
        if pixels:
            write_image(folder / f"{one.image.key}.tif", one.data)


def _write_coco(
    project: Project, images: Iterator[ExportedImage], folder: Path, total: int, pixels: bool
) -> Steps:
    classes = [item.name for item in project.classes]
    found = []
    for number, one in enumerate(images):
        yield Progress(number, total, message=one.image.key)
        found.append(_records(one, classes, _file_name(one, pixels)))
        if pixels:
            write_image(folder / "images" / f"{one.image.key}.tif", one.data)
    bare = any(r.category_id > len(classes) for image in found for r in image.records)
    categories = [*classes, NO_CLASS] if bare or not classes else classes
    write_coco(folder / "annotations.json", found, categories=categories)


def _write_training(
    project: Project, images: Iterator[ExportedImage], folder: Path, total: int, pixels: bool
) -> Steps:
    yield from write_training_set(project, images, folder, total)


_WRITERS = {
    "labels": _write_labels,
    "sa1b": _write_sa1b,
    "coco": _write_coco,
    "training": _write_training,
}


def _origin(project: Project, format: str, images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What ``provenance.json`` holds."""
    from .. import __version__

    models = []
    for version in project.versions:
        try:
            models.append({"name": version.name, "learned": version.learned()})
        except FormatError:
            models.append({"name": version.name})
    return {
        "program": f"segment-anything-napari {__version__}",
        "project": project.name,
        "format": format,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": project.model,
        "versions": models,
        "classes": [item.name for item in project.classes],
        "images": list(images),
    }
