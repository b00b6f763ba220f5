"""The folder of a run: one run in it, one process at a time."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..checkpoints import Checkpoint
from ..errors import FormatError, ParameterError, ResourceError
from ..reading import read_json
from .config import TrainingConfig
from .datasets import Datasets

MODEL = "model.safetensors"
RECORD = "config.json"


def run_folder(config: TrainingConfig, output: str | Path | None, file: Path | None) -> Path:
    """Where the run is kept: `output`, or what the configuration says, from its file's folder.

    Raises
    ------
    ParameterError
        If neither says it.
    """
    if output is not None:
        return Path(output).expanduser()
    if not config.output:
        raise ParameterError("say where the run is kept: output in the configuration, or -o FOLDER")
    path = Path(config.output).expanduser()
    return file.parent / path if file is not None else path


@contextmanager
def working_in(folder: Path) -> Generator[None, None, None]:
    """Make the folder, and keep other processes out of it.

    Raises
    ------
    ResourceError
        If it cannot be made, or another process is in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{folder} cannot be made: {error.strerror or error}") from error
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ResourceError(f"another process trains in {folder}") from None
    try:
        yield
    finally:
        lock.release()


def record_run(
    folder: Path,
    config: TrainingConfig,
    sets: Datasets,
    checkpoint: Checkpoint | None,
    overwrite: bool,
) -> None:
    """Write down what the run is, or see that it is the one the folder holds."""
    values = config.to_dict() | {"output": ""}
    wanted = {
        "config": json.loads(json.dumps(values)),
        "model": checkpoint.fingerprint if checkpoint else "",
        "data": sets.describe(),
    }
    path = folder / RECORD
    if path.exists() and not overwrite:
        try:
            held = read_json(path, dict[str, Any], what="record of a run")
        except FormatError:
            held = {}
        changed = [key for key in wanted if held.get(key) != wanted[key]]
        if changed:
            inner = held.get("config", {}) if changed == ["config"] else {}
            keys = [k for k, v in wanted["config"].items() if inner and inner.get(k) != v]
            raise ParameterError(
                f"{folder} holds a run of another {' and '.join(changed)}"
                f"{' (' + ', '.join(keys) + ')' if keys else ''}: choose another folder, or "
                "overwrite it"
            )
        return
    endings = (".pt", "-train.csv", "-validation.csv")
    old = [folder / f"{stage.name}{ending}" for stage in config.stages for ending in endings]
    old = [file for file in (*old, folder / MODEL) if file.exists()]
    if old and not overwrite:
        raise ParameterError(
            f"{folder} has a {old[0].name} that no run recorded there made: choose another folder, "
            "or overwrite it"
        )
    for file in old:
        file.unlink()
    path.write_text(json.dumps(wanted, indent=1) + "\n", "utf-8")
