"""Read images of Zarr and OME-Zarr stores, local or by URL: one image, a whole scene, a plate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FormatError, ImageError
from ..limits import ARRAY_BYTES
from . import _ngff, _stores
from ._label_group import label_names
from ._readers import FileContent, choose, pick


def read_zarr(location: str, series: int, key: str | None, lazy: bool | None) -> FileContent:
    """Open a Zarr array or an OME-Zarr image with all its levels.

    Parameters
    ----------
    location : str
        Folder, or URL.
    series, key, lazy
        As for `read_image`.

    Raises
    ------
    ImageError
        If there is no image, it is damaged, or its chunks are too large.
    """
    import zarr

    try:
        node = zarr.open(_stores.open_store(location), mode="r")
        found = _node(node, location, series, key)
        levels = found.levels
        if lazy is False:
            levels = (levels[0][...],)
    except ImageError:
        raise
    except FormatError as error:
        raise ImageError(str(error)) from error
    except FileNotFoundError as error:
        reason = "it does not exist."
        if Path(location).is_dir():
            reason = "it is a folder without Zarr metadata. Give the path of an image in it."
        raise ImageError(f"{location} cannot be read as Zarr: {reason}") from error
    except Exception as error:  # zarr raises many types of errors for damaged stores
        raise ImageError(f"{location} cannot be read as Zarr: {_stores.line(error)}") from error
    found.levels = levels
    return found


def _node(node: Any, location: str, series: int, key: str | None) -> FileContent:
    import zarr

    if isinstance(node, zarr.Array):
        _check_chunks(node, location)
        names = getattr(node.metadata, "dimension_names", None)
        axes = None
        if names and all(isinstance(n, str) and n for n in names):
            axes = _axes([{"name": n} for n in names])
        return FileContent((node,), axes)
    attributes = _ngff.ome_attributes(node)
    multiscales = attributes.get("multiscales")
    if multiscales and key is None:
        if _ngff.only_labels(multiscales[0]):
            _only_labels(node, attributes, location)
        return _multiscale(node, location)
    if "plate" in attributes or "well" in attributes:
        inside = [f.get("path") for f in attributes.get("well", {}).get("images", [])]
        inside = inside or [w.get("path") for w in attributes.get("plate", {}).get("wells", [])]
        first = _stores.join(location, inside[0] if inside else "A/1/0")
        raise ImageError(f"{location} is a plate of many images; choose one, such as {first}.")
    if "bioformats2raw.layout" in attributes and key is None:
        images = sorted((k for k in node.group_keys() if k.isdigit()), key=int)
        name = choose(images, series, location)
        return _node(node[name], _stores.inside(location, name, "the image"), 0, None)
    arrays = sorted(node.array_keys())
    if not arrays:
        _only_labels(node, attributes, location)
    name = pick(arrays, key, location)
    _stores.inside(location, name, "the array")
    return _node(node[name], location, 0, None)


def _only_labels(node: Any, attributes: Mapping[str, Any], location: str) -> None:
    """Raise `ImageError` for a store that has labels and no image."""
    inside, around = attributes.get("labels"), location
    if inside is None and "labels" in node:
        inside = _ngff.ome_attributes(node["labels"]).get("labels")
        around = _stores.join(location, "labels")
    if inside:
        raise ImageError(
            f"{location} contains no image, only labels ({', '.join(map(str, inside))}): read them "
            f"with read_labels, or open {_stores.join(around, str(inside[0]))} as an image."
        )


def _multiscale(node: Any, location: str) -> FileContent:
    first, levels, place = _ngff.open_levels(node, location)
    for level in levels:
        _check_chunks(level, location)
    if first.get("axes") is None and levels[0].ndim != 5:
        return FileContent(levels)
    axes = place.axes if place.axes.count("Q") <= 1 else None
    return FileContent(levels, axes, list(place.scale), list(place.units))


def _check_chunks(array: Any, location: str) -> None:
    """Raise `ImageError` for an array whose chunks are too large to unpack."""
    if not hasattr(array, "chunks"):
        raise ImageError(f"{location} has damaged OME-Zarr metadata: a level is a group.")
    size = math.prod(array.chunks) * array.dtype.itemsize
    ARRAY_BYTES.check(size, f"{location} has chunks too large to be read", ImageError)


def _axes(entries: list[Mapping[str, Any]]) -> str | None:
    letters = _ngff.letters_of(entries)
    return letters if letters.count("Q") <= 1 else None


@dataclass(frozen=True, slots=True, eq=False)
class Pyramid:
    """An image, or labels, of an OME-Zarr store.

    Parameters
    ----------
    name : str
    levels : tuple of zarr.Array
        Full resolution first.
    axes : str
        A letter for each dimension.
    scale, translation : tuple of float
        Along each dimension.
    units : tuple of (str or None)
    channels : tuple of Channel
        Display settings of each channel; empty if the store has none.
    """

    name: str
    levels: tuple[Any, ...]
    axes: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    units: tuple[str | None, ...]
    channels: tuple[Channel, ...] = ()


@dataclass(frozen=True, slots=True)
class Channel:
    """Display settings of a channel: name, "#rrggbb", contrast limits, visibility."""

    name: str | None = None
    colour: str | None = None
    limits: tuple[float, float] | None = None
    visible: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The image of a store, or None, and its labels."""

    image: Pyramid | None
    labels: tuple[Pyramid, ...]


def read_scene(path: str | Path) -> Scene | None:
    """Open an OME-Zarr store, lazily.

    Parameters
    ----------
    path : str or Path
        Path or URL of an image, of labels, or of a store with labels only.

    Returns
    -------
    Scene or None
        None for anything else: a plain Zarr array or group, a plate, or no Zarr store.

    Raises
    ------
    FormatError
        If the store is damaged.
    """
    location = _stores.locate(path)
    node = _stores.open_group(location)
    if node is None:
        return None
    own = _pyramid(node, location)
    if own is not None and "image-label" in _ngff.ome_attributes(node):
        return Scene(None, (own,))
    if own is not None and _ngff.only_labels(_ngff.ome_attributes(node)["multiscales"][0]):
        own = None  # a store without an image refers to its first labels
    around = location if "labels" in _ngff.ome_attributes(node) else None
    labels = []
    for name in label_names(location):
        place = _stores.join(around or _stores.join(location, "labels"), name)
        found = _stores.open_node(place)
        pyramid = None if found is None else _pyramid(found, place)
        if pyramid is not None:
            labels.append(pyramid)
    return Scene(own, tuple(labels)) if own is not None or labels else None


def _pyramid(node: Any, location: str) -> Pyramid | None:
    attributes = _ngff.ome_attributes(node)
    if not attributes.get("multiscales"):
        return None
    _, levels, place = _ngff.open_levels(node, location)
    count = levels[0].shape[place.axes.index("C")] if "C" in place.axes else 0
    return Pyramid(
        _stores.short_name(location),
        levels,
        place.axes,
        place.scale,
        place.translation,
        place.units,
        _channels(attributes.get("omero"), count),
    )


def _channels(omero: Any, count: int) -> tuple[Channel, ...]:
    """Read the channels of the "omero" field; damage is ignored, since they only affect display."""
    entries = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(entries, Sequence) or len(entries) != count:
        return ()
    return tuple(_channel(entry) if isinstance(entry, Mapping) else Channel() for entry in entries)


def _channel(entry: Mapping[str, Any]) -> Channel:
    window, colour, limits = entry.get("window"), entry.get("color"), None
    if isinstance(window, Mapping):
        low, high = window.get("start"), window.get("end")
        if isinstance(low, (int, float)) and isinstance(high, (int, float)) and low < high:
            limits = (float(low), float(high))
    known = isinstance(colour, str) and len(colour) == 6
    return Channel(
        str(entry["label"]) if entry.get("label") else None,
        f"#{colour}" if known else None,
        limits,
        bool(entry.get("active", True)),
    )


@dataclass(frozen=True, slots=True)
class PlateImage:
    """One image of a plate.

    Parameters
    ----------
    path : str
        Path or URL of the OME-Zarr image.
    row, column : str
        Names of the well's row and column, such as "B" and "03".
    field : str
        Name of the image in its well.
    well : str
        Row and column, "B/03".
    """

    path: str
    row: str
    column: str
    field: str
    well: str


def plate_images(source: str | Path) -> list[PlateImage]:
    """List the images of a plate, or of one well, in the order of its metadata.

    Parameters
    ----------
    source : str or Path
        Path or URL of the plate or well.

    Returns
    -------
    list of PlateImage
        Empty if it is neither a plate nor a well.

    Raises
    ------
    FormatError
        If the metadata is damaged, or refers to a missing well or a path outside the plate.
    """
    location = _stores.locate(source)
    node = _stores.open_group(location)
    if node is None:
        return []
    attributes = _ngff.ome_attributes(node)
    try:
        if "well" in attributes:
            row, column = _stores.split(location)
            name = f"{_stores.split(row)[1]}/{column}"
            return _fields(attributes["well"], location, name)
        if "plate" not in attributes:
            return []
        images = []
        for entry in attributes["plate"]["wells"]:
            place = _stores.inside(location, entry["path"], "the well")
            well = str(entry["path"]).strip("/")
            found = _stores.open_node(place)
            if found is None:
                raise FormatError(f"{location}: well {well} is missing.")
            images += _fields(_ngff.ome_attributes(found)["well"], place, well)
        return images
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{location} has damaged plate metadata: {error}") from error


def _fields(well: Any, location: str, name: str) -> list[PlateImage]:
    row, _, column = name.rpartition("/")
    images = []
    for entry in well["images"]:
        place = _stores.inside(location, entry["path"], "the image")
        images.append(PlateImage(place, row, column, str(entry["path"]).strip("/"), name))
    return images
