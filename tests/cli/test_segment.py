"""`napari-sam segment`, for several images."""

from __future__ import annotations

import numpy as np
import tifffile

from napari_segment_anything.cli.main import run
from napari_segment_anything.formats import read_labels

from .conftest import summary_rows


def test_a_folder_of_prompts_for_a_folder_of_images(tiny, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("raw/a.tif", "raw/b.tif", "raw/c.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / name, rng.integers(0, 255, (96, 128), np.uint8))
    clicks = tmp_path / "clicks"
    clicks.mkdir()
    (clicks / "a.csv").write_text("object,row,col\n4,20,30\n")
    (clicks / "b.json").write_text('[{"id": 7, "box": [10, 10, 40, 50]}]')
    arguments = ["segment", "raw", "--prompts", "clicks", "-o", "out"]
    assert run(arguments) == 2
    assert (
        "1 of 3 images failed, the first: raw/c.tif: clicks has nothing" in capsys.readouterr().err
    )
    rows = summary_rows(tmp_path / "out")
    assert [rows[f"raw/{n}.tif"]["objects"] for n in "abc"] == ["1", "1", ""]
    assert [read_labels(f"out/{name}_labels.tif").max() for name in "ab"] == [4, 7]
    (clicks / "c.csv").write_text("object,row,col\n1,900,30\n")
    assert run([*arguments, "--resume"]) == 2
    assert "1 of 3 images failed, the first: raw/c.tif" in capsys.readouterr().err
    for more, message in (
        (["--point", "3,3"], "prompts of 3 images: give a folder"),
        (["--prompts", "clicks/a.csv"], "is of one image: for several, give a folder"),
        (["--prompts", "raw"], "has nothing for raw/a.tif, nor for another image"),
    ):
        assert run(["segment", "raw", "-o", "other", *more]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
