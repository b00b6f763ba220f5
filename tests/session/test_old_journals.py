"""A journal of an earlier version, kept as text: it still recovers and replays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_segment_anything.cli.main import run
from napari_segment_anything.engine import PlaneSource, policy
from napari_segment_anything.session import (
    ArrayTarget,
    Journal,
    PolicyWarning,
    Session,
    recover,
    replay,
)

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
    assert session.draft.prompts[0].mask is not None
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


def test_a_header_without_a_version_is_that_of_an_old_journal(journal, predictor, image):
    first, rest = journal.read_text().split("\n", 1)
    header = json.loads(first)
    del header["version"]
    journal.write_text(json.dumps(header) + "\n" + rest)
    labels = np.zeros(image.shape, np.uint16)
    with pytest.warns(PolicyWarning):
        recover(journal, predictor, PlaneSource(image), ArrayTarget(labels)).close()
    assert areas(labels) == AREAS


def test_another_policy_is_named_by_recovery_replay_and_the_command(
    predictor, model, image, tmp_path, monkeypatch, capsys
):
    import napari_segment_anything.engine as engine

    path = tmp_path / "session.jsonl"
    session = Session(
        predictor, PlaneSource(image), ArrayTarget(np.zeros(image.shape, np.uint8)), journal=path
    )
    session.add_point((), (40, 50))
    session.update()
    session.commit()
    session.close()
    header, _ = Journal.read(path)
    assert header["version"] == 2 and header["model"]["policy"]["rules"] == policy.RULES
    assert replay(path, image, model).policy_note is None
    monkeypatch.setattr(policy, "RULES", policy.RULES + 1)
    note = f"rules was {policy.RULES - 1}, is {policy.RULES}"
    assert note in replay(path, image, model).policy_note
    np.save(tmp_path / "image.npy", image)
    monkeypatch.setattr(engine, "load_model", lambda *_, **__: model)
    command = ["replay", str(path), str(tmp_path / "image.npy"), "--model", "own.pt"]
    assert run([*command, "-o", str(tmp_path / "labels.npy")]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("policy")]
    assert len(lines) == 1
    assert run([*command, "--json", "-q"]) == 0
    assert note in json.loads(capsys.readouterr().out)["policy_note"]
    with pytest.warns(PolicyWarning, match=note):
        recover(path, predictor, PlaneSource(image), session.target).close()
