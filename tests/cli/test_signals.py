"""SIGTERM ends a command as Ctrl-C does: one line, and nothing half-written."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from napari_segment_anything.errors import FormatError
from napari_segment_anything.formats import create_labels, open_labels, read_labels
from napari_segment_anything.progress import finish

from ..forked import Processes
from ..stacks.helpers import balls

SLOW = """
import sys, time
import napari_segment_anything.cli.segment
from napari_segment_anything import engine, formats
from napari_segment_anything.cli import main
from tests.tiny import tiny_model
engine.load_model = lambda *_, **__: tiny_model()
real = formats.save_overlay

def slow(*given):
    real(*given)
    print("written", flush=True)
    time.sleep(300)

formats.save_overlay = slow  # the last of the files that are moved when all are complete
sys.exit(main.run(sys.argv[1:]))
"""

STACK = """
import sys, time
from napari_segment_anything import engine
from napari_segment_anything.cli import main
from napari_segment_anything.stacks.stack_labels import StackLabels
from tests.bright import bright_model
engine.load_model = lambda *_, **__: bright_model()
real = StackLabels.write

def slow(self, *given):
    real(self, *given)
    print("written", flush=True)
    time.sleep(300)

StackLabels.write = slow
sys.exit(main.run(sys.argv[1:]))
"""


def stopped(
    processes: Processes, program: str, line: list[str], how: signal.Signals
) -> tuple[int, str]:
    """Stop a command while it writes; its exit code and what it said."""
    with processes.start(program, *line) as process:
        assert process.stdout.readline() == "written\n"
        process.send_signal(how)
        _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_nothing_is_left_of_a_command_that_was_stopped(
    processes, tmp_path, how, code, word
) -> None:
    line = ["segment", "sample:coins", "--point", "54,44", "-o", str(tmp_path), "-q"]
    assert stopped(processes, SLOW, line, how) == (
        code,
        f"napari-sam: {word}; nothing was written\n",
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_labels_of_a_killed_stack_are_marked(processes, tmp_path, how) -> None:
    np.save(tmp_path / "balls.npy", balls((4, 48, 48), [(2, 24, 24)], [10])[0])
    line = ["stack", str(tmp_path / "balls.npy"), "--axes", "ZYX", "--point", "2,24,24", "-q"]
    _, said = stopped(processes, STACK, [*line, "-o", str(tmp_path / "x.zarr")], how)
    if how is signal.SIGTERM:
        assert "terminated; labels in a store are marked as unfinished" in said
    labels = open_labels(tmp_path / "x.zarr")
    assert not labels.complete and np.asarray(labels.array[...]).any()
    with pytest.warns(UserWarning, match="unfinished: the run that writes it"):
        read_labels(tmp_path / "x.zarr")
    with pytest.warns(UserWarning, match="unfinished"):
        read_labels(labels.path)
    with pytest.raises(FormatError, match="unfinished, of a run that was stopped"):
        create_labels(tmp_path / "x.zarr", shape=labels.shape, axes="ZYX")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_labels_are_complete_when_their_pyramid_is(tmp_path, zarr_format) -> None:
    labels = create_labels(tmp_path / "x", shape=(64, 64), axes="YX", zarr_format=zarr_format)
    labels.array[...] = 3
    assert not labels.complete
    finish(labels.build_pyramid(20))
    assert labels.complete and open_labels(tmp_path / "x").complete
    assert read_labels(tmp_path / "x").min() == 3
