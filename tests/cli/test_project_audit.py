"""`napari-sam project audit` and `report`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from napari_segment_anything.cli.main import run
from napari_segment_anything.formats import write_labels
from napari_segment_anything.projects import ObjectEntry


@pytest.fixture
def cells(tmp_path):
    """A project of two images with six objects each, one of which was missed."""
    truth = np.zeros((40, 60), np.uint8)
    for number in range(6):
        row, col = 2 + 20 * (number // 3), 2 + 20 * (number % 3)
        truth[row : row + 10, col : col + 8] = number + 1
    for number in range(2):
        Image.fromarray(np.zeros((40, 60), np.uint8)).save(tmp_path / f"a{number}.png")
        write_labels(tmp_path / "truth" / f"a{number}.tif", truth)
        write_labels(tmp_path / "found" / f"a{number}.tif", np.where(truth == 6, 0, truth))
    project = tmp_path / "cells"
    images = [str(tmp_path / f"a{number}.png") for number in range(2)]
    assert run(["project", "new", str(project), *images, "-q"]) == 0
    assert run(["project", "import", str(project), str(tmp_path / "found"), "-q"]) == 0
    return project


def test_from_drawing_to_report(cells, tmp_path, capsys):
    audit = ["project", "audit", str(cells)]
    assert run([*audit, "--masks", "8", "--fields", "50", "--field-side", "20"]) == 0
    assert "0 of 8 drawn are answered" in capsys.readouterr().out
    assert run([*audit, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answered"] == {"masks": 0, "fields": 0}
    assert run([*audit, "--truth", str(tmp_path / "truth"), "--by", "ada", "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["audit"], found["missed"], found["verdicts"]["accepted"]) == ("audit-1", 2, 8)
    assert found["figures"]["count"]["value"] == 12
    assert found["figures"]["count"]["automatic"] == 10
    assert run([*audit, "--level", "0.8"]) == 0
    printed = capsys.readouterr().out
    assert "80 % interval" in printed and "masks with IoU above 0.90" in printed
    assert "by ada" in (cells / "audits" / "audit-1" / "methods.md").read_text()
    assert run([*audit, "--new", "--image", "a1", "-q"]) == 0
    assert (cells / "audits" / "audit-2" / "sample.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--masks", "9"], "is drawn already; --new draws another"),
        (["--new", "--fields", "1"], "--fields must be"),
        (["--new", "--image", "b"], "no image 'b'"),
        (["--truth", "nowhere"], "there is no file or folder"),
        (["--truth", "{found}", "--level", "2"], "confidence level"),
    ],
)
def test_mistakes_are_one_line(cells, tmp_path, capsys, arguments, message):
    assert run(["project", "audit", str(cells), "-q"]) == 0
    chosen = [each.format(found=tmp_path / "found") for each in arguments]
    assert run(["project", "audit", str(cells), *chosen]) == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("napari-sam: ")]
    assert len(lines) == 1 and message in lines[0]


def test_figures_by_class(cells, tmp_path, capsys):
    """Truth with classes, as a project exports it; the project's own masks have none."""
    import napari_segment_anything as nsa

    truth = nsa.Project.create(
        tmp_path / "truth project", [str(tmp_path / f"a{n}.png") for n in range(2)],
        classes=["cell", "dead"],
    )  # fmt: skip
    assert run(["project", "import", str(truth.folder), str(tmp_path / "truth"), "-q"]) == 0
    for image in truth.images:
        named = [ObjectEntry(n, "dead" if n == 6 else "cell") for n in range(1, 7)]
        with image.lock() as editing:
            editing.write(objects=named)
    coco = [
        "project",
        "export",
        str(truth.folder),
        "-o",
        str(tmp_path / "coco"),
        "--format",
        "coco",
        "--state",
        "in_progress",
    ]
    assert run([*coco, "-q"]) == 0
    nsa.Project.open(cells).set_classes(["cell", "dead"])
    audit = ["project", "audit", str(cells), "--field-side", "20"]
    assert run([*audit, "--truth", str(tmp_path / "coco" / "annotations.json")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "classes of 10 masks were checked" in printed
    report = json.loads((cells / "audits" / "audit-1" / "report.json").read_text())
    counts = {each["name"]: each["figures"]["count"]["value"] for each in report["classes"]}
    assert counts == {"cell": 10, "dead": 2, "": 0}


def test_report_beside_labels(cells, tmp_path, capsys):
    out = tmp_path / "out"
    made = ["project", "report", str(cells), "-o", str(out), "--no-plots"]
    assert run([*made, "--beside", str(tmp_path / "truth"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["masks"] for each in found["datasets"]] == [10, 12]
    assert found["datasets"][0]["medians"]["masks"] == 5
    assert (out / "masks.csv").exists()
    assert run(made) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run([*made, "--overwrite"]) == 0
    assert "report.md" in capsys.readouterr().out
