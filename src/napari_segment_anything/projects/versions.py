"""Versions of a project's model: a folder each, with what it learned from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..formats._stores import store_errors
from ..formats.atomic import staging
from ..reading import read_json

MODEL = "model.safetensors"
LEARNED = "learned.json"
CARD = "card.md"
_NAME = re.compile(r"v([1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A model that was learned from the project.

    Parameters
    ----------
    name : str
        "v1", "v2" ...
    folder : Path
        Holds ``model.safetensors``, ``learned.json`` and ``card.md``.
    """

    name: str
    folder: Path

    @property
    def path(self) -> Path:
        """The weights, as `load_model` takes them."""
        return self.folder / MODEL

    @property
    def number(self) -> int:
        """2 for "v2"."""
        return int(self.name[1:])

    def learned(self) -> Mapping[str, Any]:
        """What it learned from, and its figures before and after.

        Raises
        ------
        FormatError
            If the file is missing or damaged.
        """
        found: dict[str, Any] = read_json(
            self.folder / LEARNED, dict[str, Any], what="record of a model"
        )
        return found


def list_versions(folder: Path) -> tuple[ModelVersion, ...]:
    """Versions in a project's ``models`` folder, oldest first."""
    if not folder.is_dir():
        return ()
    found = [
        ModelVersion(path.name, path)
        for path in folder.iterdir()
        if _NAME.fullmatch(path.name) and (path / MODEL).is_file()
    ]
    return tuple(sorted(found, key=lambda version: version.number))


@contextmanager
def new_version(folder: Path) -> Iterator[Path]:
    """Make the next version, or nothing if the block fails.

    Parameters
    ----------
    folder : Path
        The project's ``models`` folder, locked by the caller.

    Yields
    ------
    Path
        A hidden folder to write the files of the version into. Its name is the version's.

    Raises
    ------
    FormatError
        If it cannot be written, or the block writes no ``model.safetensors`` or ``learned.json``.
    """
    with store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        taken = [int(m[1]) for path in folder.iterdir() if (m := _NAME.fullmatch(path.name))]
        name = f"v{max(taken, default=0) + 1}"
        with staging(folder) as place:
            made = place / name
            made.mkdir()
            yield made
            for file in (MODEL, LEARNED):
                if not (made / file).is_file():
                    raise FormatError(f"the new version of the model has no {file}")
            made.rename(folder / name)
