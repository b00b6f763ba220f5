"""Finding images and labels, and reading them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_segment_anything.engine import open_image
from napari_segment_anything.errors import FormatError, ImageError, ParameterError
from napari_segment_anything.evaluation import find_entries, read_planes, select_split
from napari_segment_anything.evaluation.run import spread
from napari_segment_anything.samples import sample, sample_names
from napari_segment_anything.training.sets import SPLIT_FILE

from .conftest import discs


def test_a_root_with_an_index(data):
    entries = find_entries([data])
    assert [e.name for e in entries] == [f"first/{i}.npz" for i in range(4)] + ["second/stack.npz"]
    assert entries[0].columns == {"modality": "bright"}
    assert entries[4].columns == {}
    planes = list(read_planes(entries[4], 2))
    assert [plane.name for plane in planes] == ["second/stack.npz:1", "second/stack.npz:3"]
    with np.load(data / "second" / "stack.npz") as held:
        np.testing.assert_array_equal(planes[0].labels, held["labels"][1])
        np.testing.assert_array_equal(planes[0].image, held["image"][1])


@pytest.mark.parametrize("where", ["beside", "folder", "named"])
def test_labels_are_found(tmp_path, where):
    image, labels = discs(0)
    images = tmp_path / "plate" / "images"
    images.mkdir(parents=True)
    (tmp_path / "plate" / "masks").mkdir()
    (tmp_path / "truth").mkdir()
    Image.fromarray(image).save(images / "a.png")
    target = {
        "beside": images / "a_labels.tif",
        "folder": tmp_path / "plate" / "masks" / "a.tif",
        "named": tmp_path / "truth" / "a_mask.tif",
    }[where]
    tifffile.imwrite(target, labels)
    given = tmp_path / "truth" if where == "named" else None
    (entry,) = find_entries([images], given)
    assert entry.name == "plate/a.png" and entry.labels == target
    (plane,) = read_planes(entry)
    np.testing.assert_array_equal(plane.labels, labels)
    assert [e.name for e in find_entries([tmp_path / "plate"], given)] == ["plate/a.png"]


def test_channels_are_told_by_the_labels(tmp_path):
    _, labels = discs(0)
    image = np.zeros((2, *labels.shape), np.uint16)
    np.savez(tmp_path / "two.npz", image=image, labels=labels)
    (plane,) = read_planes(find_entries([tmp_path / "two.npz"])[0])
    assert plane.channel_axis == 0


def test_what_is_missing_is_said(tmp_path, data):
    with pytest.raises(ImageError, match="no file or folder"):
        find_entries([tmp_path / "nowhere"])
    Image.fromarray(discs(0)[0]).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="--labels"):
        find_entries([tmp_path / "a.png"])
    with pytest.raises(ImageError, match="no labels at"):
        find_entries([tmp_path / "a.png"], tmp_path / "truth")
    with pytest.raises(ImageError, match="two images are called"):
        find_entries([data / "first", data / "first"])
    np.savez(tmp_path / "b.npz", image=np.zeros((5, 6)), labels=np.zeros((5, 7), int))
    with pytest.raises(ImageError, match=r"\(5, 6\).*\(5, 7\)"):
        list(read_planes(find_entries([tmp_path / "b.npz"])[0]))


def test_metadata_from_a_table(tmp_path, data):
    table = tmp_path / "meta.csv"
    table.write_text("file,magnification,modality\n0,20x,\nfirst/1.npz,40x,phase\nstack.npz,10x,\n")
    entries = {e.name: e.columns for e in find_entries([data], metadata=table)}
    assert entries["first/0.npz"] == {"modality": "bright", "magnification": "20x"}
    assert entries["first/1.npz"] == {"modality": "phase", "magnification": "40x"}
    assert entries["second/stack.npz"] == {"magnification": "10x"}
    table.write_text("name,magnification\n0,20x\n")
    with pytest.raises(FormatError, match='"file"'):
        find_entries([data], metadata=table)


def test_splits_and_limits(tmp_path, data):
    entries = find_entries([data])
    split = tmp_path / "split.json"
    parts = {"first": {"0.npz": {"part": "train"}, "3.npz": {"part": "validation"}}}
    split.write_text(json.dumps({**parts, "second": {"stack.npz": "validation"}}))
    chosen = select_split(entries, "validation", split)
    assert [e.name for e in chosen] == ["first/3.npz", "second/stack.npz"]
    with pytest.raises(ParameterError, match="train, validation"):
        select_split(entries, "test", split)
    split.write_text("[]")
    with pytest.raises(FormatError):
        select_split(entries, "test", split)
    assert [e.name for e in spread(entries, 2)] == [
        "first/0.npz", "first/2.npz", "second/stack.npz",
    ]  # fmt: skip
    with pytest.raises(ParameterError):
        spread(entries, 0)


def test_built_in_samples():
    entries = find_entries(["sample:nuclei", "sample:coins"])
    assert [e.name for e in entries] == ["samples/nuclei", "samples/coins"]
    (plane,) = read_planes(entries[0])
    assert plane.image.shape == plane.labels.shape and plane.labels.any()
    with pytest.raises(ImageError, match="coins has no labels"):
        list(read_planes(entries[1]))


def test_every_sample_with_labels_can_be_read():
    for name in sample_names():
        held = sample(name)
        if held.labels is None or held.labels.ndim > 3:
            continue
        planes = list(read_planes(find_entries([f"sample:{name}"])[0], 2))
        assert planes
        for plane in planes:
            shape = open_image(plane.image, channel_axis=plane.channel_axis).shape
            assert shape == plane.labels.shape


def test_the_default_models_validation_images():
    root = Path(__file__).parents[3] / "shared" / "data"
    if not (root / "index.json").exists():
        pytest.skip("the labelled sets are not here")
    chosen = select_split(find_entries([root]), "validation", SPLIT_FILE)
    split = json.loads(SPLIT_FILE.read_text())
    assert all(split[e.set][e.image.name]["part"] == "validation" for e in chosen)
    expected = [n for files in split.values() for n, v in files.items() if v["part"] != "train"]
    assert len(chosen) == len(expected)
    kinds = {e.columns["modality"] for e in chosen if e.set == "dsb2018"}
    assert kinds == {"fluo", "bright", "stain"}
