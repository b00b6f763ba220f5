"""The examples of the how-to page run as written."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import napari_segment_anything as nsa
from napari_segment_anything.cli.main import run
from napari_segment_anything.session import replay as replaying

from ..tiny import tiny_model

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "recover-and-replay.md"


@pytest.mark.slow
def test_recover_and_replay(tmp_path, monkeypatch, capsys):
    import sys

    import napari_segment_anything.engine as engine

    model = replace(tiny_model(), name="default")
    monkeypatch.chdir(tmp_path)
    for place in (nsa, engine, sys.modules[replaying.__module__]):
        monkeypatch.setattr(place, "load_model", lambda *_, **__: model)
    names: dict = {}
    text = PAGE.read_text("utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.S | re.M):
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["result"].identical
    command = re.search(r"^\$ napari-sam (.*)$", text, re.M).group(1)
    assert run(command.split()) == 0
    assert "identical" in capsys.readouterr().out
