"""Labels of any size in OME-Zarr stores, written as they come; and the images of a plate.

Labels lie in the ``labels`` group of an image, or of a store of their own. Metadata is valid
from the start: a viewer sees what there is while it is written, and a process killed at any
moment leaves a store that opens.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..errors import FormatError
from ..progress import Progress
from . import _ngff, _stores
from ._stores import is_url, writing

__all__ = [
    "LabelsGroup",
    "PlateImage",
    "create_labels",
    "is_url",
    "label_names",
    "open_labels",
    "plate_images",
    "writing",
]

CHUNK = 512
_BLOCK = 1024
_REMOVED = ".removed-"


class LabelsGroup:
    """One label image of an OME-Zarr store; from `create_labels` or `open_labels`.

    It pickles as its place: another process opens the same store again.

    Parameters
    ----------
    path : str
        Absolute path or URL of the label group.
    mode : str
        "r", or "r+" to write.
    """

    def __init__(self, path: str, mode: str = "r") -> None:
        self.path = path
        self.mode = mode
        group = self.group
        try:
            self._first: dict[str, Any] = dict(_ngff.ome_attributes(group)["multiscales"][0])
            self.array: Any = group[self._first["datasets"][0]["path"]]
            ndim = len(self.array.shape)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise FormatError(f"{path} has damaged OME-Zarr metadata: {error}") from error
        self._placement = _ngff.read_placement(self._first, ndim, path)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.mode)

    def __repr__(self) -> str:
        return f"LabelsGroup({self.path!r}, {self.axes} {self.shape} {self.array.dtype})"

    @property
    def group(self) -> Any:
        """The `zarr.Group`, opened anew: attributes are those of this moment."""
        node = _stores.open_node(self.path, mode=self.mode)
        if node is None or not hasattr(node, "array_keys"):
            raise FormatError(f"{self.path} is not a label image, or is not there any more.")
        return node

    @property
    def name(self) -> str:
        """Name of the labels in their store."""
        return self.path.split("::")[0].replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the full resolution."""
        return tuple(int(n) for n in self.array.shape)

    @property
    def axes(self) -> str:
        """A letter for each dimension."""
        return self._placement.axes

    @property
    def scale(self) -> tuple[float, ...]:
        """Pixel size along each dimension."""
        return self._placement.scale

    @property
    def units(self) -> tuple[str | None, ...]:
        """Unit of each pixel size; None where unknown."""
        return self._placement.units

    @property
    def levels(self) -> tuple[Any, ...]:
        """The pyramid as its metadata has it at this moment, full resolution first."""
        group = self.group
        datasets = _ngff.ome_attributes(group)["multiscales"][0]["datasets"]
        return (self.array, *(group[each["path"]] for each in datasets[1:]))

    def build_pyramid(
        self, min_side: int = 256, *, resume: bool = False
    ) -> Generator[Progress, None, None]:
        """Make the reduced levels, each with every second row and column of the one before.

        Block by block, so memory is bounded. A level enters the metadata when it is complete.

        Parameters
        ----------
        min_side : int
            The last level is the first with no more rows and columns than this.
        resume : bool
            Keep the levels that are complete, for labels that have not changed since. Otherwise
            all are made anew, and until then are not in the metadata.

        Yields
        ------
        Progress
            After each block.

        Raises
        ------
        FormatError
            If the store cannot be written.
        """
        if min_side < 1:
            raise FormatError(f"min_side is at least 1 pixel, not {min_side}")
        shapes = [self.shape]
        while max(shapes[-1][-2:]) > min_side:
            *others, rows, cols = shapes[-1]
            shapes.append((*others, -(-rows // 2), -(-cols // 2)))
        kept = min(len(self.levels), len(shapes)) if resume else 1
        chunks = tuple(int(n) for n in self.array.chunks)
        plans = [list(_blocks(shape, chunks)) for shape in shapes[kept:]]
        done, total = 0, sum(len(plan) for plan in plans)
        with writing(self.path):
            if len(self.levels) != kept:
                self._publish(kept)
        for level, plan in enumerate(plans, start=kept):
            with writing(self.path):
                source = self.array if level == 1 else self.group[str(level - 1)]
                target = _create_array(
                    self.group, str(level), shapes[level], self.array.dtype, chunks, self.axes
                )
            for block in plan:
                with writing(self.path):
                    reduce_block(source, target, block)
                done += 1
                yield Progress(done, total, message="making the pyramid of the labels")
            with writing(self.path):
                self._publish(level + 1)

    def update_pyramid(self, region: Sequence[slice]) -> None:
        """Bring the reduced levels up to date where level 0 was changed.

        Parameters
        ----------
        region : sequence of slice
            Of level 0, one with start and stop for each dimension. Small: it is read at once.

        Raises
        ------
        FormatError
            If the store cannot be written.
        """
        levels = self.levels
        block = tuple(region)
        for source, target in pairwise(levels):
            rows, cols = (slice(s.start // 2, -(-s.stop // 2)) for s in block[-2:])
            block = (*block[:-2], rows, cols)
            with writing(self.path):
                reduce_block(source, target, block)

    def _publish(self, levels: int) -> None:
        group = self.group
        zarr_format = group.metadata.zarr_format
        name = str(self._first.get("name") or self.name)
        fields = {"multiscales": _ngff.multiscales(zarr_format, name, self._placement, levels)}
        _ngff.update_ome(group, fields)
        _reconsolidate(_image_of(self.path))


def reduce_block(source: Any, target: Any, block: Sequence[slice]) -> None:
    """Fill a block of a reduced level from the level before it."""
    wide = [
        slice(2 * s.start, min(2 * s.stop, int(n)))
        for s, n in zip(block[-2:], source.shape[-2:], strict=True)
    ]
    target[tuple(block)] = source[(*block[:-2], *wide)][..., ::2, ::2]


def _blocks(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Blocks of whole chunks, so that each chunk is written once."""
    steps = [*chunks[:-2], *(max(n, _BLOCK // n * n) for n in chunks[-2:])]
    counts = [-(-size // step) for size, step in zip(shape, steps, strict=True)]
    for index in np.ndindex(*counts):
        yield tuple(
            slice(i * step, min((i + 1) * step, size))
            for i, step, size in zip(index, steps, shape, strict=True)
        )


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
    """Make an empty label image in an OME-Zarr store.

    Parameters
    ----------
    destination : str or Path
        Path or URL of an OME-Zarr image, which gets the labels in its own Zarr format, beside
        labels it has already; or of a store that is then made.
    name : str
        Of the labels.
    shape : sequence of int
    axes : str
        A letter for each dimension, out of T, Q (a stack of no known kind), Z, Y, X.
    dtype : dtype
        Of the ids, any integer one.
    chunks : sequence of int, optional
        512 rows and columns of one plane by default.
    scale, units : sequence, optional
        Pixel size along each dimension, and its unit. Those of the image if it has them.
    source : str, optional
        The image that was segmented, if it lies elsewhere.
    zarr_format : int, optional
        2 (OME-Zarr 0.4) or 3 (OME-Zarr 0.5, the default) for a new store.
    overwrite : bool
        Replace labels of that name.

    Returns
    -------
    LabelsGroup
        To be written to; level 0 only, filled with 0 and without any chunk.

    Raises
    ------
    FormatError
        If there are labels of that name, the place holds something else or cannot be written,
        or axes do not fit.
    """
    size = tuple(int(n) for n in shape)
    letters = _ngff.check_label_axes(axes, size)
    kind = np.dtype(dtype)
    if kind.kind not in "ui" or 0 in size:
        raise FormatError(f"Labels are integers and have pixels; got {kind}, shape {size}.")
    if not name or "/" in name or "\\" in name or name.startswith("."):
        raise FormatError(f"'{name}' is no name for labels: leave out slashes and a first dot.")
    pieces = _chunks(size, chunks)
    location = _stores.locate(destination)
    found, inside = _existing(location)
    form = _format(found, zarr_format, location)
    place = _placement(found, inside, letters, scale, units, location)
    path = _stores.join(location, "labels", name)
    taken = _stores.open_node(path)
    if taken is not None and not overwrite and not _unfinished(taken):
        raise FormatError(
            f"{location} has labels '{name}' already; choose another name, or overwrite them."
        )
    with writing(location):
        if found is None:
            import zarr

            zarr.create_group(_stores.open_store(location, read_only=False), zarr_format=form)  # type: ignore[arg-type]
        _remove(path)
        root = _stores.open_node(location, mode="r+")
        # the array first: a group that has its metadata always has its pixels
        _create_array(root, f"labels/{name}/0", size, kind, pieces, letters)
        image_label: dict[str, Any] = {}
        if source is not None or inside is not None:
            image_label["source"] = {"image": "../../" if source is None else str(source)}
        fields = {
            "multiscales": _ngff.multiscales(form, name, place, 1),
            "image-label": _ngff.with_version(form, image_label),
        }
        _ngff.update_ome(root.require_group(f"labels/{name}"), fields)
        _register(path)
        _reconsolidate(location)
    return LabelsGroup(path, "r+")


def open_labels(destination: str | Path, name: str | None = None, mode: str = "r") -> LabelsGroup:
    """Open labels of an OME-Zarr store.

    Parameters
    ----------
    destination : str or Path
        Path or URL of an image or store with labels, or of the label group itself.
    name : str, optional
        Which labels; may be left out where there is but one.
    mode : str
        "r" to read, "r+" or "a" to write.

    Raises
    ------
    FormatError
        If there are no such labels, or several and no name.
    """
    if mode not in ("r", "r+", "a"):
        raise FormatError(f"mode is 'r', 'r+' or 'a', not {mode!r}")
    mode = "r" if mode == "r" else "r+"
    location = _stores.locate(destination)
    node = _stores.open_node(location)
    if node is None:
        raise FormatError(f"{location} does not exist, or is no Zarr store.")
    if not hasattr(node, "array_keys"):
        raise FormatError(f"{location} is a Zarr array, not an OME-Zarr store with labels.")
    if name is None and "image-label" in _ngff.ome_attributes(node):
        path = location
    else:
        names = _names(location, node)
        if name is None:
            if len(names) != 1:
                what = f"has the labels {', '.join(names)}: name one" if names else "has no labels"
                raise FormatError(f"{location} {what}.")
            name = names[0]
        path = _stores.join(location, *_prefix(node), name)
        found = _stores.open_node(path)
        if found is None or "multiscales" not in _ngff.ome_attributes(found):
            has = f"it has {', '.join(names)}" if names else "it has none"
            raise FormatError(f"{location} has no labels '{name}'; {has}.")
    labels = LabelsGroup(path, mode)
    if mode != "r" and path != location:
        with writing(location):  # a process killed while it made them may have left them out
            _register(path)
    return labels


def label_names(destination: str | Path) -> list[str]:
    """Names of the labels in an OME-Zarr store; empty if it has none, or is no Zarr store."""
    location = _stores.locate(destination)
    node = _stores.open_node(location)
    return [] if node is None or not hasattr(node, "array_keys") else _names(location, node)


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
        Empty if it is neither.

    Raises
    ------
    FormatError
        If the metadata is damaged, or a well that it names is missing.
    """
    location = _stores.locate(source)
    node = _stores.open_node(location)
    if node is None or not hasattr(node, "array_keys"):
        return []
    attributes = _ngff.ome_attributes(node)
    try:
        if "well" in attributes:
            parts = location.replace("\\", "/").rstrip("/").rsplit("/", 2)
            return _fields(attributes["well"], location, "/".join(parts[-2:]))
        if "plate" not in attributes:
            return []
        images = []
        for entry in attributes["plate"]["wells"]:
            well = str(entry["path"]).strip("/")
            place = _stores.join(location, well)
            found = _stores.open_node(place)
            if found is None:
                raise FormatError(f"{location}: well {well} is named but missing.")
            images += _fields(_ngff.ome_attributes(found)["well"], place, well)
        return images
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{location} has damaged plate metadata: {error}") from error


def _fields(well: Any, location: str, name: str) -> list[PlateImage]:
    row, _, column = name.rpartition("/")
    fields = [str(image["path"]).strip("/") for image in well["images"]]
    return [PlateImage(_stores.join(location, f), row, column, f, name) for f in fields]


# -- making labels -------------------------------------------------------------------------------


def _existing(location: str) -> tuple[Any, Any]:
    """The group that is at a place, and its first multiscales entry; None where there is none."""
    node = _stores.open_node(location)
    if node is None:
        local = None if is_url(location) else Path(location)
        if local is not None and local.exists() and (local.is_file() or any(local.iterdir())):
            raise FormatError(f"{location} exists and is no Zarr store; choose another name.")
        return None, None
    if not hasattr(node, "array_keys"):
        raise FormatError(
            f"{location} is a plain Zarr array, which has no place for labels; "
            "name another store for them."
        )
    attributes = _ngff.ome_attributes(node)
    if "plate" in attributes or "well" in attributes:
        raise FormatError(f"{location} is a plate of many images; name one of them.")
    if "image-label" in attributes or "labels" in attributes:
        raise FormatError(f"{location} holds labels itself; name the image they belong to.")
    scales = attributes.get("multiscales")
    return node, scales[0] if scales else None


def _format(found: Any, wanted: int | None, location: str) -> int:
    if wanted not in (None, 2, 3):
        raise FormatError(f"zarr_format is 2 or 3, not {wanted}")
    if found is None:
        return 3 if wanted is None else wanted
    form = int(found.metadata.zarr_format)
    if wanted not in (None, form):
        raise FormatError(f"{location} has Zarr format {form}; its labels need the same.")
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
    return _ngff.Placement(
        axes,
        place.scale if scale is None else tuple(float(s) for s in scale),
        place.translation,
        place.units if units is None else tuple(units),
    )


def _unfinished(node: Any) -> bool:
    """Whether this is what a process left that was killed while it made labels."""
    if not hasattr(node, "array_keys") or "multiscales" in _ngff.ome_attributes(node):
        return False
    return "0" not in node or int(node["0"].nchunks_initialized) == 0


def _chunks(shape: tuple[int, ...], chunks: Sequence[int] | None) -> tuple[int, ...]:
    if chunks is None:
        chunks = (*(1 for _ in shape[:-2]), CHUNK, CHUNK)
    if len(chunks) != len(shape) or min(chunks) < 1:
        raise FormatError(f"chunks {tuple(chunks)} do not fit labels of shape {shape}.")
    return tuple(min(int(c), n) for c, n in zip(chunks, shape, strict=True))


def _create_array(
    group: Any,
    name: str,
    shape: Sequence[int],
    dtype: Any,
    chunks: Sequence[int],
    axes: str,
) -> Any:
    options: dict[str, Any]
    if group.metadata.zarr_format == 2:
        from numcodecs import Blosc  # type: ignore[import-untyped]

        options = {
            "compressors": Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE),
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
        }
    else:
        from zarr.codecs import BloscCodec

        options = {
            "compressors": BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
            "dimension_names": tuple(a.lower() for a in axes),
        }
    return group.create_array(
        name,
        shape=tuple(shape),
        dtype=dtype,
        chunks=tuple(min(c, n) for c, n in zip(chunks, shape, strict=True)),
        fill_value=0,
        overwrite=True,
        **options,
    )


def _register(path: str) -> None:
    """Put labels into the list that their `labels` group has."""
    parent, name = _split(path)
    for _ in range(3):  # another process may be adding its own at the same moment
        group = _stores.open_node(parent, mode="r+")
        if group is None:
            return
        names = list(_ngff.ome_attributes(group).get("labels") or [])
        if name in names:
            return
        _ngff.update_ome(group, {"labels": [*names, name]})


def _remove(path: str) -> None:
    """Remove labels; all of them are gone at once, where the file system can do that."""
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


def _reconsolidate(location: str | None) -> None:
    """Bring consolidated metadata up to date, in a store that has it."""
    if location is None:
        return
    import warnings

    import zarr

    store = _stores.open_store(location, read_only=False)
    try:
        group = zarr.open_group(store, mode="r")
    except (OSError, ValueError):
        return
    if group.metadata.consolidated_metadata is not None:
        with warnings.catch_warnings():  # Zarr format 3 has no finished text about it
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(store)


# -- finding labels ------------------------------------------------------------------------------


def _prefix(node: Any) -> tuple[str, ...]:
    """Where labels lie below a group: nowhere, if it is the `labels` group itself."""
    return () if "labels" in _ngff.ome_attributes(node) else ("labels",)


def _names(location: str, node: Any) -> list[str]:
    group = node
    if _prefix(node):
        group = _stores.open_node(_stores.join(location, "labels"))
        if group is None or not hasattr(group, "array_keys"):
            return []
    return [str(name) for name in _ngff.ome_attributes(group).get("labels") or []]


def _split(path: str) -> tuple[str, str]:
    first, chain, rest = path.partition("::") if is_url(path) else (path, "", "")
    parent, _, name = first.replace("\\", "/").rstrip("/").rpartition("/")
    return f"{parent}{chain}{rest}", name


def _image_of(path: str) -> str | None:
    """The image (or store) that labels at a path belong to; None if they stand alone."""
    labels, _ = _split(path)
    image, name = _split(labels)
    return image if name == "labels" else None
