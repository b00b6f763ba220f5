"""Several images in one run."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from napari_segment_anything.cli.batch import places_of
from napari_segment_anything.cli.main import run
from napari_segment_anything.errors import ImageError

from .conftest import summary_rows

pytestmark = pytest.mark.usefixtures("tiny")
LOOSE = ["--mode", "grid", "--points-per-side", "2", "--pred-iou-thresh", "0"]


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A folder with two images, one of them below another folder's namesake, and a broken file."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("raw/a.tif", "raw/b.tif", "more/a.tif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(path, rng.integers(0, 4000, (48, 64), dtype=np.uint16))
    return tmp_path / "raw"


@pytest.mark.slow
def test_a_folder_is_run_through_and_a_broken_image_does_not_stop_it(raw, tmp_path, capsys):
    (raw / "a2.png").write_bytes(b"broken")
    out = tmp_path / "out"
    assert run(["everything", "raw", "-o", "out", *LOOSE]) == 2
    said = capsys.readouterr().err
    assert "3 of 3: decoding" in said
    assert "1 of 3 images failed, the first: raw/a2.png: a2.png is damaged" in said
    summary = summary_rows(out)
    assert list(summary) == ["raw/a.tif", "raw/a2.png", "raw/b.tif"]
    assert "damaged" in summary["raw/a2.png"]["error"]
    for name in ("a", "b"):
        objects = len(np.unique(tifffile.imread(out / f"{name}_labels.tif"))) - 1
        assert int(summary[f"raw/{name}.tif"]["objects"]) == objects

    # again: refused, or only what is missing
    assert run(["everything", "raw", "-o", "out", *LOOSE]) == 2
    assert "or add --overwrite or --resume" in capsys.readouterr().err
    kept = (out / "a_masks.json").stat().st_mtime_ns
    (out / "b_table.csv").unlink()
    (raw / "a2.png").unlink()
    assert run(["everything", "raw", "-o", "out", "--resume", *LOOSE]) == 0
    assert "done before  1" in capsys.readouterr().out
    assert (out / "a_masks.json").stat().st_mtime_ns == kept
    assert summary_rows(out)["raw/a.tif"]["objects"] == summary["raw/a.tif"]["objects"]
    assert (out / "b_table.csv").exists()
    assert run(["everything", "raw", "-o", "out", "--resume", "--overwrite", *LOOSE]) == 2


def test_json_of_several_has_the_result_of_each(raw, capsys):
    assert run(["everything", "raw/*.tif", "--json", "-q", *LOOSE]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["images"] == 2
    assert [each["image"] for each in printed["results"]] == ["raw/a.tif", "raw/b.tif"]
    assert printed["objects"] == sum(len(each["records"]) for each in printed["results"])


def test_images_and_the_names_of_their_files(raw, tmp_path):
    (raw / "b_overlay.png").touch()  # results of an earlier run
    (raw / "b_labels.tif").touch()
    (tmp_path / "list.csv").write_text("path,plane\nmore/a.tif,T=3\n")
    both = places_of(["raw", "raw/b.tif", "more/a.tif"])  # b is given twice
    assert [(p.source, p.name) for p in both] == [
        ("raw/a.tif", "raw-a"), ("raw/b.tif", ""), ("more/a.tif", "more-a"),
    ]  # fmt: skip
    (raw / "a.png").touch()  # the same path but for its ending
    named = {p.source: p.name for p in places_of(["raw", "more"])}
    assert sorted(named.values()) == ["", "more-a", "raw-a", "raw-a-2"]
    assert [(p.source, p.plane, p.name) for p in places_of(["list.csv"])] == [
        ("more/a.tif", "T=3", "")
    ]
    assert [p.source for p in places_of(["sample:coins"])] == ["sample:coins"]
    with pytest.raises(ImageError, match="no image but the results"):
        places_of(["raw/*_labels.tif"])
