"""Data sets described and compared: masks per image, size, concavity, place, time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage.morphology import convex_hull_image

import napari_segment_anything as nsa
from napari_segment_anything.formats import (
    ImageRecords,
    MaskRecord,
    encode,
    encode_labels,
    read_table,
    write_coco,
    write_labels,
    write_sa1b,
)
from napari_segment_anything.projects import ObjectEntry, Project
from napari_segment_anything.projects.describe import describe_dataset, measures
from napari_segment_anything.projects.describe_report import write_description


@pytest.fixture
def annotated(project: Project, labels: np.ndarray) -> Project:
    """Two of three images have labels, made with two models."""
    for image, version in zip(project.images[:2], ("", "v1"), strict=True):
        entries = [
            ObjectEntry(1, "cell", seconds=4.0, version=version),
            ObjectEntry(2, seconds=2.0, version=version),
        ]
        with image.lock() as editing:
            editing.write(labels=labels, objects=entries)
    return project


def test_a_project(annotated: Project) -> None:
    found = nsa.finish(describe_dataset(annotated))
    assert found.name == annotated.name
    assert found.masks.tolist() == [2, 2]
    assert found.size[0] == pytest.approx(np.sqrt(36 / 2000))
    assert found.row[1] == pytest.approx(25 / 40)
    assert found.col[1] == pytest.approx(30 / 50)
    assert found.classes == {"cell": 2}
    assert {version: list(times) for version, times in found.seconds.items()} == {
        "no version": [4, 2],
        "v1": [4, 2],
    }
    again = nsa.finish(describe_dataset(annotated.folder, "again"))
    assert (again.name, len(again.size)) == ("again", 4)


def test_concavity() -> None:
    rows, cols = np.mgrid[:41, :41] - 20
    disk = rows**2 + cols**2 <= 18**2
    assert measures(encode(disk))[1] < 0.02
    shape = np.zeros((20, 30), bool)
    shape[5, 5] = True
    assert measures(encode(shape))[1] == 0
    assert measures(encode(np.eye(5, dtype=bool)))[1] == 0
    shape[5:15, 5:15], shape[5:10, 10:15] = True, False  # an L
    ring = disk & (rows**2 + cols**2 > 9**2)
    for mask in (shape, ring):
        hull = convex_hull_image(mask, offset_coordinates=False)
        assert measures(encode(mask))[1] == pytest.approx(1 - mask.sum() / hull.sum(), abs=1e-9)


def test_files_of_other_data_sets(tmp_path: Path, labels: np.ndarray) -> None:
    masks = encode_labels(labels).values()
    records = ImageRecords(50, 40, tuple(map(MaskRecord.from_mask, masks)), "a.png")
    for folder in ("sa1b", "plain", "beside", "inside/labels"):
        (tmp_path / folder).mkdir(parents=True)
    write_sa1b(tmp_path / "sa1b" / "a.json", records)
    write_coco(tmp_path / "coco.json", [records, replace(records, file_name="b.png")])
    write_labels(tmp_path / "plain" / "a.tif", labels)
    write_labels(tmp_path / "plain" / "b.tif", np.stack([labels, labels]))
    write_labels(tmp_path / "beside" / "a_labels.tif", labels)
    write_labels(tmp_path / "beside" / "a.tif", np.arange(2000).reshape(40, 50))
    write_labels(tmp_path / "inside" / "labels" / "a.png", labels)
    counts = {
        source: nsa.finish(describe_dataset(tmp_path / source)).masks.tolist()
        for source in ("sa1b", "sa1b/a.json", "coco.json", "plain", "beside", "inside")
    }
    assert counts == {
        "sa1b": [2],
        "sa1b/a.json": [2],
        "coco.json": [2, 2],
        "plain": [2, 2, 2],
        "beside": [2],
        "inside": [2],
    }


def test_nothing_to_describe(project: Project, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in (project, tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(nsa.FormatError):
            nsa.finish(describe_dataset(source))


@pytest.mark.parametrize("plots", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_side_by_side(annotated: Project, tmp_path: Path, labels: np.ndarray, plots: bool) -> None:
    write_labels(tmp_path / "other.tif", labels)
    both = [nsa.finish(describe_dataset(source)) for source in (annotated, tmp_path / "other.tif")]
    report = write_description(tmp_path / "out", both, plots=plots)
    text = report.read_text()
    assert f"| {annotated.name} | other |" in text
    assert "| v1 | 2 | 3 (2.5 to 3.5) |" in text
    masks = read_table(tmp_path / "out" / "masks.csv")
    assert masks["dataset"].tolist().count("other") == 2
    figures = read_table(tmp_path / "out" / "figures.csv")
    assert set(figures["measure"]) >= {"masks", "size", "concavity", "seconds, v1"}
    pictures = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert pictures == ({"measures.png", "centres.png", "seconds.png"} if plots else set())
    for name in pictures:
        assert f"({name})" in text
    with pytest.raises(nsa.ParameterError, match="different names"):
        write_description(tmp_path / "out", [both[0], both[0]])
