"""Edges, and single points beside baselines."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from napari_segment_anything.datasets import find_entries, read_planes
from napari_segment_anything.engine import Predictor
from napari_segment_anything.errors import FormatError, ParameterError
from napari_segment_anything.evaluation import LabelledPlane, PromptSettings, evaluate, summarise
from napari_segment_anything.evaluation.edge_maps import edge_map, edges
from napari_segment_anything.evaluation.protocols import Subject
from napari_segment_anything.evaluation.report import write_report
from napari_segment_anything.evaluation.single_points import single_point
from napari_segment_anything.formats.bsds import read_bsds
from napari_segment_anything.measures.floors import magic_wand
from napari_segment_anything.progress import finish

from ..bright import bright_model
from ..datasets.test_classes import coco_folder
from .conftest import discs


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(bright_model())


def subject(predictor, image, labels, **more) -> Subject:
    plane = LabelledPlane("set/a", "set/a", "set", {}, image, None, labels, **more)
    return Subject(plane, predictor, PromptSettings())


def test_masks_give_edges_where_objects_end(predictor) -> None:
    image, labels = discs(3, (128, 128), 4)
    asked = subject(predictor, image, labels)
    strength = edge_map(predictor, asked.views.whole)
    assert strength.shape == (128, 128) and 0.9 < strength.max() <= 1
    record = edges(asked)
    assert set(record) == {"model", "sobel", "canny"}
    found, hit, true, true_hit = np.array(record["model"])
    assert hit[10] > 0.7 * found[10] and true_hit[10] > 0.5 * true[10]


def test_a_model_without_masks_gives_no_edges(predictor) -> None:
    asked = subject(predictor, np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.int32))
    assert not edge_map(predictor, asked.views.whole).any()


def test_boundaries_that_people_drew_come_before_those_of_labels(predictor) -> None:
    image, labels = discs(3, (64, 64), 2)
    drawn = np.zeros((2, 64, 64), bool)
    drawn[:, 10] = True
    record = edges(subject(predictor, image, labels, boundaries=tuple(drawn)))
    assert record["model"][2][0] == 128


def test_one_point_in_the_middle_and_one_anywhere(predictor) -> None:
    rows, cols = np.mgrid[:96, :128]
    labels = 1 * (np.hypot(rows - 30, cols - 30) < 12) + 2 * (np.hypot(rows - 60, cols - 95) < 14)
    image = (40 + 140 * (labels > 0)).astype(np.uint8)
    record = single_point(subject(predictor, image, labels))
    assert record["count"] == 2
    for kind in ("centre", "random"):
        assert min(max(each) for each in record[kind]["iou"]) > 0.8
        assert min(record[kind]["wand"]) > 0.8 and np.mean(record[kind]["floor"]) > 0.5
    empty = single_point(subject(predictor, image, np.zeros_like(labels)))
    assert empty["count"] == 0 and empty["centre"]["iou"] == []


def test_the_magic_wand_takes_the_object_not_the_image() -> None:
    rows, cols = np.mgrid[:60, :60]
    disc = np.hypot(rows - 30, cols - 25) < 12
    image = 100.0 * disc + 20 * np.random.default_rng(0).random(disc.shape)
    region = magic_wand(image, (30, 25))
    assert np.count_nonzero(region & disc) / np.count_nonzero(region | disc) > 0.9
    assert magic_wand(np.zeros((5, 5)), (2, 2)).sum() == 1


@pytest.mark.slow
def test_both_are_reported(data, tmp_path, model) -> None:
    entries = find_entries([data])
    names = ["edges", "single_point"]
    result = finish(evaluate(entries, model, tmp_path / "out", protocols=names))
    figures = {(f.group.value, f.method, f.measure): f for f in summarise(result.records)}
    assert 0 <= figures["", "edges", "ods"].interval.value <= 1
    assert figures["", "edges:sobel", "ods"].interval.value > 0.3
    better = figures["first", "single_point", "centre_chosen_minus_wand"].interval
    assert better.low <= better.value <= better.high
    boxes = finish(evaluate(entries, model, tmp_path / "boxes", protocols=["boxes"]))
    compared = write_report(boxes, gallery=0, plots=False, compare=["modality"]).read_text()
    assert "## Groups compared" in compared and "| modality | dark |" in compared
    text = write_report(result, gallery=0).read_text()
    assert "Groups compared" not in text
    assert "## Edges" in text and "## A single point" in text and "single_point.png" in text
    again = finish(evaluate(entries, model, tmp_path / "out", protocols=names))
    assert again.records == result.records


def bsds(folder, people: int = 2):
    """One image in the layout of BSDS500."""
    image, labels = discs(1, (40, 60), 3)
    images, truth = folder / "data" / "images" / "test", folder / "data" / "groundTruth" / "test"
    images.mkdir(parents=True)
    truth.mkdir(parents=True)
    Image.fromarray(np.stack([image] * 3, -1)).save(images / "3096.jpg")
    cells = np.empty((1, people), object)
    for person in range(people):
        boundaries = np.zeros(labels.shape, np.uint8)
        boundaries[5 + person] = 1
        cells[0, person] = {"Segmentation": labels + np.uint16(1), "Boundaries": boundaries}
    savemat(truth / "3096.mat", {"groundTruth": cells})
    return folder / "data"


def test_bsds500_is_read_as_it_is_published(tmp_path) -> None:
    (entry,) = find_entries([bsds(tmp_path)])
    (plane,) = read_planes(entry)
    assert entry.name == "test/3096.jpg" and plane.labels.min() == 1
    assert [np.flatnonzero(each.any(1)).tolist() for each in plane.boundaries] == [[5], [6]]
    (tmp_path / "x.mat").write_bytes(b"no MATLAB")
    savemat(tmp_path / "y.mat", {"other": np.zeros(3)})
    for name in ("x.mat", "y.mat"):
        with pytest.raises(FormatError, match="no segmentations of BSDS500"):
            read_bsds(tmp_path / name)


def boxes_of(labels) -> list[str]:
    """A detector's CSV for true objects, with one false box that scores low."""
    lines = ["row_min,col_min,row_max,col_max,score"]
    for label in np.unique(labels)[1:]:
        rows, cols = np.nonzero(labels == label)
        lines.append(f"{rows.min()},{cols.min()},{rows.max() + 1},{cols.max() + 1},0.9")
    return [*lines, "1,1,9,9,0.1"]


def test_masks_from_boxes_have_the_ap_of_coco(tmp_path, predictor) -> None:
    rows, cols = np.mgrid[:96, :128]
    labels = 1 * (np.hypot(rows - 30, cols - 30) < 12) + 2 * (np.hypot(rows - 60, cols - 95) < 14)
    np.savez(tmp_path / "a.npz", image=(40 + 140 * (labels > 0)).astype(np.uint8), labels=labels)
    np.savez(tmp_path / "b.npz", image=(40 + 140 * (labels > 0)).astype(np.uint8), labels=labels)
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    (boxes / "a.csv").write_text("\n".join(boxes_of(labels)))
    entries = find_entries([tmp_path / "a.npz", tmp_path / "b.npz"])
    steps = evaluate(
        entries, predictor.model, tmp_path / "out", protocols=["instances"], detections=boxes
    )
    result = finish(steps)
    figures = {f.measure: f.interval.value for f in summarise(result.records)}
    assert figures["mask_ap50"] == pytest.approx(0.5, abs=0.01)  # b has no boxes
    assert figures["mask_ap75"] == pytest.approx(0.5, abs=0.01) and figures["mask_ap_large"] != 1
    assert "Masks from a detector's boxes" in write_report(result, gallery=0).read_text()
    for more in ({"protocols": ["boxes"], "detections": boxes}, {"protocols": ["instances"]}):
        with pytest.raises(ParameterError, match="go together"):
            finish(evaluate(entries, predictor.model, tmp_path / "other", **more))


def test_proposals_are_counted_by_how_common_the_class_is(tmp_path, monkeypatch, capsys) -> None:
    from napari_segment_anything.cli.main import run

    coco_folder(tmp_path / "data")
    model = bright_model()
    monkeypatch.setattr("napari_segment_anything.engine.load_model", lambda *_, **__: model)
    asked = ["evaluate", str(tmp_path / "data/images"), "-o", str(tmp_path / "out"), "--no-plots"]
    asked += ["--labels", str(tmp_path / "data/annotations.json"), "--protocol", "grid_proposals"]
    asked += ["--parameter", "points_per_side=8", "--gallery", "0", "-q"]
    assert run([*asked, "--rare", "1", "--common", "2"]) == 0
    text = (tmp_path / "out/report.md").read_text()
    assert "rare in at most 1 images, common in at most 2" in text
    assert "a grid of points" in text
    assert "| frequent |" in text and "| rare |" not in text
    figures = (tmp_path / "out/figures.csv").read_text()
    assert "grid_proposals,ar1000_frequent" in figures and "ar10_frequent" in figures
    assert run([*asked, "--rare", "3", "--common", "4"]) == 2
    assert "another classes" in capsys.readouterr().err
    assert run([*asked, "--rare", "3", "--common", "4", "--overwrite"]) == 0
    assert "| rare |" in (tmp_path / "out/report.md").read_text()


def test_recall_of_rare_classes_by_hand() -> None:
    def record(image, best, frequency):
        values = {"10": best, "100": best, "1000": best}
        areas = [100] * len(best)
        return {
            "image": image, "file": image, "set": "s", "columns": {}, "protocol": "proposals",
            "seconds": 0.0, "count": 5, "areas": areas, "best": values, "frequency": frequency,
        }  # fmt: skip

    records = [record("a", [0.97, 0.2], ["rare", "common"]), record("b", [0.52], ["rare"])]
    held = {f.measure: f for f in summarise(records, resamples=10)}
    assert held["ar10_rare"].interval.value == pytest.approx((1.0 + 0.1) / 2)
    assert held["ar1000_common"].interval.value == 0 and held["ar1000_common"].objects == 1
    assert "ar10_frequent" not in held
