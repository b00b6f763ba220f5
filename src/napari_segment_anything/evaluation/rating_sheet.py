"""A sheet on which people rate masks without knowing where they come from.

After the paper's study of mask quality (SAM, section 7.1 and appendix E): masks of the same objects
from several sources, one at a time and in random order, are rated from 1 to 10. What a number of
the sheet stands for is in a key, which lies apart.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..datasets.finding import labels_of, set_name
from ..datasets.sources import ImageSource, find_source_images, open_image_plane
from ..errors import FormatError, ParameterError
from ..formats import read_labels
from ..formats.atomic import staging
from ..formats.overlay import to_rgb
from ..measures import interior_point
from ..progress import Progress
from .run import label_name

SHEET, RATINGS, KEY = "sheet.html", "ratings.csv", "key.json"
FOR_RATERS = "for-raters"
TRUTH = "ground truth"
MOST_ITEMS = 2000
_VERSION = 1
_SIDE = 360  # of a picture, in pixels of the screen
_LEAST_SIDE = 48  # of a crop, in pixels of the image
_MARGIN = 0.4
_COLOUR = (255, 210, 0)


@dataclass(frozen=True, slots=True)
class RatedMask:
    """What a number of the sheet stands for.

    Parameters
    ----------
    number : int
        On the sheet.
    item : int
        Masks of the same object have the same.
    source : str
        Where the mask comes from.
    image : str
        Path of the image.
    row, col : int
        The point that the mask covers.
    label : int
        Of the mask, in its source.
    """

    number: int
    item: int
    source: str
    image: str
    row: int
    col: int
    label: int


@dataclass(frozen=True, slots=True)
class RatingSheet:
    """A sheet, with its key.

    Parameters
    ----------
    folder : Path
        Holds ``key.json``, and for the raters ``for-raters/`` with ``sheet.html`` and
        ``ratings.csv``.
    sources : tuple of str
    masks : tuple of RatedMask
        In the sheet's order.
    missing : mapping of str to int
        Objects for which a source has no mask.
    """

    folder: Path
    sources: tuple[str, ...]
    masks: tuple[RatedMask, ...]
    missing: Mapping[str, int]

    @property
    def items(self) -> int:
        """Number of objects."""
        return len({mask.item for mask in self.masks})


def make_rating_sheet(
    images: Sequence[str | Path],
    sources: Mapping[str, str | Path | None],
    output: str | Path,
    *,
    count: int = 100,
    min_area: int = 25,
    seed: int = 0,
    overwrite: bool = False,
) -> Generator[Progress, None, RatingSheet]:
    """Draw objects at random, and write a sheet with the masks that each source has of them.

    An object is drawn from each source in turn, image by image; the other sources' masks are those
    that cover the point deepest inside it.

    Parameters
    ----------
    images : sequence of path
        Folders, patterns, tables or files, of single planes; see `ImageSource`.
    sources : mapping of str to path or None
        For each source its label images: a folder of files named like the images (or the folder of
        a mode below ``labels/`` of an evaluation); None for the labels that `find_entries` finds,
        such as ground truth.
    output : path
        A new folder.
    count : int
        Objects to draw.
    min_area : int
        Smaller objects are not drawn, in pixels.
    seed : int
        The same seed gives the same sheet.
    overwrite : bool
        Replace a sheet that is there.

    Yields
    ------
    Progress
        After each image.

    Returns
    -------
    RatingSheet

    Raises
    ------
    ParameterError
        If there are fewer than two sources, a number is wrong, no image has labels of a source, no
        object is large enough, or the folder exists.
    FormatError, ImageError
        If a file cannot be read, or labels do not fit their image.
    """
    if len(sources) < 2:
        raise ParameterError("a comparison needs at least two sources of masks")
    if not 1 <= count <= MOST_ITEMS or min_area < 1:
        raise ParameterError(f"count is 1 to {MOST_ITEMS}, min_area at least 1")
    folder = Path(output).expanduser().absolute()
    if folder.exists() and not (overwrite and (folder / KEY).is_file()):
        raise ParameterError(f"{folder} exists already: choose another name, or overwrite it")
    rng = np.random.default_rng(seed)
    found = list(_images(images, sources))
    order = rng.permutation(len(found))
    pictures: dict[tuple[int, str], bytes] = {}
    drawn: list[RatedMask] = []
    missing = dict.fromkeys(sources, 0)
    item = 0
    for place, index in enumerate(order):
        image, labels = found[index]
        yield Progress(place, len(found), message=image.name)
        quota = -(-(count - item) // (len(found) - place))
        picture = to_rgb_plane(image)
        arrays = {name: _labels(path, image, picture.shape[:2]) for name, path in labels.items()}
        for row, col in _points(arrays, quota, min_area, item, rng):
            under = {name: int(array[row, col]) for name, array in arrays.items()}
            masks = {name: arrays[name] == label for name, label in under.items() if label}
            window = _window(list(masks.values()), picture.shape[:2])
            for name, label in under.items():
                if label:
                    pictures[item, name] = _png(picture[window], masks[name][window])
                    drawn.append(RatedMask(0, item, name, str(image), row, col, label))
                else:
                    missing[name] += 1
            item += 1
    if not drawn:
        raise ParameterError(f"no source has an object of {min_area} pixels or more")
    shuffled = [drawn[i] for i in rng.permutation(len(drawn))]
    masks_in_order = tuple(
        RatedMask(**{**asdict(mask), "number": number})
        for number, mask in enumerate(shuffled, start=1)
    )
    sheet = RatingSheet(folder, tuple(sources), masks_in_order, missing)
    _write(sheet, [pictures[mask.item, mask.source] for mask in shuffled], seed)
    yield Progress(len(found), len(found), message="done")
    return sheet


def read_sheet(folder: str | Path) -> RatingSheet:
    """Read the key of a sheet.

    Raises
    ------
    FormatError
        If there is none, or it is damaged.
    """
    from ..reading import convert, read_json

    folder = Path(folder).expanduser()
    held = read_json(folder / KEY, dict[str, Any], what="key of a rating sheet")
    if held.get("version") != _VERSION:
        raise FormatError(f"{folder / KEY} is of another version of this program")
    values = {name: held.get(name) for name in ("sources", "masks", "missing")}
    where = f"{folder / KEY} is damaged"
    return RatingSheet(
        folder,
        convert(values["sources"], tuple[str, ...], where, FormatError),
        convert(values["masks"], tuple[RatedMask, ...], where, FormatError),
        convert(values["missing"], dict[str, int], where, FormatError),
    )


def _images(
    images: Sequence[str | Path], sources: Mapping[str, str | Path | None]
) -> Iterator[tuple[Path, dict[str, Path]]]:
    """Each image with its label file in each source; images that a source lacks are left out."""
    lacking: dict[str, int] = dict.fromkeys(sources, 0)
    some = False
    for given in images:
        source = ImageSource(str(Path(given).expanduser()))
        for each in find_source_images(source, Path()):
            image = Path(source.place_of(Path(), each.path))
            if each.plane:
                raise ParameterError(f"{image} is a stack; give its planes as single images")
            labels = {name: _label_file(image, place) for name, place in sources.items()}
            for name, file in labels.items():
                lacking[name] += file is None
            there = {name: file for name, file in labels.items() if file is not None}
            if len(there) == len(sources):
                some = True
                yield image, there
    if not some:
        most = max(lacking, key=lambda name: lacking[name])
        raise ParameterError(f"no image has labels of all sources; {most} lacks {lacking[most]}")


def _label_file(image: Path, place: str | Path | None) -> Path | None:
    if place is None:
        return labels_of(image)
    folder = Path(place).expanduser()
    if not folder.exists():
        raise ParameterError(f"there are no labels at {folder}")
    of_evaluation = folder / label_name(f"{set_name(image.resolve().parent)}/{image.name}")
    return of_evaluation if of_evaluation.is_file() else labels_of(image, folder)


def to_rgb_plane(image: Path) -> NDArray[np.uint8]:
    """Read a single plane as an RGB picture."""
    opened = open_image_plane(ImageSource(str(image)), str(image), {})
    pixels = np.asarray(opened.array)
    return to_rgb(pixels, channel_axis=opened.channel_axis, rgb=opened.rgb)


def _labels(file: Path, image: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    labels = read_labels(file)
    if labels.shape != shape:
        raise FormatError(
            f"{file} has labels of {labels.shape}, its image {image.name} {shape}; they must lie "
            "on the same grid"
        )
    return labels


def _points(
    arrays: Mapping[str, NDArray[Any]],
    quota: int,
    min_area: int,
    first: int,
    rng: np.random.Generator,
) -> Iterator[tuple[int, int]]:
    """Points inside objects, drawn from each source in turn; no object is drawn twice."""
    names = list(arrays)
    left: dict[str, list[int]] = {}
    boxes: dict[str, Any] = {}
    for name, array in arrays.items():
        ids, areas = np.unique(array, return_counts=True)
        large = ids[(ids != 0) & (areas >= min_area)]
        left[name] = [int(i) for i in rng.permutation(large)]
        dense = np.searchsorted(ids, array) + 1
        boxes[name] = dict(zip(ids.tolist(), ndimage.find_objects(dense), strict=True))
    used: set[tuple[str, int]] = set()
    given = turn = 0
    while given < quota and any(left.values()):
        name = names[(first + turn) % len(names)]
        turn += 1
        while left[name]:
            label = left[name].pop()
            if (name, label) in used:
                continue
            box = boxes[name][label]
            row, col = interior_point(arrays[name][box] == label)
            row, col = row + box[0].start, col + box[1].start
            under = {(other, int(array[row, col])) for other, array in arrays.items()}
            used |= {pair for pair in under if pair[1]}
            given += 1
            yield row, col
            break


def _window(masks: Sequence[NDArray[np.bool_]], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """A square around all masks of an object, the same for all sources."""
    where = np.nonzero(np.logical_or.reduce(masks))
    low, high = (np.array([edge(axis) for axis in where]) for edge in (np.min, np.max))
    side = max(round((1 + 2 * _MARGIN) * int((high - low + 1).max())), _LEAST_SIDE)
    first = [
        int(np.clip((a + b + 1 - side) // 2, 0, max(n - side, 0)))
        for a, b, n in zip(low, high, shape, strict=True)
    ]
    rows, cols = (slice(a, min(a + side, n)) for a, n in zip(first, shape, strict=True))
    return rows, cols


def _png(crop: NDArray[np.uint8], mask: NDArray[np.bool_]) -> bytes:
    """The crop, and beside it the crop with the mask's outline."""
    from PIL import Image

    factor = max(1, _SIDE // max(mask.shape))
    size = tuple(factor * n for n in mask.shape[::-1])
    plain = np.asarray(Image.fromarray(crop).resize(size, Image.Resampling.BILINEAR))
    large = mask.repeat(factor, 0).repeat(factor, 1)
    outline = large & ~ndimage.binary_erosion(large, iterations=2, border_value=1)
    drawn = plain.copy()
    drawn[outline] = _COLOUR
    gap = np.full((plain.shape[0], 8, 3), 255, np.uint8)
    with io.BytesIO() as stream:
        Image.fromarray(np.concatenate([plain, gap, drawn], axis=1)).save(stream, format="PNG")
        return stream.getvalue()


def _write(sheet: RatingSheet, pictures: Sequence[bytes], seed: int) -> None:
    sheet.folder.parent.mkdir(parents=True, exist_ok=True)
    with staging(sheet.folder.parent) as place:
        made = place / sheet.folder.name
        (made / FOR_RATERS).mkdir(parents=True)
        (made / FOR_RATERS / SHEET).write_text(_page(sheet.folder.name, pictures), "utf-8")
        with (made / FOR_RATERS / RATINGS).open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["number", "rating"])
            writer.writerows([number, ""] for number in range(1, len(pictures) + 1))
        key = {
            "version": _VERSION,
            "seed": seed,
            "sources": list(sheet.sources),
            "missing": dict(sheet.missing),
            "masks": [asdict(mask) for mask in sheet.masks],
        }
        (made / KEY).write_text(json.dumps(key, indent=1) + "\n", "utf-8")
        if sheet.folder.exists():
            sheet.folder.rename(place / "replaced")
        made.rename(sheet.folder)


def _page(title: str, pictures: Sequence[bytes]) -> str:
    """The sheet as one HTML page without anything else."""
    page = (files(__package__) / "rating_sheet.html").read_text("utf-8")
    codes = json.dumps([base64.b64encode(picture).decode("ascii") for picture in pictures])
    digest = hashlib.sha256(codes.encode()).hexdigest()[:16]
    page = page.replace("@TITLE@", html.escape(title)).replace("@DIGEST@", digest)
    return page.replace("@PICTURES@", codes)
