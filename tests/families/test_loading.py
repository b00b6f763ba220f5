"""Incomplete, damaged and other folders give one clear line; nothing is guessed."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_segment_anything.checkpoints import load_checkpoint
from napari_segment_anything.engine import Model, Predictor, Prompts, load_model
from napari_segment_anything.errors import CheckpointError
from napari_segment_anything.families import load_family
from tests.families.tiny import edit_config, tiny_sam2, tiny_sam_hq

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sam2(tmp_path_factory.mktemp("models") / "sam2")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "sam2"))


@pytest.mark.slow
def test_a_file_of_many_parts(folder: Path) -> None:
    whole = load_family(folder)
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names, index = sorted(tensors), {}
    for number in range(3):
        part = {name: tensors[name] for name in names[number::3]}
        file = f"model-{number + 1:05d}-of-00003.safetensors"
        save_file(part, folder / file, {"format": "pt"})
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    parts = load_family(folder)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, parts.state_dict()[name])
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="incomplete: model-00002-of-00003"):
        load_family(folder)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/b.safetensors"])
def test_parts_stay_in_the_folder(folder: Path, name: str) -> None:
    (folder / WEIGHTS).rename(folder.parent / "model.safetensors")
    index = {"weight_map": {"x": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="not a valid name"):
        load_family(folder)


def test_missing_unexpected_and_misshapen_weights(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = "mask_decoder.iou_token.weight"

    def load(changed: dict) -> None:
        save_file(changed, folder / WEIGHTS, {"format": "pt"})
        load_family(folder)

    with pytest.raises(CheckpointError, match=rf"do not fit .* 1 missing \({name}\)"):
        load({key: value for key, value in tensors.items() if key != name})
    with pytest.raises(CheckpointError, match=r"1 unexpected \(more\.weight\)"):
        load(tensors | {"more.weight": torch.zeros(3)})
    with pytest.raises(CheckpointError, match="sam2"):
        load(tensors | {name: torch.zeros(1, 7)})


def test_a_truncated_file(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        load_family(folder)


def test_pickles_are_not_read(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is no safetensors file"):
        load_family(folder)


def test_descriptions(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"folder without config\.json"):
        load_family(tmp_path)
    with pytest.raises(CheckpointError, match="type bert, which takes no prompts"):
        load_family(edit_config(folder, model_type="bert"))
    with pytest.raises(CheckpointError, match="quantized"):
        load_family(edit_config(folder, model_type="sam2_video", quantization_config={"bits": 4}))
    (folder / "config.json").write_text('{"model_type": "sam2_video", "vision_config": 3}')
    with pytest.raises(CheckpointError, match="no complete sam2_video model"):
        load_family(folder)
    (folder / "config.json").write_text('{"a": ')
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_family(folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no model_type"):
        load_family(folder)


def test_configurations_that_contradict_themselves_or_the_weights(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    prompts = config["prompt_encoder_config"] | {"image_size": 256}
    with pytest.raises(CheckpointError, match="for an embedding of 16 x 16"):
        load_family(edit_config(folder, prompt_encoder_config=prompts))
    prompts["image_size"] = [128, 128]
    with pytest.raises(CheckpointError, match="sam2_video"):
        load_family(edit_config(folder, prompt_encoder_config=prompts))


def test_shapes_that_only_show_when_it_runs(folder: Path) -> None:
    vision = json.loads((folder / "config.json").read_text())["vision_config"]
    vision["fpn_padding"] = 7
    with pytest.raises(CheckpointError, match="its sam2_video configuration does not fit"):
        load_family(edit_config(folder, vision_config=vision))


def test_code_in_a_folder_never_runs(folder: Path) -> None:
    (folder / "modeling.py").write_text("raise SystemExit('ran')")
    edit_config(folder, auto_map={"AutoModel": "modeling.Sam2VideoModel"})
    load_family(folder)


@pytest.mark.slow
def test_pixel_statistics_are_read(folder: Path) -> None:
    assert load_family(folder).pixel_mean.flatten().tolist() == pytest.approx(
        [123.675, 116.28, 103.53]
    )
    said = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.25, 0.5, 1.0]}
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": said}))
    network = load_family(folder)
    assert network.pixel_mean.flatten().tolist() == pytest.approx([127.5, 102.0, 76.5])
    assert network.pixel_std.flatten().tolist() == pytest.approx([63.75, 127.5, 255.0])
    (folder / "preprocessor_config.json").write_text('{"image_mean": [1, 2]}')
    with pytest.raises(CheckpointError, match="three numbers"):
        load_family(folder)


@pytest.mark.slow
def test_fingerprints_tell_weights_and_settings_apart(folder: Path, tmp_path: Path) -> None:
    first = load_checkpoint(folder, directory=tmp_path / "cache")
    assert (first.name, first.architecture) == ("sam2", "sam2_video")
    again = load_checkpoint(shutil.copytree(folder, tmp_path / "again"), directory=tmp_path / "c")
    assert again.fingerprint == first.fingerprint
    edit_config(folder, transformers_version="9")
    assert load_checkpoint(folder).fingerprint == first.fingerprint
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    assert load_checkpoint(folder).fingerprint != first.fingerprint
    other = load_checkpoint(tiny_sam2(tmp_path / "other", seed=1))
    assert other.fingerprint != first.fingerprint


@pytest.mark.slow
def test_what_it_can_do(folder: Path, tmp_path: Path) -> None:
    assert load_model(folder).abilities == {"prompt", "everything", "memory"}
    alone = tiny_sam2(tmp_path / "image", video=False)
    assert load_model(alone).abilities == {"prompt", "everything"}
    assert load_model(tiny_sam_hq(tmp_path / "hq")).abilities == {"prompt", "everything"}
    assert "train" in load_model("default").abilities
    with pytest.raises(CheckpointError, match="no instance decoder"):
        load_model(folder, instance_decoder=folder / "decoder.pt")


def test_weights_are_in_memory_once(folder: Path) -> None:
    model = load_model(folder)
    stored = sum(tensor.numel() for tensor in load_file(folder / WEIGHTS).values())
    network = model.network
    held = {id(t): t for t in (*network.parameters(), *network.buffers())}
    assert sum(tensor.numel() for tensor in held.values()) < 1.02 * stored + 10
    assert network.module.mask_decoder is network.parts.mask_decoder
    assert isinstance(model, Model)


@pytest.mark.slow
def test_nothing_imports_transformers_before_it_is_needed() -> None:
    code = (
        "import sys, napari_segment_anything.families, napari_segment_anything.engine, "
        "napari_segment_anything.checkpoints; print('transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_transformers_one_line_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(CheckpointError, match=r"needs transformers: pip install .*\[models\]"):
        load_model(folder)


def test_loading_prints_nothing(folder: Path, capfd: pytest.CaptureFixture) -> None:
    load_family(folder)
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("mask_decoder_config", "mlp_dim", 20_000),
        ("mask_decoder_config", "num_hidden_layers", 5000),
        ("vision_config", "backbone_feature_sizes", [[10**9, 4]]),
    ],
)
def test_sizes_in_a_configuration_are_bounded(
    tmp_path: Path, part: str, name: str, value: object
) -> None:
    folder = tiny_sam2(tmp_path / "a")
    config = json.loads((folder / "config.json").read_text())
    edit_config(folder, **{part: config[part] | {name: value}})
    with pytest.raises(CheckpointError, match=f"{name} .*; at most"):
        load_checkpoint(folder)


@pytest.mark.slow
def test_descriptions_changed_at_random_give_one_line_or_work(tmp_path: Path) -> None:
    """No other error, and none later, when the model is used."""
    values = [None, 0, -1, 3, 10**9, 1.5, True, "", "x", [], [1], [1, 2, 3], {}, [[8, 8], [4, 4]]]
    chance = random.Random(0)
    original = tiny_sam2(tmp_path / "sam2", video=False)
    config = (original / "config.json").read_text()
    image = np.zeros((40, 50, 3), np.uint8)
    refused: list[str] = []
    for _ in range(25):
        changed = json.loads(config)
        node = changed
        while True:
            key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
            below = node[key]
            if not isinstance(below, dict | list) or not below or chance.random() < 0.2:
                break
            node = below
        node[key] = chance.choice(values)
        (original / "config.json").write_text(json.dumps(changed))
        try:
            predictor = Predictor(load_model(original, device="cpu", precision="fp32"))
        except CheckpointError as error:
            refused.append(str(error))
        else:
            predictor.predict(predictor.embed(image), Prompts.from_points([20, 30]))
    assert 5 < len(refused) < 25
    assert not any("\n" in line for line in refused)
