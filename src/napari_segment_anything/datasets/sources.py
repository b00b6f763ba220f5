"""Images by reference: which images a folder, pattern, table, file, store or plate stands for."""

from __future__ import annotations

import csv
import glob
import itertools
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import FormatError, ImageError, ParameterError
from ..formats import ImageData, plate_images
from ..formats._stores import join
from ..formats.images import PICTURE_SUFFIXES
from ..reading import is_url, read_bytes
from .finding import find_images
from .opening import SAMPLE, read_source

TABLE_SUFFIXES = (".csv", ".tsv")
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class ImageSource:
    """Where images of a project are, and how to interpret them.

    Parameters
    ----------
    path : str
        A folder; a pattern such as ``raw/**/*.tif``; a table (``.csv``, ``.tsv``) with a column
        ``path`` and perhaps ``plane``, ``label``, ``key`` and others; a file; an OME-Zarr image,
        well or plate, also by URL; or ``sample:NAME``. Relative paths start at the project's
        folder, those in a table at the table's.
    axes : str
        A letter for each dimension, such as "CYX", if files do not state them.
    channels : tuple of int
        Channels to use; () for all.
    planes : str
        Planes of stacks and time-lapses, an image of the project each: "all", an index, or a
        range ``start:stop:step``; with several axes for each of them, "T=0:100:10,Z=5".
    pixel_size : tuple of float
        (row, column), instead of that in the files; () if it is theirs.
    unit : str
        Of `pixel_size`.
    """

    path: str
    axes: str = ""
    channels: tuple[int, ...] = ()
    planes: str = "all"
    pixel_size: tuple[float, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.path:
            raise ParameterError("images need a path")
        good = all(math.isfinite(size) and size > 0 for size in self.pixel_size)
        if len(self.pixel_size) not in (0, 2) or not good:
            raise ParameterError(f"pixel_size is two sizes above 0, not {self.pixel_size}")
        parse_planes(self.planes, "T")

    def located(self, project: Path) -> str:
        """The absolute path, or the URL."""
        if self.path.startswith(SAMPLE) or is_url(self.path):
            return self.path
        return os.path.normpath(project / Path(self.path).expanduser())

    def place_of(self, project: Path, path: str) -> str:
        """The absolute path or the URL of one of its images.

        Parameters
        ----------
        project : Path
            The project's folder.
        path : str
            As in `FoundImage`.
        """
        place = self.located(project)
        if not path:
            return place
        if is_url(place):
            return join(place, path)
        return os.path.normpath(_base(place) / path)


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image that a source stands for.

    Parameters
    ----------
    path : str
        Relative to the source's folder, with "/"; absolute if a table gives it so; "" for the
        source itself.
    plane : dict of str to int
        Index along each stack axis; empty for an image that is no stack.
    columns : dict of str to str
        Other columns of its row in a table.
    label : str
        Its label image, as `path`; "" without one.
    key : str
        Name that the table gives it; "" without one.
    """

    path: str
    plane: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    key: str = ""


def find_source_images(source: ImageSource, project: Path) -> Iterator[FoundImage]:
    """List the images that a source stands for.

    Parameters
    ----------
    source : ImageSource
    project : Path
        The project's folder.

    Raises
    ------
    FormatError, ImageError
        If there is nothing, or an image cannot be opened.
    """
    place = source.located(project)
    for found in images_at(place):
        yield from _planes(found, source, source.place_of(project, found.path))


def parse_planes(planes: str, axes: str) -> dict[str, slice | int]:
    """Read which planes to take.

    Parameters
    ----------
    planes : str
        As in `ImageSource`.
    axes : str
        Stack axes of the image.

    Returns
    -------
    dict of str to slice or int
        For the axes that are named; all planes of the others.

    Raises
    ------
    ParameterError
        If it is malformed.
    """
    if planes == "all":
        return {}
    chosen: dict[str, slice | int] = {}
    for part in planes.split(","):
        name, _, text = part.strip().rpartition("=")
        axis = name.strip().upper() or (axes if len(axes) == 1 else "")
        if not axis:
            raise ParameterError(f"'{planes}': name the axis, one of {', '.join(axes)}: T=0:10")
        try:
            numbers = [int(number) if number.strip() else None for number in text.split(":")]
            if len(numbers) > 3 or (len(numbers) == 1 and numbers[0] is None):
                raise ValueError
            chosen[axis] = slice(*numbers) if len(numbers) > 1 else int(numbers[0] or 0)
            if len(numbers) == 3 and numbers[2] == 0:
                raise ValueError
        except ValueError:
            raise ParameterError(
                f"planes are 'all', an index, or a range start:stop:step, perhaps for several "
                f"axes (T=0:100:10,Z=5); got {planes!r}"
            ) from None
    return chosen


def plane_text(plane: Mapping[str, int]) -> str:
    """A plane as tables have it: ``T=3,Z=5``."""
    return ",".join(f"{axis}={index}" for axis, index in plane.items())


def open_image_plane(source: ImageSource, place: str, plane: Mapping[str, int]) -> ImageData:
    """Open one image of a source; large files and stores are not read yet.

    Parameters
    ----------
    source : ImageSource
    place : str
        Path or URL.
    plane : mapping of str to int
        Index along each stack axis.

    Raises
    ------
    ImageError
        If it is missing, damaged, or has no such plane.
    """
    data = read_source(place, source.axes or None)
    data = data.lazy_plane(**plane)
    if source.pixel_size:
        scale, units = list(data.scale), list(data.units)
        for axis, size in zip("YX", source.pixel_size, strict=True):
            scale[data.axes.index(axis)] = size
            units[data.axes.index(axis)] = source.unit or None
        data = replace(data, scale=tuple(scale), units=tuple(units))
    return data


def _base(place: str) -> Path:
    """The folder that paths of a source's images start from."""
    path = Path(place)
    if _is_pattern(path):
        wild = next(i for i, part in enumerate(path.parts) if _WILD.search(part))
        return Path(*path.parts[:wild])
    if path.suffix.lower() in TABLE_SUFFIXES:
        return path.parent
    return path


def _is_pattern(path: Path) -> bool:
    return bool(_WILD.search(str(path))) and not path.exists()


def images_at(place: str) -> Iterator[FoundImage]:
    """List the images that a place stands for; stacks are one image.

    Parameters
    ----------
    place : str
        As `ImageSource.located` returns it.

    Raises
    ------
    FormatError, ImageError
        If there is nothing.
    """
    if place.startswith(SAMPLE):
        yield FoundImage("")
        return
    if is_url(place):
        yield from _store(place, "")
        return
    path = Path(place)
    base = _base(place)
    if _is_pattern(path):
        found = [Path(p) for p in sorted(glob.glob(place, recursive=True))]
        files = [p for p in found if p.is_file() or p.suffix.lower() == ".zarr"]
        if not files:
            raise FormatError(f"no file matches {place}")
        for file in files:
            yield from _store(str(file), file.relative_to(base).as_posix())
    elif not path.exists():
        raise FormatError(f"there is no file or folder {path}")
    elif path.suffix.lower() in TABLE_SUFFIXES:
        yield from _table(path)
    elif path.is_dir() and not _is_store(path):
        for file in find_images(path):
            yield from _store(str(file), file.relative_to(base).as_posix())
    else:
        yield from _store(place, "")


def _is_store(path: Path) -> bool:
    names = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
    return path.suffix.lower() == ".zarr" or any((path / name).exists() for name in names)


def _store(place: str, path: str) -> Iterator[FoundImage]:
    """The image at a place, or the images of the plate or well there."""
    inside = plate_images(place) if is_url(place) or Path(place).is_dir() else []
    if not inside:
        yield FoundImage(path)
    for image in inside:
        relative = image.path.removeprefix(place).strip("/\\").replace("\\", "/")
        columns = {"well": image.well, "field": image.field}
        yield FoundImage(f"{path}/{relative}" if path else relative, columns=columns)


def _table(path: Path) -> Iterator[FoundImage]:
    text = read_bytes(path, what="table of images").decode("utf-8-sig", "replace")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        rows = [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if any(row)]
    except csv.Error as error:
        raise FormatError(f"{path} cannot be read as a table: {error}") from error
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if "path" not in header:
        raise FormatError(f"{path} needs a header with a column 'path'")
    for number, values in enumerate(rows[1:], start=2):
        where = f"{path}, row {number}"
        if len(values) != len(header):
            raise FormatError(f"{where}: {len(values)} fields, but the header has {len(header)}")
        row = dict(zip(header, (value.strip() for value in values), strict=True))
        image = row.pop("path")
        if not image:
            raise FormatError(f"{where}: the path is empty")
        plane = read_plane(row.pop("plane", ""), where)
        label, key = row.pop("label", ""), row.pop("key", "")
        yield FoundImage(image.replace("\\", "/"), plane, row, label, key)


def read_plane(text: str, where: str) -> dict[str, int]:
    """Read a plane of a table: ``T=3,Z=5``, a bare index for the only axis, or nothing.

    Parameters
    ----------
    text : str
    where : str
        Begins the message of an error.

    Returns
    -------
    dict of str to int
        A bare index has the axis "".

    Raises
    ------
    FormatError
        If it is something else.
    """
    plane: dict[str, int] = {}
    for part in text.split(",") if text else ():
        axis, _, index = part.strip().rpartition("=")
        if not re.fullmatch(r"[0-9]{1,9}", index.strip()):
            raise FormatError(f"{where}: a plane is an index, or T=3,Z=5; got {text!r}")
        plane[axis.strip().upper()] = int(index)
    return plane


def _planes(found: FoundImage, source: ImageSource, place: str) -> Iterator[FoundImage]:
    """An image itself, or its planes if it is a stack."""
    if Path(place).suffix.lower() in PICTURE_SUFFIXES:
        if found.plane:
            raise ImageError(f"{place} is a single plane; leave out its plane in the table")
        yield found
        return
    data = read_source(place, source.axes or None, lazy=True)
    lengths = {axis: data.shape[data.axes.index(axis)] for axis in data.stack_axes}
    if "" in found.plane and len(lengths) == 1:
        found = replace(found, plane={next(iter(lengths)): found.plane[""]})
    if found.plane:
        _check_plane(found.plane, lengths, place)
        yield found
        return
    if max(lengths.values(), default=1) == 1:
        yield found
        return
    chosen = parse_planes(source.planes, data.stack_axes)
    for axis in chosen:
        if axis not in lengths:
            raise ImageError(f"{place} has no stack axis {axis}; its axes are {data.axes}")
    indices = []
    for axis, length in lengths.items():
        wanted = chosen.get(axis, slice(None))
        one = [wanted] if isinstance(wanted, int) else list(range(length))[wanted]
        if not one or not -length <= one[0] < length:
            raise ImageError(f"{place} has planes 0 to {length - 1} along axis {axis}")
        indices.append([index % length for index in one])
    for place_in_stack in itertools.product(*indices):
        yield replace(found, plane=dict(zip(lengths, place_in_stack, strict=True)))


def _check_plane(plane: Mapping[str, int], lengths: Mapping[str, int], place: str) -> None:
    needed = {axis for axis, length in lengths.items() if length > 1}
    wrong = set(plane) - set(lengths) or needed - set(plane)
    if wrong:
        raise ImageError(
            f"{place} has the stack axes {', '.join(lengths) or 'none'}; its plane in the table is "
            f"{plane_text(plane)}"
        )
    for axis, index in plane.items():
        if index >= lengths[axis]:
            raise ImageError(f"{place} has planes 0 to {lengths[axis] - 1} along axis {axis}")


def as_sources(images: Any, base: Path) -> tuple[ImageSource, ...]:
    """Return what users give as images as sources.

    Parameters
    ----------
    images : str, Path, ImageSource, or sequence of these
    base : Path
        The project's folder. Relative paths, which start at the working directory, are rewritten
        to start here; absolute ones are kept.

    Raises
    ------
    ParameterError
        If it is something else.
    """
    several = isinstance(images, Sequence) and not isinstance(images, str)
    given = list(images) if several else [images]
    sources = []
    for item in given:
        if isinstance(item, str | os.PathLike):
            item = ImageSource(os.fspath(item))
        if not isinstance(item, ImageSource):
            raise ParameterError(
                f"images are paths or ImageSource objects, not {type(item).__name__}"
            )
        sources.append(replace(item, path=_portable(item.path, base)))
    return tuple(sources)


def _portable(path: str, base: Path) -> str:
    if path.startswith(SAMPLE) or is_url(path):
        return path
    given = Path(path).expanduser()
    if given.is_absolute():
        return str(given)
    try:
        return Path(os.path.relpath(given.absolute(), base)).as_posix()
    except ValueError:  # another drive
        return str(given.absolute())
