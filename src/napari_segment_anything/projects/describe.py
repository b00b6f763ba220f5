"""What a data set is like: its masks by number, size, shape and place, and the time they took."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.finding import LABEL_ENDINGS, LABEL_FOLDERS, image_files, stem
from ..errors import FormatError
from ..formats import RLE, encode_labels, read_coco, read_labels, read_sa1b
from ..formats.records import ImageRecords
from ..limits import RECORDS_BYTES
from ..progress import Progress
from ..reading import read_json
from .configuration import FILE
from .project import Project


@dataclass(frozen=True, slots=True, eq=False)
class DatasetDescription:
    """Measures of the masks of a data set, as in Segment Anything, section 5.

    Parameters
    ----------
    name : str
    images : tuple of str
        Names of the images.
    masks : int64 array (images,)
        Masks of each image.
    image : int64 array (n,)
        Index of each mask's image.
    size : float64 array (n,)
        Square root of the mask's area divided by the image's.
    concavity : float64 array (n,)
        1 - area / area of the convex hull.
    row, col : float64 array (n,)
        Centre of the mask as a share of the image's height and width.
    seconds : dict of str to float64 array
        Times that masks took, by the version of the model that helped: other models first, then
        versions, the oldest first. Only for projects.
    classes : dict of str to int
        Masks of each class.
    """

    name: str
    images: tuple[str, ...]
    masks: NDArray[np.int64]
    image: NDArray[np.int64]
    size: NDArray[np.float64]
    concavity: NDArray[np.float64]
    row: NDArray[np.float64]
    col: NDArray[np.float64]
    seconds: Mapping[str, NDArray[np.float64]]
    classes: Mapping[str, int]

    @property
    def medians(self) -> tuple[float, float | None, float | None]:
        """Medians of masks per image, size and concavity; None without masks."""
        masks = float(np.median(self.masks))
        if not len(self.size):
            return masks, None, None
        return masks, float(np.median(self.size)), float(np.median(self.concavity))


@dataclass(frozen=True, slots=True, eq=False)
class DescribedImage:
    """Masks of one image, and what is known about them.

    Parameters
    ----------
    name : str
    masks : sequence of RLE
    seconds : list of (str, float)
        Version of the model, and time, of each mask that took any.
    classes : list of str
        Classes of masks that have one.
    """

    name: str
    masks: list[RLE]
    seconds: list[tuple[str, float]]
    classes: list[str]


def describe_dataset(
    source: Project | str | Path, name: str = ""
) -> Generator[Progress, None, DatasetDescription]:
    """Measure the masks of a data set.

    Parameters
    ----------
    source : Project or path
        A project; a COCO file, an SA-1B file or a folder of them; a label image or a folder of
        them, perhaps in a folder ``labels`` or next to images with one of `LABEL_ENDINGS`.
    name : str
        By default that of the project, or of the file or folder.

    Yields
    ------
    Progress
        After each image.

    Returns
    -------
    DatasetDescription

    Raises
    ------
    FormatError
        If there are no masks, or a file is damaged.
    """
    if not isinstance(source, Project):
        path = Path(source).expanduser()
        if (path / FILE).exists():
            source = Project.open(path)
    if isinstance(source, Project):
        title, found = source.name, _of_project(source)
        versions = [version.name for version in source.versions]
    else:
        title, found, versions = stem(path), _of_files(path), []
    return (yield from _measured(name or title, found, versions))


def _measured(
    name: str, found: Iterable[tuple[DescribedImage, int, int]], versions: list[str]
) -> Generator[Progress, None, DatasetDescription]:
    names: list[str] = []
    rows: list[tuple[float, ...]] = []
    seconds: dict[str, list[float]] = {}
    classes: dict[str, int] = {}
    for image, done, total in found:
        rows += [(len(names), *measures(mask)) for mask in image.masks]
        for version, time in image.seconds:
            seconds.setdefault(version, []).append(time)
        for title in image.classes:
            classes[title] = classes.get(title, 0) + 1
        names.append(image.name)
        yield Progress(done, total, message=f"measuring {name}")
    if not names:
        raise FormatError(f"{name} has no images with masks to describe")
    table = np.array(rows, np.float64).reshape(-1, 5)
    index = table[:, 0].astype(np.int64)
    order = sorted(set(seconds) - set(versions)) + [v for v in versions if v in seconds]
    return DatasetDescription(
        name, tuple(names), np.bincount(index, minlength=len(names)), index,
        table[:, 1], table[:, 2], table[:, 3], table[:, 4],
        {version or "no version": np.array(seconds[version]) for version in order}, classes,
    )  # fmt: skip


def measures(mask: RLE) -> tuple[float, float, float, float]:
    """Relative size, concavity, and relative row and column of the centre of a mask.

    Parameters
    ----------
    mask : RLE
        Not empty.
    """
    pixels = mask.decode_bounds()
    row, col, _, _ = mask.bounds
    area = mask.area
    rows, cols = np.nonzero(pixels)
    centre = (row + rows.mean() + 0.5) / mask.size[0], (col + cols.mean() + 0.5) / mask.size[1]
    concavity = max(0.0, 1 - area / max(_hull_area(pixels), area))
    return float(np.sqrt(area / (mask.size[0] * mask.size[1]))), concavity, *centre


def _hull_area(pixels: NDArray[np.bool_]) -> float:
    """Number of pixels whose centre lies in the convex hull of a mask's pixel centres."""
    from scipy.spatial import ConvexHull

    there = np.flatnonzero(pixels.any(1))
    first = pixels[there].argmax(1)
    last = pixels.shape[1] - 1 - pixels[there][:, ::-1].argmax(1)
    ends = np.concatenate([np.stack([there, first], 1), np.stack([there, last], 1)[::-1]])
    if np.linalg.matrix_rank(ends - ends[0]) < 2:
        return float(np.gcd(*np.ptp(ends, axis=0)) + 1)
    hull = ConvexHull(ends)
    corners = ends[hull.vertices]
    on_border = np.gcd(*np.abs(np.diff(corners, axis=0, append=corners[:1])).T).sum()
    return float(hull.volume + on_border / 2 + 1)  # Pick's theorem


def _of_project(project: Project) -> Iterator[tuple[DescribedImage, int, int]]:
    images = [image for image in project.images if image.has_labels]
    for number, image in enumerate(images, start=1):
        masks = encode_labels(image.labels())
        entries = [entry for entry in image.objects() if entry.id in masks]
        times = [(e.version or e.model, e.seconds) for e in entries if e.seconds > 0]
        classes = [entry.class_name for entry in entries if entry.class_name]
        found = DescribedImage(image.key, list(masks.values()), times, classes)
        yield found, number, len(images)


def _of_files(path: Path) -> Iterator[tuple[DescribedImage, int, int]]:
    files = _files(path)
    for number, file in enumerate(files, start=1):
        if file.suffix.lower() != ".json":
            for name, labels in _planes(file):
                masks = list(encode_labels(labels).values())
                yield DescribedImage(name, masks, [], []), number, len(files)
            continue
        for place, records in enumerate(_records(file)):
            masks = [r.segmentation for r in records.records if r.segmentation.area]
            name = records.file_name or f"{stem(file)} {place}"
            yield DescribedImage(name, masks, [], []), number, len(files)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise FormatError(f"there is no file or folder {path}")
    if not path.is_dir() or path.suffix.lower() == ".zarr":
        return [path]
    inside = {p.name.lower(): p for p in path.iterdir() if p.is_dir()}
    folder = next((inside[name] for name in LABEL_FOLDERS if name in inside), path)
    images = image_files(folder)
    labels = [file for file in images if stem(file).lower().endswith(LABEL_ENDINGS)]
    if labels or images:
        return labels or images
    masks = sorted(p for p in folder.glob("*.json") if p.name != "index.json")
    if not masks:
        raise FormatError(f"{path} has no label images and no JSON files of masks")
    return masks


def _planes(file: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    labels = read_labels(file)
    if labels.ndim == 2:
        yield stem(file), labels
        return
    for number, plane in enumerate(labels.reshape(-1, *labels.shape[-2:])):
        yield f"{stem(file)}:{number}", plane


def _records(file: Path) -> list[ImageRecords]:
    held = read_json(file, dict[str, Any], what="file of masks", limit=RECORDS_BYTES)
    return [read_sa1b(file)] if "image" in held else read_coco(file)
