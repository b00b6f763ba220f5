"""Results of `napari-sam stack`: labels, tables of objects and tracks, a summary."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError
from .output import check_folder, check_free
from .report import model_facts, tell

if TYPE_CHECKING:
    from ..engine import Model
    from ..formats import ImageData
    from ..stacks import StackResult
    from .options import Reporting


class StackOutput:
    """Where the results of a stack are written; checked before the work starts.

    Parameters
    ----------
    output : Path or None
        A folder, or a store that ends in .zarr.
    tables : Path or None
        Folder for the tables, if labels are written to a store.
    overwrite : bool
        Whether files of an earlier run are replaced.
    report : Reporting
        What to print.

    Raises
    ------
    ParameterError
        If they contradict each other, or cannot be written to.
    """

    def __init__(
        self, output: Path | None, tables: Path | None, overwrite: bool, report: Reporting
    ) -> None:
        if output is None and not report.as_json:
            raise ParameterError(
                "choose an output with -o FOLDER or -o STORE.zarr, or print JSON with --json"
            )
        stored = output is not None and output.suffix.lower() == ".zarr"
        if tables is not None and not stored:
            raise ParameterError(
                "--tables is for labels in a store; a folder gets the tables anyway"
            )
        self.store = output if stored else None
        self.folder = tables if stored else output
        self.overwrite, self.report = overwrite, report
        if self.folder is not None:
            check_folder(self.folder)

    def check(self, name: str) -> None:
        """Raise `ParameterError` for files that exist already and are not to be replaced."""
        check_free(self._paths(name).values(), self.overwrite)

    def _paths(self, name: str) -> dict[str, Path]:
        if self.folder is None:
            return {}
        kinds = {"table": "table.csv", "tracks": "tracks.csv", "labels": "labels.tif"}
        if self.store is not None:
            kinds.pop("labels")
        return {kind: self.folder / f"{name}_{ending}" for kind, ending in kinds.items()}

    def finish(self, result: dict[str, Any], data: ImageData, model: Model, source: str) -> None:
        """Write the files and report."""
        files = self._write(result, data)
        table, tracks = result["table"], result["tracks"]
        facts: dict[str, Any] = {"objects": len(table["label"])}
        if tracks is not None:
            facts["divisions"] = len(tracks.divisions)
        if result.get("failed"):
            facts["planes that failed"] = len(result["failed"])
        shape = result["labels"].shape
        tell(
            self.report,
            {
                **facts,
                "image": f"{source}, {' x '.join(map(str, shape))}",
                **model_facts(model),
                "time": f"{result['seconds']:.2f} s",
                **files,
            },
            lambda: {
                "image": source,
                "shape": list(shape),
                **{name.replace(" ", "_"): value for name, value in facts.items()},
                "model": {"name": model.name, "fingerprint": model.fingerprint},
                "seconds": round(result["seconds"], 3),
                "files": files,
                "table": _rows(table),
                **{name: result[name] for name in ("scores", "ends", "failed") if name in result},
                **({} if tracks is None else {"graph": tracks.graph}),
            },
        )

    def _write(self, result: dict[str, Any], data: ImageData) -> dict[str, str]:
        from ..formats import write_labels, write_table

        files = {} if result["path"] is None else {"labels": str(result["path"])}
        if self.folder is None:
            return files
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = self._paths(data.name)
        if "labels" in paths:
            kept = [i for i, a in enumerate(data.axes) if a not in "CS" and i != data.channel_axis]
            kept = kept[-result["labels"].ndim :]
            unit = data.units[data.axes.index("X")]
            write_labels(
                paths["labels"],
                result["labels"],
                axes="".join(data.axes[i] for i in kept).replace("Q", "Z"),
                scale=None if unit is None else [data.scale[i] for i in kept],
                unit=unit,
            )
        write_table(paths["table"], result["table"])
        if result["tracks"] is None:
            paths.pop("tracks")
        else:
            _write_tracks(paths["tracks"], result["tracks"])
        return {**files, **{name: str(path) for name, path in paths.items()}}


def linked(found: StackResult) -> dict[str, Any]:
    """Return the objects of a stack, found plane by plane, as `StackOutput.finish` takes them."""
    return {
        "labels": found.labels,
        "table": dict(found.table),
        "tracks": found.tracks,
        "path": found.path,
        "failed": {str(where): why for where, why in found.failed.items()},
    }


def _write_tracks(path: Path, tracks: Any) -> None:
    """Write a row for each object of each frame, as napari reads it."""
    from ..formats import write_table

    names = {3: ("t", "row", "col"), 4: ("t", "z", "row", "col")}[tracks.data.shape[1] - 1]
    columns = {"track": tracks.data[:, 0].astype(int)}
    columns |= {name: tracks.data[:, i] for i, name in enumerate(names, start=1)}
    write_table(path, {**columns, **tracks.properties})


def _rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    """The table row by row; null where a number is not finite."""

    def plain(value: Any) -> Any:
        number = value.item() if hasattr(value, "item") else value
        return None if isinstance(number, float) and not math.isfinite(number) else number

    return [
        {name: plain(value) for name, value in zip(table, row, strict=True)}
        for row in zip(*table.values(), strict=True)
    ]
