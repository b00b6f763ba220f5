"""`napari-sam find`, run as the program runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segment_anything.cli.find import _images_and_words
from napari_segment_anything.cli.main import run
from napari_segment_anything.formats import read_labels

from ..families.tiny_finders import tiny_owlv2
from ..finding.spots import GRID, spots
from .conftest import summary_rows

pytestmark = pytest.mark.usefixtures("tiny")
OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in GRID.items()]


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "spots.tif"
    tifffile.imwrite(path, spots()[0])
    return str(path)


def test_examples_as_boxes_write_what_everything_writes(image, tmp_path) -> None:
    out = tmp_path / "out"
    arguments = ["find", image, "-o", str(out), "-q", "--box", "10,10,22,22", *OPTIONS]
    assert run(arguments) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {f"spots_{end}" for end in
                     ("labels.tif", "masks.json", "table.csv", "overlay.png")}  # fmt: skip
    made = json.loads((out / "spots_masks.json").read_text())["annotations"]
    assert made[0]["napari_segment_anything"] == {"likeness": 1.0, "source": "example"}
    assert run(arguments) == 2  # nothing is replaced unasked


def test_examples_as_labels_and_json(image, tmp_path, capsys) -> None:
    labels = np.zeros((96, 128), np.uint16)
    spots()[1][0].paste(labels, 3)
    tifffile.imwrite(tmp_path / "some.tif", labels)
    arguments = ["find", image, "--json", "-q", "--examples", str(tmp_path / "some.tif")]
    assert run([*arguments, *OPTIONS]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["finder"] == "own features"
    assert printed["records"][0]["area"] == (labels > 0).sum()


@pytest.mark.slow
def test_words_with_a_finder_from_a_folder(image, tmp_path, capsys) -> None:
    folder = tiny_owlv2(tmp_path / "owl")
    arguments = ["find", image, "disk", "--json", "-q", "--finder", str(folder)]
    assert run([*arguments, "--likeness-thresh", "0.9"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["finder"] == "owlv2" and printed["parameters"]["words"] == "disk"


@pytest.mark.slow
def test_a_stack_is_searched_plane_by_plane(tmp_path) -> None:
    pixels, masks = spots()
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.stack([pixels] * 2), metadata={"axes": "ZYX"})
    out = tmp_path / "out"
    rows = [str(n) for n in masks[0].window.box]
    arguments = ["find", str(path), "-o", str(out), "-q", "--box", ",".join(rows), *OPTIONS]
    assert run([*arguments, "--examples-plane", "1"]) == 0
    labels = read_labels(out / "stack_labels.tif")
    assert labels.shape == (2, 96, 128) and labels[1, 16, 16] > 0
    assert (out / "stack_table.csv").exists()
    one = [*arguments, "--plane", "0", "--overwrite"]
    assert run(one) == 0
    assert read_labels(out / "stack_Z0_labels.tif").shape == (96, 128)


@pytest.fixture
def series(tmp_path, monkeypatch) -> Path:
    """A folder of two images with spots, an empty one and a broken one."""
    monkeypatch.chdir(tmp_path)
    raw = tmp_path / "raw"
    raw.mkdir()
    for number, name in enumerate("ab"):
        tifffile.imwrite(raw / f"{name}.tif", spots(seed=number)[0])
    tifffile.imwrite(raw / "empty.tif", np.full((96, 128), 30, np.uint8))
    (raw / "torn.png").write_bytes(b"torn")
    return raw


@pytest.mark.slow
def test_examples_in_one_image_find_what_is_like_them_in_all(series, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["find", "raw", "-o", "out", "--box", "10,10,22,22", *OPTIONS]
    assert run(arguments) == 2
    assert "4 images: name the one that the examples lie in" in capsys.readouterr().err
    arguments += ["--examples-image", "raw/a.tif"]
    assert run(arguments) == 2
    assert "1 of 4 images failed, the first: raw/torn.png" in capsys.readouterr().err
    table = summary_rows(out)
    assert [table[f"raw/{name}"]["error"] for name in ("a.tif", "b.tif", "empty.tif")] == [""] * 3
    sources = {
        name: [
            each["napari_segment_anything"]["source"]
            for each in json.loads((out / f"{name}_masks.json").read_text())["annotations"]
        ]
        for name in "ab"
    }
    assert "example" in sources["a"] and "example" not in sources["b"]
    assert sources["b"] and set(sources["b"]) == {"own features"}
    # stopped half way: the rest is done
    (out / "b_labels.tif").unlink()
    kept = (out / "a_labels.tif").stat().st_mtime_ns
    (series / "torn.png").unlink()
    assert run([*arguments, "--resume"]) == 0
    assert "done before  2" in capsys.readouterr().out
    assert (out / "a_labels.tif").stat().st_mtime_ns == kept and (out / "b_labels.tif").exists()


@pytest.mark.slow
@pytest.mark.parametrize("images", [["raw/?.tif"], ["raw/a.tif", "raw/b.tif"]])
def test_words_in_several_images_load_the_finder_once(
    series, tmp_path, capsys, monkeypatch, images
):
    from napari_segment_anything.finding import choosing

    loads = []
    load = choosing.load_finder
    monkeypatch.setattr(choosing, "load_finder", lambda *a: loads.append(a) or load(*a))
    arguments = ["find", *images, "disk", "--json", "-q"]
    arguments += ["--finder", str(tiny_owlv2(tmp_path / "owl")), "--likeness-thresh", "0.9"]
    assert run(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [each["image"] for each in printed["results"]] == ["raw/a.tif", "raw/b.tif"]
    assert len(loads) == 1


@pytest.mark.slow
def test_a_search_that_is_interrupted_is_resumed(series, tmp_path, monkeypatch) -> None:
    from napari_segment_anything.cli.output import ImageOutput

    write, done = ImageOutput.write, []

    def interrupted(self, result, files):
        if done:
            raise KeyboardInterrupt
        done.append(result.image.name)
        return write(self, result, files)

    (series / "torn.png").unlink()
    arguments = ["find", "raw", "-o", "out", "-q", "--box", "10,10,22,22", *OPTIONS]
    arguments += ["--examples-image", "raw/b.tif"]
    with monkeypatch.context() as patched:
        patched.setattr(ImageOutput, "write", interrupted)
        assert run(arguments) == 130
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == [f"a_{end}" for end in ("labels.tif", "masks.json", "overlay.png", "table.csv")]
    assert run([*arguments, "--resume"]) == 0
    assert len(list((tmp_path / "out").glob("*_labels.tif"))) == 3


@pytest.mark.parametrize(
    ("arguments", "images", "words"),
    [
        (["a.tif", "disk"], ["a.tif"], "disk"),
        (["raw", "raw"], ["raw"], "raw"),  # objects may be called as a folder is
        (["raw", "raw/"], ["raw", "raw/"], None),
        (["a.tif", "raw/*.tif"], ["a.tif", "raw/*.tif"], None),
        (["disk"], ["disk"], None),
    ],
)
def test_words_are_told_from_images(series, arguments, images, words) -> None:
    assert _images_and_words(arguments, shown=False) == (images, words)


def test_with_examples_a_folder_is_searched(series) -> None:
    assert _images_and_words(["raw", "raw"], shown=True) == (["raw", "raw"], None)
    assert _images_and_words(["raw", "disk"], shown=True) == (["raw"], "disk")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "say what to look for"),
        (["--box", "1,1,9,9", "--examples", "x.tif"], "either as --box or in a file"),
        (["{image}"], "say what to look for: words after the images"),
        (["nowhere.tif", "--box", "1,1,9,9"], "there are 2 images: name the one"),
        (["disk", "--examples-image", "{image}"], "goes with examples"),
        (["--box", "1,1,9,9", "--examples-image", "nowhere.tif"], "nowhere.tif"),
        (["--box", "1,1,9,9", "--resume", "--overwrite"], "--resume goes with -o"),
        (["x", "--finder", "/nowhere/at/all"], "there is no file"),
        (["--box", "1,1,9,9", "--crop-scales", "2"], "no effect with the finder"),
        (["--box", "1,1,9,9", "--crop-scales", "a"], "takes numbers"),
        (["--box", "1,1,9,9", "--against", "a,,b"], "takes words"),
        (["--box", "500,500,540,540"], "inside the image"),
    ],
)
def test_one_clear_line(image, tmp_path, capsys, more, message) -> None:
    more = [each.format(image=image) for each in more]
    assert run(["find", image, "-o", str(tmp_path / "out"), "-q", *more]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()
