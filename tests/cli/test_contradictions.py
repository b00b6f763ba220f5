"""Arguments that contradict themselves or the image are errors, and nothing is left out quietly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_segment_anything.automatic import segment_everything
from napari_segment_anything.checkpoints import load_checkpoint
from napari_segment_anything.checkpoints.catalogue import find_entry
from napari_segment_anything.checkpoints.download import embedded_path
from napari_segment_anything.cli.main import run
from napari_segment_anything.engine import Predictor, Prompts, Segmenter
from napari_segment_anything.errors import (
    CheckpointError,
    ImageError,
    ParameterError,
    PromptError,
)
from napari_segment_anything.samples import sample


@pytest.fixture
def stack(tmp_path):
    path = tmp_path / "stack.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8))
    return str(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            ["everything", "sample:coins", "--min-area", "90", "--max-area", "9"],
            "min_area=90 is",
        ),
        (["large", "sample:coins", "--min-area", "90", "--max-area", "9"], "min_area=90 is"),
        (["everything", "STACK", "--plane", "Q=1,Q=2"], "names an axis twice"),
        (["everything", "STACK", "--plane", "Q=1,q=1"], "names an axis twice"),
        (["everything", "STACK", "--axes", "CYX", "--channels", "1,1"], "chosen twice: 1, 1"),
        (["everything", "STACK", "--axes", "CYX", "--channels", "1_0"], "whole numbers"),
        (["stack", "STACK", "--point", "-1,5,5"], "counted from 0"),
        (["stack", "STACK", "--box", "-1,5,5,9,9"], "counted from 0"),
        (["segment", "sample:coins", "--point", "54,44", "--negative", "900,3"], "lies outside"),
        (["segment", "sample:coins", "--point", "54,44", "--negative=-9,3"], "lies outside"),
        (
            ["segment", "sample:coins", "--box", "33,21,75,68", "--negative", "900,3"],
            "lies outside",
        ),
    ],
)
def test_a_contradiction_is_one_line(tmp_path, stack, capsys, line, said) -> None:
    line = [stack if part == "STACK" else part for part in line]
    assert run([*line, "-o", str(tmp_path / "out.zarr"), "-q"]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
    assert not list(tmp_path.glob("out*"))


def test_the_engine_refuses_the_same(default_model) -> None:
    model, image = default_model, sample("coins").image
    predictor = Predictor(model)
    outside = Prompts.from_objects([{"points": [[54, 44], [900, 3]], "labels": [1, 0]}])
    with pytest.raises(PromptError, match="lies outside the image"):
        Segmenter(predictor).segment(image, outside)
    with pytest.raises(ImageError, match="chosen twice"):
        predictor.embed(np.zeros((64, 64, 3), np.uint8), channel_axis=2, channels=(0, 0))
    table = segment_everything(
        image[:128, :128], model, "instances", crop_n_layers=0, reduced_n_layers=0
    )
    with pytest.raises(ParameterError, match="no mask would be kept"):
        table.refilter(min_area=50, max_area=20)
    assert len(table.refilter(min_area=20, max_area=20).masks) == 0


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool])
def test_weights_that_are_no_floats_are_refused(tmp_path, dtype) -> None:
    entry = find_entry("default")
    whole = load_file(embedded_path(entry))
    path = tmp_path / "quantised.safetensors"
    from safetensors import safe_open

    with safe_open(embedded_path(entry), "pt") as file:
        header = file.metadata()
    save_file({name: tensor.to(dtype) for name, tensor in whole.items()}, path, header)
    with pytest.raises(CheckpointError, match="hold no weights"):
        load_checkpoint(path)
