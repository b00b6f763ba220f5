"""Whole runs with small networks: fine-tuning, resuming, early stop, what comes out."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import napari_segment_anything as nsa
from napari_segment_anything.errors import ParameterError, ResourceError
from napari_segment_anything.network import Sam
from napari_segment_anything.training import TrainingConfig, read_config, train_steps
from napari_segment_anything.training import run as runs
from napari_segment_anything.training.config import StageConfig
from napari_segment_anything.training.cropping import CropConfig
from napari_segment_anything.training.curves import append_row, drop_rows_after, read_rows
from napari_segment_anything.training.estimate import Estimate, predict_memory
from napari_segment_anything.training.presets import settled
from napari_segment_anything.training.trainer import StepReport

from .small import disks, npz_folder, small_sam, stored

QUICK = {"steps": 4, "batch_size": 2, "validate_every": 2, "save_every": 2, "log_every": 1}
QUICK |= {"rounds": 2, "objects": 3}


def quick(model, **values):
    small = {"crop": {"size": 64}, "windows": [8]} if "micro" in str(model) else {}
    return {"model": str(model), **QUICK, **small, **values}


def weights(path) -> dict[str, torch.Tensor]:
    return nsa.load_checkpoint(path).network.state_dict()


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
@pytest.mark.parametrize(
    ("kind", "part"),
    [("micro", "lora"), ("vit", "decoder"), ("vit", "lora"), ("tiny_vit", "whole")],
)
def test_every_part_of_every_model(tmp_path, kind, part):
    base = stored(tmp_path, kind, everything={"grid": {"points_per_side": 7}}, auto_mode="grid")
    images = [disks(seed) for seed in range(3)]
    result = nsa.train(
        quick(base, train=part, steps=2, learning_rate=1e-3),
        images=images[:2],
        held_out=images[2:],
        output=tmp_path / "run",
    )
    before, after = weights(base), weights(result.model)
    assert before.keys() == after.keys()
    encoder = [k for k in before if k.startswith("image_encoder.")]
    half = kind == "micro"  # which is stored in 16 bits
    same = [k for k in encoder if torch.allclose(before[k], after[k], atol=1e-3 * half, rtol=0)]
    if part == "decoder":
        assert len(same) == len(encoder)
    elif kind != "micro":
        changed = set(encoder) - set(same)
        assert changed
        assert part == "whole" or all(k.endswith("qkv.weight") for k in changed)
    token = "mask_decoder.mask_tokens.weight"
    assert not torch.equal(before[token], after[token])
    model = nsa.load_model(result.model, device="cpu")
    assert model.everything_defaults("grid") == {"points_per_side": 7}
    assert {"point", "box"} < set(result.after) and set(result.before) == set(result.after)


@pytest.fixture
def lean(monkeypatch):
    """Runs without the plot of their curves, and without the step that times them."""
    monkeypatch.setattr(runs, "draw_curves", lambda *_: None)
    monkeypatch.setattr(runs._TrainingRun, "_timed", lambda _, estimate: estimate)


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
@pytest.mark.parametrize("part", ["whole", "decoder", "lora"])
def test_fine_tuning_resumes_to_the_same_weights(tmp_path, part):
    torch.set_num_threads(1)
    base = stored(tmp_path)
    npz_folder(tmp_path / "cells", 4)
    data = [{"folder": "cells", "validation": 0.25}]
    config = quick(base, train=part, data=data, watch="box", objects=2, batch_size=1, steps=3)
    config["views"] = 3 if part == "decoder" else 0
    whole = nsa.train(config, output=tmp_path / "a", data=tmp_path)
    killed = train_steps(config, output=tmp_path / "b", data=tmp_path)
    for progress in killed:
        if isinstance(progress.partial, StepReport) and progress.done == 3:
            killed.close()  # one step after the checkpoint of step 2
            break
    resumed = nsa.train(config, output=tmp_path / "b", data=tmp_path)
    first, second = weights(whole.model), weights(resumed.model)
    assert all(torch.equal(first[key], second[key]) for key in first)
    for name in ("finetune-train.csv", "finetune-validation.csv"):
        a, b = (read_rows(tmp_path / run / name) for run in "ab")
        assert [row["step"] for row in a] == [row["step"] for row in b]
    assert whole.after == resumed.after


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
def test_a_run_that_is_complete_gives_its_model_again(tmp_path):
    base = stored(tmp_path)
    images = [disks(0), disks(1)]
    first = nsa.train(quick(base, steps=1), images=images, output=tmp_path / "run")
    held = weights(first.model)
    first.model.unlink()
    seen = []
    again = nsa.train(
        quick(base, steps=1), images=images, output=tmp_path / "run", on_progress=seen.append
    )
    assert all(torch.equal(held[k], v) for k, v in weights(again.model).items())
    assert not any(isinstance(step.partial, StepReport | Estimate) for step in seen)


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
def test_another_configuration_or_other_data_is_not_mixed_in(tmp_path):
    base = stored(tmp_path)
    images = [disks(0), disks(1)]
    nsa.train(quick(base, steps=1), images=images, output=tmp_path / "run")
    with pytest.raises(ParameterError, match=r"another config \(stages\)"):
        nsa.train(quick(base, steps=2), images=images, output=tmp_path / "run")
    with pytest.raises(ParameterError, match="another data"):
        nsa.train(quick(base, steps=1), images=images[1:], output=tmp_path / "run")
    result = nsa.train(quick(base, steps=2), images=images, output=tmp_path / "run", overwrite=True)
    assert result.steps == {"finetune": 2}


def staged(base, *steps, **values):
    """A configuration with a stage for each number of steps."""
    own = ("model", "data", "log_every", "save_every", "validate_every", "watch")
    config = quick(base)
    stage = {k: v for k, v in config.items() if k not in own} | values
    names = "abc"
    stages = [{**stage, "name": names[i], "steps": n} for i, n in enumerate(steps)]
    return {k: v for k, v in config.items() if k in own} | {"stages": stages}


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
def test_a_stage_can_be_added_to_a_finished_run_and_gives_what_a_run_of_both_gives(tmp_path):
    torch.set_num_threads(1)
    base = stored(tmp_path)
    images = [disks(0), disks(1)]
    values = {"encoder_learning_rate": 1e-3}
    both = nsa.train(staged(base, 2, 2, **values), images=images, output=tmp_path / "both")
    nsa.train(staged(base, 2, **values), images=images, output=tmp_path / "run")
    first = (tmp_path / "run/a.pt").read_bytes()
    added = nsa.train(staged(base, 2, 2, **values), images=images, output=tmp_path / "run")
    assert added.steps == {"a": 2, "b": 2} and (tmp_path / "run/a.pt").read_bytes() == first
    one, other = weights(both.model), weights(added.model)
    assert all(torch.equal(one[key], other[key]) for key in one)
    with pytest.raises(ParameterError, match=r"another config \(stages\)"):
        nsa.train(staged(base, 3, 2, **values), images=images, output=tmp_path / "run")
    with pytest.raises(ParameterError, match=r"another config \(stages\)"):
        nsa.train(staged(base, 2, **values), images=images, output=tmp_path / "run")


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
def test_a_run_folder_goes_on_where_data_and_model_lie_elsewhere(tmp_path):
    torch.set_num_threads(1)
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    base = stored(here)
    npz_folder(here / "cells", 3)

    def config(folder):
        data = [{"folder": str(folder / "cells"), "validation": 0.4}]
        return quick(folder / base.name, data=data, steps=3)

    killed = train_steps(config(here), output=here / "run")
    for progress in killed:
        if isinstance(progress.partial, StepReport) and progress.done == 3:
            killed.close()
            break
    whole = nsa.train(config(here), output=tmp_path / "whole")
    here.rename(there)
    moved = nsa.train(config(there), output=there / "run")
    one, other = weights(whole.model), weights(moved.model)
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
def test_going_on_from_weights_alone_is_said_and_keeps_the_schedule(tmp_path):
    base = stored(tmp_path)
    images = [disks(0), disks(1)]
    config = quick(base, steps=4, start=3)
    with pytest.warns(UserWarning, match="starts at step 3 from weights alone"):
        result = nsa.train(config, images=images, output=tmp_path / "run")
    rows = read_rows(result.folder / "finetune-train.csv")
    assert [row["step"] for row in rows] == [4]
    with pytest.raises(ParameterError, match="lies beyond"):
        nsa.train(quick(base, steps=4, start=4), images=images, output=tmp_path / "other")

    killed = train_steps(quick(base, steps=4), images=images, output=tmp_path / "lost")
    for progress in killed:
        if isinstance(progress.partial, StepReport) and progress.done == 3:
            killed.close()
            break
    path = tmp_path / "lost/finetune.pt"
    held = torch.load(path, weights_only=True)
    del held["optimizer"]
    torch.save(held, path)
    with pytest.warns(UserWarning, match=r"continues at step 2 from weights alone"):
        nsa.train(quick(base, steps=4), images=images, output=tmp_path / "lost")


def test_two_runs_in_one_folder_at_once_are_refused(tmp_path):
    base = stored(tmp_path)
    first = train_steps(quick(base), images=[disks(0)], output=tmp_path / "run")
    while not isinstance(next(first).partial, Estimate):
        pass
    with pytest.raises(ResourceError, match="another process"):
        nsa.train(quick(base), images=[disks(0)], output=tmp_path / "run")
    first.close()


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
def test_early_stop_keeps_the_best(tmp_path, monkeypatch):
    values = iter([0.3, 0.5, 0.9, 0.8, 0.7, 0.95])
    states = []

    class Scripted(runs.QuickValidation):
        def __call__(self, network):
            states.append({k: v.clone() for k, v in network.state_dict().items()})
            return {"box": next(values)}

    monkeypatch.setattr(runs, "QuickValidation", Scripted)
    base = stored(tmp_path, "vit")
    config = quick(base, steps=9, validate_every=1, watch="box", patience=2)
    result = nsa.train(config, images=[disks(0)], held_out=[disks(1)], output=tmp_path / "run")
    # .3 before training, then .5 and .9; .8 and .7 are two in a row without a better one
    assert result.steps == {"finetune": 4} and result.after["box"] == 0.9
    kept = weights(result.model)
    assert all(torch.equal(kept[k], v) for k, v in states[2].items() if k in kept)
    again = nsa.train(config, images=[disks(0)], held_out=[disks(1)], output=tmp_path / "run")
    assert again.steps == {"finetune": 4}


@pytest.mark.slow
def test_the_prediction_comes_first_and_changes_nothing(tmp_path, monkeypatch):
    base = stored(tmp_path)
    seen = []
    config = quick(base, steps=2)
    images = [disks(0), disks(1)]
    with_timing = nsa.train(config, images=images, output=tmp_path / "a", on_progress=seen.append)
    kinds = [type(step.partial) for step in seen if step.partial is not None]
    assert kinds[:2] == [Estimate, Estimate] and StepReport in kinds[2:]
    estimate = next(s.partial for s in seen if s.message == "predicted")
    assert estimate.memory > 0 and estimate.seconds > estimate.per_step > 0

    monkeypatch.setattr(runs._TrainingRun, "_timed", lambda _, estimate: estimate)
    without = nsa.train(config, images=images, output=tmp_path / "b")
    first, second = weights(with_timing.model), weights(without.model)
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_too_little_memory_is_refused_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "available_memory", lambda device: 1 << 20)
    base = stored(tmp_path)
    with pytest.raises(ResourceError, match=r"GiB are free\. Try train = 'decoder'"):
        nsa.train(quick(base), images=[disks(0)], output=tmp_path / "run")
    assert not (tmp_path / "run/finetune.pt").exists()


def test_memory_grows_with_what_is_trained():
    network = small_sam("vit")
    needed = []
    for part, batch in (("lora", 4), ("whole", 4), ("whole", 8)):
        config = settled(TrainingConfig(model="x", train=part), network)
        stage = replace(config.stages[0], batch_size=batch)
        needed.append(predict_memory(network, config, stage, 0, torch.device("cpu")))
    assert needed[0] < needed[1] < needed[2]


@pytest.mark.slow
def test_the_file_says_what_it_is(tmp_path):
    base = stored(tmp_path, licence="CC0-1.0")
    npz_folder(tmp_path / "cells", 3)
    path = tmp_path / "cells.toml"
    path.write_text(
        f'model = "{base}"\nname = "my cells"\noutput = "run"\nsteps = 1\nbatch_size = 1\n'
        'objects = 2\n[[data]]\nfolder = "cells"\nvalidation = ["d2"]\n'
    )
    result = nsa.train(path)
    assert result.folder == tmp_path / "run"
    checkpoint = nsa.load_checkpoint(result.model)
    training = checkpoint.metadata["training"]
    assert checkpoint.metadata["licence"] == "CC0-1.0"
    assert training["config"]["stages"][0]["steps"] == 1 and training["config"]["seed"] == 1
    assert [item["part"] for item in training["data"]] == ["train", "train", "validation"]
    assert all(len(item["sha256"]) == 16 for item in training["data"])
    assert training["base"]["fingerprint"] == nsa.load_checkpoint(base).fingerprint
    card = checkpoint.metadata["card"]
    assert card.startswith("# my cells") and "| cells | 2 |" in card
    assert (tmp_path / "run/card.md").read_text() == card == result.card
    assert (tmp_path / "run/curves.png").stat().st_size > 1000
    assert json.loads((tmp_path / "run/config.json").read_text())["config"]["model"] == str(base)


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
def test_from_scratch_in_three_stages(tmp_path, monkeypatch):
    from .small import MICRO

    fresh = runs.new_network
    monkeypatch.setattr(runs, "new_network", lambda seed, encoder: fresh(seed, MICRO))
    config = {"steps": 6, "batch_size": 2, "log_every": 1, "crop": {"size": 64}}
    config["windows"] = [8]
    result = nsa.train(config, images=[disks(0), disks(1)], output=tmp_path / "run")
    assert result.steps == {"encoder": 3, "decoder": 1, "together": 2}
    network = nsa.load_checkpoint(result.model).network
    assert isinstance(network, Sam) and network.config.encoder.norm == "folded"


def test_what_a_configuration_cannot_mean():
    micro, vit = small_sam("micro"), small_sam("vit")
    cases = [
        (micro, {"train": "decoder", "options": {"encoder_learning_rate": 1e-3}}, "leaves the enc"),
        (micro, {"options": {"views": 2}}, "views keep embeddings"),
        (micro, {"options": {"windows": (40,)}}, "do not fit crops"),
        (micro, {"options": {"crop": {"size": 256}}}, "larger than the model's frame"),
        (vit, {"options": {"crop": {"size": 64}}}, "whole frames"),
        (vit, {"watch": "ap50"}, "is measured by point"),
    ]
    for network, values, message in cases:
        with pytest.raises(ParameterError, match=message):
            settled(TrainingConfig(model="x", **values), network)
    for values, message in [
        ({"train": "half"}, "train is one of"),
        ({"train": "lora"}, "needs a model"),
        ({"steps": "many"}, "wrong kind: this should be a valid integer"),
        ({"steps": 0}, "at least 1"),
        ({"data": {"folder": "x"}}, r"write \[\[data\]\]"),
        ({"data": [{"fodler": "x"}]}, "unknown keys fodler"),
        ({"patience": 2}, "patience"),
        ({"lora": {"rank": 0}}, "rank is 1 to"),
        ({"silent_rounds": 3}, "rounds"),
        ({"stages": [{"name": "a"}]}, "lacks 'steps'"),
    ]:
        with pytest.raises(ParameterError, match=message):
            read_config(values)


def test_watching_needs_images_to_watch(tmp_path):
    with pytest.raises(ParameterError, match="needs held-out images"):
        nsa.train(quick(stored(tmp_path), watch="box"), images=[disks(0)], output=tmp_path / "r")
    with pytest.raises(ParameterError, match="no folder for the run"):
        nsa.train(quick(stored(tmp_path)), images=[disks(0)])


def test_curves_forget_what_came_after_the_checkpoint(tmp_path):
    path = tmp_path / "c.csv"
    for step in (10, 20, 30):
        append_row(path, step, {"loss": 1 / step})
    with path.open("a") as handle:
        handle.write("40,0.0")  # cut off by the kill
    drop_rows_after(path, 20)
    assert [row["step"] for row in read_rows(path)] == [10, 20]


def test_the_default_recipe_reads_as_it_stands():
    from pathlib import Path

    recipe = read_config(Path(__file__).parents[2] / "benchmarks/training/default.toml")
    assert recipe.data[0].generated == 160 and recipe.data[0].kind == "generated"
    dsb = next(data for data in recipe.data if data.name == "dsb2018_fluo")
    assert dsb.where == {"modality": "fluo"} and Path(dsb.split).name == "split.json"
    assert recipe.model == "scratch" and recipe.seed == 1
    assert recipe.stages[0] == StageConfig(
        "stage1",
        1500,
        8,
        CropConfig(256),
        encoder_learning_rate=1.5e-3,
        warmup=200,
    )
    assert recipe.stages[2].windows == (20, 20, 32) and recipe.stages[2].crop.near == 0.7
    kept = settled(recipe, small_whole())
    assert kept.stages == recipe.stages and kept.augment.invert == 0.12
    assert recipe.stages[-1].refiner_learning_rate > 0
    with pytest.raises(ParameterError, match="no mask refiner"):
        settled(recipe, small_whole(refiner_width=0))


def small_whole(refiner_width: int = 4) -> Sam:
    from napari_segment_anything.network import SamConfig
    from napari_segment_anything.network.micro import MicroConfig

    with torch.device("meta"):
        return Sam(SamConfig(MicroConfig(), refiner_width=refiner_width))


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
def test_fine_tuning_improves_on_images_it_never_saw(tmp_path):
    config = {
        "model": str(stored(tmp_path)),
        "steps": 140,  # with 60, one seed in five improves
        "batch_size": 4,
        "crop": {"size": 64, "near": 0.9},
        "objects": 0,
        "encoder_learning_rate": 3e-3,
        "ema": 0.9,
        "validate_every": 140,
        "watch": "ap50",
    }
    images = [disks(seed) for seed in range(8)]
    held = [disks(seed) for seed in (100, 101)]
    result = nsa.train(config, images=images, held_out=held, output=tmp_path / "run")
    assert result.after["ap50"] > result.before["ap50"] + 0.25
