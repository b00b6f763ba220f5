"""What `napari-sam stack` leaves behind: labels, tables of objects and tracks, a summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..engine import Model
    from ..formats import ImageData
    from .options import Reporting


class StackTarget:
    """Where results go; checked before the work starts."""

    def __init__(
        self, output: Path | None, tables: Path | None, overwrite: bool, report: Reporting
    ) -> None:
        from ..errors import ParameterError

        if output is None and not report.as_json:
            raise ParameterError("say where results go with -o FOLDER or -o STORE.zarr, or --json")
        stored = output is not None and output.suffix.lower() == ".zarr"
        self.store = output if stored else None
        self.folder = tables if stored else output
        if tables is not None and not stored:
            raise ParameterError(
                "--tables is for labels that go to a store; tables are in the folder anyway"
            )
        self.overwrite, self.report = overwrite, report
        if self.folder is not None and self.folder.exists() and not self.folder.is_dir():
            raise ParameterError(f"{self.folder} is a file, not a folder")

    def check(self, name: str) -> None:
        """Refuse to replace files."""
        from ..errors import ParameterError

        if self.folder is None or self.overwrite:
            return
        for path in self._paths(name).values():
            if path.exists():
                raise ParameterError(
                    f"{path} is there already: choose another folder, or add --overwrite"
                )

    def _paths(self, name: str) -> dict[str, Path]:
        if self.folder is None:
            return {}
        found = {
            "table": self.folder / f"{name}_table.csv",
            "tracks": self.folder / f"{name}_tracks.csv",
        }
        if self.store is None:
            found["labels"] = self.folder / f"{name}_labels.tif"
        return found

    def finish(self, result: dict[str, Any], data: ImageData, model: Model, source: str) -> None:
        """Write the files and report."""
        files = self._write(result, data)
        table, tracks = result["table"], result["tracks"]
        facts: dict[str, Any] = {"objects": len(table["label"])}
        if tracks is not None:
            facts["divisions"] = len(tracks.divisions)
        if result.get("failed"):
            facts["planes that failed"] = len(result["failed"])
        if not self.report.as_json:
            if not self.report.quiet:
                from .report import print_facts

                shape = " x ".join(str(n) for n in result["labels"].shape)
                shown = {
                    **facts,
                    "image": f"{source}, {shape}",
                    "model": f"{model.name} ({model.architecture}, {model.fingerprint[:12]})",
                    "device": f"{model.device}, {model.precision} ({model.precision_reason})",
                    "time": f"{result['seconds']:.2f} s",
                    **files,
                }
                print_facts("", shown)
            return
        from .report import print_json

        content: dict[str, Any] = {
            "image": source,
            "shape": list(result["labels"].shape),
            **{name.replace(" ", "_"): value for name, value in facts.items()},
            "model": {"name": model.name, "fingerprint": model.fingerprint},
            "seconds": round(result["seconds"], 3),
            "files": {name: str(path) for name, path in files.items()},
            "table": _rows(table),
        }
        for name in ("scores", "ends", "failed"):
            if name in result:
                content[name] = result[name]
        if tracks is not None:
            content["graph"] = tracks.graph
        print_json(content)

    def _write(self, result: dict[str, Any], data: ImageData) -> dict[str, str]:
        from ..formats import write_labels, write_table

        files = {} if result["path"] is None else {"labels": str(result["path"])}
        if self.folder is None:
            return files
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = self._paths(data.name)
        if "labels" in paths:
            kept = [i for i, a in enumerate(data.axes) if a not in "CS" and i != data.channel_axis]
            axes = "".join(data.axes[i] for i in kept).replace("Q", "Z")
            scale, unit = [data.scale[i] for i in kept], data.units[data.axes.index("X")]
            if len(axes) != result["labels"].ndim:
                axes, scale = axes[-result["labels"].ndim :], scale[-result["labels"].ndim :]
            write_labels(
                paths["labels"], result["labels"], axes=axes,
                scale=None if unit is None else scale, unit=unit,
            )  # fmt: skip
        write_table(paths["table"], result["table"])
        if result["tracks"] is None:
            paths.pop("tracks")
        else:
            _write_tracks(paths["tracks"], result["tracks"])
        return {**files, **{name: str(path) for name, path in paths.items()}}


def _write_tracks(path: Path, tracks: Any) -> None:
    """A row for each object of each frame, as napari reads it."""
    from ..formats import write_table

    names = {3: ("t", "row", "col"), 4: ("t", "z", "row", "col")}[tracks.data.shape[1] - 1]
    columns = {"track": tracks.data[:, 0].astype(int)}
    columns |= {name: tracks.data[:, i] for i, name in enumerate(names, start=1)}
    write_table(path, {**columns, **tracks.properties})


def _rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    import math

    def plain(value: Any) -> Any:
        number = value.item() if hasattr(value, "item") else value
        return None if isinstance(number, float) and not math.isfinite(number) else number

    return [
        {name: plain(column[i]) for name, column in table.items()}
        for i in range(len(table["label"]))
    ]
