"""Embeddings kept in memory and on disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ParameterError
from ..network import EncoderOutput
from .embedding import EmbeddingStore

_VERSION = 1
WINDOWS = "windows"
"""Folder beside the embeddings that lists the windows embedded ahead."""
_SUFFIX = ".zarr"
_TEMPORARY = ".tmp"
_STALE_SECONDS = 3600.0


class CacheWarning(UserWarning):
    """An embedding could not be kept on disk; the result is not affected."""


def signature(pixels: np.ndarray, **fields: Any) -> str:
    """Return the key of an embedding: hex digest of the pixels read and of what else matters.

    Parameters
    ----------
    pixels : array
        The window's pixels as read, before any scaling.
    **fields
        Plain values: the image's shape, level, window, channels, contrast limits, the model's
        fingerprint and precision.
    """
    head = {"version": _VERSION, "pixels": [pixels.shape, pixels.dtype.str], **fields}
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(pixels).view(np.uint8).data)
    return digest.hexdigest()[:40]


class EmbeddingCache:
    """Embeddings in memory, and on disk if a directory is given.

    Both drop the least recently used embeddings when they are full. On disk an embedding is a Zarr
    group of half-precision arrays. It is written under a temporary name and renamed when it is
    complete, so several processes may share a directory and any of them may be killed. Threads
    may share a cache.

    Parameters
    ----------
    directory : path, optional
        Where to keep embeddings between sessions; created if needed.
    memory_bytes : int
        Bound of the part in memory (on the device); 0 for none.
    disk_bytes : int
        Bound of the directory.

    Raises
    ------
    ParameterError
        If a bound is negative.
    """

    def __init__(
        self,
        directory: str | Path | None = None,
        memory_bytes: int = 1 << 30,
        disk_bytes: int = 10 << 30,
    ) -> None:
        if memory_bytes < 0 or disk_bytes < 0:
            raise ParameterError("the bounds of a cache cannot be negative")
        self.directory = None if directory is None else Path(directory).expanduser()
        self.memory_bytes = memory_bytes
        self.disk_bytes = disk_bytes
        self._memory = EmbeddingStore[str, EncoderOutput](memory_bytes)
        self._disk_used: int | None = None
        self._lock = threading.Lock()

    def get(self, key: str, device: torch.device | str = "cpu") -> EncoderOutput | None:
        """Return an embedding; None if it is not there, or was damaged and has been dropped."""
        found = self._memory.find(key)
        if found is not None or self.directory is None:
            return found
        path = self._path(key)
        before = _identity(path)
        if before is None:
            return None
        try:
            output = _read(path, torch.device(device))
            os.utime(path)
        except Exception as error:  # damage raises almost anything: JSON, codec, shape errors
            if _identity(path) == before:  # not dropped or replaced by another process meanwhile
                warnings.warn(
                    f"dropping a damaged embedding from the cache: {path} ({error})",
                    CacheWarning,
                    stacklevel=2,
                )
                self._drop(path)
            return None
        self._remember(key, output)
        return output

    def has(self, key: str) -> bool:
        """Return whether an embedding is kept (on disk, if there is a directory); a use of it."""
        if self.directory is None:
            return self._memory.find(key) is not None
        try:
            os.utime(self._path(key))
        except OSError:
            return False
        return True

    def put(self, key: str, output: EncoderOutput) -> EncoderOutput:
        """Keep an embedding; return it as it will be given back.

        With a directory it is rounded to half precision. A full or read-only disk only gives a
        `CacheWarning`.
        """
        if self.directory is not None:
            arrays = _arrays(output)
            output = _from_arrays(arrays, output.embedding.device)
            try:
                self._write(key, arrays)
            except OSError as error:
                warnings.warn(
                    f"embeddings cannot be kept in {self.directory}: {error}",
                    CacheWarning,
                    stacklevel=2,
                )
        self._remember(key, output)
        return output

    def clear(self) -> None:
        """Drop everything, in memory and on disk."""
        self._memory.clear()
        with self._lock:
            self._disk_used = None
        for path in list(self._entries()):
            self._drop(path)
        if self.directory is not None:
            shutil.rmtree(self.directory / WINDOWS, ignore_errors=True)

    @property
    def memory_used(self) -> int:
        """Bytes in memory."""
        return self._memory.used

    def disk_used(self) -> int:
        """Count the bytes on disk."""
        return sum(_size(path) for path in self._entries())

    def __len__(self) -> int:
        """Return the number of embeddings in memory or on disk."""
        return len({path.stem for path in self._entries()} | set(self._memory))

    def _path(self, key: str) -> Path:
        if self.directory is None:
            raise ParameterError("this cache has no directory")
        return self.directory / f"{key}{_SUFFIX}"

    def _entries(self) -> Iterator[Path]:
        if self.directory is not None and self.directory.is_dir():
            yield from self.directory.glob(f"*{_SUFFIX}")

    def _remember(self, key: str, output: EncoderOutput) -> None:
        if output.nbytes <= self.memory_bytes:
            self._memory.put(key, output)

    def _write(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        path = self._path(key)
        if path.is_dir() or sum(a.nbytes for a in arrays.values()) > self.disk_bytes:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f"{key}.{os.getpid()}-{uuid.uuid4().hex[:8]}{_TEMPORARY}"
        try:
            _write_group(temporary, arrays)
            size = _size(temporary)
            try:
                temporary.rename(path)
            except OSError:
                if not path.is_dir():
                    raise
                return  # another process was faster
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        with self._lock:
            if self._disk_used is not None:
                self._disk_used += size
            full = self._disk_used is None or self._disk_used > self.disk_bytes
        if full:
            self._make_room(keep=path)

    def _make_room(self, keep: Path) -> None:
        """Measure what is on disk, and drop the least recently used until it fits."""
        self._sweep()
        found = []
        for path in self._entries():
            try:
                found.append((path.stat().st_mtime, _size(path), path))
            except OSError:  # dropped by another process meanwhile
                continue
        used = sum(size for _, size, _ in found)
        if used > self.disk_bytes:
            # a tenth more than needed, so that not every write has to measure again
            for _, size, path in sorted(found):
                if used <= 0.9 * self.disk_bytes:
                    break
                if path != keep:
                    self._drop(path)
                    used -= size
        with self._lock:
            self._disk_used = used

    def _sweep(self) -> None:
        """Remove what killed processes left behind."""
        if self.directory is None:
            return
        for path in self.directory.glob(f"*{_TEMPORARY}"):
            try:
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
            except OSError:
                continue

    def _drop(self, path: Path) -> None:
        # renamed first: other processes see all of it or nothing
        doomed = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:8]}{_TEMPORARY}")
        try:
            path.rename(doomed)
        except OSError:
            return
        shutil.rmtree(doomed, ignore_errors=True)


def _identity(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _size(path: Path) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total


def _arrays(output: EncoderOutput) -> dict[str, np.ndarray]:
    """Return features and heads in half precision where their range allows it."""
    result = {}
    for name, tensor in (("features", output.embedding), *output.heads.items()):
        values = tensor.detach().float().cpu().numpy()
        if np.abs(values).max(initial=0) < np.finfo(np.float16).max:
            values = values.astype(np.float16)
        result[name if name == "features" else f"heads.{name}"] = values
    return result


def _from_arrays(arrays: dict[str, np.ndarray], device: torch.device) -> EncoderOutput:
    tensors: dict[str, Tensor] = {
        name: torch.from_numpy(values.astype(np.float32)).to(device)
        for name, values in arrays.items()
    }
    heads = {
        name.removeprefix("heads."): tensor
        for name, tensor in tensors.items()
        if name != "features"
    }
    return EncoderOutput(tensors["features"], heads)


def _write_group(path: Path, arrays: dict[str, np.ndarray]) -> None:
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec

    group = zarr.create_group(store=str(path), zarr_format=3)
    for name, values in arrays.items():
        group.create_array(
            name,
            data=values,
            chunks=values.shape,
            compressors=[
                BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
                Crc32cCodec(),
            ],
            config={"write_empty_chunks": True},  # a missing chunk then always is damage
        )
    group.attrs["arrays"] = sorted(arrays)
    group.attrs["complete"] = True


def _read(path: Path, device: torch.device) -> EncoderOutput:
    import zarr

    group = zarr.open_group(store=str(path), mode="r")
    if group.attrs.get("complete") is not True:
        raise ValueError("not complete")
    names = group.attrs["arrays"]
    arrays = {}
    for name in names:  # type: ignore[union-attr]
        array = group[str(name)]
        if array.nchunks_initialized != array.nchunks:  # type: ignore[union-attr]
            raise ValueError(f"{name} lacks chunks")
        arrays[str(name)] = np.asarray(array[...])  # type: ignore[index]
    return _from_arrays(arrays, device)
