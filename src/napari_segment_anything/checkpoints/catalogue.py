"""Models with a name, read from `catalogue.toml`."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import CheckpointError


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A published file, with its size and hash.

    Parameters
    ----------
    file : str
        Its name in the cache directory.
    source : str
        Where it is published.
    hash_kind, hash : str
        ``"sha256"`` or ``"xxh128"``, and the hexadecimal digest; both empty if no hash is
        known.
    size : int or None
        Bytes, where known.
    """

    file: str
    source: str
    hash_kind: str = ""
    hash: str = ""
    size: int | None = None

    @property
    def checked(self) -> str:
        """What the file is checked against, in words."""
        if self.hash_kind == "sha256":
            return "SHA-256"
        if self.hash_kind:
            return (
                f"{self.hash_kind}, which detects damage but not forgery; no SHA-256 is published"
            )
        return "its format only; no hash is known"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model with a name.

    Parameters
    ----------
    name, architecture : str
        Its name, and that of its architecture: ``"vit_b"``, ``"vit_t"``, ``"micro"`` and so on.
    description : str
        Its purpose, in a sentence.
    licence, citation : str
        Licence of the weights (an SPDX identifier), and what to cite.
    checkpoint : RemoteFile
        The weights.
    decoder : RemoteFile or None
        A separate instance decoder, if the model has one.
    embedded : bool
        Whether the weights are part of the package.
    aliases : tuple of str
        Other names.
    """

    name: str
    architecture: str
    description: str
    licence: str
    citation: str
    checkpoint: RemoteFile
    decoder: RemoteFile | None = None
    embedded: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Name of the checkpoint file in the cache directory."""
        return self.checkpoint.file

    @property
    def source(self) -> str:
        """Where the checkpoint is published; empty for the embedded one."""
        return self.checkpoint.source

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """All files the model needs, the weights first."""
        return (self.checkpoint,) if self.decoder is None else (self.checkpoint, self.decoder)

    @property
    def size(self) -> int | None:
        """Bytes of the checkpoint file, where known."""
        return self.checkpoint.size


@cache
def catalogue() -> MappingProxyType[str, CatalogueEntry]:
    """Return all models with a name.

    Returns
    -------
    mapping of str to CatalogueEntry
        Read-only, in display order.
    """
    text = files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)
    return MappingProxyType({name: _entry(name, row) for name, row in rows.items()})


def about_size(entry: CatalogueEntry) -> tuple[bool, int | None]:
    """Return whether the size of a model's weights is exact, and the size in bytes.

    If the size is not published, it is that of a listed model of the same architecture.
    """
    if entry.embedded:
        path = files(__package__).joinpath("data", entry.file)
        return True, path.stat().st_size if isinstance(path, Path) and path.is_file() else None
    if entry.size is not None:
        return True, entry.size
    same = (e for e in catalogue().values() if e.architecture == entry.architecture)
    return False, next((e.size for e in same if e.size is not None), None)


def find_entry(name: str) -> CatalogueEntry | None:
    """Find a model by its name or an alias; None if there is none."""
    entry = catalogue().get(name)
    if entry is not None:
        return entry
    return next((e for e in catalogue().values() if name in e.aliases), None)


def unknown_name(name: str) -> CheckpointError:
    """Return the error for a name that is neither in the catalogue nor a file."""
    names = list(catalogue())
    known = [*names, *(alias for entry in catalogue().values() for alias in entry.aliases)]
    close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(close)}?" if close else "."
    return CheckpointError(
        f"there is no model named {name!r} and no such file{hint} "
        f"Names are {', '.join(names)}; the path or URL of a SAM checkpoint is accepted as well"
    )


def _entry(name: str, row: dict[str, Any]) -> CatalogueEntry:
    decoder = row.get("decoder")
    return CatalogueEntry(
        name=name,
        architecture=row["architecture"],
        description=row["description"],
        licence=row["licence"],
        citation=row["citation"],
        checkpoint=_remote(row),
        decoder=None if decoder is None else _remote(decoder),
        embedded=row.get("embedded", False),
        aliases=tuple(row.get("aliases", ())),
    )


def _remote(row: dict[str, Any]) -> RemoteFile:
    kind = next((kind for kind in ("sha256", "xxh128") if kind in row), "")
    return RemoteFile(
        file=row["file"],
        source=row["source"],
        hash_kind=kind,
        hash=row.get(kind, ""),
        size=row.get("size"),
    )
