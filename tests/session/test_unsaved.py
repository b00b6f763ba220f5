"""Unsaved work: which journals of an image are offered, with how many objects."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_segment_anything.engine import PlaneSource
from napari_segment_anything.session import Journal, discard, recover, unsaved_work
from napari_segment_anything.session.journal import recorded_objects

from .helpers import disc_session, put


def left_by_a_kill(session, path: Path) -> Path:
    """Copy a session's journal as a killed process leaves it: without lock and last line."""
    left = path.with_name(f"killed-{path.name}")
    shutil.copy(session.journal.path, left)
    return left


@pytest.mark.parametrize("seed", range(4))
def test_objects_are_counted_as_the_session_has_them(tmp_path, seed) -> None:
    rng = np.random.default_rng(seed)
    session, _ = disc_session(journal=tmp_path / "one.jsonl", overwrite=True)
    for _ in range(60):
        action = rng.choice(["put", "put", "undo", "redo", "delete", "merge", "point", "cancel"])
        ids = list(session.objects)
        if action == "put":
            session.cancel()
            put(session, tuple(rng.uniform(5, 55, 2)))
        elif action in ("undo", "redo", "cancel"):
            getattr(session, action)()
        elif action == "delete" and ids:
            session.cancel()
            session.delete(int(rng.choice(ids)))
        elif action == "merge" and len(ids) > 1:
            session.cancel()
            session.merge([int(i) for i in rng.choice(ids, 2, replace=False)])
        elif action == "point":
            session.add_point((), tuple(rng.uniform(5, 55, 2)))
        begun = (tmp_path / "one.jsonl").exists()
        events = Journal.read(tmp_path / "one.jsonl")[1] if begun else []
        assert recorded_objects(events) == session.objects, action


def test_only_what_a_killed_session_left_of_this_image_is_offered(tmp_path) -> None:
    path = tmp_path / "one.jsonl"
    session, labels = disc_session(journal=path)
    assert unsaved_work(session.source, tmp_path) == []
    put(session, (20, 20))
    put(session, (40, 60))
    assert Journal.is_in_use(path)
    assert unsaved_work(session.source, tmp_path) == []  # in use
    left = left_by_a_kill(session, path)
    (work,) = unsaved_work(session.source, tmp_path)
    assert (work.path, work.objects, work.onto_labels) == (left, 2, False)
    other = PlaneSource(np.zeros((60, 80), np.uint8))
    assert unsaved_work(other, tmp_path) == []
    session.close()
    assert not Journal.is_in_use(path) and not list(tmp_path.glob(".*.lock"))
    assert [item.path for item in unsaved_work(session.source, tmp_path)] == [left]
    again, pixels = disc_session()
    again = recover(left, again.predictor, again.source, again.target)
    assert (pixels == labels).all() and len(again.objects) == 2
    assert unsaved_work(session.source, tmp_path) == []  # in use again
    again.close()
    assert unsaved_work(session.source, tmp_path) == []


def test_labels_from_before_the_session_are_named(tmp_path) -> None:
    labels = np.zeros((60, 80), np.uint16)
    labels[:5, :5] = 3
    session, _ = disc_session(journal=tmp_path / "one.jsonl", labels=labels)
    put(session, (30, 30))
    left_by_a_kill(session, tmp_path / "one.jsonl")
    (work,) = unsaved_work(session.source, tmp_path)
    assert work.onto_labels and work.objects == 1
    session.close()


def test_what_was_discarded_is_kept_but_offered_no_more(tmp_path) -> None:
    session, _ = disc_session(journal=tmp_path / "one.jsonl")
    put(session, (20, 20))
    left = left_by_a_kill(session, tmp_path / "one.jsonl")
    session.close()
    with left.open("ab") as file:
        file.write(b'{"do":"add_po')  # incomplete
    discard(left)
    assert unsaved_work(session.source, tmp_path) == []
    fresh, _ = disc_session()
    assert len(recover(left, fresh.predictor, fresh.source, fresh.target).objects) == 1


def test_a_damaged_journal_is_passed_over(tmp_path) -> None:
    session, _ = disc_session(journal=tmp_path / "one.jsonl")
    put(session, (20, 20))
    left = left_by_a_kill(session, tmp_path / "one.jsonl")
    session.close()
    lines = left.read_bytes().split(b"\n")
    left.write_bytes(b"\n".join([lines[0], b"{damaged", *lines[1:]]))
    (tmp_path / "empty.jsonl").touch()
    assert unsaved_work(session.source, tmp_path) == []


@pytest.mark.slow
def test_a_session_may_be_closed_while_the_program_ends(tmp_path):
    """A window that Qt destroys last closes its session after the exit functions have run."""
    script = (
        "import atexit, sys\n"
        "atexit.register(lambda: journal.write({'do': 'closed', 't': 1}, True))\n"
        "from napari_segment_anything.session.journal import Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "journal.begin({})\n"
    )
    path = tmp_path / "j.jsonl"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert path.read_text().splitlines()[-1] == '{"do":"closed","t":1}'
