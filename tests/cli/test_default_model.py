"""What the README's first command promises, with the model that is in the package."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from napari_segment_anything.cli.main import run

pytestmark = pytest.mark.weights


def test_the_coins_are_found(tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["everything", "sample:coins", "-o", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["model"]["name"] == "default"
    labels = tifffile.imread(out / "coins_labels.tif")
    # there are 24 coins, of about a thousand pixels or more
    areas = np.bincount(labels.ravel())[1:]
    assert 18 <= np.count_nonzero(areas > 500) <= 40


def test_a_click_gives_the_coin(capsys):
    assert run(["segment", "sample:coins", "--json", "--point", "54,44"]) == 0
    (record,) = json.loads(capsys.readouterr().out)["records"]
    x, y, width, height = record["bbox"]
    assert 30 <= width <= 60
    assert 30 <= height <= 60
    assert x <= 44 <= x + width
    assert y <= 54 <= y + height
