"""The folder of a run: it holds one run and is used by one process at a time."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..checkpoints import Checkpoint
from ..errors import FormatError, ParameterError, ResourceError
from ..formats.atomic import replacing
from ..formats.locking import exclusive
from ..reading import read_json
from .config import TrainingConfig
from .loading import TrainingImages

MODEL = "model.safetensors"
RECORD = "config.json"


def run_folder(config: TrainingConfig, output: str | Path | None, file: Path | None) -> Path:
    """Folder of the run.

    Parameters
    ----------
    config : TrainingConfig
        Its `output` is relative to the configuration file.
    output : path or None
        Takes precedence.
    file : Path or None
        The configuration file.

    Raises
    ------
    ParameterError
        If neither is given.
    """
    if output is not None:
        return Path(output).expanduser()
    if not config.output:
        raise ParameterError(
            "no folder for the run: give 'output' in the configuration, or -o FOLDER"
        )
    path = Path(config.output).expanduser()
    return file.parent / path if file is not None else path


@contextmanager
def working_in(folder: Path) -> Generator[None, None, None]:
    """Create a folder and lock it.

    Raises
    ------
    ResourceError
        If it cannot be created, or another process holds the lock.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{folder} cannot be created: {error.strerror or error}") from error
    with exclusive(folder / ".lock", lambda: f"another process is training in {folder}"):
        yield


def record_run(
    folder: Path,
    config: TrainingConfig,
    sets: TrainingImages,
    checkpoint: Checkpoint | None,
    overwrite: bool,
    encoder: Checkpoint | None = None,
) -> None:
    """Record a run in its folder, or check that the folder holds this run.

    The model is compared by its fingerprint and images by their hashes, so that a folder can be
    moved to another machine. Stages may have been added at the end.

    Parameters
    ----------
    folder : Path
        The run's.
    config : TrainingConfig
        Settled.
    sets : TrainingImages
        All images.
    checkpoint : Checkpoint or None
        The model started from.
    overwrite : bool
        Remove an earlier run.
    encoder : Checkpoint or None
        Whose image encoder it started with, if that is another one.

    Raises
    ------
    ParameterError
        If the folder holds another run.
    """
    values = config.to_dict() | {"output": ""}
    wanted = {
        "config": json.loads(json.dumps(values)),
        "model": checkpoint.fingerprint if checkpoint else "",
        "data": sets.describe(),
    }
    if encoder is not None:
        wanted["encoder"] = encoder.fingerprint
    path = folder / RECORD
    if path.exists() and not overwrite:
        try:
            held = read_json(path, dict[str, Any], what="record of a run")
        except FormatError:
            held = {}
        known, asked = _placeless(held.get("config", {})), _placeless(wanted["config"])
        stages = known["stages"]
        keys = [k for k in asked if k != "stages" and known.get(k) != asked[k]]
        keys += ["stages"] if asked["stages"][: len(stages)] != stages or not stages else []
        changed = ["config"] if keys else []
        changed += [k for k in ("model", "data", "encoder") if held.get(k) != wanted.get(k)]
        if changed:
            keys = keys if changed == ["config"] and known else []
            raise ParameterError(
                f"{folder} holds a run with another {' and '.join(changed)}"
                f"{' (' + ', '.join(keys) + ')' if keys else ''}: choose another folder, or "
                "overwrite it"
            )
        if held != wanted:
            _write_record(path, wanted)
        return
    endings = (".pt", "-assumed-1.npz", "-assumed-2.npz", "-train.csv", "-validation.csv")
    old = [folder / f"{stage.name}{ending}" for stage in config.stages for ending in endings]
    old = [file for file in (*old, folder / MODEL) if file.exists()]
    if old and not overwrite:
        raise ParameterError(
            f"{folder} has a {old[0].name} without the record of a run: choose another folder, or "
            "overwrite it"
        )
    for file in old:
        file.unlink()
    _write_record(path, wanted)


_PLACES = ("folder", "images", "labels", "records", "split", "metadata")


def _placeless(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the locations of model, images and results.

    Records of earlier versions lack what has been added since.
    """
    rest = {k: v for k, v in config.items() if k not in ("model", "encoder_weights", "output")}
    rest["data"] = [
        {"share": 1.0, **{k: v for k, v in table.items() if k not in _PLACES}}
        for table in config.get("data", [])
    ]
    rest["stages"] = [{"assume": 0.0, **table} for table in config.get("stages") or ()]
    return rest


def _write_record(path: Path, record: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
