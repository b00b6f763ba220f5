"""`napari-sam refine`, run as the program runs it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import tifffile

from napari_segment_anything.cli.main import run
from napari_segment_anything.formats import (
    open_labels,
    read_coco,
    read_image,
    read_labels,
    read_sa1b,
    read_table,
    write_labels,
)

from .conftest import summary_rows


@pytest.fixture
def image(tmp_path, tiny):
    path = tmp_path / "cells.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (96, 128), np.uint8)
    tifffile.imwrite(
        path, pixels, ome=True, metadata={
            "axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5,
            "PhysicalSizeYUnit": "µm",
        },
    )  # fmt: skip
    return str(path)


@pytest.fixture
def coco(tmp_path):
    path = tmp_path / "found.json"
    data = {
        "images": [{"id": 1, "height": 96, "width": 128, "file_name": "cells.tif"}],
        "annotations": [
            {"id": 7, "image_id": 1, "category_id": 4, "bbox": [20, 10, 24, 20], "score": 0.75},
            {"id": 3, "image_id": 1, "category_id": 2, "bbox": [70, 60, 24, 20], "score": 0.5},
        ],
        "categories": [{"id": 4, "name": "yeast"}, {"id": 2, "name": "bud"}],
    }
    path.write_text(json.dumps(data))
    return str(path)


def complaint(capsys) -> str:
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    [line] = [line for line in printed.err.splitlines() if line.startswith("napari-sam: ")]
    return line


@pytest.mark.slow
def test_coco_keeps_ids_classes_and_scores(image, coco, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert run(["refine", image, "--prompts", coco, "-o", str(out), "-q"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        f"cells_{end}"
        for end in (
            "coco.json",
            "labels.tif",
            "masks.json",
            "overlay.png",
            "review.csv",
            "table.csv",
        )
    ]
    assert set(np.unique(read_labels(out / "cells_labels.tif"))) == {0, 3, 7}
    [kept] = read_coco(out / "cells_coco.json")
    assert [(each.id, each.category, each.score) for each in kept.records] == [
        (7, "yeast", 0.75), (3, "bud", 0.5),
    ]  # fmt: skip
    assert {each.id for each in read_sa1b(out / "cells_masks.json").records} == {3, 7}
    table = read_table(out / "cells_table.csv")
    assert table["label"].tolist() == [3, 7]
    assert table["class"].tolist() == ["bud", "yeast"]
    assert table["score"].tolist() == [0.5, 0.75]
    review = read_table(out / "cells_review.csv")
    assert (np.diff(review["doubt"]) <= 0).all()
    assert run(["refine", image, "--prompts", coco, "-o", str(out), "-q"]) == 2
    assert "exists already" in complaint(capsys)
    assert run(["refine", image, "--prompts", coco, "-o", str(out), "-q", "--overwrite"]) == 0


def test_labels_into_a_store(image, tmp_path, capsys) -> None:
    labels = np.zeros((96, 128), np.uint8)
    labels[10:30, 20:44] = 9
    write_labels(tmp_path / "stardist.png", labels)
    store = tmp_path / "out" / "cells.ome.zarr"
    store.parent.mkdir()
    arguments = ["refine", image, "--prompts", str(tmp_path / "stardist.png"), "-o", str(store)]
    assert run([*arguments, "--prompt", "mask", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["objects"] == told["prompted"] == 1
    made = open_labels(store, "refined")
    assert made.complete
    assert made.scale == (0.5, 0.5)
    assert set(np.unique(made.array[...])) == {0, 9}
    beside = sorted(path.name for path in store.parent.iterdir())
    assert beside == ["cells.ome.zarr", "cells_masks.json", "cells_review.csv"]
    assert run(arguments) == 2
    assert "exists already" in complaint(capsys)


def test_a_boolean_mask_needs_components(image, tmp_path) -> None:
    mask = np.zeros((96, 128), np.uint8)
    mask[10:30, 20:44] = mask[60:80, 70:90] = 255
    write_labels(tmp_path / "otsu.png", mask)
    out = tmp_path / "out"
    arguments = ["refine", image, "--prompts", str(tmp_path / "otsu.png"), "-o", str(out), "-q"]
    assert run([*arguments, "--components"]) == 0
    assert read_image(out / "cells_labels.tif").array.max() == 2


@pytest.fixture
def series(tmp_path, tiny, monkeypatch):
    """Four images; labels of one, boxes of another, labels of another size of the third."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.zeros((96, 128), np.uint8)
    labels[10:30, 20:44] = 9
    for name in "abcd":
        path = tmp_path / "raw" / f"{name}.tif"
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(path, rng.integers(0, 255, (96, 128), np.uint8))
    (tmp_path / "found").mkdir()
    write_labels(tmp_path / "found" / "a_masks.png", labels)
    (tmp_path / "found" / "b.csv").write_text("row_min,col_min,row_max,col_max\n20,3,40,30\n")
    write_labels(tmp_path / "found" / "c.tif", labels[:50])
    return labels


@pytest.mark.slow
def test_a_folder_with_a_folder_of_objects(series, tmp_path, capsys) -> None:
    arguments = ["refine", "raw", "--prompts", "found", "-o", "out"]
    assert run(arguments) == 2
    assert "2 of 4 images failed, the first: raw/c.tif" in capsys.readouterr().err
    rows = summary_rows(tmp_path / "out")
    assert rows["raw/a.tif"]["objects"] == rows["raw/b.tif"]["objects"] == "1"
    assert "shape" in rows["raw/c.tif"]["error"]
    assert "has nothing for an image of the name" in rows["raw/d.tif"]["error"]
    assert set(np.unique(read_labels("out/a_labels.tif"))) == {0, 9}
    assert len(read_table("out/b_review.csv")["doubt"]) == 1
    write_labels(tmp_path / "found" / "c.tif", series)
    write_labels(tmp_path / "found" / "d.tif", series)
    kept = (tmp_path / "out" / "a_labels.tif").stat().st_mtime_ns
    assert run([*arguments, "--resume", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["done_before"], told["objects"]) == (4, 2, 4)
    assert (tmp_path / "out" / "a_labels.tif").stat().st_mtime_ns == kept


def test_coco_of_several_images(series, tmp_path, capsys) -> None:
    data = {
        "images": [
            {"id": i, "height": 96, "width": 128, "file_name": f"{name}.tif"}
            for i, name in enumerate("ab", 1)
        ],
        "annotations": [
            {"id": 6 + i, "image_id": i, "category_id": 1, "bbox": [20, 10, 24, 20]} for i in (1, 2)
        ],
        "categories": [{"id": 1, "name": "yeast"}],
    }
    (tmp_path / "all.json").write_text(json.dumps(data))
    assert run(["refine", "raw/a.tif", "raw/b.tif", "--prompts", "all.json", "-o", "out"]) == 0
    capsys.readouterr()
    assert [set(np.unique(read_labels(f"out/{n}_labels.tif"))) for n in "ab"] == [{0, 7}, {0, 8}]
    assert (tmp_path / "out" / "a_coco.json").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["raw", "--prompts", "found/a_masks.png"], "is of one image: for several, give a folder"),
        (["raw", "--prompts", "raw/../empty"], "has nothing for raw/a.tif, nor for another"),
        (
            ["raw", "more/a.tif", "--prompts", "found"],
            "raw/a.tif and more/a.tif have the same",
        ),
        (["raw", "--prompts", "found", "-o", "all.zarr"], "a store takes the labels of one image"),
    ],
)
def test_series_that_are_one_clear_line(series, tmp_path, capsys, more, message) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.tif").write_bytes((tmp_path / "raw" / "a.tif").read_bytes())
    assert run(["refine", "-o", "out", "-q", *more]) == 2
    assert message in complaint(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "give --prompts"),
        (("--prompts", "missing.csv"), "missing.csv cannot be read"),
        (("--prompts", "cells.tif"), "Labels are integers"),
        (("--prompts", "boxes.csv"), "outside the image"),
        (("--prompts", "boxes.csv", "--prompt", "points"), "points"),
        (("--prompts", "wrong.csv"), "needs the columns"),
    ],
)
def test_one_clear_line(image, tmp_path, capsys, more, message, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("cells.tif", np.ones((5, 5), np.float32) / 2)
    (tmp_path / "boxes.csv").write_text("row_min,col_min,row_max,col_max\n200,3,220,9\n")
    (tmp_path / "wrong.csv").write_text("row_min,col_min,row_max\n200,3,220\n")
    source = tmp_path / "a.npy"
    np.save(source, np.zeros((96, 128), np.uint8))
    assert run(["refine", str(source), *more, "-o", "out", "-q"]) == 2
    assert re.search(message, complaint(capsys))
    assert not (tmp_path / "out").exists()
