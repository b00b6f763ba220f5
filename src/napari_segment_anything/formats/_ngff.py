"""Read and write OME-Zarr metadata (NGFF 0.4 in Zarr format 2, 0.5 in format 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import FormatError
from ._stores import inside, line

ORDER = "TQZYX"
"""Axes of labels in the order that OME-Zarr requires; Q is a stack of unknown meaning."""
_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


@dataclass(frozen=True, slots=True)
class Placement:
    """Axes of an image, with the scale and translation of its pixels.

    Parameters
    ----------
    axes : str
        A letter for each dimension.
    scale, translation : tuple of float
        For each dimension.
    units : tuple of (str or None)
        For each dimension.
    """

    axes: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    units: tuple[str | None, ...]

    def reorder(self, axes: str) -> Placement:
        """Return the placement for other axes; missing ones have scale 1 and no unit."""
        at = [self.axes.find(axis) for axis in axes]
        return Placement(
            axes,
            tuple(1.0 if i < 0 else self.scale[i] for i in at),
            tuple(0.0 if i < 0 else self.translation[i] for i in at),
            tuple(None if i < 0 else self.units[i] for i in at),
        )


def common_axes(axes: str) -> str:
    """Replace axis Q by Z, or by T or C where Z is in use.

    OME-Zarr allows axes without a type, but readers ignore or reject them.
    """
    return axes.replace("Q", next(axis for axis in "ZTC" if axis not in axes))


def only_labels(first: Any) -> bool:
    """Whether the `multiscales` entry of a store refers to its labels, so that it has no image."""
    try:
        return str(first["datasets"][0]["path"]).startswith("labels/")
    except (KeyError, IndexError, TypeError):
        return False


def ome_attributes(group: Any) -> dict[str, Any]:
    """The OME-Zarr part of a group's attributes, for any version."""
    attributes = dict(group.attrs)
    inner = attributes.get("ome")
    return dict(inner) if isinstance(inner, Mapping) else attributes


def update_ome(group: Any, fields: Mapping[str, Any]) -> None:
    """Set OME-Zarr fields of a group; other attributes are kept."""
    if group.metadata.zarr_format == 2:
        group.attrs.update(dict(fields))
        return
    known = group.attrs.get("ome")
    known = dict(known) if isinstance(known, Mapping) else {}
    group.attrs.update({"ome": {"version": "0.5", **known, **fields}})


def with_version(zarr_format: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Add the version to an object where 0.4 requires it; 0.5 stores it only once."""
    return {"version": "0.4", **fields} if zarr_format == 2 else dict(fields)


def multiscales(
    zarr_format: int, name: str, placement: Placement, levels: int
) -> list[dict[str, Any]]:
    """Metadata of a pyramid; level k has every 2^k-th row and column of level 0."""
    axes = []
    for axis, unit in zip(placement.axes, placement.units, strict=True):
        entry: dict[str, Any] = {"name": axis.lower()}
        if axis in _TYPES:
            entry["type"] = _TYPES[axis]
        if unit is not None:
            entry["unit"] = unit
        axes.append(entry)
    datasets = []
    for level in range(levels):
        scale = [
            size * 2**level if axis in "YX" else size
            for axis, size in zip(placement.axes, placement.scale, strict=True)
        ]
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if any(placement.translation):
            transforms.append({"type": "translation", "translation": list(placement.translation)})
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    whole: dict[str, Any] = {"name": name, "axes": axes, "datasets": datasets, "type": "striding"}
    return [with_version(zarr_format, whole)]


def open_levels(
    group: Any, where: str, most: int | None = None
) -> tuple[Mapping[str, Any], tuple[Any, ...], Placement]:
    """Open the pyramid that a group's metadata names.

    Parameters
    ----------
    group : zarr.Group
    where : str
        Its path or URL.
    most : int, optional
        Open no more levels than this.

    Returns
    -------
    first : mapping
        The first `multiscales` entry.
    levels : tuple of zarr.Array
        Full resolution first; at least one.
    placement : Placement
        Of the first level.

    Raises
    ------
    FormatError
        If the metadata is damaged, or names a place outside the group.
    """
    try:
        first = dict(ome_attributes(group)["multiscales"][0])
        paths = [each["path"] for each in first["datasets"]]
        for path in paths:
            inside(where, path, "the level")
        levels = tuple(group[path] for path in paths[:most])
        ndim = len(levels[0].shape)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise FormatError(f"{where} has damaged OME-Zarr metadata: {line(error)}") from error
    return first, levels, read_placement(first, ndim, where)


def read_placement(first: Mapping[str, Any], ndim: int, where: str) -> Placement:
    """Axes, scale, translation and units of the first level of a `multiscales` entry.

    Raises
    ------
    FormatError
        If the metadata is not valid OME-Zarr.
    """
    try:
        entries = first.get("axes")
        if entries is None:
            entries = list("tczyx") if ndim == 5 else list("tqzyx")[5 - ndim :]
        entries = [{"name": e} if isinstance(e, str) else dict(e) for e in entries]
        if len(entries) != ndim:
            raise ValueError(f"{len(entries)} axes for {ndim} dimensions")
        scale, translation = [1.0] * ndim, [0.0] * ndim
        outer = first.get("coordinateTransformations", [])
        for part in [*first["datasets"][0].get("coordinateTransformations", []), *outer]:
            values = part.get(part.get("type"))
            if not isinstance(values, Sequence) or len(values) != ndim:
                continue
            if part["type"] == "scale":
                scale = [a * float(b) for a, b in zip(scale, values, strict=True)]
                translation = [a * float(b) for a, b in zip(translation, values, strict=True)]
            elif part["type"] == "translation":
                translation = [a + float(b) for a, b in zip(translation, values, strict=True)]
        if not all(0 < size < math.inf for size in scale):
            raise ValueError(f"a scale must be positive and finite, not {scale}")
        if not all(map(math.isfinite, translation)):
            raise ValueError(f"a translation must be finite, not {translation}")
        letters = letters_of(entries)
        units = tuple(e.get("unit") for e in entries)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise FormatError(f"{where} has damaged OME-Zarr metadata: {error}") from error
    return Placement(letters, tuple(scale), tuple(translation), units)


def letters_of(entries: Sequence[Mapping[str, Any]]) -> str:
    """A letter for each axis, from its type, else its name, else Q."""
    kinds = {"time": "T", "channel": "C"}
    letters = []
    for entry in entries:
        name = str(entry["name"]).upper()
        letters.append(kinds.get(str(entry.get("type")), name if name in "TZCYXSQ" else "Q"))
    return "".join(letters)


def check_label_axes(axes: str, shape: Sequence[int]) -> str:
    """Check the axes of labels, and return them in capitals.

    Raises
    ------
    FormatError
        If they do not match the shape, or are not valid in OME-Zarr.
    """
    given = axes.upper()
    if len(given) != len(shape):
        raise FormatError(f"Axes '{axes}' do not match the {len(shape)} dimensions of the labels.")
    if given != "".join(a for a in ORDER if a in given) or not given.endswith("YX"):
        raise FormatError(
            f"Axes '{axes}': OME-Zarr labels have axes from T, Q, Z, Y, X in this order, always "
            "with Y and X."
        )
    return given
