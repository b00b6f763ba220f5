"""Files that are there whole or not at all, and what killed processes leave beside them."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from napari_segment_anything.errors import FormatError
from napari_segment_anything.formats.atomic import PREFIX, replacing, staging, sweep

from ..forked import Forked, Processes

WRITES = """
import sys, time
from pathlib import Path
from napari_segment_anything.formats.atomic import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print("written", flush=True)
    time.sleep(300)
"""


def writing(processes: Processes, path: Path) -> Forked:
    """Start a process that is in the middle of a file."""
    process = processes.start(WRITES, path)
    assert process.stdout is not None and process.stdout.readline() == "written\n"
    return process


def left(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}*"))


def test_a_file_is_whole_or_as_before(tmp_path) -> None:
    path = tmp_path / "a.csv"
    with replacing(path) as temporary:
        temporary.write_text("one")
        assert temporary.suffix == ".csv" and not path.exists()
    with contextlib.suppress(ValueError), replacing(path) as temporary:
        temporary.write_text("two")
        raise ValueError("something went wrong")
    assert path.read_text() == "one" and os.listdir(tmp_path) == ["a.csv"]
    with pytest.raises(FormatError, match="is a folder"), replacing(tmp_path):
        pass


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_has_is_not(
    processes, tmp_path
) -> None:
    with (
        writing(processes, tmp_path / "dead.csv") as dead,
        writing(processes, tmp_path / "living.csv") as living,
    ):
        (mine,) = [f for f in left(tmp_path) if (f / "living.csv").exists()]
        assert len(left(tmp_path)) == 2
        dead.kill()
        dead.wait()
        with replacing(tmp_path / "mine.csv") as temporary:
            temporary.write_text("whole")
        assert left(tmp_path) == [mine] and (mine / "living.csv").read_text() == "half"
        living.kill()
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["mine.csv"]


def test_a_folder_that_was_never_locked_is_swept_when_it_is_old(tmp_path) -> None:
    fresh, old = tmp_path / f"{PREFIX}fresh", tmp_path / f"{PREFIX}old"
    for folder in (fresh, old):
        folder.mkdir()
    os.utime(old, (time.time() - 9000,) * 2)
    with staging(tmp_path) as place:
        assert left(tmp_path) == sorted([fresh, place])
    assert left(tmp_path) == [fresh]
