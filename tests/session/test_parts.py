"""Scribbles, packed masks, windows, cleaning, drafts: the small parts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_segment_anything.automatic.regions import remove_small_regions
from napari_segment_anything.engine import PlacedMask, Window
from napari_segment_anything.engine.cleaning import clean
from napari_segment_anything.engine.planning import choose_window, default_size, grown
from napari_segment_anything.errors import FormatError, ParameterError, PromptError
from napari_segment_anything.formats import rle
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


@settings(max_examples=300)
@given(masks, st.sampled_from([0, 1, 2, 4, 9, 40]))
def test_cleaning_means_what_everything_mode_means(mask, area):
    cut = PlacedMask.of(mask)
    if not mask.any():
        assert clean(cut, mask.shape, area) is cut
        return
    wanted, _ = remove_small_regions(rle.encode(mask), area)
    found = clean(cut, mask.shape, area)
    assert (found.within(Window.full(mask.shape)) == wanted.decode()).all()
    # wherever in an image it lies
    inner = PlacedMask.of(mask, 7, 9)
    larger = np.zeros((mask.shape[0] + 20, mask.shape[1] + 20), bool)
    larger[7 : 7 + mask.shape[0], 9 : 9 + mask.shape[1]] = mask
    wanted, _ = remove_small_regions(rle.encode(larger), area)
    found = clean(inner, larger.shape, area)
    assert (found.within(Window.full(larger.shape)) == wanted.decode()).all()


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


def at(*points):
    return ObjectPrompts(tuple(points), (True,) * len(points))


def test_a_small_image_is_encoded_whole_a_large_one_around_the_prompts():
    assert default_size((1000, 300), 512, None) == 1000
    assert default_size((1100, 300), 512, None) == 512
    assert default_size((1100, 300), 512, 200) == 200
    with pytest.raises(ParameterError, match="window_size"):
        default_size((10, 10), 512, 0)
    assert choose_window(at((5, 5)), (300, 400), 400) == Window(0, 0, 300, 400)
    assert choose_window(at((5, 5)), (3000, 4000), 512) == Window(0, 0, 512, 512)
    window = choose_window(at((1500, 2000)), (3000, 4000), 512)
    assert window.shape == (512, 512)
    # well inside, of a grid of windows that neighbours share
    assert 64 <= 1500 - window.row <= 448 and 64 <= 2000 - window.col <= 448
    near = {choose_window(at((r, 2000)), (3000, 4000), 512) for r in range(1450, 1550, 10)}
    assert len(near) <= 2


def test_windows_are_kept_shared_and_enlarged_as_prompts_need():
    shape = (3000, 4000)
    first = choose_window(at((1500, 2000)), shape, 512)
    assert choose_window(at((1500, 2000), (1600, 2100)), shape, 512, first) == first
    # near the edge of its window: a new one around all prompts
    moved = choose_window(at((1500, 2000), (first.row + 8, 2000)), shape, 512, first)
    assert moved != first and moved.shape == (512, 512)
    # another object nearby shares what is encoded already
    assert choose_window(at((1500, 1850)), shape, 512, None, [first]) == first
    assert choose_window(at((first.row - 20, 1900)), shape, 512, None, [first]) != first
    wide = choose_window(
        ObjectPrompts(box=(1000.0, 1000.0, 1800.0, 1400.0)), shape, 512, None, [first]
    )
    assert wide.height == wide.width >= 1200
    assert wide.row < 1000 and wide.row + wide.height > 1800


@given(
    st.lists(st.tuples(st.floats(0, 1999), st.floats(0, 2999)), min_size=1, max_size=4),
    st.integers(64, 600),
)
def test_every_prompt_lies_in_the_window(points, size):
    first = choose_window(at(points[0]), (2000, 3000), size)
    window = choose_window(at(*points), (2000, 3000), size, first, [first])
    for row, col in points:
        assert window.row - 0.5 <= row <= window.row + window.height - 0.5
        assert window.col - 0.5 <= col <= window.col + window.width - 0.5


def test_a_mask_that_is_cut_off_asks_for_a_larger_window():
    window = Window(100, 100, 64, 64)
    cut = Window(100, 120, 30, 30)
    assert grown(window, cut, 2, at((110, 130)), (1000, 1000)) is None
    larger = grown(window, cut, 30, at((110, 130)), (1000, 1000))
    assert larger.shape == (128, 128)
    assert larger.row < 100
    assert grown(Window(0, 0, 64, 64), cut, 30, at((110, 130)), (64, 64)) is None
