"""Learning in a process of its own, at low priority, which outlives the one that started it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from ..errors import ResourceError, SegmentAnythingError
from ..reading import one_line
from .learning_status import (
    CANCEL,
    LOG,
    LearningStatus,
    read_status,
    work_folder,
    write_status,
)

_NICE = 10
_children: dict[Path, subprocess.Popen[bytes]] = {}  # to collect their exit codes


def start_learning(
    project: str | Path,
    *,
    model: str | None = None,
    steps: int | None = None,
    train: str | None = None,
    threads: int | None = None,
    device: str = "auto",
    restart: bool = False,
) -> LearningStatus:
    """Start learning from a project in another process; it goes on if this one ends.

    `learning_status` finds it again, from any process.

    Parameters
    ----------
    project : path
        The project's folder.
    model, steps, train, device, restart
        As for `learn_steps`.
    threads : int, optional
        Processor threads; by default all, at low priority.

    Raises
    ------
    ResourceError
        If a process is learning from the project already, or none can be started.
    """
    place = Path(project).expanduser().absolute()
    now = read_status(place)
    if now is not None and now.active:
        raise ResourceError(
            f"a process is learning from {place} already: wait for it, or cancel it"
        )
    given = {"model": model, "steps": steps, "train": train, "threads": threads, "device": device}
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    options += ["--restart"] if restart else []
    folder = work_folder(place)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CANCEL).unlink(missing_ok=True)
    moment = time.time()
    status = LearningStatus("starting", message="starting", started=moment, updated=moment)
    write_status(folder, status)
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.BELOW_NORMAL_PRIORITY_CLASS | subprocess.CREATE_NO_WINDOW
    try:
        with (folder / LOG).open("wb") as log:
            _children[folder] = subprocess.Popen(  # noqa: S603 - this module, without a shell
                [sys.executable, "-m", __name__, str(place), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
                creationflags=flags,
            )
    except OSError as error:
        raise ResourceError(f"the process that learns cannot be started: {error}") from error
    return status


def learning_status(project: str | Path) -> LearningStatus | None:
    """How far learning from a project is; None if it has never been started.

    Parameters
    ----------
    project : path
        The project's folder.
    """
    place = Path(project).expanduser().absolute()
    child = _children.get(work_folder(place))
    if child is not None and child.poll() is not None:
        del _children[work_folder(place)]
    return read_status(place)


def cancel_learning(project: str | Path) -> None:
    """Ask the process that learns from a project to stop; it can be resumed.

    Parameters
    ----------
    project : path
        The project's folder.
    """
    folder = work_folder(Path(project).expanduser().absolute())
    if folder.is_dir():
        (folder / CANCEL).touch()


def lower_priority() -> None:
    """Let all other processes run first.

    A process that outlives its parent has a session of its own, and Linux usually shares the
    processor between sessions first: there, niceness counts for the group of the session.
    """
    if hasattr(os, "nice"):
        os.nice(_NICE)
    group = Path("/proc/self/autogroup")
    if group.exists():
        with suppress(OSError):  # a system may not allow it
            group.write_text(str(_NICE), "ascii")


def main(arguments: Sequence[str] | None = None) -> int:
    """Learn until it is done or cancelled.

    Parameters
    ----------
    arguments : sequence of str, optional
        Of the command line.

    Returns
    -------
    int
        Exit code.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("project", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--train")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--restart", action="store_true")
    given = parser.parse_args(arguments)
    lower_priority()
    from .learning import learn_steps
    from .project import Project

    folder = work_folder(given.project)
    try:
        if given.threads is not None:
            import torch

            torch.set_num_threads(given.threads)
        learning = learn_steps(
            Project.open(given.project),
            model=given.model,
            steps=given.steps,
            train=given.train,
            device=given.device,
            restart=given.restart,
        )
        with closing(learning):
            for _ in learning:
                if (folder / CANCEL).exists():
                    break
    except SegmentAnythingError as error:
        sys.stderr.write(f"{error}\n")
        now = learning_status(given.project)
        if now is not None and now.state == "starting":  # it failed before it had the lock
            failed = LearningStatus("failed", message=one_line(error), updated=time.time())
            write_status(folder, failed)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
