"""`napari-sam quantize`."""

from __future__ import annotations

import json

import pytest

import napari_segment_anything as nsa
from napari_segment_anything.cli.main import run
from napari_segment_anything.engine.device import has_int8
from napari_segment_anything.network import Sam, SamConfig

from ..network.oracle import SMALL, randomise

pytestmark = pytest.mark.skipif(not has_int8(), reason="the processor has no VNNI")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    return str(nsa.save_checkpoint(randomise(Sam(SamConfig(SMALL))).eval(), path))


@pytest.mark.slow
def test_a_checkpoint_and_its_report(model, tmp_path, capsys):
    import tifffile

    made = nsa.sample("nuclei")
    tifffile.imwrite(tmp_path / "cells.tif", made.image[:128, :160])
    tifffile.imwrite(tmp_path / "labels.tif", made.labels[:128, :160])
    output = tmp_path / "int8.safetensors"
    options = ["--images", str(tmp_path / "cells.tif"), "--labels", str(tmp_path / "labels.tif")]
    code = run(["quantize", model, *options, "--points-per-side", "2", "-o", str(output), "--json"])
    assert code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["precision"].startswith("int8+")
    assert len(found["errors"]) == found["layers"] == 16
    assert 0.5 < found["iou_median"] <= 1
    assert len(found["true_ap"]) == 2
    assert "fp32" in found["times_faster"]
    assert nsa.load_model(output).precision == found["precision"]


def test_wrong_input(model, capsys):
    assert run(["quantize", "default"]) == 2
    assert "convolutions" in capsys.readouterr().err
    assert run(["quantize", model, "--labels", "a.tif"]) == 2
    assert "--images" in capsys.readouterr().err
