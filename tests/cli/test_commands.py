"""The verbs, run as the program runs them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

import napari_segment_anything.engine as engine
from napari_segment_anything.checkpoints import catalogue
from napari_segment_anything.cli import picture, report
from napari_segment_anything.cli.main import run
from napari_segment_anything.cli.options import Precision
from napari_segment_anything.formats import rle

from ..tiny import tiny_model

LOOSE = ["--mode", "grid", "--points-per-side", "4", "--pred-iou-thresh", "0"]
LOOSE += ["--stability-score-thresh", "0"]


pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4000, (96, 128), dtype=np.uint16)
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, pixels)
    return path


def one_line(capsys) -> str:
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    lines = [line for line in printed.err.splitlines() if line.startswith("napari-sam: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.slow
def test_everything_writes_four_files_that_agree(image, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    assert run(["everything", str(image), "-o", str(out), *LOOSE]) == 0
    printed = capsys.readouterr()
    assert "objects" in printed.out
    assert "cpu, fp32" in printed.out
    assert "decoding" in printed.err
    names = sorted(path.name for path in out.iterdir())
    assert names == ["cells_labels.tif", "cells_masks.json", "cells_overlay.png", "cells_table.csv"]

    labels = tifffile.imread(out / "cells_labels.tif")
    assert labels.shape == (96, 128)
    present = set(np.unique(labels).tolist()) - {0}
    assert len(present) > 3

    annotations = json.loads((out / "cells_masks.json").read_text())["annotations"]
    by_label = {each["id"]: each for each in annotations}
    assert present <= set(by_label)
    for label in present:
        mask = rle.from_coco(by_label[label]["segmentation"]).decode()
        assert mask[labels == label].all()
        assert mask.sum() == by_label[label]["area"]

    with (out / "cells_table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {int(row["label"]) for row in rows} == present
    for row in rows:
        assert float(row["area"]) == (labels == int(row["label"])).sum()
        assert float(row["predicted_iou"]) == pytest.approx(
            by_label[int(row["label"])]["predicted_iou"], abs=1e-4
        )

    shown = np.asarray(Image.open(out / "cells_overlay.png"))
    zoom = shown.shape[0] // 96
    assert shown.shape == (96 * zoom, 128 * zoom, 3)
    # tinted where there are objects, grey where there are none
    colourful = np.ptp(shown.astype(int), axis=-1) > 0
    at_labels = ndimage.zoom(labels > 0, zoom, order=0)
    assert colourful[ndimage.binary_erosion(at_labels, iterations=zoom)].mean() > 0.95
    assert not colourful[~ndimage.binary_dilation(at_labels, iterations=2 * zoom)].any()


def test_json_without_a_folder_holds_the_masks(image, capsys):
    assert run(["everything", str(image), "--json", *LOOSE]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["shape"] == [96, 128]
    assert result["mode"] == "grid"
    assert result["parameters"]["points_per_side"] == 4
    assert result["model"]["name"] == "tiny"
    assert len(result["records"]) >= result["objects"] > 3
    assert {"id", "segmentation", "area", "bbox", "predicted_iou"} <= set(result["records"][0])


def test_json_with_a_folder_names_the_files(image, tmp_path, capsys):
    command = ["everything", str(image), "--json", "-q", "-o", str(tmp_path / "out"), *LOOSE]
    assert run(command) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    files = json.loads(printed.out)["files"]
    assert files["labels"] == str(tmp_path / "out" / "cells_labels.tif")


def test_quiet_prints_nothing(image, tmp_path, capsys):
    assert run(["everything", str(image), "-q", "-o", str(tmp_path / "out"), *LOOSE]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_results_are_replaced_only_on_demand(image, tmp_path, capsys):
    command = ["everything", str(image), "-q", "-o", str(tmp_path), *LOOSE]
    assert run(command) == 0
    before = (tmp_path / "cells_labels.tif").read_bytes()
    assert run([*command, "--min-area", "100000"]) == 2
    assert "--overwrite" in one_line(capsys)
    assert (tmp_path / "cells_labels.tif").read_bytes() == before
    assert run([*command, "--min-area", "100000", "--overwrite"]) == 0
    assert tifffile.imread(tmp_path / "cells_labels.tif").max() == 0


def test_nothing_is_left_half_written(image, tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(picture, "draw", fail)
    out = tmp_path / "out"
    assert run(["everything", str(image), "-o", str(out), *LOOSE]) == 130
    assert "interrupted" in one_line(capsys)
    assert list(out.iterdir()) == []


def test_segment_gives_objects_their_numbers(image, tmp_path, capsys):
    prompts = tmp_path / "clicks.csv"
    prompts.write_text("object,row,col\n7,24,24\n300,72,96\n")
    out = tmp_path / "out"
    assert run(["segment", str(image), "-o", str(out), "--prompts", str(prompts)]) == 0
    labels = tifffile.imread(out / "cells_labels.tif")
    assert set(np.unique(labels).tolist()) == {0, 7, 300}
    assert labels[24, 24] == 7
    assert labels[72, 96] == 300
    records = json.loads((out / "cells_masks.json").read_text())["annotations"]
    assert [each["id"] for each in records] == [7, 300]
    assert records[0]["point_coords"] == [[24, 24]]
    assert [each["bbox"][2:] != [0, 0] for each in records] == [True, True]


def test_segment_equals_the_python_interface(image, capsys):
    assert run(["segment", str(image), "--json", "--box", "10,20,50,70", "--single-mask"]) == 0
    (record,) = json.loads(capsys.readouterr().out)["records"]
    predictor = engine.Predictor(tiny_model())
    embedding = predictor.embed(tifffile.imread(image))
    prompts = engine.Prompts.from_boxes([[10, 20, 50, 70]])
    prediction = predictor.predict(embedding, prompts, multimask=False)
    mask = rle.from_coco(record["segmentation"]).decode()
    np.testing.assert_array_equal(mask, prediction.best()[0])
    assert record["predicted_iou"] == pytest.approx(float(prediction.scores[0, 0]), rel=1e-5)


def test_cache_keeps_the_embedding(image, tmp_path, capsys):
    command = ["segment", str(image), "--json", "--point", "40,40", "--cache"]
    assert run(command) == 0
    first = capsys.readouterr().out
    kept = list((tmp_path / "cache" / "embeddings").iterdir())
    assert len(kept) == 1
    assert run(command) == 0
    again = capsys.readouterr().out
    assert json.loads(first)["records"] == json.loads(again)["records"]


def test_pictures_of_large_images_are_reduced_and_prompts_marked():
    labels = np.zeros((300, 9000), np.uint8)
    labels[100:200, 3000:6000] = 1
    image = np.full((300, 9000, 3), 90.0)
    prompts = [{"points": [[150, 4500], [20, 20]], "labels": [1, 0], "box": [90, 2900, 210, 6100]}]
    drawn = picture.draw(image, labels, prompts)
    assert drawn.shape == (100, 3000, 3)
    assert tuple(drawn[50, 1500]) == (0, 255, 0)
    assert tuple(drawn[6, 6]) == (255, 0, 0)
    assert tuple(drawn[30, 1400]) == (255, 255, 255)


def test_planes_and_channels(tmp_path, capsys):
    stack = np.random.default_rng(1).integers(0, 255, (3, 2, 40, 50), dtype=np.uint8)
    path = tmp_path / "stack.npy"
    np.save(path, stack)
    command = ["segment", str(path), "--json", "--point", "20,20", "--axes", "ZCYX"]
    assert run(command) == 2
    assert "--plane Z=1" in one_line(capsys)
    assert run([*command, "--plane", "1", "--channels", "1"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["shape"] == [40, 50]
    assert result["image"] == f"{path} Z1"
    assert run([*command, "--plane", "9"]) == 2
    assert "planes 0 to 2" in one_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["everything"], "IMAGE"),
        (["everything", "sample:coins"], "-o"),
        (["everything", "sample:conis", "--json"], "coins"),
        (["everything", "nofile.tif", "--json"], "nofile.tif"),
        (["everything", "coins", "--json"], "sample:coins"),
        (["everything", "sample:coins", "--json", "--no-such"], "--no-such"),
        (["everything", "sample:coins", "--json", "--points-per-side", "x"], "--points-per-side"),
        (
            ["everything", "sample:coins", "--json", "--points-per-side", "0"],
            "--points-per-side must be between",
        ),
        (["everything", "sample:coins", "--json", "--mode", "magic"], "--mode"),
        (["everything", "sample:coins", "--json", "--mode", "instances"], "instances"),
        (["everything", "sample:coins", "--json", "--contrast-limits", "9,1"], "LO < HI"),
        (["everything", "sample:coins", "--json", "--channels", "a"], "--channels"),
        (["everything", "sample:coins", "--json", "--plane", "1"], "--plane"),
        (["segment", "sample:coins", "--json"], "--point"),
        (["segment", "sample:coins", "--json", "--point", "1"], "ROW,COL"),
        (["segment", "sample:coins", "--json", "--point", "5000,1"], "outside"),
        (["segment", "sample:coins", "--json", "--prompts", "none.csv"], "none.csv"),
        (["download", "no_such_model"], "no_such_model"),
        (["no_such_verb"], "no_such_verb"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, says, capsys):
    assert run(arguments) == 2
    assert says in one_line(capsys)


def test_the_folder_is_checked_before_the_work(image, tmp_path, capsys, tiny):
    (tmp_path / "taken").write_text("")
    assert run(["everything", str(image), "-o", str(tmp_path / "taken" / "out")]) == 2
    assert "not a folder" in one_line(capsys)
    assert tiny == []


def test_bugs_are_one_line_too_unless_debugging(image, tmp_path, capsys, monkeypatch):
    def broken(*_):
        raise KeyError("surprise")

    monkeypatch.setattr(report, "print_json", broken)
    command = ["everything", str(image), "--json", *LOOSE]
    assert run(command) == 1
    assert "surprise" in one_line(capsys)
    with pytest.raises(KeyError, match="surprise"):
        run([*command, "--debug"])


@pytest.mark.filterwarnings("default")
def test_warnings_of_the_engine_are_notes(image, capsys, monkeypatch):
    import warnings

    monkeypatch.setattr(
        report, "print_json", lambda *_: warnings.warn("memory ran out", UserWarning, stacklevel=1)
    )
    assert run(["everything", str(image), "--json", *LOOSE]) == 0
    assert one_line(capsys) == "napari-sam: note: memory ran out"


def test_model_options_reach_the_model(image, tiny):
    options = ["--model", "vit_b", "--device", "cpu", "--precision", "bf16"]
    assert run(["everything", str(image), "--json", "-q", *options, *LOOSE]) == 0
    assert tiny == [("vit_b", "cpu", "bf16")]
    assert {"auto", *engine.device.PRECISIONS} < {str(each) for each in Precision}
    for each in Precision:  # fp16 alone is not for a processor, and int8 only for one
        if "int8" not in str(each):
            assert engine.choose_precision(str(each), "cuda")[1] != ""


def test_models_lists_the_catalogue(capsys):
    assert run(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed] == list(catalogue())
    assert {each["where"] for each in listed} == {"in this package", "to be downloaded"}
    assert run(["models"]) == 0
    table = capsys.readouterr().out
    assert "375 MB" in table
    assert "Apache-2.0" in table


def test_models_say_what_they_can_do_and_need(capsys, monkeypatch):
    assert run(["models", "sam3"]) == 0
    shown = capsys.readouterr().out
    assert "prompt, everything, memory, words, examples" in shown
    assert "to download, gated" in shown
    assert "SAM License" in shown and "about 3.4 GB" in shown
    assert run(["models", "owlv2_base", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["can"], facts["needs"]) == ("detector", ["words", "examples"], "")
    assert run(["models"]) == 0
    assert "pip install" not in capsys.readouterr().out
    # without the extra, what it would add
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["models"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "SAM-HQ, SAM 2.1, EdgeTAM, SAM 3, Detectors by words, Likeness to words need " in told
    assert 'pip install "segment-anything-napari[models]"' in told
    assert run(["info", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["models"]
    assert groups["Segment Anything"] == "can be loaded"
    assert "needs transformers and huggingface_hub" in groups["SAM 2.1"]
    assert run(["download", "edgetam", "-q"]) == 2
    assert "needs transformers and huggingface_hub, which are not installed" in one_line(capsys)


def test_download_of_what_is_here(capsys):
    assert run(["download", "default", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["default"].endswith("default.safetensors")


@pytest.mark.slow
def test_info(capsys, tmp_path):
    assert run(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["versions"]["torch"] == engine.model.torch.__version__
    assert facts["cache"]["directory"] == str(tmp_path / "cache")
    stages = facts["computing"]["precision"]
    assert list(stages) == ["default's encoder", "ViT's encoder", "mask decoder", "training step"]
    assert all("(" in stage for stage in stages.values())
    assert run(["info"]) == 0
    assert "mask decoder" in capsys.readouterr().out
    assert run(["info", "--samples"]) == 0
    assert "sample:coins" in capsys.readouterr().out


def test_info_names_another_plugin_with_the_same_import_name(capsys, tmp_path, monkeypatch):
    assert run(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == {}
    metadata = tmp_path / "site" / "napari_segment_anything-0.1.5.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: napari-segment-anything\nVersion: 0.1.5\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert run(["info", "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert "version 0.1.5" in warnings["napari-segment-anything"]
    assert run(["info"]) == 0
    shown = capsys.readouterr().out
    assert "Warnings" in shown
    told = " ".join(shown.split())
    assert "pip uninstall napari-segment-anything segment-anything-napari" in told


@pytest.mark.parametrize("verb", ["segment", "everything", "models", "download", "info"])
def test_help_has_examples(verb, capsys):
    assert run([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples" in text
    assert f"napari-sam {verb}" in text
