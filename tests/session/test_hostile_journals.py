"""Journals from untrusted sources can change labels, and do nothing else."""

from __future__ import annotations

import base64
import json
import os
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_segment_anything.cli.main import run
from napari_segment_anything.engine import PlaneSource, Predictor
from napari_segment_anything.errors import FormatError, SegmentAnythingError
from napari_segment_anything.session import (
    ArrayTarget,
    Journal,
    Session,
    recover,
    replay,
    unfinished_journals,
)

from ..tiny import tiny_model

SIDE = 48


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)


@pytest.fixture(scope="module")
def predictor():
    return Predictor(tiny_model())


@pytest.fixture(scope="module")
def lines(image, predictor, tmp_path_factory):
    """A short journal with prompts, commits, a mask and edits."""
    path = tmp_path_factory.mktemp("journal") / "session.jsonl"
    labels = np.zeros(image.shape, np.uint16)
    session = Session(predictor, PlaneSource(image), ArrayTarget(labels), journal=path)
    session.add_point((), (20, 20))
    session.update()
    session.commit()
    session.set_box((), (30, 30, 44, 44))
    session.add_scribble((), [(32, 32), (40, 40)])
    session.update()
    session.commit()
    session.undo()
    session.redo()
    session.set_mask((), labels == 1)
    session.update()
    session.delete(2)
    session.close()
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def changed(lines, number, *keys, to):
    copy = json.loads(json.dumps(lines))
    inner = copy[number]
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    return copy


@pytest.mark.parametrize("setting", ["journal", "cache", "device", "clock", "threads", "x"])
def test_settings_of_a_journal_write_nothing(lines, image, predictor, tmp_path, setting):
    target = tmp_path / "written.jsonl"
    path = write(tmp_path / "j.jsonl", changed(lines, 0, "settings", setting, to=str(target)))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FormatError, match=f"settings.{setting}"):
        replay(path, image, predictor.model)
    labels = ArrayTarget(np.zeros(image.shape, np.uint16))
    with pytest.raises(FormatError, match=f"settings.{setting}"):
        recover(path, predictor, PlaneSource(image), labels)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "name", ["http://127.0.0.1:9/model.pt", "file:///etc/passwd", "../model.pt", "/tmp/m.pt", ""]
)
def test_a_journal_opens_no_model_but_those_of_the_catalogue(lines, image, tmp_path, name):
    path = write(tmp_path / "j.jsonl", changed(lines, 0, "model", "name", to=name))
    with pytest.raises(SegmentAnythingError, match="no name in the catalogue"):
        replay(path, image)


@pytest.mark.parametrize(
    "where",
    ["http://127.0.0.1:9/a.zarr", "s3://bucket/a.zarr", "/dev/zero", "../../a.tif", "//host/a.tif"],
)
def test_a_journal_opens_no_image_elsewhere(lines, tmp_path, capsys, where, monkeypatch):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    path = write(folder / "j.jsonl", changed(lines, 0, "image", "path", to=where))
    assert run(["replay", str(path), "--json"]) == 2
    assert "--recorded-image" in capsys.readouterr().err


def test_the_recorded_image_beside_the_journal_is_read(lines, image, tmp_path, capsys):
    np.save(tmp_path / "image.npy", image)
    recorded = changed(lines, 0, "image", "path", to=str(tmp_path / "image.npy"))
    path = write(tmp_path / "j.jsonl", recorded)
    assert run(["replay", str(path), "--json"]) == 2
    assert "no name in the catalogue" in capsys.readouterr().err  # the image was read before


def test_numbers_of_threads_are_bounded(lines, image, predictor, tmp_path):
    path = write(tmp_path / "j.jsonl", changed(lines, 0, "model", "threads", to=1_000_000))
    with pytest.raises(SegmentAnythingError, match="MAX_THREADS"):
        replay(path, image, predictor.model)


@pytest.mark.slow
def test_packed_masks_do_not_unpack_to_more_than_their_window(lines, image, predictor, tmp_path):
    bomb = base64.b64encode(zlib.compress(bytes(2**28), 9)).decode()
    number = next(i for i, line in enumerate(lines) if line.get("do") == "set_mask")
    path = write(tmp_path / "j.jsonl", changed(lines, number, "mask", "bits", to=bomb))
    with pytest.raises(FormatError, match="does not have the size"):
        replay(path, image, predictor.model)
    wide = changed(lines, number, "mask", "window", to=[0, 0, 2**30, 2**30])
    with pytest.raises(FormatError, match="MAX_MASK_PIXELS"):
        replay(write(path, wide), image, predictor.model)
    number = next(i for i, line in enumerate(lines) if line.get("do") == "commit")
    patch = changed(lines, number, "edit", "patches", 0, "after", to=bomb)
    labels = ArrayTarget(np.zeros(image.shape, np.uint16))
    with pytest.raises(FormatError, match="does not have the size"):
        recover(write(path, patch), predictor, PlaneSource(image), labels)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_devices_are_no_journals(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    for path in (tmp_path / "pipe.jsonl", "/dev/zero", tmp_path):
        with pytest.raises(FormatError, match="has to be a file"):
            Journal.read(path)
    assert unfinished_journals(tmp_path) == []


def test_nesting_is_bounded(lines, tmp_path):
    path = write(tmp_path / "j.jsonl", lines)
    with path.open("a") as file:
        file.write('{"do":"begin","plane":' + "[" * 200_000 + "\n")
    with pytest.raises(FormatError, match=r"line \d+ .*recursion"):
        Journal.read(path)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["auto", "fp32", "undo", "commit", "../x", "http://a/b", 10**9, -1, 0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def places(value, at=()):
    """Paths to every value in nested ones."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if isinstance(inner, dict | list):
            yield from places(inner, (*at, key))
        else:
            yield (*at, key)


@pytest.mark.slow
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_change_of_a_journal_is_replayed_or_refused(data, lines, image, predictor, tmp_path):
    copy = json.loads(json.dumps(lines))
    number = data.draw(st.integers(0, len(copy) - 1))
    action = data.draw(st.sampled_from(["value", "drop", "double", "swap"]))
    if action == "value":
        where = data.draw(st.sampled_from([at for at in places(copy[number]) if at]))
        copy = changed(copy, number, *where, to=data.draw(VALUES))
    elif action == "drop":
        del copy[number]
    elif action == "double":
        copy.insert(number, copy[number])
    else:
        other = data.draw(st.integers(0, len(copy) - 1))
        copy[number], copy[other] = copy[other], copy[number]
    path = write(tmp_path / "j.jsonl", copy)
    before = sorted(tmp_path.iterdir())
    labels = ArrayTarget(np.zeros(image.shape, np.uint16))
    for attempt in (
        lambda: replay(path, image, predictor.model, other_model=True),
        lambda: recover(path, predictor, PlaneSource(image), labels, other_image=True).close(),
    ):
        with suppress(SegmentAnythingError):
            attempt()
    assert sorted(tmp_path.iterdir()) == before
