"""The examples of the how-to page run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("napari", reason="napari is not installed")

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "console.md"

pytestmark = [
    pytest.mark.weights,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not here"),
]


def test_examples(viewer, capsys) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 7
    names: dict = {"viewer": viewer}
    for block in blocks:
        if "viewer.window" not in block:  # docked widgets: tests/widgets/test_parameters.py
            exec(block, names)
    assert names["session"].is_closed
    labels = viewer.layers["coins objects"].data
    assert len(set(labels.ravel().tolist())) > 6
    assert "coins everything" in viewer.layers
