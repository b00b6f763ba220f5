"""Scribbles, packed masks, prompts and objects as JSON: the small parts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_segment_anything.engine import PlacedMask, Window
from napari_segment_anything.errors import FormatError, PromptError
from napari_segment_anything.reading import decode_json
from napari_segment_anything.session import ObjectPrompts, Scribble, SessionObject
from napari_segment_anything.session.label_edits import LabelEdit, LabelPatch
from napari_segment_anything.session.objects import drawn_mask
from napari_segment_anything.session.schema import to_json

masks = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=14))
places = st.tuples(st.floats(0, 400), st.floats(0, 300))


def read(kind, plain):
    return decode_json(json.dumps(plain), kind, "")


def through_json(value):
    return read(type(value), to_json(value))


@given(st.lists(places, min_size=1, max_size=12))
def test_points_of_a_scribble_lie_on_it_and_are_always_the_same(line):
    scribble = Scribble(tuple(line))
    points = np.array(scribble.points())
    assert 1 <= len(points) <= 6
    assert scribble.points() == Scribble(tuple(line)).points()
    starts, ends = np.array(line[:-1]), np.array(line[1:])
    if len(line) == 1:
        assert (points == line[0]).all()
        return
    along = ends - starts
    length = np.maximum((along**2).sum(1), 1e-12)
    share = np.clip(((points[:, None] - starts) * along).sum(-1) / length, 0, 1)
    nearest = starts + share[..., None] * along
    away = np.linalg.norm(points[:, None] - nearest, axis=-1).min(1)
    assert (away < 1e-6).all()


def test_points_of_a_scribble_are_evenly_spread():
    points = Scribble(((0, 0), (0, 30), (30, 30))).points()
    assert points == [(0, 5), (0, 15), (0, 25), (5, 30), (15, 30), (25, 30)]
    assert Scribble(((3, 4),)).points() == [(3, 4)]
    assert Scribble(((0, 0), (0, 4))).points() == [(0, 2)]


@given(masks, st.integers(0, 9), st.integers(0, 9))
def test_a_packed_mask_is_the_mask(mask, row, col):
    window = Window(row, col, *mask.shape)
    if not mask.any():
        with pytest.raises(PromptError, match="empty"):
            drawn_mask(mask, window)
        return
    drawn = drawn_mask(mask, window)
    assert (drawn.within(window) == mask).all()
    assert through_json(ObjectPrompts(mask=drawn)).mask == drawn


def test_a_damaged_mask_is_refused():
    mask = to_json(ObjectPrompts(mask=PlacedMask.of(np.ones((9, 9), bool))))["mask"]
    with pytest.raises(FormatError, match="size"):
        read(ObjectPrompts, {"mask": {**mask, "window": [0, 0, 90, 90]}})
    with pytest.raises(FormatError, match="cannot be read"):
        read(ObjectPrompts, {"mask": {**mask, "bits": "?"}})


@given(arrays.arrays(np.int16, (7, 5)), arrays.arrays(np.int16, (7, 5)))
def test_a_patch_goes_there_and_back(before, after):
    patch = LabelPatch.between((2,), Window(3, 4, 7, 5), before, after)
    if patch is None:
        assert (before == after).all()
        return
    edit = LabelEdit(patches=(patch,))
    assert through_json(edit) == edit
    assert patch.inverse().inverse() == patch
    old, new = patch.arrays()
    inner = (
        slice(patch.window.row - 3, patch.window.row - 3 + patch.window.height),
        slice(patch.window.col - 4, patch.window.col - 4 + patch.window.width),
    )
    assert (before[inner] == old).all() and (after[inner] == new).all()


def test_prompts_and_objects_survive_json():
    prompts = ObjectPrompts(
        ((1.5, 2.0), (3.0, 4.25)),
        (True, False),
        (0.0, 0.0, 9.0, 8.0),
        (Scribble(((1.0, 1.0), (2.0, 2.0)), False),),
        PlacedMask.of(np.eye(4, dtype=bool), 2, 2),
    )
    assert len(prompts) == 5
    assert prompts.decodable and not prompts.ask().ambiguous
    assert through_json(prompts) == prompts
    assert to_json(ObjectPrompts()) == {} and read(ObjectPrompts, {}) == ObjectPrompts()
    item = SessionObject(3, (1, 2), prompts, 1, (0.5, 0.75), 0.75, "f", 2.5)
    assert through_json(item) == item
    joined = prompts.joined(ObjectPrompts(((7.0, 7.0),), (True,), (5.0, 1.0, 20.0, 3.0)))
    assert joined.box == (0.0, 0.0, 20.0, 8.0)
    assert len(joined.points) == 3
