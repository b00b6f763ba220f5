"""Finding images and labels, and reading them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_segment_anything.datasets import (
    find_entries,
    held_out,
    read_planes,
    select_split,
    spread,
)
from napari_segment_anything.datasets.planes import pack_masks
from napari_segment_anything.engine import open_image
from napari_segment_anything.errors import FormatError, ImageError, ParameterError
from napari_segment_anything.formats import (
    ImageRecords,
    MaskRecord,
    encode,
    write_labels,
    write_sa1b,
)
from napari_segment_anything.samples import sample, sample_names

from ..evaluation.conftest import discs

SCRIPTS = Path(__file__).parents[2] / "scripts"


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
    with pytest.raises(FormatError, match="no file or folder"):
        find_entries([tmp_path / "nowhere"])
    Image.fromarray(discs(0)[0]).save(tmp_path / "a.png")
    with pytest.raises(FormatError, match="--labels"):
        find_entries([tmp_path / "a.png"])
    with pytest.raises(FormatError, match="no labels at"):
        find_entries([tmp_path / "a.png"], tmp_path / "truth")
    with pytest.raises(FormatError, match="two images are called"):
        find_entries([data / "first", data / "first"])
    np.savez(tmp_path / "b.npz", image=np.zeros((5, 6)), labels=np.zeros((5, 7), int))
    with pytest.raises(FormatError, match="5 x 6 pixels, its labels 5 x 7"):
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


@pytest.mark.slow
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
    split_file = SCRIPTS / "split.json"
    if not (root / "index.json").exists():
        pytest.skip("the labelled sets are not here")
    chosen = select_split(find_entries([root]), "validation", split_file)
    split = json.loads(split_file.read_text())
    assert all(split[e.set][e.image.name]["part"] == "validation" for e in chosen)
    expected = [n for files in split.values() for n, v in files.items() if v["part"] != "train"]
    assert len(chosen) == len(expected)
    kinds = {e.columns["modality"] for e in chosen if e.set == "dsb2018"}
    assert kinds == {"fluo", "bright", "stain"}


def test_masks_that_do_not_overlap_share_a_layer_and_seams_do_not_matter():
    masks = np.zeros((3, 30, 30), bool)
    masks[0, :, :10], masks[1, :, 10:20], masks[2, :, 20:] = True, True, True
    assert len(pack_masks([encode(m) for m in masks], (30, 30))) == 1
    masks[1, 0, 9] = True  # one pixel of 300 is claimed by both
    assert len(pack_masks([encode(m) for m in masks], (30, 30))) == 1
    masks[1, :, 8:] = True
    assert len(pack_masks([encode(m) for m in masks], (30, 30))) == 2


def test_the_held_out_share_is_by_image_and_always_the_same():
    names = [f"n{i}" for i in range(20)]
    held = held_out(names, 0.2, (), "s")
    assert len(held) == 4 and held == held_out(names[::-1], 0.2, (), "s")
    assert held_out(names, ("n3",), ("n1", "n2"), "s") == {"n3"}
    with pytest.raises(ParameterError, match="listed for training and for validation"):
        held_out(names, ("n3",), ("n3",), "s")
    with pytest.raises(ParameterError, match="has no image zz"):
        held_out(names, ("zz",), (), "s")
    with pytest.raises(ParameterError, match="too few to hold some out"):
        held_out(["one"], 0.5, (), "s")


def test_records_zarr_and_metadata_are_for_every_user_of_labelled_images(tmp_path):
    image, labels = discs(0)
    Image.fromarray(image).save(tmp_path / "a.png")
    masks = [MaskRecord.from_mask(encode(labels == i)) for i in (1, 2)]
    write_sa1b(tmp_path / "a.json", ImageRecords(*labels.shape[::-1], tuple(masks), "a.png"))
    (entry,) = find_entries([tmp_path])
    (plane,) = read_planes(entry)
    assert entry.labels.name == "a.json" and ((plane.labels > 0) == np.isin(labels, (1, 2))).all()

    index = {tmp_path.name: [{"file": "a.png", "modality": "phase"}]}
    (tmp_path / "columns.json").write_text(json.dumps(index))
    table = tmp_path / "columns.json"
    assert len(find_entries([tmp_path], metadata=table, where={"modality": "phase"})) == 1
    with pytest.raises(ParameterError, match="modality = fluo"):
        find_entries([tmp_path], metadata=table, where={"modality": "fluo"})


def test_volumes_are_cut_along_every_axis_where_asked_for(tmp_path):
    labels = np.zeros((66, 80, 70), np.uint16)
    labels[10:60, 10:70, 10:60] = 1
    image = np.arange(labels.size, dtype=np.uint16).reshape(labels.shape)
    np.savez(tmp_path / "v.npz", image=image, labels=labels)
    (entry,) = find_entries([tmp_path])
    found = {p.name.partition(":")[2]: p for p in read_planes(entry, 2, every_axis=True)}
    assert list(found) == ["16", "49", "Y20", "Y60", "X17", "X52"]
    np.testing.assert_array_equal(found["Y20"].image, image[:, 20])
    np.testing.assert_array_equal(found["X52"].labels, labels[:, :, 52])
    np.savez(tmp_path / "v.npz", image=image[:40], labels=labels[:40], fibres=2 * labels[:40])
    thin = [p.name.partition(":")[2] for p in read_planes(entry, 2, every_axis=True)]
    assert thin == ["10", "30"]
    plane = next(read_planes(entry, 2, wholes="fibres"))
    np.testing.assert_array_equal(plane.wholes, 2 * plane.labels)


def test_channels_are_chosen_and_their_axis_named(tmp_path):
    labels = discs(0)[1]
    image = np.stack([np.full(labels.shape, n, np.uint8) for n in range(6)])
    np.savez(tmp_path / "c.npz", image=image, labels=labels)
    (entry,) = find_entries([tmp_path])
    with pytest.raises(FormatError, match="'axes' says"):
        next(read_planes(entry))
    (one,) = read_planes(entry, channel_axis=0, channels=(3,))
    assert one.channel_axis is None and (one.image == 3).all()
    (two,) = read_planes(entry, axes="CYX", channels=(4, 1))
    assert two.channel_axis == 0 and two.image[:, 0, 0].tolist() == [4, 1]
    with pytest.raises(ImageError, match="6 channels, none of number 6"):
        next(read_planes(entry, axes="CYX", channels=(6,)))


def test_where_every_image_needs_labels_and_every_label_image_an_image(tmp_path):
    image, labels = discs(0)
    tifffile.imwrite(tmp_path / "a.tif", image)
    write_labels(tmp_path / "a_labels.tif", labels)
    tifffile.imwrite(tmp_path / "b.tif", image)
    assert len(find_entries([tmp_path])) == 1
    with pytest.raises(FormatError, match=r"b\.tif in .*images without labels"):
        find_entries([tmp_path], unlabelled="error")
    (tmp_path / "b.tif").unlink()
    write_labels(tmp_path / "c_labels.tif", labels)
    with pytest.raises(FormatError, match=r"c_labels\.tif in .*labels without an image"):
        find_entries([tmp_path], unlabelled="error")
    tifffile.imwrite(tmp_path / "d.tif", image)
    with pytest.raises(FormatError, match="is one file, but"):
        find_entries([tmp_path], labels=tmp_path / "a_labels.tif")
