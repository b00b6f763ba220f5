"""Journals: their content, what a killed process leaves, recovery and replay."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
import zarr

from napari_segment_anything.cli.main import run
from napari_segment_anything.engine import EmbeddingCache, PlaneSource, Predictor, Window
from napari_segment_anything.errors import FormatError, ImageError, ParameterError, ResourceError
from napari_segment_anything.session import (
    ArrayTarget,
    Journal,
    Session,
    new_journal_path,
    recover,
    replay,
    unfinished_journals,
)
from napari_segment_anything.session.draft_actions import AddPoint

from ..tiny import tiny_model
from .helpers import DiscModel, disc_predictor, disc_session, put


def annotate(session: Session, labels: np.ndarray) -> None:
    """Do a bit of everything."""
    session.add_point((), (40, 50))
    session.update()
    session.add_point((), (60, 50), positive=False)
    session.update()
    session.cycle()
    session.commit()
    session.set_box((), (70, 90, 110, 140))
    session.update()
    session.commit()
    session.undo()
    session.undo()
    session.redo()
    session.redo()
    session.begin_batch((), points=[(20, 20), (20, 120)], boxes=[(80, 10, 110, 40)])
    session.update()
    session.add_point((), (26, 20), positive=False)
    session.update()
    session.commit()
    window = Window(0, 60, 5, 30)
    before = labels[window.slices].copy()
    labels[window.slices] = 11
    session.paint((), window, before, labels[window.slices])
    session.edit(2)
    session.add_scribble((), [(80, 95), (100, 130)])
    session.update()
    session.overwrite = True
    session.commit()
    session.edit(11)
    session.update()
    session.cancel()
    session.delete(3)
    session.relabel(4, 30)
    session.merge([30, 5])
    half = np.zeros(labels.shape, bool)
    half[:40] = True
    session.split_off(1, half, Window.full(labels.shape))
    session.add_point((), (100, 20))
    drawn = np.zeros(labels.shape, bool)
    drawn[95:105, 15:25] = True
    session.update()
    session.paint_preview(drawn)
    session.add_point((), (100, 24))
    session.update()


def same_session(first: Session, second: Session) -> None:
    assert first.objects == second.objects
    fields = ("plane", "points", "boxes", "masks", "scribbles", "window", "revision", "ancestors")
    for name in fields:
        assert getattr(first.draft, name) == getattr(second.draft, name)
    assert [a.description for a in first.state.history.done] == [
        a.description for a in second.state.history.done
    ]


@pytest.fixture
def recorded(predictor, image, tmp_path):
    labels = np.zeros(image.shape, np.uint16)
    source = PlaneSource(image, name="noise")
    path = tmp_path / "session.jsonl"
    session = Session(predictor, source, ArrayTarget(labels), journal=path)
    annotate(session, labels)
    return session, labels, path


def test_recover_brings_everything_back(recorded, predictor):
    session, labels, path = recorded
    session.journal.close()
    again = np.zeros_like(labels)
    back = recover(path, predictor, session.source, ArrayTarget(again))
    assert (again == labels).all()
    same_session(back, session)
    assert back.settings() == session.settings()
    while back.undo() is not None:
        pass
    assert not again.any()
    while back.redo() is not None:
        pass
    assert (again == labels).all()
    # the session continues in the same file
    back.update()
    (label,) = back.commit()
    assert label == max(session.objects) + 1
    back.close()
    final = np.zeros_like(labels)
    recover(path, predictor, session.source, ArrayTarget(final)).close()
    assert (final == again).all()


def test_recover_onto_labels_that_were_saved_at_the_end(recorded, predictor):
    session, labels, path = recorded
    again = labels.copy()
    back = recover(path, predictor, session.source, ArrayTarget(again))
    assert (again == labels).all()
    same_session(back, session)


def test_replay_decodes_anew_and_finds_the_same(recorded, model, image):
    session, labels, path = recorded
    steps = []
    result = replay(path, image, model, on_progress=steps.append)
    assert result.identical
    assert (result.labels == labels).all()
    assert result.objects == session.objects
    assert result.decoded > 8
    assert steps[-1].done == steps[-1].total - 1
    # recorded labels are only compared: without them the replayed labels are the same
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        event = json.loads(line)
        if "edit" in event and event["do"] != "paint":
            event["edit"]["patches"] = []
            lines[number] = json.dumps(event)
    path.write_text("\n".join(lines) + "\n")
    result = replay(path, image, model)
    assert (result.labels == labels).all()
    assert not result.identical


@pytest.mark.slow
def test_replay_after_a_recovery_in_the_middle(recorded, predictor, model, image):
    session, labels, path = recorded
    session.journal.close()
    again = np.zeros_like(labels)
    back = recover(path, predictor, session.source, ArrayTarget(again))
    back.add_point((), (90, 20))  # earlier masks are not available for refinement
    back.update()
    back.commit()
    back.add_point((), (20, 100))
    back.update()
    back.commit()
    back.undo()
    back.close()
    third = again.copy()
    last = recover(path, predictor, session.source, ArrayTarget(third))
    last.update()
    (label,) = last.commit()
    assert label > max(back.objects) + 1  # a label is never used twice
    result = replay(path, image, model)
    assert result.identical
    assert (result.labels == third).all()


def test_labels_that_others_use_are_left_to_them(predictor, model, image, tmp_path):
    labels = np.zeros(image.shape, np.uint16)
    path = tmp_path / "session.jsonl"
    session = Session(predictor, PlaneSource(image), ArrayTarget(labels), journal=path)
    for reserved, given in ((0, 1), (6, 7), (3, 8)):
        session.reserve(reserved)
        session.add_point((), (10 + 12 * given, 20))
        session.update()
        assert session.commit() == (given,)
    assert replay(path, image, model).identical


@pytest.mark.slow
def test_replay_with_half_precision_embeddings(model, image, tmp_path):
    labels = np.zeros(image.shape, np.uint16)
    predictor = Predictor(model, EmbeddingCache(tmp_path / "cache"))
    path = tmp_path / "session.jsonl"
    session = Session(predictor, PlaneSource(image), ArrayTarget(labels), journal=path)
    annotate(session, labels)
    assert Journal.read(path)[0]["model"]["embeddings"] == "half"
    result = replay(path, image, model)
    assert result.identical
    assert result.objects == session.objects


@pytest.mark.slow
def test_replay_across_a_change_of_model(recorded, model, image):
    session, _, path = recorded
    other = tiny_model(seed=1)
    session.set_predictor(Predictor(other))
    session.update()
    session.commit()
    models = {each.fingerprint: each for each in (model, other)}
    result = replay(path, image, lambda recorded: models[recorded["fingerprint"]])
    assert result.identical
    assert {item.fingerprint for item in result.objects.values()} == {
        "",
        model.fingerprint,
        other.fingerprint,
    }
    with pytest.raises(ParameterError, match="its masks would differ"):
        replay(path, image, model)
    assert not replay(path, image, model, other_model=True).identical


@pytest.mark.slow
def test_another_image_is_refused(recorded, predictor, model, image):
    session, labels, path = recorded
    other = image.copy()
    other[0, 0] += 1
    with pytest.raises(ImageError, match="pixels differ"):
        replay(path, other, model)
    with pytest.raises(ImageError, match="its shape is"):
        replay(path, image[:50], model)
    with pytest.raises(ImageError, match="dtype"):
        recover(path, predictor, PlaneSource(image.astype(int)), ArrayTarget(labels.copy()))
    with pytest.raises(ImageError, match="channel"):
        recover(
            path,
            predictor,
            PlaneSource(image, contrast_limits=(0, 9), channels=(0,)),
            ArrayTarget(labels.copy()),
        )
    with pytest.raises(ParameterError, match="labels of shape"):
        recover(path, predictor, session.source, ArrayTarget(np.zeros((9, 9), np.uint8)))
    assert replay(path, other, model, other_image=True).events > 10


def test_labels_from_before_are_needed_for_a_replay(predictor, model, image, tmp_path):
    start = np.zeros(image.shape, np.uint16)
    start[30:50, 40:55] = 6
    labels = start.copy()
    path = tmp_path / "session.jsonl"
    session = Session(predictor, PlaneSource(image), ArrayTarget(labels), journal=path)
    session.add_point((), (40, 40))
    session.update()
    assert session.commit() == (7,)
    with pytest.raises(ParameterError, match="labels before the session"):
        replay(path, image, model)
    with pytest.raises(ParameterError, match="largest label"):
        replay(path, image, model, labels=labels)
    with pytest.raises(ParameterError, match="shape"):
        replay(path, image, model, labels=start[:9])
    result = replay(path, image, model, labels=start)
    assert result.identical
    assert (result.labels == labels).all()


def test_planes_of_a_stack_in_another_order_of_dimensions(predictor, model, tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (40, 2, 3, 50), dtype=np.uint8)
    labels = np.zeros((40, 3, 50), np.uint8)
    source = PlaneSource(data, displayed=(3, 0), channel_axis=1)
    target = ArrayTarget(labels, displayed=(2, 0))
    path = tmp_path / "session.jsonl"
    session = Session(predictor, source, target, journal=path)
    for plane in (2, 0):
        session.add_point((plane,), (30, 20))
        session.update()
        session.commit()
    result = replay(path, data, model)
    assert result.identical
    assert (result.labels == labels).all()


# -- the file ------------------------------------------------------------------------------------


def test_the_journal_is_plain_lines_with_a_header(recorded):
    _, _, path = recorded
    header, events = Journal.read(path)
    assert header["format"] == "napari-segment-anything journal"
    assert header["image"]["name"] == "noise"
    assert header["model"]["name"] == "tiny"
    assert header["target"] == {
        "shape": [120, 150],
        "dtype": "uint16",
        "displayed": [0, 1],
        "largest": 0,
    }
    assert [event.seconds for event in events] == sorted(event.seconds for event in events)
    assert events[0].action == AddPoint((), (40.0, 50.0), True, None)


def test_nothing_is_written_before_there_is_something(tmp_path):
    session, _ = disc_session(journal=tmp_path / "new" / "j.jsonl")
    assert not (tmp_path / "new").exists()
    put(session, (20, 20))
    assert len(Journal.read(tmp_path / "new" / "j.jsonl")[1]) == 3


def test_journals_that_were_not_closed_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_JOURNALS", str(tmp_path / "journals"))
    assert unfinished_journals() == []
    paths = []
    for _ in range(2):
        paths.append(new_journal_path("my cells / 3"))
        session, _ = disc_session(journal=paths[-1])
        put(session, (20, 20))
    assert paths[0].parent == tmp_path / "journals"
    assert paths[0].stem.endswith("_my-cells-3")
    assert paths[0] != paths[1]
    assert set(unfinished_journals()) == set(paths)
    session.close()
    assert unfinished_journals() == [paths[0]]
    (tmp_path / "journals" / "other.jsonl").write_text("?")
    back = recover(
        paths[1], disc_predictor(), session.source, ArrayTarget(np.zeros((60, 80), "u2"))
    )
    assert set(unfinished_journals()) == set(paths)
    back.close()
    assert unfinished_journals() == [paths[0]]


def test_a_torn_last_line_is_left_out_and_cut_off(tmp_path):
    path = tmp_path / "j.jsonl"
    session, labels = disc_session(journal=path)
    put(session, (20, 20))
    put(session, (40, 60))
    session.journal.close()
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in (1, len(lines[-1]) // 2, len(lines[-1]) - 1):
        path.write_bytes(whole[: -len(lines[-1])] + lines[-1][:cut])
        assert len(Journal.read(path)[1]) == len(lines) - 2
        again = np.zeros_like(labels)
        back = recover(path, disc_predictor(), session.source, ArrayTarget(again))
        assert set(back.objects) == {1}
        assert back.draft.points[0].position == (40.0, 60.0)
        back.close()
        assert path.read_bytes().startswith(whole[: -len(lines[-1])])
        assert [each.action.do for each in Journal.read(path)[1][-2:]] == ["recovered", "closed"]


def test_damage_is_told_by_its_line(recorded, tmp_path):
    first = json.loads(recorded[2].read_text().splitlines()[0])
    path = tmp_path / "j.jsonl"
    with pytest.raises(FormatError, match="cannot be read"):
        Journal.read(path)
    path.write_text("")
    with pytest.raises(FormatError, match="not a journal"):
        Journal.read(path)
    path.write_text('{"a": 1}\n')
    with pytest.raises(FormatError, match="not a journal"):
        Journal.read(path)
    head = '{"format": "napari-segment-anything journal", "version": %d}\n'
    path.write_text(head % 9)
    with pytest.raises(FormatError, match="version 9"):
        Journal.read(path)
    head = json.dumps(first).replace("%", "%%") + "\n%.0s"
    path.write_text(head % 1 + '{"do"\n{"do": "undo"}\n')
    with pytest.raises(FormatError, match="line 2"):
        Journal.read(path)
    path.write_text(head % 1 + "[]\n")
    with pytest.raises(FormatError, match="line 2"):
        Journal.read(path)
    path.write_text(head % 1 + '{"do": "void"}\n')
    with pytest.raises(FormatError, match="takes back"):
        Journal.read(path)


def test_an_impossible_event_is_told_by_its_number(recorded, model, image):
    _, _, path = recorded
    with path.open("a") as file:
        file.write('{"do": "dance", "t": 99}\n')
    with pytest.raises(FormatError, match=r"line \d+ .*do '?dance'? is unknown"):
        replay(path, image, model)


def test_an_existing_journal_is_not_overwritten(recorded, predictor, image):
    _, _, path = recorded
    before = path.read_bytes()
    session = Session(
        predictor, PlaneSource(image), ArrayTarget(np.zeros(image.shape, "u1")), journal=path
    )
    with pytest.raises(ResourceError, match="exists already"):
        session.add_point((), (5, 5))
    assert session.draft is None
    assert path.read_bytes() == before


def test_a_full_disk_leaves_session_and_file_as_they_were(tmp_path):
    path = tmp_path / "j.jsonl"
    session, labels = disc_session(journal=path)
    put(session, (20, 20))
    before, whole = labels.copy(), path.read_bytes()
    session.add_point((), (40, 60))
    session.update()
    kept = path.read_bytes()
    file = session.journal._file

    class Full:
        def write(self, line):
            file.write(line[:7])
            raise OSError(28, "No space left on device")

        def close(self):
            file.close()

    session.journal._file = Full()
    with pytest.raises(ResourceError, match="No space left"):
        session.commit()
    assert path.read_bytes() == kept
    assert kept.startswith(whole)
    assert (labels == before).all()
    assert set(session.objects) == {1}
    session.commit()  # there is room again
    assert Journal.read(path)[1][-1].action.do == "commit"


def test_an_event_whose_labels_could_not_be_written_did_not_happen(tmp_path):
    path = tmp_path / "j.jsonl"
    session, labels = disc_session(journal=path)
    put(session, (20, 20))
    session.add_point((), (40, 60))
    session.update()
    write = session.target.write

    def failing(plane, window, values):
        session.target.write = write
        raise OSError("gone")

    session.target.write = failing
    with pytest.raises(OSError, match="gone"):
        session.commit()
    put(session, (20, 60)) if session.draft is None else session.commit()
    again = np.zeros_like(labels)
    back = recover(path, disc_predictor(), session.source, ArrayTarget(again))
    assert (again == labels).all()
    assert back.objects == session.objects


# -- killed --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("events", [7, 60, 150])
def test_a_killed_process_loses_at_most_the_event_in_flight(processes, events, tmp_path):
    path, store = tmp_path / "session.jsonl", tmp_path / "labels.zarr"
    zarr.create_array(str(store), shape=(60, 80), chunks=(16, 16), dtype="u2", fill_value=0)
    annotating = "import sys; from tests.session import killed; killed.main(*sys.argv[1:])"
    told = 0
    with processes.start(annotating, path, store) as process:
        for line in process.stdout:
            told = int(line)
            if told >= events:
                process.kill()
                break
        for line in process.stdout:  # printed before it was killed
            told = int(line)
    assert process.returncode == -signal.SIGKILL
    header, found = Journal.read(path)
    assert told <= len(found) <= told + 1

    # recovery onto empty labels, and onto those that the process left
    session, fresh = disc_session()
    back = recover(path, disc_predictor(), session.source, ArrayTarget(fresh))
    back.close()
    left = ArrayTarget(zarr.open_array(str(store), mode="r+"))
    assert np.count_nonzero(left.read((), Window(0, 0, 60, 80)) != fresh) <= 400
    again = recover(path, disc_predictor(), session.source, left)
    again.close()
    assert (left.read((), Window(0, 0, 60, 80)) == fresh).all()

    # the labels of a process that was not killed, after the same events
    from .killed import clicks

    other, labels = disc_session(journal=tmp_path / "other.jsonl", overwrite=True)
    count = [0]
    write = other.recorder.record

    def record(event, durable=False):
        if count[0] == len(found):
            raise EOFError
        write(event, durable)
        count[0] += 1

    other.recorder.record = record
    for action in clicks():
        try:
            action(other)
        except ValueError:
            continue
        except EOFError:
            break
        if count[0] == len(found):
            break
    assert (labels == fresh).all()
    assert strip(other.objects) == strip(back.objects)
    assert header["model"]["name"] == DiscModel().name
    while back.can_undo:
        back.recorder.journal = None
        back.undo()
    assert not fresh.any()


def strip(objects):
    from dataclasses import replace

    return {label: replace(item, seconds=0.0) for label, item in objects.items()}


# -- the command ---------------------------------------------------------------------------------


@pytest.fixture
def files(recorded, image, tmp_path, monkeypatch, model):
    import tifffile

    import napari_segment_anything.engine as engine

    asked = []

    def load_model(source="default", device="auto", precision="auto", **options):
        asked.append((source, device, precision))
        return model

    monkeypatch.setattr(engine, "load_model", load_model)
    tifffile.imwrite(tmp_path / "noise.tif", image)
    return recorded[1], recorded[2], tmp_path, asked


@pytest.mark.slow
def test_replay_on_the_command_line(files, capsys):
    import tifffile

    labels, path, folder, asked = files
    out = folder / "labels.tif"
    assert run(["replay", str(path), str(folder / "noise.tif"), "-o", str(out)]) == 2
    assert "no name in the catalogue" in capsys.readouterr().err
    command = ["replay", str(path), str(folder / "noise.tif"), "-o", str(out)]
    assert run([*command, "--model", "own.pt"]) == 0
    printed = capsys.readouterr()
    assert "identical" in printed.out
    assert asked == [("own.pt", "auto", "fp32")]
    assert (tifffile.imread(out) == labels).all()
    assert run(["replay", str(path), str(folder / "noise.tif"), "-o", str(out), "-q"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    command = ["replay", str(path), str(folder / "noise.tif"), "--json", "-q"]
    assert run([*command, "--model", "mine"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["identical"] is True
    assert result["objects"] == len(np.unique(labels)) - 1
    assert asked[-1][0] == "mine"


@pytest.mark.slow
def test_bad_input_on_the_command_line_is_one_line(files, capsys):
    _, path, folder, _ = files
    image = str(folder / "noise.tif")
    for command, message in (
        ([str(path), image], "-o FILE"),
        ([str(path), "--json"], "second argument"),
        ([str(folder / "no.jsonl"), image, "--json"], "cannot be read"),
        ([str(path), "sample:coins", "--json", "-q"], "another image"),
        ([str(path), image, "-o", str(folder / "labels.doc")], "name the file so"),
    ):
        assert run(["replay", *command]) == 2
        lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("napari-sam")]
        assert len(lines) == 1
        assert message in lines[0]
