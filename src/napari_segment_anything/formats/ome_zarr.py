"""Labels of any size in OME-Zarr stores, written block by block.

Labels are in the ``labels`` group of an image, or of a store of their own. Metadata is valid from
the start: a viewer can show labels while they are written, and a process killed at any moment
leaves a store that can be opened.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..errors import FormatError
from ..reading import is_url, plain_name, require
from . import _ngff, _stores
from ._label_group import (
    LabelsGroup,
    create_array,
    is_complete,
    label_names,
    labels_prefix,
    listed,
    reconsolidate,
    show_labels,
)
from ._stores import describe_write_error, locate, store_errors
from .images import PICTURE_SUFFIXES, TIFF_SUFFIXES
from .locking import holds_only_locks
from .zarr_images import PlateImage, plate_images

__all__ = [
    "LabelsGroup",
    "PlateImage",
    "create_labels",
    "describe_write_error",
    "is_url",
    "label_names",
    "locate",
    "open_labels",
    "plate_images",
    "store_errors",
]

CHUNK = 512
_REMOVED = ".removed-"


def create_labels(
    destination: str | Path,
    name: str = "segment_anything",
    *,
    shape: Sequence[int],
    axes: str,
    dtype: DTypeLike = np.uint32,
    chunks: Sequence[int] | None = None,
    scale: Sequence[float] | None = None,
    units: Sequence[str | None] | None = None,
    source: str | None = None,
    zarr_format: int | None = None,
    overwrite: bool = False,
) -> LabelsGroup:
    """Create an empty label image in an OME-Zarr store.

    Parameters
    ----------
    destination : str or Path
        Path or URL of an OME-Zarr image, to which the labels are added in its Zarr format, next
        to those it has; or of a new store.
    name : str
        Of the labels.
    shape : sequence of int
    axes : str
        A letter for each dimension, from T, Q (a stack of unknown meaning), Z, Y, X. Q is stored
        as Z, or as T or C if Z is in use, since other programs reject axes without a type.
    dtype : dtype
        Any integer dtype.
    chunks : sequence of int, optional
        512 rows and columns of one plane by default.
    scale, units : sequence, optional
        Pixel size along each dimension, and its unit. By default, and where sizes are all 1 and
        no unit is known, those of the image if it has them.
    source : str, optional
        Path or URL of the segmented image, if it is elsewhere; local paths are stored relative
        to the labels.
    zarr_format : int, optional
        2 (OME-Zarr 0.4) or 3 (OME-Zarr 0.5, the default) for a new store.
    overwrite : bool
        Replace labels of that name.

    Returns
    -------
    LabelsGroup
        Opened for writing; level 0 only, filled with 0 and without any chunk. It is marked as
        incomplete until `LabelsGroup.build_pyramid` is finished, so that unfinished labels of a
        killed process can be recognised.

    Raises
    ------
    FormatError
        If there are labels of that name, the destination is something else or cannot be
        written, or axes do not match.
    """
    require(destination, (str, Path), "a store", "give its path or URL")
    size = tuple(int(n) for n in shape)
    letters = _ngff.check_label_axes(axes, size)
    kind = np.dtype(dtype)
    if kind.kind not in "ui" or 0 in size:
        raise FormatError(f"Labels are integers with at least one pixel; got {kind}, shape {size}.")
    plain_name(name, "labels", FormatError)
    pieces = _chunks(size, chunks)
    location = _stores.locate(destination)
    found, inside = _existing(location)
    form = _format(found, zarr_format, location)
    place = _placement(found, inside, letters, scale, units, location)
    letters = _ngff.common_axes(letters) if "Q" in letters else letters
    place = replace(place, axes=letters)
    path = _stores.inside(location, f"labels/{name}", "the labels")
    taken = _stores.open_node(path)
    if taken is not None and not overwrite and not _unfinished(taken, path):
        partly = "" if is_complete(taken) else " (unfinished, of a run that was stopped)"
        raise FormatError(
            f"{location} already has labels '{name}'{partly}; choose another name, or overwrite "
            "them."
        )
    with store_errors(location):
        if found is None:
            import zarr

            zarr.create_group(_stores.open_store(location, read_only=False), zarr_format=form)  # type: ignore[arg-type]
        _remove(path)
        root = _stores.open_node(location, mode="r+")
        # the array first, so that a group with metadata always has an array
        create_array(root, f"labels/{name}/0", size, kind, pieces, letters)
        image_label = {"source": {"image": "../../", **_origin(source, location, path)}}
        fields = {
            "multiscales": _ngff.multiscales(form, name, place, 1),
            "image-label": _ngff.with_version(form, image_label),
        }
        _ngff.update_ome(root.require_group(f"labels/{name}"), fields)
        LabelsGroup(path, "r+").mark(complete=False)
        _register(path)
        show_labels(location)
        reconsolidate(location)
    return LabelsGroup(path, "r+")


def open_labels(destination: str | Path, name: str | None = None, mode: str = "r") -> LabelsGroup:
    """Open labels of an OME-Zarr store.

    Parameters
    ----------
    destination : str or Path
        Path or URL of an image or store with labels, or of the label group itself.
    name : str, optional
        Name of the labels; may be omitted if there is only one.
    mode : str
        "r" to read, "r+" or "a" to write.

    Raises
    ------
    FormatError
        If there are no such labels, or several and no name.
    """
    if mode not in ("r", "r+", "a"):
        raise FormatError(f"mode is 'r', 'r+' or 'a', not {mode!r}")
    require(destination, (str, Path), "a store", "give its path or URL")
    mode = "r" if mode == "r" else "r+"
    location = _stores.locate(destination)
    node = _stores.open_node(location)
    if node is None:
        raise FormatError(f"{location} does not exist, or is not a Zarr store.")
    if not hasattr(node, "array_keys"):
        raise FormatError(f"{location} is a Zarr array, not an OME-Zarr store with labels.")
    if name is None and "image-label" in _ngff.ome_attributes(node):
        path = location
    else:
        names = listed(_stores.join(location, *labels_prefix(node)))
        if name is None:
            if len(names) != 1:
                what = f"has the labels {', '.join(names)}: name one" if names else "has no labels"
                raise FormatError(f"{location} {what}.")
            name = names[0]
        path = _stores.inside(location, "/".join((*labels_prefix(node), name)), "the labels")
        found = _stores.open_node(path)
        if found is None or "multiscales" not in _ngff.ome_attributes(found):
            has = f"it has {', '.join(names)}" if names else "it has none"
            raise FormatError(f"{location} has no labels '{name}'; {has}.")
    if mode != "r":
        _stores.without_links(path)
    labels = LabelsGroup(path, mode)
    if mode != "r" and path != location:
        with store_errors(location):  # a killed process may not have
            _register(path)
    return labels


# -- making labels -------------------------------------------------------------------------------


def _existing(location: str) -> tuple[Any, Any]:
    """The group at a location, and its first multiscales entry; None where there is none."""
    node = _stores.open_node(location)
    if node is None:
        local = None if is_url(location) else Path(location)
        if (
            local is not None
            and local.exists()
            and not (local.is_dir() and holds_only_locks(local))
        ):
            raise FormatError(f"{location} exists and is not a Zarr store; choose another name.")
        if location.lower().endswith((*TIFF_SUFFIXES, *PICTURE_SUFFIXES)):
            better = f"{os.path.splitext(location)[0]}.ome.zarr"
            raise FormatError(f"{location} would be a folder, as OME-Zarr is; call it {better}.")
        return None, None
    if not hasattr(node, "array_keys"):
        raise FormatError(
            f"{location} is a plain Zarr array, which cannot contain labels; choose another store."
        )
    attributes = _ngff.ome_attributes(node)
    if "plate" in attributes or "well" in attributes:
        raise FormatError(f"{location} is a plate of many images; choose one of them.")
    if "image-label" in attributes or "labels" in attributes:
        raise FormatError(f"{location} contains labels itself; choose the image they belong to.")
    scales = attributes.get("multiscales")
    return node, scales[0] if scales and not _ngff.only_labels(scales[0]) else None


def _origin(source: str | None, location: str, path: str) -> dict[str, str]:
    """Reference to the image, if it is not in the same store."""
    if source is None:
        return {}
    place = _stores.locate(source)
    if place == location:
        return {}
    if not is_url(place) and not is_url(path):
        with suppress(ValueError):  # another drive
            place = Path(os.path.relpath(place, path)).as_posix()
    return {"file": place}


def _format(found: Any, wanted: int | None, location: str) -> int:
    if wanted not in (None, 2, 3):
        raise FormatError(f"zarr_format is 2 or 3, not {wanted}")
    if found is None:
        return 3 if wanted is None else wanted
    form = int(found.metadata.zarr_format)
    if wanted not in (None, form):
        raise FormatError(f"{location} has Zarr format {form}; its labels must have the same.")
    return form


def _placement(
    found: Any,
    inside: Any,
    axes: str,
    scale: Sequence[float] | None,
    units: Sequence[str | None] | None,
    location: str,
) -> _ngff.Placement:
    place = _ngff.Placement("", (), (), ()).reorder(axes)
    if inside is not None:
        try:
            ndim = len(found[inside["datasets"][0]["path"]].shape)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise FormatError(f"{location} has damaged OME-Zarr metadata: {error}") from error
        place = _ngff.read_placement(inside, ndim, location).reorder(axes)
    for values in (scale, units):
        if values is not None and len(values) != len(axes):
            raise FormatError(f"{len(values)} pixel sizes or units for axes {axes}.")
    if scale is not None and all(size == 1 for size in scale) and not any(units or ()):
        scale = units = None  # unknown
    return _ngff.Placement(
        axes,
        place.scale if scale is None else tuple(float(s) for s in scale),
        place.translation,
        place.units if units is None else tuple(units),
    )


def _unfinished(node: Any, path: str) -> bool:
    """Whether this was left by a process that was killed while it created labels."""
    if not hasattr(node, "array_keys"):
        return False
    if "0" in node and int(node["0"].nchunks_initialized) > 0:
        return False
    parent, name = _stores.split(path)
    # replaced labels remain listed, so being listed is not enough
    return name not in listed(parent) or "multiscales" not in _ngff.ome_attributes(node)


def _chunks(shape: tuple[int, ...], chunks: Sequence[int] | None) -> tuple[int, ...]:
    if chunks is None:
        chunks = (*(1 for _ in shape[:-2]), CHUNK, CHUNK)
    if len(chunks) != len(shape) or min(chunks) < 1:
        raise FormatError(f"chunks {tuple(chunks)} do not match labels of shape {shape}.")
    return tuple(min(int(c), n) for c, n in zip(chunks, shape, strict=True))


def _register(path: str) -> None:
    """Add labels to the list of their `labels` group."""
    parent, name = _stores.split(path)
    for _ in range(3):  # another process may be adding labels at the same time
        group = _stores.open_node(parent, mode="r+")
        if group is None:
            return
        names = listed(parent)
        if name in names:
            return
        _ngff.update_ome(group, {"labels": [*names, name]})


def _remove(path: str) -> None:
    """Remove labels, in one step where the file system allows it."""
    if is_url(path):
        from zarr.core.sync import sync

        store = _stores.open_store(path, read_only=False)
        sync(store.delete_dir(""))
        return
    folder = Path(path)
    if folder.parent.is_dir():
        for left in folder.parent.glob(f"{_REMOVED}*"):
            shutil.rmtree(left, ignore_errors=True)
    if folder.exists():
        doomed = folder.with_name(f"{_REMOVED}{uuid.uuid4().hex[:8]}")
        os.rename(folder, doomed)
        shutil.rmtree(doomed)
