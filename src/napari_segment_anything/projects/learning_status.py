"""How far learning is, in a file that any process can read; and how to stop it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from ..formats.atomic import replacing
from ..formats.locking import is_locked
from ..progress import Progress
from ..reading import one_line, read_json

FOLDER = ".learning"
LOCK = "lock"
CANCEL = "cancel"
STATUS = "progress.json"
LOG = "log.txt"
_STARTING = 120.0
_PAUSE = 0.5
LearningState: TypeAlias = Literal[
    "starting", "running", "interrupted", "stopped", "failed", "done"
]


def work_folder(project: Path) -> Path:
    """The folder in which a project's model learns."""
    return project / "models" / FOLDER


@dataclass(frozen=True, slots=True)
class LearningStatus:
    """How far learning is.

    Parameters
    ----------
    state : str
        "starting", "running", "interrupted" (its process is gone; it can be resumed), "stopped"
        (the same, on request), "failed" or "done".
    done, total : int
        Steps.
    message : str
        What is being done, or why it failed.
    predicted_seconds : float
        Of the whole; 0 until it is known.
    predicted_memory : int
        In bytes; 0 until it is known.
    losses, measures : dict of str to float
        Latest training losses, and latest measures on held-out images.
    version : str
        The version that was made.
    process : int
        Id of the process.
    started, updated : float
        Seconds since 1970.
    """

    state: LearningState = "starting"
    done: int = 0
    total: int = 0
    message: str = ""
    predicted_seconds: float = 0.0
    predicted_memory: int = 0
    losses: dict[str, float] | None = None
    measures: dict[str, float] | None = None
    version: str = ""
    process: int = 0
    started: float = 0.0
    updated: float = 0.0

    @property
    def active(self) -> bool:
        """Whether a process is at it."""
        return self.state in ("starting", "running")


def read_status(project: Path) -> LearningStatus | None:
    """How far learning from a project is; None if it has never been started.

    Parameters
    ----------
    project : Path
        The project's folder.
    """
    folder = work_folder(project)
    if not (folder / STATUS).exists():
        return None
    locked = is_locked(folder / LOCK)  # asked first: how a run ended is written before it unlocks
    found: LearningStatus = read_json(folder / STATUS, LearningStatus, what="progress of learning")
    if not found.active or locked or is_locked(folder / LOCK):
        return found
    late = found.state == "running" or time.time() - found.updated > _STARTING
    return replace(found, state="interrupted") if late else found


def write_status(folder: Path, status: LearningStatus) -> None:
    """Write it, completely or not at all."""
    with replacing(folder / STATUS) as temporary:
        temporary.write_text(json.dumps(asdict(status)) + "\n", "utf-8")


def read_curves(project: Path) -> Mapping[str, list[dict[str, float]]]:
    """Curves so far: rows with "step" and values by name, for "train" and "validation"."""
    from ..training.curves import read_rows

    run = work_folder(project) / "run"
    return {kind: read_rows(run / f"finetune-{kind}.csv") for kind in ("train", "validation")}


class StatusWriter:
    """Keeps the file of a run's status; a context manager, which also records how the run ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        now = time.time()
        self.status = LearningStatus("running", process=os.getpid(), started=now, updated=now)
        self._written = 0.0

    def __enter__(self) -> Self:
        write_status(self.folder, self.status)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, GeneratorExit | KeyboardInterrupt):
            self.status = replace(self.status, state="stopped")
        elif error is not None:
            self.status = replace(self.status, state="failed", message=one_line(error))
        write_status(self.folder, replace(self.status, updated=time.time()))

    def note(self, step: Progress) -> None:
        """Record a step, twice a second at most unless it brings news."""
        from ..training.estimate import Estimate
        from ..training.trainer import StepReport

        changes: dict[str, Any] = {}
        if isinstance(step.partial, Estimate):
            changes["predicted_seconds"] = step.partial.seconds
            changes["predicted_memory"] = step.partial.memory
        elif isinstance(step.partial, StepReport):
            if step.partial.losses:
                changes["losses"] = step.partial.losses
            if step.partial.validation:
                changes["measures"] = step.partial.validation
        self.status = replace(
            self.status,
            done=step.done,
            total=step.total,
            message=step.message,
            updated=time.time(),
            **changes,
        )
        now = time.monotonic()
        if changes or now - self._written > _PAUSE:
            self._written = now
            write_status(self.folder, self.status)

    def finished(self, version: str) -> None:
        """Record the version that was made."""
        self.status = replace(self.status, state="done", version=version, message="done")
