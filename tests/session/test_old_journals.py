"""A journal of an earlier version, kept as text: it still recovers and replays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_segment_anything.engine import PlaneSource
from napari_segment_anything.session import ArrayTarget, PolicyWarning, recover, replay

JOURNAL = Path(__file__).parent / "data" / "journal_v1.jsonl"
AREAS = {1: 244, 2: 1828, 11: 150, 30: 3703, 31: 124}


@pytest.fixture
def journal(tmp_path):
    """A copy: a session that was recovered goes on in the same file."""
    path = tmp_path / "session.jsonl"
    path.write_text(JOURNAL.read_text())
    return path


def areas(labels):
    return {int(label): int((labels == label).sum()) for label in np.unique(labels) if label}


def test_it_recovers_to_the_pixel(journal, predictor, image):
    labels = np.zeros(image.shape, np.uint16)
    with pytest.warns(PolicyWarning, match="no decoding policy was recorded"):
        session = recover(journal, predictor, PlaneSource(image), ArrayTarget(labels))
    assert areas(labels) == AREAS
    assert set(session.objects) == set(AREAS)
    assert session.locked == {1, 2}
    assert session.next_id == 41
    assert [point.position for point in session.draft.points] == [(100.0, 20.0), (100.0, 24.0)]
    assert session.draft.objects()[0].mask is not None
    session.update()
    assert session.commit() == (41,)
    while session.undo() is not None:
        pass
    assert not labels.any()


def test_it_replays(journal, model, image):
    result = replay(journal, image, model)
    assert result.differing_pixels < 20  # other processors round sums differently
    assert set(result.objects) == set(AREAS)
    assert result.decoded > 8
    assert "no decoding policy was recorded" in result.policy_note
