"""Labelled images from every kind of file, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_segment_anything.errors import FormatError, ImageError, ParameterError
from napari_segment_anything.formats import (
    ImageRecords,
    MaskRecord,
    encode,
    write_labels,
    write_sa1b,
)
from napari_segment_anything.progress import finish
from napari_segment_anything.training.config import DataConfig, TrainingConfig
from napari_segment_anything.training.loading import load_images

from .small import disks, npz_folder

IMAGE, LABELS = disks(0)


def load(base, given=None, held_out=None, **data):
    sets = (DataConfig(**data),) if data else ()
    return finish(load_images(TrainingConfig(data=sets), base, given, held_out))


def folders(base, suffix: str, labels_suffix: str = ".tif", ending: str = ""):
    (base / "images").mkdir()
    (base / "labels").mkdir()
    path = base / f"images/a{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, IMAGE)
    elif suffix == ".png":
        Image.fromarray(IMAGE).save(path)
    elif suffix == ".npy":
        np.save(path, IMAGE)
    else:
        zarr.save_array(path, IMAGE)
    write_labels(base / f"labels/a{ending}{labels_suffix}", LABELS)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy", ".zarr"])
@pytest.mark.parametrize(("labels", "ending"), [(".tif", ""), (".png", "_masks"), (".zarr", "")])
def test_images_and_labels_in_two_folders(tmp_path, suffix, labels, ending):
    folders(tmp_path, suffix, labels, ending)
    for data in ({"folder": "."}, {"images": "images", "labels": "labels"}):
        (found,) = load(tmp_path, **data).train
        assert (found.labels == LABELS).all() and found.image.shape == (160, 160, 1)
        assert found.name.endswith("/a") and len(found.digest) == 16


def test_the_hash_is_of_the_pixels_whatever_the_file(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    folders(tmp_path / "one", ".tif")
    folders(tmp_path / "two", ".zarr", ".png")
    digests = {load(tmp_path, folder=name).train[0].digest for name in ("one", "two")}
    assert len(digests) == 1


def test_labels_beside_the_images_and_in_one_npz(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE)
    tifffile.imwrite(tmp_path / "a_labels.tif", LABELS)
    tifffile.imwrite(tmp_path / "b_image.tif", IMAGE)
    tifffile.imwrite(tmp_path / "b_gt.tif", LABELS)
    np.savez(tmp_path / "c.npz", image=IMAGE, labels=LABELS)
    found = load(tmp_path, folder=".").train
    assert [image.name.partition("/")[2] for image in found] == ["a", "b_image", "c"]
    assert all((image.labels == LABELS).all() for image in found)


def test_ome_zarr_with_labels_inside(tmp_path):
    root = zarr.open_group(tmp_path / "a.zarr", mode="w")
    axes = [{"name": n, "type": t} for n, t in (("c", "channel"), ("y", "space"), ("x", "space"))]

    def multiscale(group, axes):
        scale = [{"type": "scale", "scale": [1.0] * len(axes)}]
        datasets = [{"path": "0", "coordinateTransformations": scale}]
        group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": datasets}]}

    multiscale(root, axes)
    root.create_array("0", data=np.stack([IMAGE, 255 - IMAGE]))
    cells = root.create_group("labels").create_group("cells")
    multiscale(cells, axes[1:])
    cells.create_array("0", data=LABELS.astype(np.uint16))
    (found,) = load(tmp_path, images="a.zarr").train
    assert (found.labels == LABELS).all() and found.image.shape == (160, 160, 3)
    one = load(tmp_path, images="a.zarr", channels=(0,)).train[0]
    assert one.image.shape == (160, 160, 1)


def test_planes_of_a_stack_are_spread_and_those_without_objects_left_out(tmp_path):
    labels = np.stack([LABELS] * 6)
    labels[3] = 0
    np.savez(tmp_path / "s.npz", image=np.stack([IMAGE] * 6), labels=labels)
    names = [image.name for image in load(tmp_path, folder=".", planes=6, name="s").train]
    assert names == ["s/s:0", "s/s:1", "s/s:2", "s/s:4", "s/s:5"]
    assert len(load(tmp_path, folder=".", planes=3).train) == 2  # planes 1, 3 and 5


def test_overlapping_records_keep_every_mask(tmp_path):
    whole, part, other = (np.zeros((40, 50), bool) for _ in range(3))
    whole[5:35, 5:35], part[10:20, 10:20], other[5:15, 40:48] = True, True, True
    records = tuple(MaskRecord.from_mask(encode(mask)) for mask in (whole, part, other))
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(tmp_path / "a.png")
    write_sa1b(tmp_path / "a.json", ImageRecords(50, 40, records, "a.png"))
    (found,) = load(tmp_path, records=".").train
    areas = np.bincount(found.labels.ravel())[1:]
    assert sorted(areas[areas > 0]) == [80, 100]  # the parts; the whole has a layer of its own
    assert found.wholes.shape == (1, 40, 50) and (found.wholes > 0).sum() == 900


def test_a_split_on_record_and_columns_choose_images(tmp_path):
    npz_folder(tmp_path / "s")
    split = {"s": {f"d{n}.npz": part for n, part in enumerate(("train", "validation", "train"))}}
    (tmp_path / "split.json").write_text(json.dumps(split))
    found = load(tmp_path, folder="s", split=str(tmp_path / "split.json"))
    assert [i.name for i in found.train] == ["s/d0", "s/d2"]
    assert [i.name for i in found.validation] == ["s/d1"]
    columns = [{"file": f"d{n}.npz", "kind": "ab"[n % 2]} for n in range(5)]
    (tmp_path / "index.json").write_text(json.dumps({"s": columns}))
    odd = load(tmp_path, folder="s", metadata="index.json", where={"kind": "b"}, name="odd")
    assert [i.name for i in odd.train] == ["odd/d1", "odd/d3"] and odd.weights == {"odd": 1.0}
    few = load(tmp_path, folder="s", limit=2)
    assert [i.name for i in few.train] == ["s/d0", "s/d2"]
    (tmp_path / "split.json").write_text('{"t": {}}')
    with pytest.raises(ParameterError, match="no image of the set s"):
        load(tmp_path, folder="s", split=str(tmp_path / "split.json"))


def test_drawn_images_are_of_three_kinds_and_carry_the_name_of_their_set(tmp_path):
    for kind in ("generated", "nested", "shapes"):
        found = load(tmp_path, generated=2, kind=kind)
        assert {i.group for i in found.train} == set(found.weights) == {kind}
    assert {i.group for i in load(tmp_path, generated=2, name="drawn").train} == {"drawn"}
    with pytest.raises(ParameterError, match="kind is one of"):
        DataConfig(generated=2, kind="stars")


def test_arrays_and_generators(tmp_path):
    found = load(tmp_path, given=(disks(seed) for seed in range(3)), held_out=[disks(9)])
    assert len(found.train) == 3 and len(found.validation) == 1 and found.weights == {"given": 1}
    drawn = load(tmp_path, generated=4, validation=0.25)
    assert len(drawn.train) == 3 and len(drawn.validation) == 1


def test_lists_choose_what_is_trained_on(tmp_path):
    npz_folder(tmp_path / "s")
    found = load(tmp_path, folder="s", train=("d0", "d1"), validation=("d4",))
    assert [i.name for i in found.train] == ["s/d0", "s/d1"]
    assert [i.name for i in found.validation] == ["s/d4"]
    parts = [(item["name"], item["part"]) for item in found.describe()]
    assert parts == [("s/d0", "train"), ("s/d1", "train"), ("s/d4", "validation")]


def test_images_without_labels_are_named_or_left_out(tmp_path):
    folders(tmp_path, ".tif")
    tifffile.imwrite(tmp_path / "images/b.tif", IMAGE)
    with pytest.raises(FormatError, match=r"b\.tif in .*images without labels.*b_labels\.tif"):
        load(tmp_path, folder=".")
    assert len(load(tmp_path, folder=".", unlabelled="skip").train) == 1


def test_labels_without_images_are_named(tmp_path):
    folders(tmp_path, ".tif")
    write_labels(tmp_path / "labels/z.tif", LABELS)
    with pytest.raises(FormatError, match=r"z\.tif in .*labels without an image"):
        load(tmp_path, folder=".")


def test_what_does_not_fit_or_is_empty_is_refused(tmp_path):
    folders(tmp_path, ".tif")
    write_labels(tmp_path / "labels/a.tif", LABELS[:100])
    with pytest.raises(FormatError, match="160 x 160 pixels, its labels 100 x 160"):
        load(tmp_path, folder=".")
    write_labels(tmp_path / "labels/a.tif", np.zeros_like(LABELS))
    with pytest.raises(FormatError, match="no labelled object"):
        load(tmp_path, folder=".")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="has no images"):
        load(tmp_path, folder="empty")
    with pytest.raises(FormatError, match="no file or folder"):
        load(tmp_path, folder="nowhere")
    with pytest.raises(ParameterError, match="nothing to train on"):
        load(tmp_path)
    (tmp_path / "images/a.tif").write_bytes(b"")
    with pytest.raises(ImageError, match="empty"):
        load(tmp_path, folder=".")


def test_a_mask_in_place_of_labels_is_pointed_out(tmp_path):
    np.savez(tmp_path / "a.npz", image=IMAGE, labels=(LABELS > 0).astype(np.uint8) * 255)
    with pytest.warns(UserWarning, match="an id of its own"):
        load(tmp_path, folder=".")


def test_broken_records_are_refused(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    with pytest.raises(FormatError, match=r"a\.png in .*expected a\.json"):
        load(tmp_path, records=".")
    (tmp_path / "a.json").write_text(json.dumps({"image": {}}))
    with pytest.raises(FormatError, match="annotations"):
        load(tmp_path, records=".")


def test_a_set_says_one_thing_about_where_it_lies():
    with pytest.raises(ParameterError, match="needs one of"):
        DataConfig()
    with pytest.raises(ParameterError, match="folder and records"):
        DataConfig(folder="a", records="b")
    with pytest.raises(ParameterError, match="share from 0"):
        DataConfig(folder="a", validation=1.5)
