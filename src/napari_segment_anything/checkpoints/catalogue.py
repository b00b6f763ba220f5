"""Models with a name, read from `catalogue.toml`."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import CheckpointError

NATIVE = ("prompt", "everything", "train")
"""What the networks of this package can do."""
ABILITIES = {
    "prompt": "answer points, boxes and masks",
    "everything": "segment everything",
    "memory": "follow objects by memory",
    "words": "find objects by words",
    "examples": "find objects by examples",
    "train": "be trained here",
}
"""What models can do, in words that follow "can"."""


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
        ``"sha256"``, ``"md5"`` or ``"xxh128"``, and the hexadecimal digest; both empty if no
        hash is known.
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
        Licence of the weights (an SPDX identifier, or a name), and what to cite.
    checkpoint : RemoteFile or None
        The weights, if they are one file.
    decoder : RemoteFile or None
        A separate instance decoder, if the model has one.
    embedded : bool
        Whether the weights are part of the package.
    aliases : tuple of str
        Other names.
    group : str
        Heading in lists: ``"Segment Anything"``, ``"Microscopy"`` and so on.
    hub : str
        If the model is a folder on the Hugging Face Hub, its ``"owner/name"``.
    revision : str
        The commit on the hub, if it is pinned.
    gated : bool
        Whether the publisher gives access only on request.
    kind : str
        ``"sam"`` for models that take prompts, ``"detector"`` for those that find boxes by words,
        ``"likeness"`` for those that compare images with words.
    abilities : tuple of str
        What it can do: ``"prompt"``, ``"everything"``, ``"memory"``, ``"words"``,
        ``"examples"``, ``"train"``.
    parameters : int or None
        Number of its parameters, where the size of the files is not published.
    preparation : mapping
        How it takes images, where that differs from SAM and no file says so: fields of `SamConfig`.
    """

    name: str
    architecture: str
    description: str
    licence: str
    citation: str
    checkpoint: RemoteFile | None
    decoder: RemoteFile | None = None
    embedded: bool = False
    aliases: tuple[str, ...] = ()
    group: str = ""
    hub: str = ""
    revision: str = ""
    gated: bool = False
    kind: str = "sam"
    abilities: tuple[str, ...] = NATIVE
    parameters: int | None = None
    preparation: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    def __repr__(self) -> str:
        return f"<CatalogueEntry {self.name}: {self.description}>"

    @property
    def file(self) -> str:
        """Name of the checkpoint file in the cache directory; empty for a folder."""
        return "" if self.checkpoint is None else self.checkpoint.file

    @property
    def source(self) -> str:
        """Where the weights are published; empty for the embedded ones."""
        if self.hub:
            return f"https://huggingface.co/{self.hub}"
        return "" if self.checkpoint is None else self.checkpoint.source

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """All files the model needs, the weights first; none for a folder on the hub."""
        return tuple(file for file in (self.checkpoint, self.decoder) if file is not None)

    @property
    def size(self) -> int | None:
        """Bytes of the weights, where known."""
        return None if self.checkpoint is None else self.checkpoint.size

    @property
    def checked(self) -> str:
        """What a download is checked against, in words."""
        if self.embedded:
            return "with the package"
        if self.checkpoint is None:
            return "the sizes and SHA-256 that the hub lists"
        return self.checkpoint.checked

    @property
    def needs_extra(self) -> bool:
        """Whether the model needs the packages of the extra ``models``."""
        return bool(self.hub) or self.architecture.startswith("sam_hq")


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

    If the size is not published, it is that of the parameters in 32 bits, or that of a listed
    model of the same architecture.
    """
    if entry.embedded:
        path = files(__package__).joinpath("data", entry.file)
        return True, path.stat().st_size if isinstance(path, Path) and path.is_file() else None
    if entry.size is not None:
        return True, entry.size
    if entry.parameters is not None:
        return False, 4 * entry.parameters
    same = (e for e in catalogue().values() if e.architecture == entry.architecture)
    return False, next((e.size for e in same if e.size is not None), None)


def cannot(name: str, ability: str) -> str:
    """Say that a model lacks an ability, and which models have it.

    Parameters
    ----------
    name : str
        The model's name.
    ability : str
        One of `ABILITIES`.
    """
    able = [entry.name for entry in catalogue().values() if ability in entry.abilities]
    shown = able if len(able) < 5 else [*able[:3], "others"]
    others = " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
    return f"{name} cannot {ABILITIES[ability]}; {others} can"


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
    hint = f"did you mean {' or '.join(close)}?" if close else f"Names are {', '.join(names)}."
    return CheckpointError(
        f"there is no model named {name!r} and no such file; {hint} Also accepted are the path or "
        "URL of a checkpoint, a folder, and the owner/name of a model on the Hugging Face Hub; "
        "`napari-sam models` lists all names"
    )


def _entry(name: str, row: dict[str, Any]) -> CatalogueEntry:
    decoder = row.get("decoder")
    prepared = row.get("preparation", {}).items()
    return CatalogueEntry(
        name=name,
        architecture=row["architecture"],
        description=row["description"],
        licence=row["licence"],
        citation=row["citation"],
        checkpoint=None if "hub" in row else _remote(row),
        decoder=None if decoder is None else _remote(decoder),
        embedded=row.get("embedded", False),
        aliases=tuple(row.get("aliases", ())),
        group=row["group"],
        hub=row.get("hub", ""),
        revision=row.get("revision", ""),
        gated=row.get("gated", False),
        kind=row.get("kind", "sam"),
        abilities=tuple(row.get("abilities", NATIVE)),
        parameters=row.get("parameters"),
        preparation=MappingProxyType(
            {key: tuple(value) if isinstance(value, list) else value for key, value in prepared}
        ),
    )


def _remote(row: dict[str, Any]) -> RemoteFile:
    kind = next((kind for kind in ("sha256", "md5", "xxh128") if kind in row), "")
    return RemoteFile(
        file=row["file"],
        source=row["source"],
        hash_kind=kind,
        hash=row.get(kind, ""),
        size=row.get("size"),
    )
