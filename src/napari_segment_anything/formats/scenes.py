"""An OME-Zarr store as a viewer shows it: the image, its channels, and its labels, all in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FormatError
from . import _ngff, _stores
from .ome_zarr import label_names


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
        What the store says of an image's channels; as many as there are, or none.
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
    """How a channel is to be shown: name, "#rrggbb", contrast limits, whether it is seen."""

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
        None if it is none of these: a plain Zarr array or group, a plate, no Zarr at all.

    Raises
    ------
    FormatError
        If the store is damaged.
    """
    location = _stores.locate(path)
    node = _stores.open_node(location)
    if node is None or not hasattr(node, "array_keys"):
        return None
    own = _pyramid(node, location)
    if own is not None and "image-label" in _ngff.ome_attributes(node):
        return Scene(None, (own,))
    if own is not None and _ngff.only_labels(_ngff.ome_attributes(node)["multiscales"][0]):
        own = None  # a root without an image shows its first labels to other programs
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
    multiscales = attributes.get("multiscales")
    if not multiscales:
        return None
    try:
        first = multiscales[0]
        levels = tuple(node[each["path"]] for each in first["datasets"])
        ndim = len(levels[0].shape)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise FormatError(
            f"{location} has damaged OME-Zarr metadata: {_stores.line(error)}"
        ) from error
    place = _ngff.read_placement(first, ndim, location)
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
    """Read the channels of the "omero" field, which is for display alone: damage is no error."""
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
