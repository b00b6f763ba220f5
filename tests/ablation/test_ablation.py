"""Variants of a training: planned, trained, measured, resumed, and compared."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_segment_anything.ablation import ablate_steps, read_plan
from napari_segment_anything.ablation.plan import changed
from napari_segment_anything.ablation.report import by_value, pooled
from napari_segment_anything.ablation.run import VariantFigures
from napari_segment_anything.cli.main import run as run_program
from napari_segment_anything.errors import ParameterError

from ..training.small import npz_folder, stored

CONFIG = """
model = "{model}"
steps = 2
batch_size = 1
objects = 2
rounds = 1
warmup = 1
log_every = 1

[[data]]
folder = "cells"
validation = ["d0"]
"""
PLAN = """
config = "train.toml"

[evaluate]
images = ["cells"]
limit = 1
protocols = ["boxes"]
objects_per_image = 2

[[ablation]]
name = "share of the data"
change = "share"
values = [0.5]

[[ablation]]
name = "rounds of prompts"
change = "rounds"
values = [2]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    npz_folder(tmp_path / "cells", 5)
    model = stored(tmp_path, "vit")
    (tmp_path / "train.toml").write_text(CONFIG.format(model=model.as_posix()))
    (tmp_path / "plan.toml").write_text(PLAN)
    return tmp_path


@pytest.mark.slow
def test_a_plan_has_the_baseline_and_each_change(folder) -> None:
    plan = read_plan(folder / "plan.toml")
    assert [v.key for v in plan.variants] == [
        "00-baseline-seed1", "01-share-of-the-data-seed1", "02-rounds-of-prompts-seed1",
    ]  # fmt: skip
    base, share, rounds = (variant.config for variant in plan.variants)
    assert share.data[0].share == 0.5 and base.data[0].share == 1
    assert rounds.options["rounds"] == 2 and base.options["rounds"] == 1
    (folder / "plan.toml").write_text("seeds = [3, 4]\n" + PLAN)
    assert [v.config.seed for v in read_plan(folder / "plan.toml").variants] == [3, 4] * 3


def test_changes_reach_stages_sets_and_tables() -> None:
    config = {
        "stages": [{"name": "one", "steps": 5}, {"name": "two", "steps": 5, "ema": 0.9}],
        "data": [{"folder": "a/x"}, {"name": "y", "folder": "b"}, {"generated": 5}],
    }
    assert [s["ema"] for s in changed(config, "ema", 0.5)["stages"]] == [0.5, 0.5]
    assert changed(config, "crop.size", 64)["stages"][0]["crop"] == {"size": 64}
    assert changed(config, "encoder.widths", [8, 8, 8, 8])["encoder"] == {"widths": [8, 8, 8, 8]}
    assert [t.get("share") for t in changed(config, "share", 0.1)["data"]] == [0.1, 0.1, None]
    assert changed(config, "sets", ["x", "generated"])["data"] == [
        config["data"][0],
        config["data"][2],
    ]
    assert [s["name"] for s in changed(config, "stages", "two")["stages"]] == ["two"]
    assert "ema" not in config["stages"][0]
    with pytest.raises(ParameterError, match="no stages called three; it has one, two"):
        changed(config, "stages", ["three"])


def test_the_size_of_the_encoder_is_for_training_from_scratch(folder) -> None:
    text = (folder / "train.toml").read_text()
    sizes = PLAN.replace('"rounds"', '"encoder.widths"').replace("[2]", "[[8, 16, 16, 32]]")
    (folder / "plan.toml").write_text(sizes)
    with pytest.raises(ParameterError, match="'encoder' is for model = 'scratch'"):
        read_plan(folder / "plan.toml")
    lines = [line for line in text.splitlines() if not line.startswith("model")]
    (folder / "train.toml").write_text("\n".join(lines))
    small = read_plan(folder / "plan.toml").variants[-1].config.encoder
    assert small.widths == (8, 16, 16, 32) and small.norm == "batch"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[evaluate]\nimages = ['x']", "needs 'config'"),
        (PLAN + "\n[other]\n", "unknown keys other"),
        (PLAN.replace('change = "rounds"', 'change = "rouns"'), "unknown keys rouns"),
        (PLAN.replace("values = [2]", "values = []"), "at least one value"),
        (PLAN.replace('["boxes"]', '["box"]'), "protocols are some of"),
        (PLAN.replace('["boxes"]', '["boxes", "instances"]'), "needs a detector's boxes"),
        (PLAN.replace("values = [0.5]", "values = [1.5]"), "share lies above 0"),
    ],
)
def test_wrong_plans_are_one_clear_error(folder, text, message) -> None:
    (folder / "plan.toml").write_text(text)
    with pytest.raises(ParameterError, match=message):
        read_plan(folder / "plan.toml")


@pytest.mark.slow
def test_an_ablation_is_trained_measured_and_resumed(folder, capsys) -> None:
    out = folder / "out"
    steps = ablate_steps(read_plan(folder / "plan.toml"), out, device="cpu")
    for step in steps:
        if step.message.startswith("01-share"):
            break
    steps.close()
    assert (out / "00-baseline-seed1" / "figures.json").exists()
    command = ["ablate", str(folder / "plan.toml"), "-o", str(out), "--device", "cpu", "-q"]
    assert run_program(command) == 0
    text = (out / "ablation.md").read_text()
    assert "| share of the data | 0.5 |" in text and (out / "ablation.png").stat().st_size > 1000
    with (out / "ablation.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["images"] for row in rows] == ["4", "2", "4"]
    assert all(0 <= float(row["box"]) <= 1 for row in rows)
    seconds = rows[0]["seconds"]
    assert run_program(command) == 0  # all of it is there already
    with (out / "ablation.csv").open() as stream:
        assert next(csv.DictReader(stream))["seconds"] == seconds
    (folder / "plan.toml").write_text(PLAN.replace("[2]", "[3]"))
    assert run_program(command) == 2
    assert "holds another variant" in capsys.readouterr().err


def test_seeds_are_pooled(tmp_path) -> None:
    one = VariantFigures("a", "ema", "0.5", 1, "m", 4, 2, 1.0, {"box": [0.5, 0.4, 0.6]})
    other = replace(one, seed=2, figures={"box": [0.7, 0.6, 0.8]})
    (group,) = by_value([one, other])
    assert pooled(group, "box") == pooled([other, one], "box")
    assert (pooled(group, "box").value, pooled(group, "box").low) == pytest.approx((0.6, 0.5))
    assert pooled([one], "box").high == 0.6 and np.isnan(pooled([one], "ap").value)
