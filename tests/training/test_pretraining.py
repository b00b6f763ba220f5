"""Masked autoencoding: masks, encoders on visible patches alone, whole runs, what train takes."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch

import napari_segment_anything as nsa
from napari_segment_anything.errors import CheckpointError, FormatError, ImageError, ParameterError
from napari_segment_anything.network import ViTConfig
from napari_segment_anything.network.vit import ViTEncoder
from napari_segment_anything.progress import finish
from napari_segment_anything.training import masked_micro, masked_vit, pretrain_steps, unlabelled
from napari_segment_anything.training import pretraining as runs
from napari_segment_anything.training.autoencoder import MaskedAutoencoder, settled_masking
from napari_segment_anything.training.estimate import Estimate
from napari_segment_anything.training.masking import (
    MaskingConfig,
    Masks,
    draw_masks,
    reconstruction_loss,
    to_patches,
)
from napari_segment_anything.training.toml import read_config
from napari_segment_anything.training.trainer import StepReport
from napari_segment_anything.training.unlabelled import load_unlabelled

from .small import disks, small_sam, stored
from .test_run import weights

CPU = torch.device("cpu")


def everything_visible(rows: int, cols: int, batch: int = 1) -> Masks:
    shown = torch.arange(rows * cols).expand(batch, -1)
    return Masks(shown, torch.ones(batch, 1, rows, cols))


def test_masks_leave_the_same_number_of_patches_in_every_image():
    generator = torch.Generator().manual_seed(0)
    masks = draw_masks(5, (8, 8), 0.75, generator, CPU)
    assert masks.shown.shape == (5, 16)
    assert (masks.visible.sum((1, 2, 3)) == 16).all()
    assert (masks.visible.flatten(1).gather(1, masks.shown) == 1).all()
    assert masks.at(4).shape == (5, 1, 32, 32)


def test_loss_is_of_the_normalised_pixels_of_masked_patches_without_padding():
    torch.manual_seed(0)
    pixels = torch.randn(1, 3, 32, 32)
    visible = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    valid = torch.ones(1, 1, 32, 32, dtype=torch.bool)
    target = to_patches(pixels, 16)
    right = (target - target.mean(-1, keepdim=True)) / target.std(-1, keepdim=True)
    assert reconstruction_loss(right, pixels, visible, valid) < 1e-5
    wrong = right.clone()
    wrong[:, 0, 0] += 9  # a visible patch
    assert reconstruction_loss(wrong, pixels, visible, valid) < 1e-5
    wrong[:, 1, 1] += 1
    loss = reconstruction_loss(wrong, pixels, visible, valid)
    torch.testing.assert_close(loss, torch.tensor(1 / 3))
    valid[..., 31] = False
    assert reconstruction_loss(wrong, pixels, visible, valid) < 1e-5


@pytest.mark.parametrize("side", [128, 64])
def test_a_vit_that_sees_everything_is_the_encoder_itself(side):
    torch.manual_seed(0)
    config = ViTConfig(width=32, depth=3, heads=2, global_blocks=(1,), image_size=128, window=4)
    encoder = ViTEncoder(config).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.2)
    tokens = []
    encoder.neck.register_forward_pre_hook(lambda _, given: tokens.append(given[0]))
    pixels = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        encoder(pixels)
        n = side // 16
        masks, origin = everything_visible(n, n), torch.zeros(1, 2, dtype=torch.int64)
        seen = masked_vit.encode_visible(encoder, pixels[..., :side, :side], masks, origin)
    whole = tokens[0].permute(0, 2, 3, 1)
    if side == 128:
        torch.testing.assert_close(seen.reshape(1, n, n, -1), whole, atol=1e-4, rtol=1e-4)
    else:  # other patches are hidden, not moved: blocks of windows alone agree
        config = ViTConfig(width=32, depth=2, heads=2, global_blocks=(), image_size=128, window=4)
        encoder = ViTEncoder(config).eval()
        tokens.clear()
        encoder.neck.register_forward_pre_hook(lambda _, given: tokens.append(given[0]))
        with torch.no_grad():
            encoder(pixels)
            origin = torch.tensor([[4, 0]])
            part = pixels[..., 64:, :64]
            seen = masked_vit.encode_visible(encoder, part, masks, origin)
        expected = tokens[0].permute(0, 2, 3, 1)[:, 4:, :4]
        torch.testing.assert_close(seen.reshape(1, n, n, -1), expected, atol=1e-5, rtol=1e-4)


def trunk(encoder, pixels):
    """Features of the encoder's own forward pass at its four strides."""
    held = {}
    named = {"down4": 0, "down8": 1, "down16": 2}
    for name, place in named.items():
        getattr(encoder, name).register_forward_pre_hook(
            lambda _, given, place=place: held.__setitem__(place, given[0])
        )
    encoder.stage16.register_forward_hook(lambda *given: held.__setitem__(3, given[2]))
    encoder(pixels)
    return [held[i] for i in range(4)]


def test_the_convolutional_encoder_that_sees_everything_is_itself():
    encoder = small_sam().image_encoder
    pixels = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        mine = masked_micro.encode_visible(encoder, pixels, everything_visible(3, 2, 2))
        own = trunk(encoder, pixels)
    for a, b in zip(mine, own, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["micro", "vit"])
def test_masked_pixels_do_not_reach_the_encoder(kind):
    encoder = small_sam(kind).image_encoder
    generator = torch.Generator().manual_seed(1)
    patch = 32 if kind == "micro" else 16
    masks = draw_masks(2, (128 // patch,) * 2, 0.6, generator, CPU)
    pixels = torch.randn(2, 3, 128, 128, generator=generator)
    hidden = pixels + 5 * (1 - masks.at(patch)) * torch.randn(pixels.shape, generator=generator)

    def seen(x):
        if kind == "micro":
            return masked_micro.encode_visible(encoder, x, masks)
        return [masked_vit.encode_visible(encoder, x, masks, torch.zeros(2, 2, dtype=torch.int64))]

    with torch.no_grad():
        for a, b in zip(seen(pixels), seen(hidden), strict=True):
            assert torch.equal(a, b)


def test_batch_normalisation_counts_visible_positions_alone():
    norm = torch.nn.BatchNorm2d(4, momentum=0.5)
    x = torch.randn(2, 4, 8, 8)
    visible = torch.zeros(2, 1, 8, 8)
    visible[:, :, :4] = 1
    mine = masked_micro._normalised(norm, x, visible)
    plain = torch.nn.BatchNorm2d(4, momentum=0.5)
    torch.testing.assert_close(mine[:, :, :4], plain(x[:, :, :4]))
    torch.testing.assert_close(norm.running_var, plain.running_var)
    torch.testing.assert_close(norm.running_mean, plain.running_mean)


QUICK = {"steps": 4, "batch_size": 2, "save_every": 2, "log_every": 1, "validate_every": 2}
QUICK |= {"encoder_learning_rate": 5e-3}


def quick(model, **values):
    return {"model": str(model), "crop": {"size": 64}, **QUICK, **values}


@pytest.fixture
def lean(monkeypatch):
    """Runs without the plot of their curves, and without the step that times them."""
    monkeypatch.setattr(runs, "draw_curves", lambda *_: None)
    monkeypatch.setattr(runs._PretrainingRun, "_timed", lambda _, estimate: estimate)


IMAGES = [disks(seed)[0] for seed in range(3)]


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
@pytest.mark.parametrize("kind", ["micro", "vit"])
def test_a_killed_run_resumes_to_the_same_encoder_and_changes_nothing_else(tmp_path, kind):
    torch.set_num_threads(1)
    base = stored(tmp_path, kind)
    given = {"images": IMAGES[:2], "held_out": IMAGES[2:]}
    whole = nsa.pretrain(quick(base), **given, output=tmp_path / "a")
    killed = pretrain_steps(quick(base), **given, output=tmp_path / "b")
    for progress in killed:
        if isinstance(progress.partial, StepReport) and progress.done == 3:
            killed.close()  # one step after the checkpoint of step 2
            break
    resumed = nsa.pretrain(quick(base), **given, output=tmp_path / "b")
    before, first, second = weights(base), weights(whole.model), weights(resumed.model)
    assert all(torch.equal(first[key], second[key]) for key in first)
    near = 1e-3 * (kind == "micro")  # which is stored in 16 bits
    changed = {k for k in before if not torch.allclose(before[k], first[k], atol=near, rtol=near)}
    assert changed
    assert all(key.startswith("image_encoder.") for key in changed)
    assert whole.after == resumed.after and whole.after["reconstruction"] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
def test_it_learns(tmp_path):
    torch.set_num_threads(1)
    base = stored(tmp_path)
    values = {"steps": 40, "learning_rate": 3e-3, "encoder_learning_rate": 1e-3}
    losses = []

    def note(progress):
        if isinstance(progress.partial, StepReport) and progress.partial.losses:
            losses.append(progress.partial.losses["reconstruction"])

    config = quick(base, masking={"patch": 16}, **values)
    nsa.pretrain(config, images=IMAGES, output=tmp_path / "run", on_progress=note)
    assert np.mean(losses[-5:]) < 0.9 * losses[0]


@pytest.mark.slow
def test_train_takes_the_whole_model_or_the_encoder(tmp_path):
    pairs = [disks(seed) for seed in range(2)]
    base = stored(tmp_path, everything={"grid": {"points_per_side": 7}})
    made = nsa.pretrain(quick(base), images=IMAGES, output=tmp_path / "pretrained").model
    with pytest.raises(CheckpointError, match="Fine-tune it with `napari-sam train`"):
        nsa.load_model(made)
    tuning = {**QUICK, "steps": 1, "objects": 2, "rounds": 1, "crop": {"size": 64}, "windows": [8]}
    tuning |= {"encoder_learning_rate": 0.0}
    whole = nsa.train({"model": str(made), **tuning}, images=pairs, output=tmp_path / "whole")
    model = nsa.load_model(whole.model, device="cpu")
    assert model.everything_defaults("grid") == {"points_per_side": 7}
    config = {"model": str(base), "encoder_weights": str(made), **tuning}
    part = nsa.train(config, images=pairs, output=tmp_path / "part")
    first, second, given = weights(whole.model), weights(part.model), weights(made)
    for key in first:  # the decoder of one was stored in 16 bits before
        torch.testing.assert_close(first[key], second[key], atol=5e-3, rtol=5e-3)
    encoder = [key for key in given if key.startswith("image_encoder.stage16")]
    assert all(torch.equal(given[key], first[key]) for key in encoder)
    assert nsa.load_checkpoint(part.model).metadata["training"]["encoder"]["name"] == "model"
    config["encoder_weights"] = str(base)
    with pytest.raises(ParameterError, match="another encoder"):
        nsa.train(config, images=pairs, output=tmp_path / "part")
    vit = stored(tmp_path, "vit")
    with pytest.raises(ParameterError, match="does not fit model"):
        nsa.train({"model": str(vit), "encoder_weights": str(made)}, images=pairs, output=tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("lean")
def test_from_scratch_to_a_trained_model(tmp_path):
    encoder = {"image_size": 128, "widths": [8, 16, 16, 32], "attention_blocks": 2, "heads": 4}
    made = nsa.pretrain(
        quick("scratch", encoder=encoder), images=IMAGES, output=tmp_path / "pretrained"
    )
    config = nsa.load_checkpoint(made.model).network.config
    assert config.encoder.norm == "batch"
    pairs = [disks(seed) for seed in range(2)]
    stage = {"name": "a", "steps": 1, "batch_size": 1, "objects": 2, "rounds": 1, "windows": [8]}
    stage |= {"crop": {"size": 64}, "learning_rate": 1e-3, "encoder_learning_rate": 1e-3}
    values = {"model": "scratch", "encoder_weights": str(made.model), "stages": [stage]}
    result = nsa.train(values, images=pairs, output=tmp_path / "run")
    network = nsa.load_model(result.model, device="cpu").network
    positions = network.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    assert torch.equal(network.image_encoder.frequencies, positions)


def test_images_come_from_patterns_tables_stacks_and_windows(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    (tmp_path / "raw/deep").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "raw/deep/a.tif", rng.integers(0, 4000, (40, 50), np.uint16))
    tifffile.imwrite(
        tmp_path / "raw/stack.tif",
        rng.integers(0, 255, (20, 3, 48, 40), np.uint8),
        metadata={"axes": "TCYX"},
        imagej=True,
    )
    tifffile.imwrite(tmp_path / "raw/large.tif", rng.random((120, 90), np.float32))
    (tmp_path / "table.csv").write_text("path,plane\nraw/deep/a.tif,\nraw/stack.tif,T=3\n")
    monkeypatch.setattr(unlabelled, "LARGE", 100)
    monkeypatch.setattr(unlabelled, "WINDOW", 32)
    config = read_config(
        {
            "masking": {"windows": 5},
            "data": [
                {"folder": "raw/**/*.tif", "name": "pattern", "planes": 4, "validation": 0.3},
                {"folder": "table.csv", "channels": [2], "name": "table"},
            ],
        }
    )
    with pytest.raises(ImageError, match="channel"):
        finish(load_unlabelled(config, tmp_path))
    table = tmp_path / "table.csv"
    table.write_text("path,plane\nraw/stack.tif,T=3\n")
    found = finish(load_unlabelled(config, tmp_path))
    assert len(found.validation) in (1, 4, 5)
    every = [*found.train, *found.validation]
    shapes = {
        name: [i.image.shape for i in every if i.name.startswith(name)]
        for name in ("pattern/a", "pattern/stack", "pattern/large", "table/stack")
    }
    assert shapes["pattern/a"] == [(40, 50, 1)]
    assert shapes["pattern/stack"] == [(48, 40, 3)] * 4
    assert shapes["pattern/large"] == [(32, 32, 1)] * 5
    assert shapes["table/stack"] == [(48, 40, 1)]
    held = [image for image in found.train if image.name.startswith("pattern/large")]
    assert all(image.nbytes == 32 * 32 for image in held)
    again = finish(load_unlabelled(config, tmp_path))
    assert [i.digest for i in again.train] == [i.digest for i in found.train]


def test_labels_beside_the_images_are_left_out(tmp_path):
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
        tifffile.imwrite(tmp_path / part / "a.tif", np.eye(64, dtype=np.uint8))
    np.savez(tmp_path / "images/b.npz", image=IMAGES[0], labels=disks(0)[1])
    config = read_config({"data": [{"folder": str(tmp_path)}]})
    found = finish(load_unlabelled(config, tmp_path))
    assert sorted(image.name.rpartition("/")[2] for image in found.train) == ["a", "b"]
    assert not any(image.labels.any() for image in found.train)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objects": 3}, "objects: a pre-training has one stage"),
        ({"train": "lora"}, "train: a pre-training has one stage"),
        ({"encoder_weights": "x"}, "encoder_weights: a pre-training has one stage"),
        ({"crop": {"size": 48}}, "multiple of the patch side, 32"),
        ({"crop": {"size": 512}}, "frame of 128 pixels, not 512"),
        ({"masking": {"share": 1.0}}, "share lies between 0 and 1"),
        ({"masking": {"patch": 24}}, "multiple of 16"),
        ({"encoder_learning_rate": 0.0}, "nothing would be pre-trained"),
        ({"data": [{"folder": "x", "labels": "y"}]}, "'labels' go with 'images'"),
        ({"data": [{"records": "x"}]}, "records: images are pre-trained on without labels"),
    ],
)
def test_what_does_not_suit_a_pre_training_is_an_error(tmp_path, values, message):
    base = stored(tmp_path)
    with pytest.raises(ParameterError, match=message):
        nsa.pretrain(quick(base, **values), images=IMAGES, output=tmp_path / "run")


def test_wrong_encoders_and_verbs_are_errors(tmp_path):
    base = stored(tmp_path, "tiny_vit")
    with pytest.raises(ParameterError, match="cannot be pre-trained by masking"):
        nsa.pretrain(quick(base), images=IMAGES, output=tmp_path / "run")
    with pytest.raises(ParameterError, match="nothing to train on"):
        nsa.pretrain(quick(base), output=tmp_path / "run")
    with pytest.raises(FormatError, match="no file or folder"):
        nsa.pretrain(quick(base, data=[{"folder": "none"}]), output=tmp_path / "run")
    with pytest.raises(ParameterError, match="is for `pretrain`"):
        nsa.train({"masking": {}, "model": str(base)}, images=[disks(0)], output=tmp_path / "run")
    network = small_sam("vit")
    with pytest.raises(ParameterError, match=r"leave masking\.patch out"):
        settled_masking(MaskingConfig(patch=32), network.image_encoder, "vit")


@pytest.mark.slow
def test_memory_is_predicted_before_the_first_step(tmp_path):
    base = stored(tmp_path)
    run = pretrain_steps(quick(base), images=IMAGES, output=tmp_path / "run")
    found = [progress.partial for progress in run if isinstance(progress.partial, Estimate)]
    assert found[0].memory > 1 << 20 and found[-1].seconds > 0
    big = pretrain_steps(quick(base, batch_size=64), images=IMAGES, output=tmp_path / "big")
    for progress in big:
        if isinstance(progress.partial, Estimate):
            assert progress.partial.memory > found[0].memory
            break
    big.close()


@pytest.mark.slow
def test_every_part_of_the_autoencoder_that_is_used_has_a_gradient():
    for kind in ("micro", "vit"):
        encoder = small_sam(kind).image_encoder
        masking = settled_masking(MaskingConfig(), encoder, kind)
        model = MaskedAutoencoder(encoder, masking)
        model(torch.randn(2, 3, 128, 128), torch.ones(2, 1, 128, 128, dtype=torch.bool)).backward()
        assert all(p.grad is not None for p in model.decoder.parameters())
        used = [n for n, p in encoder.named_parameters() if p.grad is not None]
        unused = {n.partition(".")[0] for n, p in encoder.named_parameters() if p.grad is None}
        assert used
        if kind == "vit":
            assert unused == {"neck"}
        else:
            assert not unused & {"stem", "stem2", "down4", "stage4", "down8", "stage8", "stage16"}
