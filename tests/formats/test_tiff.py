"""TIFF files that are cut off, and TIFF files whose values are not what they look like."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_segment_anything.cli.main import run
from napari_segment_anything.errors import ImageError
from napari_segment_anything.formats import read_image, read_labels

STACK = np.random.default_rng(3).integers(0, 255, (10, 48, 64)).astype(np.uint8)


def by_tifffile(path: Path, **options) -> None:
    tifffile.imwrite(path, STACK, photometric="minisblack", **options)


def by_pillow(path: Path) -> None:
    first, *others = (Image.fromarray(plane) for plane in STACK)
    first.save(path, save_all=True, append_images=others)


def by_imagej(path: Path) -> None:
    """One directory, and all planes one after another: how ImageJ saves stacks."""
    text = "ImageJ=1.53t\nimages=10\nslices=10\nloop=false\n\0"
    with tifffile.TiffWriter(path, byteorder=">") as file:
        file.write(STACK[0], metadata=None, description=text, photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].dataoffsets[0]
    assert place + STACK[0].nbytes == path.stat().st_size
    with path.open("ab") as file:
        file.write(STACK[1:].tobytes())


def by_big_pyramid(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True, bigtiff=True) as file:
        options = {"tile": (16, 16), "photometric": "minisblack"}
        file.write(STACK, subifds=1, metadata={"axes": "ZYX"}, **options)
        file.write(STACK[:, ::2, ::2], subfiletype=1, **options)


WRITERS = {
    "pages": lambda path: by_tifffile(path, metadata=None),
    "compressed pages": lambda path: by_tifffile(path, metadata=None, compression="zlib"),
    "tifffile": by_tifffile,
    "hyperstack": lambda path: by_tifffile(path, imagej=True, metadata={"axes": "ZYX"}),
    "ome": lambda path: by_tifffile(path, ome=True, metadata={"axes": "ZYX"}),
    "tiled ome": lambda path: by_tifffile(
        path, ome=True, metadata={"axes": "ZYX"}, tile=(16, 16), compression="zlib"
    ),
    "pillow": by_pillow,
    "imagej": by_imagej,
    "pyramid": by_big_pyramid,
}


@pytest.mark.parametrize("lazy", [False, True], ids=["read", "opened"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_cut_stack_is_refused_wherever_it_is_cut(tmp_path, writer, lazy) -> None:
    whole, cut = tmp_path / "whole.ome.tif", tmp_path / "cut.ome.tif"
    WRITERS[writer](whole)
    right = read_image(whole, lazy=lazy)
    assert (np.asarray(right.array[...]) == STACK).all()
    content = whole.read_bytes()
    places = {*range(len(content) - 1, 200, -len(content) // 41), len(content) - 1}
    for place in places:
        cut.write_bytes(content[:place])
        try:
            found = read_image(cut, lazy=lazy)
        except ImageError:
            continue
        # nothing but filling or the resolution was lost, at the very end
        assert place > len(content) - 16 and found.axes == right.axes
        assert (np.asarray(found.array[...]) == STACK).all()


def test_a_cut_stack_ends_a_run_with_one_line(tmp_path, capsys) -> None:
    by_tifffile(tmp_path / "s.tif", metadata=None)
    content = (tmp_path / "s.tif").read_bytes()
    (tmp_path / "s.tif").write_bytes(content[: len(content) * 7 // 10])
    line = ["stack", str(tmp_path / "s.tif"), "-o", str(tmp_path / "out"), "-q"]
    assert run(line) == 2
    assert "s.tif is truncated" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_directories_in_a_circle_end(tmp_path) -> None:
    by_tifffile(tmp_path / "s.tif", metadata=None)
    with tifffile.TiffFile(tmp_path / "s.tif") as file:
        last, first = file.pages[-1].offset, file.pages[0].offset
        count = len(file.pages[-1].tags)
    content = bytearray((tmp_path / "s.tif").read_bytes())
    content[last + 2 + 12 * count : last + 6 + 12 * count] = struct.pack("<I", first)
    (tmp_path / "s.tif").write_bytes(content)
    assert read_image(tmp_path / "s.tif").shape == STACK.shape


# -- what values mean ----------------------------------------------------------------------------


def palette(colours) -> np.ndarray:
    table = np.zeros((3, 256), np.uint16)
    table[:, : len(colours)] = np.asarray(colours, np.uint16).T * 257
    return table


@pytest.mark.parametrize("lazy", [False, True], ids=["read", "opened"])
def test_a_palette_gives_colours(tmp_path, lazy) -> None:
    indices = np.random.default_rng(1).integers(0, 3, (5, 40, 50)).astype(np.uint8)
    colours = np.array([[200, 30, 0], [0, 0, 90], [255, 255, 0]], np.uint8)
    tifffile.imwrite(
        tmp_path / "p.tif", indices, photometric="palette", colormap=palette(colours), metadata=None
    )
    found = read_image(tmp_path / "p.tif", lazy=lazy)
    assert found.axes == "QYXS" and found.rgb and found.shape == (5, 40, 50, 3)
    assert (np.asarray(found.array[...]) == colours[indices]).all()
    plane = found.plane(Q=2)
    assert plane.axes == "YXS" and (plane.array == colours[indices[2]]).all()
    assert (np.asarray(found.array[1, 3:9, ..., 1]) == colours[indices[1, 3:9]][..., 1]).all()
    # ids stay what they are
    assert (read_labels(tmp_path / "p.tif") == indices).all()


def test_a_palette_that_only_colours_brightness_keeps_what_was_measured(tmp_path) -> None:
    ramp = np.zeros((3, 256), np.uint16)
    ramp[1] = np.arange(256) * 257  # the lookup table "Green"
    tifffile.imwrite(tmp_path / "g.tif", STACK[0], photometric="palette", colormap=ramp)
    found = read_image(tmp_path / "g.tif")
    assert found.axes == "YX" and (found.array == STACK[0]).all()


@pytest.mark.parametrize("lazy", [False, True], ids=["read", "opened"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
def test_where_zero_is_white_values_are_inverted(tmp_path, dtype, lazy) -> None:
    data = (STACK[0] > 99) if dtype is bool else STACK[0].astype(dtype) * np.iinfo(dtype).max // 255
    tifffile.imwrite(tmp_path / "w.tif", data, photometric="miniswhite", metadata=None)
    found = np.asarray(read_image(tmp_path / "w.tif", lazy=lazy).array[...])
    if dtype is bool:
        assert (found.astype(bool) == ~data).all()
    else:
        assert found.dtype == dtype and (found == np.iinfo(dtype).max - data).all()
        assert (read_labels(tmp_path / "w.tif") == data).all()


def test_where_zero_is_white_agrees_with_another_reader(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "w.tif", STACK[0], photometric="miniswhite", metadata=None)
    with Image.open(tmp_path / "w.tif") as picture:
        assert (read_image(tmp_path / "w.tif").array == np.asarray(picture)).all()
    lzw = tmp_path / "lzw.tif"  # read through Pillow where no codec package is installed
    Image.fromarray(STACK[0]).save(lzw, compression="tiff_lzw", tiffinfo={262: 0})
    with Image.open(lzw) as picture:
        assert (read_image(lzw).array == np.asarray(picture)).all()


def test_white_zero_without_a_meaning_is_refused(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "f.tif", STACK[0].astype(np.float32), photometric="miniswhite")
    with pytest.raises(ImageError, match="MinIsWhite"):
        read_image(tmp_path / "f.tif")
