"""Results of a run: files in a folder, a summary, or JSON."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError
from .inputs import Input

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..automatic import CandidateTable
    from ..engine import Model
    from ..formats.records import ImageRecords
    from .options import Reporting

MORE = {"review": "review.csv", "coco": "coco.json"}
"""Of some verbs."""
SOMETIMES = ("coco",)
"""Kinds that are written only where there is something to write."""
KINDS = {
    "labels": "labels.tif",
    "masks": "masks.json",
    "table": "table.csv",
    "overlay": "overlay.png",
}


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a verb for one image.

    Parameters
    ----------
    image : Input
        The image it was found in.
    model : Model
        The model that found it.
    labels : (H, W) integer array
        0 is background.
    records : ImageRecords
        The complete masks, also where others are painted over them; ids are labels.
    seconds : float
        Computing time, without loading the model.
    facts : dict
        More lines for the summary.
    parameters : dict
        Parameters of the computation.
    prompts : sequence of dict
        Prompts to draw on the overlay.
    columns : mapping of str to mapping of int to object
        More columns of the table: a value for each label.
    more : mapping of str to callable
        How further files are written, by their kind in `MORE`: takes the path.
    """

    image: Input
    model: Model
    labels: NDArray[np.integer]
    records: ImageRecords
    seconds: float
    facts: dict[str, Any]
    parameters: dict[str, Any]
    prompts: Sequence[dict[str, Any]] = ()
    columns: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)
    more: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)

    @classmethod
    def of_table(
        cls,
        table: CandidateTable,
        policy: str,
        image: Input,
        model: Model,
        began: float,
        facts: dict[str, Any],
    ) -> Result:
        """The result of everything mode or of a search.

        Parameters
        ----------
        table : CandidateTable
        policy : str
            Which mask wins where two overlap.
        image : Input
        model : Model
        began : float
            Reading of `time.perf_counter` when the computation began.
        facts : dict
        """
        labels, records = table.to_labels(policy), table.image_records(image.source)
        seconds = time.perf_counter() - began
        return cls(image, model, labels, records, seconds, facts, dict(table.parameters))


@dataclass(frozen=True, slots=True)
class ImageOutput:
    """Where the results of an image are written; checked before the work starts.

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
        If there is neither a folder nor JSON, or the folder cannot be written to.
    """

    folder: Path | None
    overwrite: bool
    report: Reporting

    def __post_init__(self) -> None:
        if self.folder is not None:
            check_folder(self.folder)
        elif not self.report.as_json:
            raise ParameterError(
                "choose an output folder with -o FOLDER, or print JSON with --json"
            )

    def files(self, name: str, *more: str) -> dict[str, Path]:
        """Result files for an image of this name, by kind; none without a folder.

        Parameters
        ----------
        name : str
        *more : str
            Kinds of `MORE` that the verb may write.

        Raises
        ------
        ParameterError
            If some exist already and are not to be replaced.
        """
        if self.folder is None:
            return {}
        kinds = {**KINDS, **{kind: MORE[kind] for kind in more}}
        files = {kind: self.folder / f"{name}_{ending}" for kind, ending in kinds.items()}
        check_free(files.values(), self.overwrite)
        return files

    def write(self, result: Result, files: dict[str, Path]) -> dict[str, Any]:
        """Write all files or none, and return the result as JSON; masks only without files."""
        files = {kind: path for kind, path in files.items() if kind in {*KINDS, *result.more}}
        if files:
            _write(result, files)
        return {**_content(result, files), "objects": _objects(result), **result.facts}

    def finish(self, result: Result, files: dict[str, Path]) -> None:
        """Write all files or none, and report."""
        from .report import model_facts, tell

        content = self.write(result, files)
        rows, cols = result.labels.shape
        tell(
            self.report,
            {
                "objects": content["objects"],
                **result.facts,
                "image": f"{result.image.source}, {rows} x {cols} pixels",
                **model_facts(result.model),
                "time": f"{result.seconds:.2f} s",
                **content.get("files", {}),
            },
            lambda: content,
        )


def check_folder(folder: Path) -> None:
    """Raise `ParameterError` unless a folder can be made or written to."""
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise ParameterError(f"-o {folder}: {existing} is a file, not a folder")
    if not os.access(existing, os.W_OK):
        raise ParameterError(f"-o {folder}: {existing} cannot be written to")


def check_free(files: Iterable[Path], overwrite: bool, options: str = "--overwrite") -> None:
    """Raise `ParameterError` for a file that exists already and is not to be replaced."""
    taken = next((path for path in files if path.exists()), None)
    if taken is not None and not overwrite:
        raise ParameterError(f"{taken} exists already: write elsewhere with -o, or add {options}")


def _write(result: Result, files: dict[str, Path]) -> None:
    import numpy as np

    from ..formats import save_overlay, write_labels, write_sa1b, write_table
    from ..formats.atomic import staging
    from ..measures import measure_labels
    from . import picture

    folder = next(iter(files.values())).parent
    folder.mkdir(parents=True, exist_ok=True)
    image, records = result.image, result.records
    scale = None if image.unit is None else image.scale
    with staging(folder) as place:
        staged = {kind: place / path.name for kind, path in files.items()}
        write_labels(staged["labels"], result.labels, scale=scale, unit=image.unit)
        write_sa1b(staged["masks"], records)
        table = measure_labels(
            result.labels,
            image=image.pixels,
            channel_axis=image.intensity_axis,
            scale=scale,
            unit=image.unit,
            scores={
                score: {each.id: getattr(each, score) for each in records.records}
                for score in ("predicted_iou", "stability_score")
            },
        )
        for name, values in result.columns.items():
            table[name] = np.array([values[int(label)] for label in table["label"]])
        write_table(staged["table"], table)
        for kind, write in result.more.items():
            write(staged[kind])
        drawn = picture.draw(image.display(), result.labels, result.prompts)
        save_overlay(staged["overlay"], drawn)
        for kind, path in staged.items():
            path.replace(files[kind])


def _objects(result: Result) -> int:
    import numpy as np

    return int(np.count_nonzero(np.unique(result.labels)))


def _content(result: Result, files: dict[str, Path]) -> dict[str, Any]:
    """The result as JSON; masks are included only if they are not in a file."""
    from ..formats.records import to_sa1b

    model = result.model
    content: dict[str, Any] = {
        "image": result.image.source,
        "shape": list(result.labels.shape),
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
        return {**content, "files": {kind: str(path) for kind, path in files.items()}}
    return {**content, "records": to_sa1b(result.records)["annotations"]}
