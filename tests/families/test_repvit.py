"""EdgeTAM's backbone computes what timm's does, which tests cannot import: it needs torchvision."""

from __future__ import annotations

import json
import math

import pytest
import torch

from napari_segment_anything.errors import CheckpointError
from napari_segment_anything.families import load_family
from napari_segment_anything.families.repvit import RepVitFeatures
from tests.families.tiny import edit_config, tiny_edgetam

# Of timm 1.0.31: create_model("repvit_m1", features_only=True, num_classes=0, embed_dim=[8, 16, 32,
# 64], depth=[1, 2, 3, 2]) with the weights below: number and sum of name lengths of the state dict,
# then mean, standard deviation and one value of each map.
NAMES = (368, 18132)
MAPS = (
    (-0.9663283, 3.879205, -9.241470),
    (1.852814, 8.459379, 0.5557280),
    (4.512542, 27.07301, -1.598861),
    (3.987532, 89.33000, 82.12905),
)


def filled(module: torch.nn.Module) -> torch.nn.Module:
    """Weights that do not depend on a random generator."""
    with torch.no_grad():
        for index, (name, tensor) in enumerate(sorted(module.state_dict().items())):
            if not tensor.is_floating_point():
                continue
            wave = torch.sin(torch.arange(tensor.numel(), dtype=torch.float64) * 1.7 + index)
            if name.endswith("running_var"):
                tensor.copy_((1.5 + wave).reshape(tensor.shape))
            else:
                fan = math.sqrt(max(1, tensor[0].numel()))
                tensor.copy_((wave * 1.4 / fan).reshape(tensor.shape))
    return module.eval()


def summary(module: torch.nn.Module) -> tuple:
    axis = torch.arange(64, dtype=torch.float64)
    image = torch.sin(axis[:, None] * 0.3 + axis * 0.7 + torch.arange(3)[:, None, None])
    with torch.inference_mode():
        maps = filled(module)(image[None].float())
    names = list(module.state_dict())
    return (len(names), sum(map(len, names))), [
        (float(m.mean()), float(m.std()), float(m[0, 1, 1, -1])) for m in maps
    ]


def test_the_backbone_is_timms() -> None:
    names, maps = summary(RepVitFeatures((8, 16, 32, 64), (1, 2, 3, 2)))
    assert names == NAMES
    for ours, theirs in zip(maps, MAPS, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)


def test_another_backbone_is_refused(tmp_path) -> None:
    folder = tiny_edgetam(tmp_path / "edgetam")
    vision = json.loads((folder / "config.json").read_text())["vision_config"]
    vision["backbone_config"]["architecture"] = "resnet50"
    edit_config(folder, vision_config=vision)
    with pytest.raises(CheckpointError, match="backbone resnet50 is not known"):
        load_family(folder)
