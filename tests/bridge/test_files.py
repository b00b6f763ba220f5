"""Session journals open in napari as labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_segment_anything.bridge.files import journal_reader
from napari_segment_anything.errors import SegmentAnythingError

from ..session.helpers import disc_session, put


def test_a_journal_opens_as_the_labels_that_its_session_left(tmp_path):
    path = tmp_path / "cells.jsonl"
    session, labels = disc_session((2, 60, 80), journal=path)
    put(session, (20, 20), (1,))
    put(session, (40, 60), (0,))
    session.delete(1)
    session.undo()
    session.close()
    before = path.read_bytes()
    ((data, attributes, kind),) = journal_reader(str(path))(str(path))
    assert (data == labels).all() and data.dtype == labels.dtype
    assert kind == "labels" and attributes["name"] == "cells"
    assert attributes["features"]["index"] == [2, 1]
    assert attributes["features"]["predicted_iou"] == [0.9, 0.9]
    assert path.read_bytes() == before


def test_what_is_no_journal_is_left_to_others(tmp_path):
    path = tmp_path / "other.jsonl"
    path.write_text('{"a": 1}\n')
    assert journal_reader(str(path)) is None
    assert journal_reader([str(path)]) is None


def test_labels_too_large_for_memory_are_refused(tmp_path):
    path = tmp_path / "cells.jsonl"
    session, _ = disc_session(journal=path)
    put(session, (20, 20))
    session.close()
    first, *rest = path.read_text().splitlines(keepends=True)
    header = json.loads(first)
    header["target"]["shape"] = [10**9, 10**9]
    path.write_text(json.dumps(header) + "\n" + "".join(rest))
    with pytest.raises(SegmentAnythingError, match="MAX_ARRAY_BYTES"):
        journal_reader(str(path))(str(path))
    assert np.prod(header["target"]["shape"]) > 2**50
