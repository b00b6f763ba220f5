"""What a store's metadata names stays inside the store: no other store is read or written."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from napari_segment_anything.errors import FormatError, ImageError
from napari_segment_anything.formats import (
    create_labels,
    open_labels,
    plate_images,
    read_image,
)
from napari_segment_anything.formats._stores import inside

OUTSIDE = [
    "../victim.zarr",
    "../../victim.zarr",
    "A/../../victim.zarr",
    "A/./1",
    "A//1",
    "..\\victim.zarr",
    "C:/victim.zarr",
    "memory://victim.zarr::x",
    "..",
    ".",
    "",
    "\0",
    None,
    {"a": 1},
]


def make_image(path, side=32):
    group = zarr.create_group(path)
    pixels = np.arange(side * side, dtype=np.uint8).reshape(side, side)
    group.create_array("0", data=pixels)
    set_levels(group, ["0"])
    return group


def set_levels(group, paths):
    axes = [{"name": a, "type": "space"} for a in "yx"]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": [{"path": p} for p in paths]}],
    }


def make_plate(path, wells, images=("0",)):
    plate = zarr.create_group(path)
    plate.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": w} for w in wells]}}
    for well in ("A/1",):
        group = plate.create_group(well)
        group.attrs["ome"] = {"version": "0.5", "well": {"images": [{"path": i} for i in images]}}
        make_image(path / well / "0")
    return path


def listing(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


@pytest.fixture
def victim(tmp_path):
    make_image(tmp_path / "victim.zarr")
    return tmp_path / "victim.zarr"


@pytest.mark.parametrize("path", OUTSIDE)
def test_wells_and_images_of_a_plate_stay_inside_it(tmp_path, victim, path):
    with pytest.raises(FormatError, match=r"not a path inside|damaged|outside"):
        plate_images(make_plate(tmp_path / "one.zarr", [path]))
    with pytest.raises(FormatError, match=r"not a path inside|damaged|outside"):
        plate_images(make_plate(tmp_path / "two.zarr", ["A/1"], [path]))
    assert plate_images(make_plate(tmp_path / "good.zarr", ["A/1"]))[0].field == "0"


@pytest.mark.parametrize("path", OUTSIDE)
def test_levels_of_an_image_stay_inside_it(tmp_path, victim, path):
    group = make_image(tmp_path / "image.zarr")
    set_levels(group, ["0", path])
    with pytest.raises(ImageError):
        read_image(tmp_path / "image.zarr")


def test_links_out_of_a_store_are_not_followed(tmp_path, victim):
    plate = make_plate(tmp_path / "plate.zarr", ["A/1", "A/2"])
    (plate / "A" / "2").symlink_to(victim, target_is_directory=True)
    with pytest.raises(FormatError, match="a link to"):
        plate_images(plate)
    image = make_image(tmp_path / "image.zarr")
    set_levels(image, ["1"])
    (tmp_path / "image.zarr" / "1").symlink_to(victim / "0", target_is_directory=True)
    with pytest.raises(ImageError, match="a link to"):
        read_image(tmp_path / "image.zarr")


def test_a_store_reached_through_a_link_is_as_good_as_any(tmp_path):
    plate = make_plate(tmp_path / "plate.zarr", ["A/1"])
    (tmp_path / "link.zarr").symlink_to(plate, target_is_directory=True)
    assert read_image(plate_images(tmp_path / "link.zarr")[0].path).shape == (32, 32)


def test_labels_are_not_written_through_links(tmp_path, victim):
    before = listing(victim)
    make_image(tmp_path / "image.zarr")
    (tmp_path / "image.zarr" / "labels").symlink_to(victim, target_is_directory=True)
    with pytest.raises(FormatError, match="a link to"):
        create_labels(tmp_path / "image.zarr", shape=(32, 32), axes="YX")
    (tmp_path / "image.zarr" / "labels").unlink()
    made = create_labels(tmp_path / "image.zarr", shape=(32, 32), axes="YX")
    level = tmp_path / "image.zarr" / "labels" / made.name / "0"
    level.rename(tmp_path / "moved")
    level.symlink_to(victim / "0", target_is_directory=True)
    with pytest.raises(FormatError, match="link"):
        open_labels(tmp_path / "image.zarr", mode="r+")
    assert listing(victim) == before


@pytest.mark.parametrize("name", ["../../victim.zarr", "a/b", ".hidden", "", "a\\b", "c:", "nul"])
def test_names_of_labels_are_plain(tmp_path, victim, name):
    before = listing(victim)
    with pytest.raises(FormatError, match="valid name for labels"):
        create_labels(tmp_path / "image.zarr", name, shape=(32, 32), axes="YX")
    assert listing(victim) == before


def test_listed_labels_stay_inside(tmp_path, victim):
    make_image(tmp_path / "image.zarr")
    labels = create_labels(tmp_path / "image.zarr", shape=(32, 32), axes="YX")
    group = zarr.open_group(tmp_path / "image.zarr" / "labels", mode="r+")
    group.attrs["ome"] = {"version": "0.5", "labels": ["../../victim.zarr"]}
    with pytest.raises(FormatError, match="not a path inside"):
        open_labels(tmp_path / "image.zarr")
    assert open_labels(tmp_path / "image.zarr", labels.name).shape == (32, 32)


@pytest.mark.parametrize("path", ["%2e%2e/x", "a?b", "a#b", "a%2fb", "a::b", "../a"])
def test_paths_inside_urls_are_plain(path):
    with pytest.raises(FormatError, match="not a path inside"):
        inside("https://example.org/plate.zarr", path, "the well")
    good = inside("https://example.org/plate.zarr", "A/1/", "the well")
    assert good == "https://example.org/plate.zarr/A/1"
