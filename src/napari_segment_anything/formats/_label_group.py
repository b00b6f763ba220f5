"""One label image of an OME-Zarr store, and its reduced levels."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from ..progress import Progress
from . import _ngff, _stores
from ._stores import store_errors

_BLOCK = 1024
_AT_ONCE = 4
"""Blocks of a level that are made at a time."""
_OWN = "napari-segment-anything"
"""Attribute of labels that is not part of OME-Zarr."""


class LabelsGroup:
    """One label image of an OME-Zarr store; from `create_labels` or `open_labels`.

    Pickling keeps the path; another process opens the same store again.

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
        self._first, levels, self._placement = _ngff.open_levels(self.group, path, 1)
        self.array: Any = levels[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.mode)

    def __repr__(self) -> str:
        return f"LabelsGroup({self.path!r}, {self.axes} {self.shape} {self.array.dtype})"

    @property
    def group(self) -> Any:
        """The `zarr.Group`, opened again on each access, so that attributes are current."""
        node = _stores.open_group(self.path, mode=self.mode)
        if node is None:
            raise FormatError(f"{self.path} is not a label image, or no longer exists.")
        return node

    @property
    def name(self) -> str:
        """Name of the labels in their store."""
        return _stores.split(self.path)[1]

    @property
    def store(self) -> str:
        """Path or URL of the store that contains the labels."""
        return _stores.split(_stores.split(self.path)[0])[0]

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
    def complete(self) -> bool:
        """Whether the labels are finished; those of other programs always are."""
        return is_complete(self.group)

    def mark(self, complete: bool) -> None:
        """Store whether the labels are complete; called by `create_labels` and `build_pyramid`."""
        with store_errors(self.path):
            self.group.attrs.update({_OWN: {"complete": complete}})

    @property
    def levels(self) -> tuple[Any, ...]:
        """The pyramid according to the current metadata, full resolution first."""
        group = self.group
        datasets = _ngff.ome_attributes(group)["multiscales"][0]["datasets"]
        return (self.array, *(group[each["path"]] for each in datasets[1:]))

    def build_pyramid(
        self, min_side: int = 256, *, resume: bool = False
    ) -> Generator[Progress, None, None]:
        """Make the reduced levels, each with every second row and column of the one before.

        Levels are made block by block, so memory is bounded. A level is added to the metadata when
        it is complete. After the last one, the labels are marked as complete.

        Parameters
        ----------
        min_side : int
            Reduction ends at the first level with no more rows and columns than this. Labels of
            an image with several levels get as many as the image, as OME-Zarr requires.
        resume : bool
            Keep levels that are complete, for labels that have not changed since. Otherwise all
            levels are removed from the metadata and made again.

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
        count = self._levels_of_image()
        while len(shapes) < count if count > 1 else max(shapes[-1][-2:]) > min_side:
            *others, rows, cols = shapes[-1]
            shapes.append((*others, -(-rows // 2), -(-cols // 2)))
        kept = min(len(self.levels), len(shapes)) if resume else 1
        chunks = tuple(int(n) for n in self.array.chunks)
        plans = [list(_blocks(shape, chunks)) for shape in shapes[kept:]]
        done, total = 0, sum(len(plan) for plan in plans)
        with store_errors(self.path):
            if len(self.levels) != kept:
                self._publish(kept)
        for level, plan in enumerate(plans, start=kept):
            with store_errors(self.path):
                source = self.array if level == 1 else self.group[str(level - 1)]
                target = create_array(
                    self.group, str(level), shapes[level], self.array.dtype, chunks, self.axes
                )
            pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="pyramid")
            try:
                made = pool.map(partial(reduce_block, source, target), plan)
                for _ in plan:
                    with store_errors(self.path):
                        next(made)
                    done += 1
                    yield Progress(done, total, message="building the label pyramid")
            finally:
                pool.shutdown(cancel_futures=True)
            with store_errors(self.path):
                self._publish(level + 1)
        self.mark(complete=True)

    def update_pyramid(self, region: Sequence[slice]) -> None:
        """Update the reduced levels where level 0 was changed.

        Parameters
        ----------
        region : sequence of slice
            Region of level 0, with start and stop for each dimension. It is read in one piece.

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
            with store_errors(self.path):
                reduce_block(source, target, block)

    def _levels_of_image(self) -> int:
        """Number of levels of the image that the labels belong to; 0 if there is none."""
        image, inside = _stores.split(_stores.split(self.path)[0])
        root = _stores.open_group(image) if inside == "labels" else None
        if root is None:
            return 0
        scales = _ngff.ome_attributes(root).get("multiscales")
        if not scales or _ngff.only_labels(scales[0]):
            return 0
        return len(scales[0].get("datasets", ()))

    def _publish(self, levels: int) -> None:
        group = self.group
        zarr_format = group.metadata.zarr_format
        name = str(self._first.get("name") or self.name)
        fields = {"multiscales": _ngff.multiscales(zarr_format, name, self._placement, levels)}
        _ngff.update_ome(group, fields)
        labels, _ = _stores.split(self.path)
        image, inside = _stores.split(labels)
        if inside == "labels":
            show_labels(image)
            reconsolidate(image)


def reduce_block(source: Any, target: Any, block: Sequence[slice]) -> None:
    """Compute a block of a reduced level from the level before it."""
    wide = [
        slice(2 * s.start, min(2 * s.stop, int(n)))
        for s, n in zip(block[-2:], source.shape[-2:], strict=True)
    ]
    try:
        pixels = source[(*block[:-2], *wide)]
    except MemoryError:
        raise
    except Exception as error:  # codecs raise many kinds for damaged chunks
        place = ", ".join(f"{s.start}:{s.stop}" for s in (*block[:-2], *wide))
        raise FormatError(
            f"labels {source.store}/{source.path} cannot be read at [{place}]: "
            f"{_stores.line(error)}. The chunk is damaged: remove it or write it again."
        ) from error
    target[tuple(block)] = pixels[..., ::2, ::2]


def _blocks(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Blocks made of whole chunks, so that each chunk is written once."""
    steps = [*chunks[:-2], *(max(n, _BLOCK // n * n) for n in chunks[-2:])]
    counts = [-(-size // step) for size, step in zip(shape, steps, strict=True)]
    for index in np.ndindex(*counts):
        yield tuple(
            slice(i * step, min((i + 1) * step, size))
            for i, step, size in zip(index, steps, shape, strict=True)
        )


def create_array(
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


def is_complete(node: Any) -> bool:
    """Whether labels are not marked as incomplete."""
    own = dict(node.attrs).get(_OWN)
    return not isinstance(own, Mapping) or own.get("complete") is not False


def listed(location: str) -> list[str]:
    """Return the names that a `labels` group lists."""
    group = _stores.open_group(location)
    if group is None:
        return []
    names = _ngff.ome_attributes(group).get("labels") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FormatError(f"{location} has damaged OME-Zarr metadata: its labels are {names!r:.60}")
    return names


def label_names(destination: str | Path) -> list[str]:
    """Names of the labels in an OME-Zarr store; empty if it has none, or is no Zarr store."""
    location = _stores.locate(destination)
    group = _stores.open_group(location)
    return [] if group is None else listed(_stores.join(location, *labels_prefix(group)))


def labels_prefix(group: Any) -> tuple[str, ...]:
    """Where labels lie below a group: nowhere, if it is the `labels` group itself."""
    return () if "labels" in _ngff.ome_attributes(group) else ("labels",)


def show_labels(location: str) -> None:
    """Let other programs open a store without an image, as its first labels.

    Other programs look for an image at the root of a store. The metadata written there refers to
    the levels of the labels; no pixels are duplicated.
    """
    root = _stores.open_group(location, mode="r+")
    if root is None:
        return
    scales = _ngff.ome_attributes(root).get("multiscales")
    if scales and not _ngff.only_labels(scales[0]):
        return
    with warnings.catch_warnings():  # other files in the store
        warnings.simplefilter("ignore")
        if not scales and set(root.keys()) != {"labels"}:
            return
    for name in listed(_stores.join(location, "labels")):
        found = root.get(f"labels/{name}")
        own = None if found is None else _ngff.ome_attributes(found).get("multiscales")
        if own:
            levels = [
                {**each, "path": f"labels/{name}/{each['path']}"} for each in own[0]["datasets"]
            ]
            _ngff.update_ome(root, {"multiscales": [{**own[0], "datasets": levels}]})
            return


def reconsolidate(location: str) -> None:
    """Update the consolidated metadata of a store that has it."""
    import zarr

    store = _stores.open_store(location, read_only=False)
    try:
        group = zarr.open_group(store, mode="r")
    except (OSError, ValueError):
        return
    if group.metadata.consolidated_metadata is not None:
        with warnings.catch_warnings():  # not yet part of the specification of Zarr format 3
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(store)
