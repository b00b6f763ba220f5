"""Whatever is written is read again, exactly."""

from __future__ import annotations

import tempfile
from pathlib import Path
from string import ascii_letters, ascii_lowercase, digits

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_segment_anything.engine import PlacedMask
from napari_segment_anything.projects import (
    STATES,
    ImageSource,
    ImageStatus,
    ObjectClass,
    ObjectEntry,
)
from napari_segment_anything.projects.configuration import (
    Configuration,
    read_configuration,
    write_configuration,
)
from napari_segment_anything.projects.files import json_writer
from napari_segment_anything.projects.index import IndexEntry, index_text, read_index
from napari_segment_anything.projects.layout import read_status
from napari_segment_anything.projects.objects import objects_writer, read_objects
from napari_segment_anything.session import ObjectPrompts, Scribble

FAST = settings(
    max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
number = st.floats(-1e6, 1e6, allow_nan=False)
point = st.tuples(number, number)
name = st.builds(
    "{}{}".format,
    st.text(ascii_letters + digits + " _-äß", max_size=8),
    st.sampled_from(ascii_lowercase + digits),
)


@st.composite
def prompts(draw):
    points = draw(st.lists(point, max_size=3))
    labels = tuple(draw(st.booleans()) for _ in points)
    scribbles = draw(
        st.lists(st.builds(Scribble, st.tuples(point, point), st.booleans()), max_size=2)
    )
    mask = np.zeros((6, 7), bool)
    mask[draw(st.integers(0, 5)), draw(st.integers(0, 6))] = True
    box = draw(st.none() | st.just((1.0, 2.0, 3.5, 9.0)))
    placed = draw(st.none() | st.just(PlacedMask.of(mask, 3, 4)))
    return ObjectPrompts(tuple(points), labels, box, tuple(scribbles), placed)


entries = st.builds(
    ObjectEntry,
    st.integers(1, 2**31 - 1),
    text,
    prompts(),
    st.none() | st.floats(0, 1),
    st.floats(0, 1e6),
    st.sampled_from(["person", "suggestion", "corrected", "imported"]),
    *(text,) * 5,
)
statuses = st.builds(
    ImageStatus,
    st.sampled_from(STATES),
    text,
    st.lists(st.tuples(point, point, point), max_size=2).map(tuple),
    st.lists(point, max_size=2).map(tuple),
    st.floats(0, 1e6),
    st.none() | st.booleans(),
    st.dictionaries(text, st.integers(0, 99), max_size=2),
    *(text,) * 3,
)


def written(write) -> Path:
    folder = tempfile.mkdtemp()
    write(Path(folder) / "a.json")
    return Path(folder) / "a.json"


@FAST
@given(st.lists(entries, max_size=3, unique_by=lambda entry: entry.id))
def test_objects(items):
    assert read_objects(written(objects_writer(items))) == tuple(items)


@FAST
@given(statuses)
def test_statuses(status):
    assert read_status(written(json_writer(status.to_json()))) == status


@pytest.mark.slow
@FAST
@given(text, name, st.lists(name, max_size=3, unique=True), st.lists(text.filter(bool), max_size=3))
def test_configurations(title, model, classes, paths):
    made = Configuration(
        1,
        title,
        model,
        tuple(ImageSource(path, "CYX", (0, 1), "T=1:9,Z=2", (0.5, 1e-7), "µm") for path in paths),
        tuple(ObjectClass(each, f"#{i:06x}", str(i)) for i, each in enumerate(classes)),
        {"nudge_seconds": 7.5},
    )
    folder = Path(tempfile.mkdtemp())
    write_configuration(folder, made)
    assert read_configuration(folder) == made


@FAST
@given(
    st.lists(
        st.tuples(name, text, st.dictionaries(st.sampled_from("TZ"), st.integers(0, 999)), text),
        max_size=4,
        unique_by=lambda row: row[0].casefold(),
    )
)
def test_indexes(rows):
    made = [
        IndexEntry(key.strip(), 0, path, plane, {"well": extra} if extra else {})
        for key, path, plane, extra in rows
    ]
    if len({entry.key.casefold() for entry in made}) < len(made):
        pytest.skip("equal but for spaces")
    path = Path(tempfile.mkdtemp()) / "images.csv"
    path.write_text(index_text(made), "utf-8", newline="")
    assert read_index(path, 1) == tuple(made)
