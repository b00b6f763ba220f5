"""What a run leaves behind: files in a folder, a summary for people, JSON for programs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError
from .inputs import Input

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..engine import Model
    from ..formats.records import ImageRecords
    from .options import Reporting

KINDS = {
    "labels": "labels.tif",
    "masks": "masks.json",
    "table": "table.csv",
    "overlay": "overlay.png",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a verb found.

    Parameters
    ----------
    image : Input
        The image it was found in.
    model : Model
        The model that found it.
    labels : (H, W) integer array
        0 is background.
    records : ImageRecords
        The masks, whole, also where others were painted over them; a record's id is its label.
    seconds : float
        Computing time, without loading the model.
    facts : dict
        More lines for the summary.
    parameters : dict
        How it was computed, for provenance.
    prompts : sequence of dict
        Prompts to draw on the overlay.
    """

    image: Input
    model: Model
    labels: NDArray[np.integer]
    records: ImageRecords
    seconds: float
    facts: dict[str, Any]
    parameters: dict[str, Any]
    prompts: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Where results go. Made, and checked, before the work starts.

    Parameters
    ----------
    folder : Path or None
        The output folder.
    overwrite : bool
        Whether files of an earlier run are replaced.
    report : Reporting
        Whether the result is printed as JSON, and whether the summary is left out.

    Raises
    ------
    ParameterError
        There is neither a folder nor JSON, or the folder cannot be written to.
    """

    folder: Path | None
    overwrite: bool
    report: Reporting

    def __post_init__(self) -> None:
        if self.folder is None:
            if not self.report.as_json:
                raise ParameterError("say where results go with -o FOLDER, or use --json")
            return
        existing = self.folder
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if not existing.is_dir():
            raise ParameterError(f"-o {self.folder}: {existing} is a file, not a folder")
        if not os.access(existing, os.W_OK):
            raise ParameterError(f"-o {self.folder}: {existing} cannot be written to")

    def files(self, name: str) -> dict[str, Path]:
        """Result files for an image of this name, by kind; none without a folder.

        Raises
        ------
        ParameterError
            Some are there already and are not to be replaced.
        """
        if self.folder is None:
            return {}
        files = {kind: self.folder / f"{name}_{ending}" for kind, ending in KINDS.items()}
        taken = [path for path in files.values() if path.exists()]
        if taken and not self.overwrite:
            raise ParameterError(
                f"{taken[0]} is there already: choose another folder, or add --overwrite"
            )
        return files

    def finish(self, result: Result, files: dict[str, Path]) -> None:
        """Write the files, all of them or none, and report."""
        if files:
            _write(result, files)
        if self.report.as_json:
            _print_json(result, files)
        elif not self.report.quiet:
            _print_summary(result, files)


def _write(result: Result, files: dict[str, Path]) -> None:
    from ..formats.atomic import staging
    from .files import write_files

    folder = next(iter(files.values())).parent
    folder.mkdir(parents=True, exist_ok=True)
    with staging(folder) as place:
        staged = {kind: place / path.name for kind, path in files.items()}
        write_files(result, staged)
        for kind, path in staged.items():
            path.replace(files[kind])


def _objects(result: Result) -> int:
    import numpy as np

    return int(np.count_nonzero(np.unique(result.labels)))


def _print_summary(result: Result, files: dict[str, Path]) -> None:
    from .report import print_facts

    model = result.model
    rows, cols = result.labels.shape
    facts = {
        "objects": _objects(result),
        **result.facts,
        "image": f"{result.image.source}, {rows} x {cols} pixels",
        "model": f"{model.name} ({model.architecture}, {model.fingerprint[:12]})",
        "device": f"{model.device}, {model.precision} ({model.precision_reason})",
        "time": f"{result.seconds:.2f} s",
    }
    for kind, path in files.items():
        facts[kind] = path
    print_facts("", facts)


def _print_json(result: Result, files: dict[str, Path]) -> None:
    from ..formats.records import to_sa1b
    from .report import print_json

    model = result.model
    content: dict[str, Any] = {
        "image": result.image.source,
        "shape": list(result.labels.shape),
        "objects": _objects(result),
        **result.facts,
        "model": {
            "name": model.name,
            "architecture": model.architecture,
            "fingerprint": model.fingerprint,
        },
        "device": str(model.device),
        "precision": model.precision,
        "seconds": round(result.seconds, 3),
        "parameters": result.parameters,
    }
    if files:
        content["files"] = {kind: str(path) for kind, path in files.items()}
    else:
        content["records"] = to_sa1b(result.records)["annotations"]
    print_json(content)
