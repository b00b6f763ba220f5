"""A run over a stack that was stopped goes on where it stopped."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from napari_segment_anything.errors import FormatError, ParameterError
from napari_segment_anything.formats import open_labels
from napari_segment_anything.stacks import segment_stack, segment_stack_steps
from napari_segment_anything.stacks.stack_labels import stopped

from ..bright import bright_model
from .helpers import LIMITS, balls

NAME = "segment_anything"
PROGRAM = """
import sys
from tests.bright import bright_model
from tests.stacks.test_resume import run, volume
run(volume(), bright_model(), sys.argv[1])
"""


def volume():
    return balls((12, 48, 48), [(6, 13, 13), (4, 34, 33)], [10, 9])[0]


def run(image, model, output, **options):
    options = {"contrast_limits": LIMITS, "axes": "ZYX", **options}
    return segment_stack(image, model, output=output, **options)


def stop(image, model, output, message, plane):
    """Close a run after a plane; as cancelling does."""
    steps = segment_stack_steps(image, model, output=output, contrast_limits=LIMITS, axes="ZYX")
    for step in steps:
        if step.message == message and step.partial.plane == (plane,) and step.done:
            break
    steps.close()


@pytest.fixture
def expected(model):
    return run(volume(), model, None)


@pytest.mark.slow
@pytest.mark.parametrize(("message", "plane"), [("segmenting", 5), ("linking", 4)])
def test_what_is_done_is_not_done_again(model, expected, tmp_path, message, plane):
    out = tmp_path / "out.zarr"
    stop(volume(), model, out, message, plane)
    assert stopped(out, NAME)
    encoded = model.network.encoded
    result = run(volume(), model, out)
    done = plane + 1 if message == "segmenting" else 12
    assert model.network.encoded - encoded == 12 - done
    np.testing.assert_array_equal(result.labels[...], expected.labels)
    for name, column in expected.table.items():
        np.testing.assert_array_equal(result.table[name], column)
    assert not stopped(out, NAME)
    assert "stack" not in open_labels(out).group
    with pytest.raises(FormatError, match="already"):
        run(volume(), model, out)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_twice_it_ends_with_the_same_labels(processes, model, expected, tmp_path):
    out = tmp_path / "out.zarr"
    status = out / "labels" / NAME / "stack" / "status" / "c"
    for least in (2, 7):
        with processes.start(PROGRAM, out) as process:
            while not status.exists() or len(list(status.iterdir())) < least:
                time.sleep(0.005)
                assert process.poll() is None, "it ended before it could be killed"
            process.kill()
            assert process.wait(30) == -signal.SIGKILL
    encoded = model.network.encoded
    result = run(volume(), model, out)
    assert model.network.encoded - encoded <= 12 - 7
    np.testing.assert_array_equal(result.labels[...], expected.labels)


@pytest.mark.slow
def test_other_settings_or_another_volume_are_refused(model, tmp_path):
    out = tmp_path / "out.zarr"
    stop(volume(), model, out, "segmenting", 3)
    with pytest.raises(ParameterError, match=r"other settings.*policy"):
        run(volume(), model, out, policy="large")
    with pytest.raises(ParameterError, match=r"other settings.*joining"):
        run(volume(), model, out, max_gap=2)
    with pytest.raises(ParameterError, match=r"other settings.*volume"):
        run(255 - volume(), model, out)
    assert stopped(out, NAME)
    run(volume(), model, out, policy="large", overwrite=True)
    assert not stopped(out, NAME)


@pytest.mark.slow
def test_killed_before_it_was_on_record_it_begins_anew(model, expected, tmp_path):
    out = tmp_path / "out.zarr"
    stop(volume(), model, out, "segmenting", 0)
    group = open_labels(out, mode="r+")
    del group.group["stack"]
    for chunk in (Path(group.path) / "0" / "c").rglob("*"):
        if chunk.is_file():
            chunk.unlink()
    np.testing.assert_array_equal(run(volume(), model, out).labels[...], expected.labels)


@pytest.mark.slow
def test_turned_planes_and_further_stacks(tmp_path):
    model = bright_model()
    image = np.moveaxis(np.stack([volume(), volume()[::-1]]), 1, 3)
    options = {"axes": "TZYX", "axis": "X", "contrast_limits": LIMITS}
    expected = segment_stack(image, model, **options)
    out = tmp_path / "out.zarr"
    steps = segment_stack_steps(image, model, output=out, **options)
    for step in steps:
        if step.done == 15:
            break
    steps.close()
    result = segment_stack(image, model, output=out, **options)
    np.testing.assert_array_equal(result.labels[...], expected.labels)
