"""`napari-sam train`: runs, resumes, and says what is wrong."""

from __future__ import annotations

import json
import shutil
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
def lean(monkeypatch):
    """Runs without the plot of their curves."""
    monkeypatch.setattr("napari_segment_anything.training.run.draw_curves", lambda *_: None)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with a model and images."""
    folder = tmp_path_factory.mktemp("prepared")
    stored(folder)
    npz_folder(folder / "cells", 3)
    return folder


@pytest.fixture
def config(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "cells.toml"
    path.write_text(CONFIG)
    return path


@pytest.mark.slow
def test_it_trains_and_tells(config, tmp_path, capsys):
    assert run(["train", str(config)]) == 0
    printed = capsys.readouterr()
    assert "predicted: " in printed.err and "of memory" in printed.err
    assert "losses" in printed.err and "held out" in printed.err
    assert "model.safetensors" in printed.out and "->" in printed.out
    assert (tmp_path / "run/model.safetensors").exists()
    capsys.readouterr()
    assert run(["models", str(tmp_path / "run/model.safetensors")]) == 0
    assert "Fine-tuned with segment-anything-napari" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
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
    assert (
        "cells/bad.npz: the image has 20 x 30 pixels, its labels 20 x 20" in capsys.readouterr().err
    )
    assert run(["train", str(tmp_path / "nowhere.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_says_that_it_can_go_on(config, capsys, monkeypatch):
    training = sys.modules["napari_segment_anything.training.run"]

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.StageTrainer, "run", interrupted)
    assert run(["train", str(config)]) == 130
    assert "run the same command again to continue" in capsys.readouterr().err


STAGE = """
[[stages]]
name = {name}
steps = 1
batch_size = 1
objects = 2
rounds = 1
learning_rate = 1e-4
"""


@pytest.mark.parametrize(
    "name", ["../victim", "a/b", "/tmp/victim", "..", "", "con", "a\\nb", ".x", "a:b", "x" * 300]
)
def test_stages_are_called_by_plain_names(config, tmp_path, capsys, name):
    """A stage's files lie in the run's folder, so its name is no path."""
    victims = [tmp_path / f"victim{ending}" for ending in (".pt", "-train.csv", "-validation.csv")]
    for victim in victims:
        victim.write_text("precious")
    data = CONFIG[CONFIG.index("[[data]]") :]
    head = 'model = "micro.safetensors"\noutput = "run"\n'
    config.write_text(head + data + STAGE.format(name=json.dumps(name)))
    assert run(["train", str(config), "-q"]) == 2
    assert "valid name for a stage" in capsys.readouterr().err
    assert [victim.read_text() for victim in victims] == ["precious"] * 3


def test_files_that_no_recorded_run_made_are_kept(config, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "finetune.pt").write_text("precious")
    assert run(["train", str(config), "-q"]) == 2
    assert "without the record of a run" in capsys.readouterr().err
    assert (tmp_path / "run" / "finetune.pt").read_text() == "precious"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", "nan"),
        ("learning_rate", "inf"),
        ("learning_rate", "-1"),
        ("ema", "nan"),
        ("steps", "-1"),
        ("steps", "99999999999999999999"),
        ("warmup", "inf"),
        ("seed", "99999999999999999999"),
        ("crop.wide", "[nan, 1.0]"),
        ("crop.near", "-0.5"),
        ("crop.size", "1048576"),
        ("augment.blur", "2.0"),
        ("lora.rank", "1000000000"),
        ("windows", "[0]"),
        ("batch_size", "true"),
    ],
)
def test_values_of_a_configuration_are_possible_ones(config, capsys, key, value):
    config.write_text(f"{key} = {value}\n" + CONFIG.replace("steps = 2\nbatch_size = 1\n", ""))
    assert run(["train", str(config), "-q"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert key.rpartition(".")[2] in error or key.partition(".")[0] in error


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
def test_a_truncated_state_of_a_stage_is_told_by_its_name(config, tmp_path, capsys):
    assert run(["train", str(config), "-q"]) == 0
    state = tmp_path / "run" / "finetune.pt"
    whole = state.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not a state"):
        state.write_bytes(damaged)
        assert run(["train", str(config), "-q"]) == 2
        error = capsys.readouterr().err
        assert "finetune.pt cannot be resumed" in error and error.count("\n") == 1


@pytest.mark.slow
def test_pretraining_tells_and_train_takes_it(config, tmp_path, capsys):
    before = tmp_path / "unlabelled.toml"
    before.write_text(
        'model = "micro.safetensors"\nsteps = 2\nbatch_size = 1\ncrop.size = 64\n'
        '[[data]]\nfolder = "cells"\nvalidation = 0.3\n'
    )
    out = tmp_path / "pretrained"
    assert run(["pretrain", str(before), "-o", str(out)]) == 0
    printed = capsys.readouterr()
    assert "predicted: " in printed.err and "reconstruction" in printed.out
    model = str(out / "model.safetensors")
    assert run(["everything", "sample:coins", "--json", "--model", model]) == 2
    assert "Fine-tune it with `napari-sam train`" in capsys.readouterr().err
    config.write_text(f'encoder_weights = "{model}"\n{CONFIG}')
    assert run(["train", str(config), "-q", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == {"finetune": 2}
    assert run(["pretrain", str(config), "-q", "-o", str(tmp_path / "wrong")]) == 2
    assert "a pre-training has one stage" in capsys.readouterr().err
