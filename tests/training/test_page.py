"""The configuration in the documentation runs as it stands, but for the model and its length."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_segment_anything as nsa
from napari_segment_anything.ablation import read_plan
from napari_segment_anything.formats import write_labels

from .small import disks, stored

PAGE = Path(__file__).parents[2] / "docs/training.md"


@pytest.mark.slow
def test_the_example_runs(tmp_path):
    example = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)[0]
    for folder in ("images", "labels"):
        (tmp_path / "cells" / folder).mkdir(parents=True)
    for seed in range(5):
        image, labels = disks(seed)
        tifffile.imwrite(tmp_path / f"cells/images/{seed}.tif", image)
        write_labels(tmp_path / f"cells/labels/{seed}.tif", labels)
    base = stored(tmp_path, everything={"instances": {"min_size": 3}})
    config = tmp_path / "cells.toml"
    assert 'model = "default"' in example and "steps = 300" in example
    example = example.replace('"default"', f'"{base.name}"').replace("steps = 300", "steps = 2")
    config.write_text(f"objects = 2\nbatch_size = 1\n{example}")
    result = nsa.train(config)
    assert result.folder == tmp_path / "cells-run"
    names = {path.name for path in result.folder.iterdir()}
    listed = re.findall(r"`([\w-]+\.\w+)`", PAGE.read_text("utf-8").partition("run's folder")[2])
    table = [n for n in listed if n.endswith((".csv", ".png", ".md", ".json", ".pt"))][:6]
    assert set(table) - {"default.json"} <= names
    kept = nsa.load_model(result.model, device="cpu").everything_defaults("instances")
    assert kept == {"min_size": 3} and np.isfinite(result.after["ap50"])


def test_the_plan_of_an_ablation_is_one(tmp_path):
    found = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)
    (text,) = (each for each in found if "[[ablation]]" in each)
    (tmp_path / "plan.toml").write_text(text)
    names = ("manual", "semi-automatic", "automatic")
    sets = "".join(f'[[data]]\nname = "{name}"\nfolder = "x"\n' for name in names)
    (tmp_path / "cells.toml").write_text(f"steps = 5\n{sets}")
    plan = read_plan(tmp_path / "plan.toml")
    assert len(plan.variants) == 2 * (1 + 3 + 2 + 3 + 3)
