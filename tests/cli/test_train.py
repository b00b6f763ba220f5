"""`napari-sam train`: runs, resumes, and says what is wrong."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from napari_segment_anything.cli.main import run

from ..training.small import npz_folder, stored

CONFIG = """
model = "micro.safetensors"
output = "run"
steps = 2
batch_size = 1
objects = 2
rounds = 1
log_every = 1
[[data]]
folder = "cells"
validation = 0.3
"""


@pytest.fixture
def config(tmp_path):
    stored(tmp_path)
    npz_folder(tmp_path / "cells", 3)
    path = tmp_path / "cells.toml"
    path.write_text(CONFIG)
    return path


def test_it_trains_and_tells(config, tmp_path, capsys):
    assert run(["train", str(config)]) == 0
    printed = capsys.readouterr()
    assert "predicted: " in printed.err and "of memory" in printed.err
    assert "losses" in printed.err and "held out" in printed.err
    assert "model.safetensors" in printed.out and "->" in printed.out
    assert (tmp_path / "run/model.safetensors").exists()
    capsys.readouterr()
    assert run(["models", str(tmp_path / "run/model.safetensors")]) == 0
    assert "Fine-tuned with napari-segment-anything" in capsys.readouterr().out


def test_json_and_the_same_command_again(config, tmp_path, capsys):
    assert run(["train", str(config), "--json", "-q", "-o", str(tmp_path / "other")]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["steps"] == {"finetune": 2} and first["predicted"]["memory"] > 0
    assert set(first["before"]) == set(first["after"]) and first["card"].startswith("# other")
    assert run(["train", str(config), "--json", "-q", "-o", str(tmp_path / "other")]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["predicted"] is None and again["after"] == first["after"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('steps = "two"', "steps = 'two' is of the wrong kind"),
        ("stepz = 2", "unknown keys stepz"),
        ("steps = ", "is not TOML"),
        ("steps = 0", "at least 1"),
    ],
)
def test_mistakes_are_one_line(config, capsys, change, message):
    config.write_text(CONFIG.replace("steps = 2", change))
    assert run(["train", str(config)]) == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("napari-sam: ")]
    assert len(lines) == 1 and message in lines[0]


def test_data_that_does_not_fit_is_one_line(config, tmp_path, capsys):
    np.savez(tmp_path / "cells/bad.npz", image=np.zeros((20, 30)), labels=np.ones((20, 20), int))
    assert run(["train", str(config)]) == 2
    assert "cells/bad: the image has 20 x 30 pixels, its labels 20 x 20" in capsys.readouterr().err
    assert run(["train", str(tmp_path / "nowhere.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_ctrl_c_says_that_it_can_go_on(config, capsys, monkeypatch):
    training = sys.modules["napari_segment_anything.training.run"]

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.StageTrainer, "run", interrupted)
    assert run(["train", str(config)]) == 130
    assert "the same command goes on where it stopped" in capsys.readouterr().err
