from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segment_anything.engine import PlacedMask, Window, prompted_parts
from napari_segment_anything.engine.parts import clean

from ..automatic import reference

cells = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14))


@pytest.fixture
def two() -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[2:8, 2:8] = True
    mask[10:18, 15:28] = True
    return mask


def test_the_part_under_a_positive_point_stays(two) -> None:
    kept = prompted_parts(two, [[4, 4], [12, 20]], [1, 0])
    assert kept[4, 4] and not kept[12, 20]
    assert prompted_parts(two, [[4, 4], [12, 20]]).sum() == two.sum()


def test_a_point_beside_every_part_takes_the_nearest(two) -> None:
    kept = prompted_parts(two, [[9, 24]])
    assert kept[12, 20] and not kept[4, 4]


def test_parts_mostly_in_the_box_stay(two) -> None:
    two[12, 1] = True
    kept = prompted_parts(two, box=(0, 0, 13, 18))
    assert kept[4, 4] and kept[12, 1] and not kept[12, 20]
    # nothing mostly inside: what fills most of the box
    kept = prompted_parts(two, box=(11, 20, 13, 22))
    assert kept[12, 20] and not kept[4, 4]


@pytest.mark.parametrize(("last", "kept"), [(19, False), (22, True)])  # 5 and 8 of 13 columns
def test_a_part_needs_more_than_half_of_it_in_the_box(two, last: int, kept: bool) -> None:
    assert prompted_parts(two, box=(0, 0, 19, last))[12, 20] == kept


def test_without_a_place_nothing_changes(two) -> None:
    assert prompted_parts(two) is two
    assert prompted_parts(two, [[4, 4]], [0]) is two


@given(
    hnp.arrays(bool, (7, 9)),
    st.lists(st.tuples(st.floats(-0.5, 6.5), st.floats(-0.5, 8.5)), min_size=1, max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_never_more_and_never_nothing(mask, points) -> None:
    kept = prompted_parts(mask, points)
    assert not (kept & ~mask).any()
    assert kept.any() == mask.any()
    np.testing.assert_array_equal(prompted_parts(kept, points), kept)


@settings(max_examples=300)
@given(cells, st.sampled_from([0, 1, 2, 4, 9, 40]), st.tuples(*[st.integers(0, 12)] * 4))
def test_cleaning_equals_whole_image_cleaning(mask, smallest, margins):
    top, bottom, left, right = margins
    image = np.pad(mask, ((top, bottom), (left, right)))
    placed = PlacedMask.of(mask, top, left)
    cleaned, changed = clean(placed, image.shape, smallest)
    if not mask.any() or not smallest:
        assert cleaned is placed and not changed
        return
    expected, had_small = reference.without_small_regions(image, smallest)
    assert (cleaned.within(Window.full(image.shape)) == expected).all()
    assert changed == had_small
