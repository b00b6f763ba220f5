"""What a run has done is kept beside its labels, and a later call resumes it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.errors import FormatError, ParameterError
from napari_segment_anything.formats import create_labels
from napari_segment_anything.formats.run_record import (
    RunRecord,
    make_record,
    recorded_run,
    resume_or_create,
)

LAYOUT = {"shape": (8, 9), "axes": "YX"}
SETTINGS = {"tile": 64, "limits": np.array([[0.0, 1.5]]), "mode": np.str_("grid")}


def begin(path):
    labels, resumed = resume_or_create(path, "cells", "run", SETTINGS, False, **LAYOUT)
    assert not resumed
    make_record(labels, "run", (3,), (1,))
    record = RunRecord(labels, "run")
    record.note(**SETTINGS)
    return labels, record


def test_settings_notes_and_status_come_back(tmp_path) -> None:
    labels, record = begin(tmp_path / "x.zarr")
    record.note(state="running")
    record.set_status(1, 2)
    again = RunRecord(labels, "run")
    assert again.run == {
        "tile": 64, "limits": [[0.0, 1.5]], "mode": "grid", "state": "running",
    }  # fmt: skip
    assert again.status().tolist() == [0, 2, 0]
    again.remove()
    assert recorded_run(labels, "run") is None


def test_the_same_settings_resume_others_are_refused(tmp_path) -> None:
    path = tmp_path / "x.zarr"
    labels, _ = begin(path)
    found, resumed = resume_or_create(path, "cells", "run", SETTINGS, False, **LAYOUT)
    assert resumed and found.path == labels.path
    with pytest.raises(ParameterError, match=r"other settings \(tile was 64, is 65\)"):
        resume_or_create(path, "cells", "run", {**SETTINGS, "tile": 65}, False, **LAYOUT)
    fresh, resumed = resume_or_create(path, "cells", "run", {"tile": 65}, True, **LAYOUT)
    assert not resumed and recorded_run(fresh, "run") is None


def test_labels_that_no_run_made_are_kept(tmp_path) -> None:
    path = tmp_path / "x.zarr"
    labels = create_labels(path, "cells", **LAYOUT)
    # without a pixel: left by a run that was killed before its first note
    assert not resume_or_create(path, "cells", "run", SETTINGS, False, **LAYOUT)[1]
    labels = create_labels(path, "cells", overwrite=True, **LAYOUT)
    labels.array[2, 3] = 1
    with pytest.raises(FormatError, match="already"):
        resume_or_create(path, "cells", "run", SETTINGS, False, **LAYOUT)
