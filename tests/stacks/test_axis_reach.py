"""How far objects reach along a stack, seen from across."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.engine import PlacedMask
from napari_segment_anything.stacks import axis_reach
from napari_segment_anything.stacks.axis_reach import AxisReach
from napari_segment_anything.stacks.rounded_body import RoundedBody
from napari_segment_anything.stacks.spacing import Spacing
from napari_segment_anything.stacks.volume import Volume

from .helpers import LIMITS, balls, seen_planes

CENTRES, RADII = ((15, 30, 34), (14, 34, 66)), (8, 9)


@pytest.fixture
def shown(monkeypatch):
    """Shapes of the planes across the stack that are encoded."""
    calls = []

    def plane_maps(predictor, planes, *rest):
        calls.extend(plane.shape for plane in planes)
        return seen_planes(predictor, planes, *rest)

    monkeypatch.setattr(axis_reach, "plane_maps", plane_maps)
    return calls


def across(image, anisotropy=1.0) -> AxisReach:
    volume = Volume.of(image, axes="ZYX", contrast_limits=LIMITS)
    return AxisReach(volume, None, (), anisotropy)


def section(truth, plane, number=1) -> PlacedMask:
    return PlacedMask.of(truth[plane] == number, 0, 0)


@pytest.mark.parametrize("plane", [10, 15, 19])
def test_where_an_object_begins_and_ends(shown, plane):
    image, truth = balls((30, 64, 96), CENTRES, RADII)
    extent = across(image).extent(plane, section(truth, plane))
    planes = np.flatnonzero((truth == 1).any((1, 2)))
    assert abs(extent.first - planes[0]) <= 1.5
    assert abs(extent.last - (planes[-1] + 1)) <= 1.5
    assert extent.beyond(1) == pytest.approx(extent.last - plane - 0.5)


def test_planes_farther_apart_than_pixels(shown):
    image, truth = balls((60, 64, 96), ((30, 30, 34), (14, 34, 66)), RADII)
    extent = across(image[::2], 2.0).extent(15, section(truth, 30))
    planes = np.flatnonzero((truth[::2] == 1).any((1, 2)))
    assert abs(extent.first - planes[0]) <= 1
    assert abs(extent.last - (planes[-1] + 1)) <= 1


def test_beside_the_object_it_is_another_ones_reach(shown):
    image, truth = balls((30, 64, 96), ((9, 32, 30), (20, 32, 44)), (8, 8))
    around = across(image).extent(9, section(truth, 9)).around
    last = around.at(20, PlacedMask.of(truth[20] == 2, 0, 0).window)[1]
    assert np.median(last) > 24


def test_neighbours_share_planes_and_see_the_same_as_alone(shown):
    image, truth = balls((30, 64, 96), ((15, 30, 34), (15, 34, 52)), (8, 8))
    first = across(image)
    one, other = (first.extent(15, section(truth, 15, number)) for number in (1, 2))
    together = len(shown)
    alone = across(image).extent(15, section(truth, 15, 2))
    assert together < 2 * (len(shown) - together)
    assert (other.first, other.last) == (alone.first, alone.last)
    assert one.last != other.last or one.first != other.first


def test_only_what_is_near_is_read(shown):
    """In a large stack, a part of five diameters."""
    image, truth = np.full((40, 400, 400), 20, np.uint8), np.zeros((40, 400, 400), np.uint16)
    middle = np.s_[:, 180:220, 80:120]
    image[middle], truth[middle] = balls((40, 40, 40), ((20, 20, 20),), (8,))
    across(image).extent(20, section(truth, 20))
    assert max(max(shape[:2]) for shape in shown) <= 6 * 20
    assert len(shown) <= 24


def test_a_body_between_what_is_seen_and_a_rounded_one(shown):
    image, truth = balls((30, 64, 96), CENTRES, RADII)
    spacing = Spacing(1.0, 1.0, False, True, 1.0)
    low = section(truth, 10)
    body = RoundedBody.of(10, low, spacing, across(image).extent(10, low), np.zeros(0))
    assert body.above > 1.5 * body.below
    assert body.lost(13) < 0 < body.lost(8)
    assert body.distance(10) == 0
    within, own = body.margins(14, section(truth, 14))
    assert within > 0
    assert own > 0
    assert body.margins(26, section(truth, 14))[0] < 0


def test_a_frame_of_a_time_lapse_loses_nothing():
    mask = section(balls()[1], 12)
    body = RoundedBody.of(12, mask, Spacing(0.0, 1.0, True, True, 0.0), None, np.zeros(0))
    assert body.lost(40) == pytest.approx(0, abs=1e-6)
    assert body.margins(40, mask) == (0, 0)


def test_planes_that_cannot_be_read_are_passed_over(shown):
    image, truth = balls((30, 64, 96), CENTRES, RADII)

    class Torn:
        shape, dtype, ndim = image.shape, image.dtype, image.ndim

        def __getitem__(self, key):
            if key[0] in (0, 20):
                raise OSError("damaged")
            return image[key]

    reach = across(image)
    reach.volume = Volume.of(Torn(), axes="ZYX", contrast_limits=LIMITS)
    extent = reach.extent(15, section(truth, 15))
    assert extent.last > 21


def test_bodies_of_a_stack_are_more_alike_than_their_sections():
    rows, cols = np.mgrid[:60, :60]
    small = PlacedMask.of(np.hypot(rows - 30, cols - 30) < 4, 0, 0)
    small_radius = np.sqrt(small.area / np.pi)
    spacing = Spacing(2.0, 1.0, False, True, 2.0)
    alone = RoundedBody.of(12, small, spacing, None, np.zeros(0))
    few = RoundedBody.of(12, small, spacing, None, np.full(3, np.pi * 256))
    among = RoundedBody.of(12, small, spacing, None, np.full(9, np.pi * 256))
    assert few.half(13) == alone.half(13) == pytest.approx(1.05 * small_radius / 2)
    assert among.half(13) == pytest.approx(np.sqrt(small_radius * 16) / 2)
