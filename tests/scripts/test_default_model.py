"""What the default model was made of: its sets, their split, and what its export adds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from napari_segment_anything import load_model
from napari_segment_anything.automatic.heads import dense_head
from napari_segment_anything.automatic.parameters import resolve
from napari_segment_anything.datasets import rank
from napari_segment_anything.engine import Focus
from napari_segment_anything.training import read_config

ROOT = Path(__file__).parents[2]
SPLIT = json.loads((ROOT / "scripts/split.json").read_text())


def test_the_embedded_model_carries_these_parameters(monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "scripts")])
    from export_default import EVERYTHING, FOCUS

    model = load_model("default")
    assert model.metadata["everything"] == EVERYTHING
    assert model.focus == Focus(**FOCUS) and model.prompted_parts_only
    for mode, values in EVERYTHING.items():
        resolve(mode, values, {}, dense_head(model))


def test_the_recorded_split_keeps_a_share_of_every_large_set_and_the_rule_is_the_hash() -> None:
    for name, files in SPLIT.items():
        parts = [entry["part"] for entry in files.values()]
        assert all(len(entry["sha256"]) == 16 for entry in files.values())
        if len(parts) > 50:
            assert 0.1 < parts.count("validation") / len(parts) < 0.25, name
    file = sorted(SPLIT["usiigaci_t98g"])[0]
    assert 0 <= rank(f"usiigaci_t98g/{file}") < 1


@pytest.mark.parametrize("recipe", ["default", "variety", "longer", "gpu"])
def test_every_recipe_has_the_sets_of_the_split(recipe) -> None:
    sets = read_config(ROOT / f"benchmarks/training/{recipe}.toml").data
    read = [data for data in sets if data.folder]
    assert {data.folder for data in read} <= set(SPLIT)
    assert all(Path(data.split).samefile(ROOT / "scripts/split.json") for data in read)
    weights = {data.title: data.weight for data in sets}
    assert len(weights) == len(sets) == 30
    assert weights["dsb2018_fluo"] == 0.28 and weights["plantseg_3d"] == 0.07
    assert {data.kind for data in sets if data.generated} == {"generated", "nested", "shapes"}


def test_no_image_of_the_sets_that_are_never_seen_is_trained_on() -> None:
    sets = read_config(ROOT / "benchmarks/training/default.toml").data
    unseen = {data.folder for data in sets if not data.weight}
    assert unseen == {"epitools_weak", "gala_em_3d", "yeast_ep"}
    for name in unseen:
        assert {entry["part"] for entry in SPLIT[name].values()} == {"validation"}
