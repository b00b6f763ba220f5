"""A process is killed while it writes, the disk is full, files are damaged."""

from __future__ import annotations

import os
import re
import sys

import numpy as np
import pytest

from napari_segment_anything.errors import FormatError
from napari_segment_anything.formats import encode
from napari_segment_anything.projects import ObjectEntry, Project, Suggestions
from napari_segment_anything.projects.files import COMMIT, write_together
from napari_segment_anything.projects.pending import PENDING, note_pending

KILLED = """
import os, random, signal, sys, time
import numpy as np
from napari_segment_anything.formats import encode
from napari_segment_anything.projects import ObjectEntry, Project, Suggestion, Suggestions
from napari_segment_anything.session import ObjectPrompts

folder = sys.argv[1]
random.seed(int(sys.argv[2]))

def work(written):
    project = Project.open(folder)
    image = project.image("a0")
    with image.lock("killed") as editing:
        number = int(image.labels().max())
        os.write(written, b"%d\\n" % number)
        while True:
            number += 1
            labels = np.full((40, 50), number, np.int32)
            prompts = ObjectPrompts(((float(number), 1.0),), (True,))
            suggested = Suggestions((40, 50), (Suggestion(number, encode(labels > 0), 0.5),))
            editing.write(labels=labels, objects=[ObjectEntry(number, prompts=prompts)],
                          suggestions=suggested, state="in_progress", seconds=float(number))
            project.configure(nudge_seconds=float(number % 60))
            os.write(written, b"%d\\n" % number)

for _ in range(int(sys.argv[3])):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        work(write)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = [int(pipe.readline()) for _ in range(random.randint(1, 3))]
        time.sleep(random.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        said += [int(line) for line in pipe.read().split("\\n")[:-1]]
    project = Project.open(folder)  # project.toml is whole
    image = project.image("a0")
    assert image.locked_by() is None, "the lock of a killed process is left behind"
    with image.lock("next"):
        number = int(image.labels().max())
        assert (image.labels() == number).all()
        assert [entry.id for entry in image.objects()] == ([number] if number else [])
        assert [item.id for item in image.suggestions()] == ([number] if number else [])
        assert image.seconds == number, "files of different moments"
        acknowledged = said[-1]
        assert acknowledged <= number <= acknowledged + 1, (number, said)
    left = [p.name for p in image.folder.iterdir() if p.name.startswith(".commit")]
    assert not left, left
print(number)
"""


@pytest.fixture
def killed_rounds(processes, project):
    def rounds_of(seed: int, rounds: int) -> int:
        """Number of writes that got through before the last kill."""
        with processes.start(KILLED, project.folder, seed, rounds) as run:
            said, errors = run.communicate()
        assert run.returncode == 0, errors
        return int(said)

    return rounds_of


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_a_killed_process_loses_at_most_what_it_was_writing(killed_rounds):
    assert killed_rounds(seed=1, rounds=10) > 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_two_hundred_kills(killed_rounds):
    assert killed_rounds(seed=2, rounds=200) > 100


def test_a_commit_that_was_cut_short_is_read_and_completed(project, labels):
    image = project.image("a0")
    with image.lock() as editing:
        editing.write(labels=labels, objects=[ObjectEntry(1)], state="complete")
    # between the rename that makes it valid and the moves
    commit = image.folder / COMMIT
    commit.mkdir()
    (image.folder / "state.json").rename(commit / "state.json")
    (image.folder / "state.json").write_text("{}")
    assert project.image("a0").state == "complete"
    with image.lock():
        assert not commit.exists()
    assert Project.open(project.folder).image("a0").state == "complete"


def test_labels_of_large_images_are_a_store(project, labels, monkeypatch):
    monkeypatch.setattr("napari_segment_anything.projects.editing.LARGE", 1000)
    image = project.image("a0")
    with image.lock() as editing:
        editing.write(labels=labels)
        editing.write(labels=2 * labels)
        np.testing.assert_array_equal(image.labels(), 2 * labels)
        # between the removal of the old store and the move of the new one
        (image.folder / COMMIT).mkdir()
        (image.folder / "labels.ome.zarr").rename(image.folder / COMMIT / "labels.ome.zarr")
        assert image.has_labels
        np.testing.assert_array_equal(image.labels(), 2 * labels)
        editing.set_state("complete")
    np.testing.assert_array_equal(image.labels(), 2 * labels)
    assert sorted(path.name for path in image.folder.iterdir()) == [
        "labels.ome.zarr", "lock", "state.json",
    ]  # fmt: skip


def test_a_full_disk_keeps_what_was_there(project, labels):
    resource = pytest.importorskip("resource")
    image = project.image("a0")
    with image.lock() as editing:
        editing.write(labels=labels, objects=[ObjectEntry(1)], state="in_progress")
        noise = np.random.default_rng(0).integers(1, 2**31 - 1, labels.shape)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        try:
            with pytest.raises(FormatError, match=r"a0.* cannot be written: File too large"):
                editing.write(labels=noise, objects=[ObjectEntry(7)], state="complete")
            with pytest.raises(FormatError, match="cannot be written"):
                editing.write(note="x" * 5000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        editing.add_seconds(1)
    np.testing.assert_array_equal(image.labels(), labels)
    assert image.objects() == (ObjectEntry(1),) and image.state == "in_progress"
    assert sorted(p.name for p in image.folder.iterdir()) == [
        "labels.tif", "lock", "objects.json", "state.json",
    ]  # fmt: skip


def test_files_are_written_together_or_not_at_all(tmp_path):
    write_together(tmp_path, {"a": lambda p: p.write_text("1"), "b": lambda p: p.write_text("1")})

    def fail(path):
        raise OSError(28, "No space left on device")

    with pytest.raises(FormatError, match=r"No space left on device\. Free some space"):
        write_together(tmp_path, {"a": lambda p: p.write_text("2"), "b": fail})
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "1", "b": "1"}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b'{"version": 2}', b"II*\0"])
@pytest.mark.parametrize("name", ["state.json", "objects.json", "labels.tif"])
def test_damaged_files_of_an_image_are_one_clear_error(project, labels, name, content):
    image = project.image("a0")
    with image.lock() as editing:
        editing.write(labels=labels, objects=[ObjectEntry(1)], state="complete")
    (image.folder / name).write_bytes(content)
    image = Project.open(project.folder).image("a0")
    read = {"state.json": lambda: image.state, "objects.json": image.objects}
    with pytest.raises(FormatError, match=rf"a0.{re.escape(name)}"):  # of many files of this name
        read.get(name, image.labels)()
    # whatever the damage, the labels can be replaced
    with image.lock() as editing:
        if name != "state.json":
            editing.write(labels=labels, objects=[ObjectEntry(1)])
            assert read.get(name, image.labels)() is not None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("project.toml", b"version = ", "project.toml is not TOML"),
        ("project.toml", b"version = 9", "is of version 9; this program reads 1"),
        ("project.toml", b"vershun = 1", "project.toml lacks the line `version = 1`"),
        ("project.toml", b"version = 1\n[setings]", "'setings': did you mean 'settings'?"),
        (
            "project.toml",
            b"version = 1\n[[images]]\npath = 'a'\npixle_size = [1, 1]",
            "'pixle_size': did you mean 'pixel_size'?",
        ),
        ("project.toml", b"version = 1\nimages = 3", "images: this should be"),
        ("project.toml", b"version = 1\n[settings]\nspeed = 3", "Unknown parameter 'speed'"),
        ("project.toml", b"version = 1\n[[classes]]\nname = 'a'\ncolour = 'red'", "is #rrggbb"),
        ("images.csv", b"", "needs a header"),
        ("images.csv", b"key,source,path,plane\na,1,a.png", "row 2: 3 fields"),
        ("images.csv", b"key,source,path,plane\na,7,a.png,", "source '7' is not one of the 1"),
        ("images.csv", b"key,source,path,plane\n../a,1,a.png,", "not a valid name"),
        ("images.csv", b"key,source,path,plane\na,1,a.png,\nA,1,b.png,", "two images called A"),
    ],
)
def test_a_damaged_project_is_one_clear_error(project, name, content, message):
    (project.folder / name).write_bytes(content)
    with pytest.raises(FormatError, match=message):
        Project.open(project.folder)


def test_nothing_is_written_through_a_link(project, tmp_path, labels):
    (tmp_path / "elsewhere").mkdir()
    (project.folder / "images").mkdir()
    (project.folder / "images" / "a0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="is outside of"):
        project.image("a0").lock().__enter__()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_what_was_decided_is_on_the_disk_before_it_is_shown(project, monkeypatch):
    from napari_segment_anything.projects import files

    kept = []
    monkeypatch.setattr(files.os, "fsync", lambda file: kept.append(os.fstat(file).st_size))
    note_pending(project.image("a0").folder, {"decided": {1: "rejected"}})
    assert kept == [(project.image("a0").folder / PENDING).stat().st_size] and kept[0] > 0


def test_what_was_decided_but_not_written_is_there_after_a_kill(project):
    image = project.image("a0")
    masks = [encode(np.eye(40, 50, k=10 * n, dtype=bool)) for n in range(3)]
    with image.lock() as editing:
        editing.set_suggestions(Suggestions.from_masks(masks, [0.9, 0.8, 0.7], (40, 50)))
        note_pending(image.folder, {"decided": {1: "rejected", 2: "rejected"}})
        note_pending(
            image.folder, {"state": "complete", "complete_regions": [[[0, 0], [0, 9], [9, 9]]]}
        )
        note_pending(image.folder, {"decided": {2: "open", 7: "rejected"}})
    with (image.folder / PENDING).open("a") as file:
        file.write('{"decided":{"3":"rej')  # killed here
    with image.lock():
        assert [item.status for item in image.suggestions()] == ["rejected", "open", "open"]
        assert image.state == "complete"
        assert not (image.folder / PENDING).exists()
    (image.folder / PENDING).write_text('{"decided":{"3":"rej')  # nothing but this
    with image.lock():
        note_pending(image.folder, {"decided": {3: "rejected"}})
    with image.lock():
        assert image.suggestions()[3].status == "rejected"
    (image.folder / PENDING).write_text('{"decided":{"3":"eaten"}}\n')
    with pytest.raises(FormatError, match=r"pending.jsonl is damaged; delete it"), image.lock():
        pass
