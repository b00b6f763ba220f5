"""Sections moved by optical flow."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import ndimage

from napari_segment_anything.engine import PlacedMask, Window
from napari_segment_anything.stacks.motion import Brightness, MovedSection, Shifts

WHOLE = Window(0, 0, 96, 96)


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    noise = np.random.default_rng(3).normal(size=(140, 140))
    return ndimage.gaussian_filter(noise, 2.5).astype(np.float32)


def shifted(texture: np.ndarray, down: float, right: float) -> Brightness:
    moved = ndimage.shift(texture, (down, right), order=3, mode="nearest")[22:118, 22:118]
    return Brightness(moved, WHOLE)


def along(texture: np.ndarray, down: float, right: float, plane: int) -> Brightness:
    return shifted(texture, down * plane, right * plane)


def disc(row: float, col: float, radius: float) -> np.ndarray:
    rows, cols = np.mgrid[:96, :96]
    return (rows - row) ** 2 + (cols - col) ** 2 < radius**2


def section(radius: float, row: float = 44, col: float = 44, room: int = 1 << 20) -> MovedSection:
    return MovedSection(0, PlacedMask.of(disc(row, col, radius), 0, 0), (96, 96), Shifts(room))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("radius", [9, pytest.param(24, marks=pytest.mark.slow)])
def test_movement_of_less_than_a_pixel_a_plane_adds_up(texture, radius) -> None:
    moved = section(radius)
    around = partial(along, texture, 0.3, -0.2)
    depth = moved.depth(moved.origins(20, WHOLE, around))
    assert iou(depth > 0, disc(44 + 6, 44 - 4, radius)) > 0.85
    assert iou(depth > 0, disc(44, 44, radius)) < 0.75


def test_a_plane_asked_for_first_is_the_same_as_after_those_between(texture) -> None:
    around = partial(along, texture, 0.4, 0.1)
    one, other = section(9), section(9)
    for plane in (-1, -2, -3, -4):
        stepwise = one.origins(plane, WHOLE, around)
    np.testing.assert_array_equal(stepwise, other.origins(-4, WHOLE, around))
    np.testing.assert_array_equal(one.origins(-2, WHOLE, around), other.origins(-2, WHOLE, around))


@pytest.mark.parametrize("room", [1 << 20, 1])
def test_planes_in_any_order_are_reached_one_by_one_while_there_is_room(texture, room) -> None:
    moved, straight = section(9, room=room), section(9)
    asked = []

    def around(plane):
        asked.append(plane)
        return along(texture, 0.4, 0.1, plane)

    backwards = {plane: moved.origins(plane, WHOLE, around) for plane in (8, 7, 6, 5, 4)}
    assert (len(asked) == 16) == (room > 1)
    for plane in (4, 5, 6, 7, 8):
        found = straight.origins(plane, WHOLE, around)
        np.testing.assert_array_equal(found, backwards[plane])


def test_what_the_edge_of_the_plane_cuts_off_comes_in(texture) -> None:
    moved = section(12, row=2)
    depth = moved.depth(moved.origins(6, WHOLE, partial(along, texture, 1.0, 0.0)))
    assert (depth[:8, 44] > 0).all()


def test_its_brightness_comes_along(texture) -> None:
    moved = section(9)
    around = {p: shifted(texture, 0.5 * p, 0) for p in range(9)}
    window = Window(40, 36, 18, 18)
    carried = around[0].at(moved.origins(8, window, around.__getitem__))
    assert np.corrcoef(carried.ravel(), around[8].cut(window).ravel())[0, 1] > 0.9
    assert np.corrcoef(around[0].cut(window).ravel(), carried.ravel())[0, 1] < 0.8


def test_nothing_moves_where_there_is_nothing_to_see() -> None:
    flat = Brightness(np.zeros((96, 96), np.float32), WHOLE)
    moved = section(9)
    depth = moved.depth(moved.origins(3, WHOLE, lambda p: flat))
    np.testing.assert_array_equal(depth > 0, disc(44, 44, 9))
