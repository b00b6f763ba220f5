"""The trainer: exact resume, averaging, schedule, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from napari_segment_anything.network.micro import MicroConfig, MicroEncoder
from napari_segment_anything.network.sam import Sam, SamConfig
from napari_segment_anything.training import read_config
from napari_segment_anything.training.augment import AugmentConfig
from napari_segment_anything.training.average import Average
from napari_segment_anything.training.config import StageConfig, TrainingConfig
from napari_segment_anything.training.cropping import CropConfig, CropSampler
from napari_segment_anything.training.data import labelled_image
from napari_segment_anything.training.generated import generate
from napari_segment_anything.training.prompts import prompt_losses
from napari_segment_anything.training.schedule import rate_factor
from napari_segment_anything.training.trainer import StageTrainer
from napari_segment_anything.training.validation import dense_maps

TINY = MicroConfig(128, widths=(8, 16, 16, 32), attention_blocks=2, heads=4, norm="batch")


@cache
def images() -> list:
    return generate(12, seed=2)


class Shell(nn.Module):
    def __init__(self, config: MicroConfig = TINY) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.image_encoder = MicroEncoder(config)


def trainer(folder, network, stage, **extra) -> StageTrainer:
    config = TrainingConfig((stage,), log_every=1, save_every=2, validate_every=10_000)
    sampler = CropSampler(images(), {"generated": 1.0}, 0)
    return StageTrainer(network, stage, config, sampler, folder, **extra)


@pytest.mark.slow
@pytest.mark.parametrize("prompted", [False, True])
def test_a_killed_run_resumes_to_the_same_weights(tmp_path, prompted):
    torch.set_num_threads(1)
    stage = StageConfig(
        "s",
        5,
        2,
        CropConfig(64),
        1e-3 * prompted,
        1e-3,
        warmup=2,
        objects=3 * prompted,
        rounds=2,
        windows=(8,),
    )

    def network() -> nn.Module:
        torch.manual_seed(0)
        return Sam(SamConfig(TINY)) if prompted else Shell()

    extra = {"prompt_losses": prompt_losses} if prompted else {}
    whole = network()
    for _ in trainer(tmp_path / "a", whole, stage, **extra).run():
        pass
    first = trainer(tmp_path / "b", network(), stage, **extra)
    for progress in first.run():
        if progress.done == 3:  # killed one step after the checkpoint of step 2
            break
    resumed = network()
    again = trainer(tmp_path / "b", resumed, stage, **extra)
    assert again.step == 2
    for _ in again.run():
        pass
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_average_follows_the_weights():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    average = Average(layer, 0.5)
    nn.init.ones_(layer.weight)
    average.update(layer, 10_000)
    assert average.state["weight"].item() == 0.5
    average.update(layer, 10_000)
    assert average.state["weight"].item() == 0.75


def test_rate_warms_up_and_falls_to_its_end():
    stage = StageConfig("s", 110, warmup=10, final_rate=0.1)
    assert rate_factor(0, stage) == pytest.approx(0.1)
    assert rate_factor(9, stage) == rate_factor(10, stage) == 1
    assert rate_factor(60, stage) == pytest.approx(0.55)
    assert rate_factor(110, stage) == pytest.approx(0.1)


@pytest.mark.slow
def test_a_frozen_encoder_stays_as_it_is(tmp_path):
    torch.manual_seed(0)
    network = Sam(SamConfig(TINY))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    stage = StageConfig(
        "s", 2, 2, CropConfig(64), 1e-3, objects=3, rounds=1, windows=(8,), warmup=1
    )
    for _ in trainer(tmp_path, network, stage, prompt_losses=prompt_losses).run():
        pass
    after = network.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("image_encoder"))
    assert not torch.equal(
        before["mask_decoder.mask_tokens.weight"], after["mask_decoder.mask_tokens.weight"]
    )


@pytest.mark.parametrize("views", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_refiner_is_trained_by_itself(tmp_path, views):
    torch.manual_seed(0)
    network = Sam(SamConfig(TINY, refiner_width=4))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    stage = StageConfig(
        "s",
        3,
        2,
        CropConfig(64),
        refiner_learning_rate=1e-2,
        objects=3,
        rounds=2,
        windows=(8,),
        warmup=1,
        views=views,
    )
    for _ in trainer(tmp_path, network, stage, prompt_losses=prompt_losses).run():
        pass
    after = network.state_dict()
    changed = {k.partition(".")[0] for k in before if not torch.equal(before[k], after[k])}
    assert changed == {"mask_refiner"}


def test_the_refiner_teaches_nothing_to_the_parts_before_it(tmp_path):
    results = []
    for rate in (0.0, 1e-2):
        torch.manual_seed(0)
        network = Sam(SamConfig(TINY, refiner_width=4))
        stage = StageConfig(
            "s",
            1,
            2,
            CropConfig(64),
            1e-3,
            1e-3,
            refiner_learning_rate=rate,
            objects=3,
            rounds=1,
            windows=(8,),
            warmup=1,
            clip=1e9,
        )
        folder = tmp_path / str(rate)
        for _ in trainer(folder, network, stage, prompt_losses=prompt_losses).run():
            pass
        results.append(network.state_dict())
    for key in results[0]:
        if not key.startswith("mask_refiner."):
            assert torch.equal(results[0][key], results[1][key]), key


def test_a_stage_that_trains_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="trains nothing"):
        trainer(tmp_path, Shell(), StageConfig("s", 1))


def test_configuration_from_toml_and_its_mistakes(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('seed = 4\n[[stages]]\nname = "a"\nsteps = 3\ncrop = { size = 64 }\n')
    config = read_config(path)
    assert config.seed == 4 and config.stages[0].crop.size == 64
    path.write_text('[[stages]]\nname = "a"\nsteps = 3\nlerning_rate = 1.0\n')
    with pytest.raises(ValueError, match="lerning_rate"):
        read_config(path)


def foreground_iou(network: nn.Module, images: list) -> float:
    values = []
    for image in images:
        maps, labels = dense_maps(network.image_encoder.eval(), image)
        found, true = maps[0] > 0, labels > 0
        values.append((found & true).sum() / max((found | true).sum(), 1))
    return float(np.mean(values))


def disks(seed: int):
    """Bright disks on noise: what a tiny network can learn in seconds."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((160, 160), np.int32)
    yy, xx = np.mgrid[:160, :160]
    for number in range(1, 12):
        r, c, radius = *rng.uniform(0, 160, 2), rng.uniform(6, 14)
        labels[(np.hypot(yy - r, xx - c) < radius) & (labels == 0)] = number
    image = 60 + 100 * (labels > 0) + rng.normal(0, 12, labels.shape)
    return labelled_image(f"disks/{seed}", "disks", image, labels)


@pytest.mark.slow
def test_a_short_training_improves_on_images_it_never_saw(tmp_path):
    network = Shell(replace(TINY, norm="folded"))
    held_out = [disks(seed) for seed in (100, 101)]
    before = foreground_iou(network, held_out)
    stage = StageConfig("s", 40, 4, CropConfig(64), 0.0, 3e-3, warmup=10, ema=0.8)
    sampler = CropSampler([disks(seed) for seed in range(8)], {"disks": 1.0}, 0)
    config = TrainingConfig((stage,), augment=AugmentConfig(invert=0))
    for _ in StageTrainer(network, stage, config, sampler, tmp_path).run():
        pass
    assert foreground_iou(network, held_out) > before + 0.3
