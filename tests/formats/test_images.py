"""Reading images: axes and sizes from every format's metadata, and damaged files."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_segment_anything.errors import ImageError
from napari_segment_anything.formats import read_image
from napari_segment_anything.formats.images import guess_axes, image_data

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 4000, (30, 40), np.uint16)
COLOUR = RNG.integers(0, 255, (30, 40, 3), np.uint8)


def test_ome_tiff(tmp_path: Path) -> None:
    data = RNG.integers(0, 255, (2, 5, 30, 40), np.uint8)
    metadata = {
        "axes": "CZYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.3, "PhysicalSizeZ": 1.5,
        "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm", "PhysicalSizeZUnit": "µm",
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "a.ome.tif", data, ome=True, metadata=metadata)
    image = read_image(tmp_path / "a.ome.tif")
    assert (image.axes, image.channel_axis, image.rgb, image.name) == ("CZYX", 0, False, "a")
    assert image.scale == (1.0, 1.5, 0.3, 0.2)
    assert image.units == (None, "micrometer", "micrometer", "micrometer")
    assert image.pixel_size == (0.3, 0.2)
    assert np.array_equal(image.array, data)


def test_imagej_tiff(tmp_path: Path) -> None:
    data = RNG.integers(0, 255, (3, 4, 2, 30, 40), np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", data, imagej=True, resolution=(4, 2),
        metadata={"axes": "TZCYX", "spacing": 2.5, "unit": "micron", "finterval": 30},
    )  # fmt: skip
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.channel_axis, image.stack_axes) == ("TZCYX", 2, "TZ")
    assert image.scale == (30, 2.5, 1.0, 0.5, 0.25)
    assert image.units == ("second", "micrometer", None, "micrometer", "micrometer")
    plane = image.plane(T=1, Z=-1)
    assert (plane.axes, plane.channel_axis, plane.scale) == ("CYX", 0, (1.0, 0.5, 0.25))
    assert np.array_equal(plane.array, data[1, 3])
    with pytest.raises(ImageError, match="Choose one plane of axis Z, 0 to 3"):
        image.plane(T=1)
    with pytest.raises(ImageError, match="planes 0 to 2 along axis T"):
        image.plane(T=3, Z=0)
    with pytest.raises(ImageError, match="no stack axis Q"):
        image.plane(Q=0)


def test_plain_tiff_claims_nothing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY] * 7), metadata=None, resolution=(72, 72))
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.scale, image.units) == ("QYX", (1.0,) * 3, (None,) * 3)
    named = read_image(tmp_path / "a.tif", axes="zyx")
    assert named.axes == "ZYX"


def test_colour_tiff_with_separate_planes(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate"
    )
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.rgb, image.channel_axis) == ("YXS", True, None)
    assert np.array_equal(image.array, COLOUR)


def test_large_tiff_stays_on_disk_with_its_pyramid(tmp_path: Path) -> None:
    data = RNG.integers(0, 255, (256, 256), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(data, subifds=1, tile=(64, 64), metadata={"axes": "YX"})
        file.write(data[::2, ::2], subfiletype=1, tile=(64, 64))
    image = read_image(tmp_path / "a.ome.tif", lazy=True)
    assert image.lazy
    assert [level.shape for level in image.levels] == [(256, 256), (128, 128)]
    assert np.array_equal(image.array[60:70, 3:90], data[60:70, 3:90])
    assert not read_image(tmp_path / "a.ome.tif").lazy


@pytest.mark.parametrize(
    ("name", "data", "axes"),
    [("a.png", GREY, "YX"), ("a.png", COLOUR, "YXS"), ("a.bmp", COLOUR, "YXS")],
)
def test_pictures(tmp_path: Path, name: str, data: np.ndarray, axes: str) -> None:
    Image.fromarray(data).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.axes == axes
    assert np.array_equal(image.array, data)


def test_jpeg_orientation_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (30, 40, 3)


def test_palette_and_bilevel_pictures(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).quantize(16).save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png").axes == "YXS"
    Image.fromarray(GREY > 2000).save(tmp_path / "b.png")
    assert np.unique(read_image(tmp_path / "b.png").array).tolist() == [0, 255]


def test_numpy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY)
    assert np.array_equal(read_image(tmp_path / "a.npy").array, GREY)
    assert read_image(tmp_path / "a.npy", lazy=True).lazy
    np.savez(tmp_path / "a.npz", image=COLOUR, labels=GREY)
    assert read_image(tmp_path / "a.npz").rgb
    assert read_image(tmp_path / "a.npz", key="labels").axes == "YX"
    with pytest.raises(ImageError, match="no array 'mask'; it has image, labels"):
        read_image(tmp_path / "a.npz", key="mask")


def test_zarr_array_and_groups(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=GREY, dimension_names=("y", "x"))
    image = read_image(tmp_path / "a.zarr")
    assert image.axes == "YX"
    assert image.lazy
    group = zarr.create_group(tmp_path / "g.zarr")
    group.create_array("one", data=np.stack([GREY, GREY]))
    assert read_image(tmp_path / "g.zarr").axes == "QYX"
    assert not read_image(tmp_path / "g.zarr", lazy=False).lazy
    group.create_array("two", data=GREY)
    assert read_image(tmp_path / "g.zarr", key="two").axes == "YX"
    with pytest.raises(ImageError, match="it has one, two"):
        read_image(tmp_path / "g.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str) -> None:
    multiscale = {
        "axes": [
            {"name": "c", "type": "channel"},
            {"name": "y", "type": "space", "unit": "micrometer"},
            {"name": "x", "type": "space", "unit": "micrometer"},
        ],
        "datasets": [
            {
                "path": str(i),
                "coordinateTransformations": [{"type": "scale", "scale": [1, 0.5 * k, 0.25 * k]}],
            }
            for i, k in enumerate((1, 2))
        ],
    }
    group = zarr.create_group(tmp_path / "a.ome.zarr", zarr_format=2 if version == "0.4" else 3)
    data = np.stack([GREY, GREY])
    group.create_array("0", data=data)
    group.create_array("1", data=data[:, ::2, ::2])
    content = {"multiscales": [multiscale]}
    group.attrs.update(content if version == "0.4" else {"ome": {"version": "0.5", **content}})
    image = read_image(tmp_path / "a.ome.zarr")
    assert (image.axes, image.channel_axis, image.name) == ("CYX", 0, "a")
    assert image.scale == (1.0, 0.5, 0.25)
    assert image.units == (None, "micrometer", "micrometer")
    assert [level.shape for level in image.levels] == [(2, 30, 40), (2, 15, 20)]
    group.attrs.update({"multiscales": [{}], "ome": {"multiscales": [{}]}})
    with pytest.raises(ImageError, match="damaged OME-Zarr"):
        read_image(tmp_path / "a.ome.zarr")


def test_axes_that_are_not_an_images(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((4, 5, 30, 40), np.uint8))
    with pytest.raises(ImageError, match="give its axes"):
        read_image(path)
    assert read_image(path, axes="CZYX").channel_axis == 0
    for axes, message in [
        ("ZYX", "3 dimensions, but a.npy has 4"),
        ("ZCXY", "need Y"),
        ("ZZYX", "twice"),
        ("ZWYX", "not one of"),
        ("ZSYX", "samples are 3"),
        ("SZYX", "must be last|samples"),
    ]:
        with pytest.raises(ImageError, match=message):
            read_image(path, axes=axes)
    with pytest.raises(ImageError, match="at least two dimensions"):
        guess_axes((5,))
    assert guess_axes((9, 30, 40, 3)) == "QYXS"


def test_what_cannot_be_read(tmp_path: Path) -> None:
    def refused(name: str, message: str, content: bytes | None = None) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=message):
            read_image(tmp_path / name)

    refused("none.tif", "does not exist")
    refused("empty.tif", "0 bytes", b"")
    refused("a.czi", "export it as OME-TIFF", b"x")
    refused("a.txt", "unknown format", b"x")
    refused("a.png", "not what its name says", b"not a picture at all")
    refused("a.npy", "cannot be read as NPY", b"\x93NUMPY\x01\x00junk")
    refused("a.npz", "cannot be read as NPZ", b"PK\x03\x04junk")
    np.save(tmp_path / "n.npy", GREY)
    refused("n.npz", "rename it to .npy", (tmp_path / "n.npy").read_bytes())
    np.savez(tmp_path / "y.npz", image=GREY)
    refused("y.npy", "rename it to .npz", (tmp_path / "y.npz").read_bytes())
    refused("b.tif", "TIFF", b"II*\x00junkjunkjunkjunk")
    refused("c.tif", "cannot be read as TIFF", os.urandom(300))
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], object), allow_pickle=True)
    refused("o.npy", "cannot be read as NPY")
    np.save(tmp_path / "c.npy", np.zeros((5, 5), complex))
    refused("c.npy", "integers or floats")
    np.save(tmp_path / "z.npy", np.zeros((0, 5)))
    refused("z.npy", "no pixels")
    (tmp_path / "folder").mkdir()
    refused("folder", "folder without Zarr metadata")
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    frames[0].save(tmp_path / "anim.png", save_all=True, append_images=frames[1:])
    refused("anim.png", "animation")


@pytest.mark.parametrize("name", ["a.tif", "z.tif", "a.png", "a.jpg", "a.npy", "a.npz"])
@pytest.mark.parametrize("share", [0.3, 0.8, 0.97])
def test_files_cut_off_are_errors_never_images(tmp_path: Path, name: str, share: float) -> None:
    data = RNG.integers(0, 255, (120, 130), np.uint8)
    path = tmp_path / name
    if name == "z.tif":
        tifffile.imwrite(path, data, compression="zlib")
    elif name == "a.tif":
        tifffile.imwrite(path, data)
    elif name == "a.npy":
        np.save(path, data)
    elif name == "a.npz":
        np.savez_compressed(path, image=data)
    else:
        Image.fromarray(data).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ImageError):
        read_image(path)


def test_sixteen_bit_colour_png_is_refused_not_cut(tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body
            + struct.pack(">I", zlib.crc32(kind + body))
        )  # fmt: skip

    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(12) for _ in range(2)))
    (tmp_path / "deep.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
    with pytest.raises(ImageError, match="16-bit colours"):
        read_image(tmp_path / "deep.png")


def test_series_are_chosen_by_number(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY, metadata=None)
        file.write(COLOUR, photometric="rgb", metadata=None)
    assert read_image(tmp_path / "a.tif").axes == "YX"
    assert read_image(tmp_path / "a.tif", series=1).rgb
    with pytest.raises(ImageError, match="has 2 images"):
        read_image(tmp_path / "a.tif", series=2)


def test_compressed_tiff_without_the_codec_package(tmp_path: Path) -> None:
    path = tmp_path / "lzw.tif"
    Image.fromarray(COLOUR).save(path, compression="tiff_lzw")
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from napari_segment_anything.formats import read_image\n"
        "from napari_segment_anything.errors import ImageError\n"
        "print(int(read_image(sys.argv[1]).array.sum()))\n"
        "try: read_image(sys.argv[1], lazy=True)\n"
        "except ImageError as error: print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    total, message = result.stdout.splitlines()
    assert int(total) == COLOUR.sum()
    assert "pip install imagecodecs" in message


@pytest.mark.parametrize(
    ("image", "given", "axes", "channel"),
    [
        (np.zeros((5, 6)), {}, "YX", None),
        (np.zeros((2, 5, 6)), {"channel_axis": 0}, "CYX", 0),
        (np.zeros((7, 2, 5, 6)), {"channel_axis": -3}, "QCYX", 1),
        (np.zeros((7, 2, 5, 6)), {"axes": "tcyx"}, "TCYX", 1),
        ([np.zeros((8, 6)), np.zeros((4, 3))], {}, "YX", None),
        (np.zeros((5, 6, 3)), {}, "YXS", None),
    ],
)
def test_images_as_users_give_them(image, given, axes, channel, tmp_path) -> None:
    found = image_data(image, **given)
    assert (found.axes, found.channel_axis, found.rgb) == (axes, channel, "S" in axes)
    assert len(found.levels) == (2 if isinstance(image, list) else 1)
    assert image_data(found) is found
    if not isinstance(image, list):
        np.save(tmp_path / "x.npy", image)
        named = image_data(tmp_path / "x.npy", axes=axes)
        assert (named.axes, named.shape) == (axes, found.shape)


def test_an_image_gets_other_axes_and_keeps_its_scale() -> None:
    known = replace(image_data(np.zeros((2, 5, 6)), "ZYX"), scale=(3.0, 1.0, 1.0))
    other = image_data(known, "CYX")
    assert (other.axes, other.channel_axis, other.scale) == ("CYX", 0, (3.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("image", "given", "words"),
    [
        (7, {}, "an image as a path, an array"),
        ([], {}, "an image as a path, an array"),
        (np.zeros((5, 6)), {"axes": "ZYX"}, "name 3 dimensions"),
        (np.zeros((5, 6)), {"channel_axis": 2}, "does not exist"),
        (np.zeros((4, 5, 5, 6)), {}, "give its axes"),
    ],
)
def test_what_is_no_image(image, given, words) -> None:
    with pytest.raises(ImageError, match=words):
        image_data(image, **given)
