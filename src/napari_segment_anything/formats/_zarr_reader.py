"""Read Zarr arrays and OME-Zarr images, local or by URL."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import FormatError, ImageError
from ..limits import ARRAY_BYTES
from . import _ngff, _stores
from ._readers import Found, choose, pick


def read_zarr(location: str, series: int, key: str | None, lazy: bool | None) -> Found:
    """Open a Zarr array or an OME-Zarr image with all its levels.

    Parameters
    ----------
    location : str
        Folder, or URL.
    series, key, lazy
        As for `read_image`.
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
        raise ImageError(f"{location} cannot be read as Zarr: there is none.") from error
    except Exception as error:  # zarr raises many kinds for damaged stores
        raise ImageError(f"{location} cannot be read as Zarr: {_stores.line(error)}") from error
    found.levels = levels
    return found


def _node(node: Any, location: str, series: int, key: str | None) -> Found:
    import zarr

    if isinstance(node, zarr.Array):
        _check_chunks(node, location)
        names = getattr(node.metadata, "dimension_names", None)
        axes = None
        if names and all(isinstance(n, str) and n for n in names):
            axes = _axes([{"name": n} for n in names])
        return Found((node,), axes)
    attributes = _ngff.ome_attributes(node)
    multiscales = attributes.get("multiscales")
    if multiscales and key is None:
        if _ngff.only_labels(multiscales[0]):
            _only_labels(node, attributes, location)
        return _multiscale(node, multiscales, location)
    if "plate" in attributes or "well" in attributes:
        inside = [f.get("path") for f in attributes.get("well", {}).get("images", [])]
        inside = inside or [w.get("path") for w in attributes.get("plate", {}).get("wells", [])]
        first = _stores.join(location, inside[0] if inside else "A/1/0")
        raise ImageError(f"{location} is a plate of many images; name one, such as {first}.")
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
            f"{location} has no image, only labels ({', '.join(map(str, inside))}): read them "
            f"with read_labels, or open {_stores.join(around, str(inside[0]))} as an image."
        )


def _multiscale(node: Any, multiscales: Any, location: str) -> Found:
    try:
        first = multiscales[0]
        paths = [each["path"] for each in first["datasets"]]
        for path in paths:
            _stores.inside(location, path, "the level")
        levels = tuple(node[path] for path in paths)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        problem = f"{location} has damaged OME-Zarr metadata: {_stores.line(error)}"
        raise ImageError(problem) from error
    if not levels:
        raise ImageError(f"{location} has OME-Zarr metadata without any level.")
    for level in levels:
        _check_chunks(level, location)
    ndim = levels[0].ndim
    place = _ngff.read_placement(first, ndim, location)
    if first.get("axes") is None and ndim != 5:
        return Found(levels)
    axes = place.axes if place.axes.count("Q") <= 1 else None
    return Found(levels, axes, list(place.scale), list(place.units))


def _check_chunks(array: Any, location: str) -> None:
    """Refuse an array whose every read would unpack too much."""
    if not hasattr(array, "chunks"):
        raise ImageError(f"{location} has damaged OME-Zarr metadata: a level is a group.")
    size = math.prod(array.chunks) * array.dtype.itemsize
    ARRAY_BYTES.check(size, f"{location} has chunks too large to be read", ImageError)


def _axes(entries: list[Mapping[str, Any]]) -> str | None:
    letters = _ngff.letters_of(entries)
    return letters if letters.count("Q") <= 1 else None
