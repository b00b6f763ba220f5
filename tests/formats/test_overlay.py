"""Overlay pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_segment_anything.errors import FormatError, ImageError
from napari_segment_anything.formats import overlay, save_overlay, to_rgb
from napari_segment_anything.formats.overlay import PALETTE, colour_classes

CHECKER = np.add.outer(np.arange(40) // 8 * 5, np.arange(40) // 8) + 1


def test_neighbours_differ_in_colour_and_all_colours_are_used() -> None:
    classes = colour_classes(CHECKER)
    assert classes[0] == 0
    painted = classes[CHECKER]
    for first, second in ((painted[1:], painted[:-1]), (painted[:, 1:], painted[:, :-1])):
        ids = (CHECKER[1:], CHECKER[:-1]) if first.shape[0] == 39 else (
            CHECKER[:, 1:], CHECKER[:, :-1]
        )  # fmt: skip
        assert np.all((first != second) == (ids[0] != ids[1]))
    assert len(np.unique(classes)) > len(PALETTE) / 2


def test_only_objects_and_their_rims_are_touched() -> None:
    picture = np.full((60, 80, 3), 100, np.uint8)
    labels = np.zeros((60, 80), np.int32)
    labels[20:40, 20:50] = 9
    out = overlay(picture, labels, min_side=0)
    assert out.shape == picture.shape
    assert out.dtype == np.uint8
    changed = np.any(out != picture, axis=2)
    assert changed[20:40, 20:50].all()
    assert not changed[:18].any()
    assert not changed[:, 53:].any()
    assert np.array_equal(overlay(picture, labels * 0, min_side=0), picture)
    plain = overlay(picture, labels, min_side=0, outline=False)
    assert len(np.unique(plain[20:40, 20:50].reshape(-1, 3), axis=0)) == 1


def test_small_images_are_enlarged_by_a_whole_number() -> None:
    labels = np.zeros((50, 100), np.uint8)
    labels[10, 10] = 1
    out = overlay(np.zeros((50, 100, 3), np.uint8), labels)
    assert out.shape == (400, 800, 3)
    assert out[80:88, 80:88].any()


def test_to_rgb() -> None:
    grey = np.linspace(-5, 5, 1200).reshape(30, 40)
    grey[0, 0] = np.nan
    picture = to_rgb(grey)
    assert picture.dtype == np.uint8
    assert picture.shape == (30, 40, 3)
    assert picture[-1, -1].tolist() == [255] * 3
    colour = np.arange(30 * 40 * 4, dtype=np.uint8).reshape(30, 40, 4)
    assert np.array_equal(to_rgb(colour), colour[..., :3])
    two = to_rgb(np.stack([grey, grey]), channel_axis=0)
    assert two.shape == (30, 40, 3)
    assert to_rgb(np.zeros((5, 5), np.uint16)).max() == 0
    with pytest.raises(ImageError, match="one plane"):
        to_rgb(np.zeros((5, 30, 40)))


def test_what_does_not_fit(tmp_path: Path) -> None:
    picture = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(ImageError, match="do not fit"):
        overlay(picture, np.zeros((20, 21), int))
    with pytest.raises(ImageError, match="uint8 RGB"):
        overlay(picture[..., 0], np.zeros((20, 20), int))
    with pytest.raises(ImageError, match="opacity"):
        overlay(picture, np.zeros((20, 20), int), alpha=2)
    with pytest.raises(FormatError, match=r"only be written as \.png"):
        save_overlay(tmp_path / "a.jpg", picture)
    save_overlay(tmp_path / "a.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)
