"""Detect changes of stored pixels without reading them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

Slices = Sequence[slice]

_AT_ONCE = 64
_CHANGING = (
    "etag", "content-md5", "content_md5", "md5hash", "digest", "crc", "generation",
    "last-modified", "lastmodified", "last_modified", "modified", "mtime",
)  # fmt: skip
"""Entries of fsspec's file information that differ after a change."""


def region_marks(array: Any, files: Iterable[Path], regions: Sequence[Slices]) -> list[int]:
    """Return a number for each region of an image, which changes when the region is written.

    It is a hash of size, modification and change time of the files that contain the region: the
    chunks of a local Zarr array, or `files`. For a Zarr array on a server, it is a hash of what
    the server reports for each chunk: size and ETag, checksum or time.

    Parameters
    ----------
    array : array-like
        The full resolution of the image.
    files : iterable of Path
        The files of the image, if it is not a Zarr store.
    regions : sequence of sequence of slice
        With start and stop for each dimension of the array.

    Returns
    -------
    list of int
        0 where nothing is known: arrays in memory, Dask arrays, servers without such information.
    """
    import zarr
    from zarr.storage import FsspecStore, LocalStore

    several = [os.fspath(path) for path in files]
    if several:
        return [_mark([_stat(path) for path in several])] * len(regions)
    if not isinstance(array, zarr.Array):
        return [0] * len(regions)
    keys = [_chunk_keys(array, region) for region in regions]
    wanted = sorted({key for each in keys for key in each})
    store: Any = array.store
    if isinstance(store, LocalStore):
        root = Path(store.root, array.path)
        known = {key: _stat(root / key) for key in wanted}
    elif isinstance(store, FsspecStore):
        known = dict(zip(wanted, _ask(store, array.path, wanted), strict=True))
    else:
        return [0] * len(regions)
    described = array.metadata.to_dict()
    described.pop("attributes", None)
    meaning = json.dumps(described, default=str, sort_keys=True)
    return [_mark([known[key] for key in each], meaning, each) for each in keys]


def pixel_hash(pixels: np.ndarray) -> int:
    """Return a hash of pixels, the same on every machine."""
    little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return xxhash.xxh3_64_intdigest(little.reshape(-1).view(np.uint8).data)


def _mark(told: Sequence[Any], *context: Any) -> int:
    if None in told:
        return 0
    return xxhash.xxh3_64_intdigest(repr((told, *context)).encode()) or 1


def _chunk_keys(array: Any, region: Slices) -> list[str]:
    """Keys of the chunks that a region overlaps."""
    sides = array.shards or array.chunks
    spans = [
        range(part.start // side, -(-part.stop // side))
        for part, side in zip(region, sides, strict=True)
    ]
    return [array.metadata.encode_chunk_key(place) for place in product(*spans)]


def _stat(path: str | Path) -> tuple[int, ...] | str | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return "absent"
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _ask(store: Any, inside: str, keys: list[str]) -> list[Any]:
    """Request file information for many keys at once; None where there is none."""
    from zarr.core.sync import sync

    store.fs.invalidate_cache()
    before = "/".join(part.strip("/") for part in (inside,) if part)
    root = f"{store.path.rstrip('/')}/{before}".rstrip("/")

    async def all_of_them() -> list[Any]:
        free = asyncio.Semaphore(_AT_ONCE)

        async def one(key: str) -> Any:
            async with free:
                try:
                    return _told(await store.fs._info(f"{root}/{key}"))
                except FileNotFoundError:
                    return "absent"
                except Exception:  # servers fail in many ways; pixels are compared then
                    return None

        return await asyncio.gather(*(one(key) for key in keys))

    return list(sync(all_of_them()))


def _told(info: dict[str, Any]) -> tuple[Any, ...] | None:
    fields = {str(name).lower(): value for name, value in info.items()}
    marks = [(name, str(fields[name])) for name in _CHANGING if fields.get(name)]
    return (fields.get("size"), *marks) if marks else None
