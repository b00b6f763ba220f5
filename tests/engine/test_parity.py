"""The whole way from pixels and prompts to masks, beside an independent implementation."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from napari_segment_anything.engine import Model, Predictor, Prompts
from napari_segment_anything.network import Sam, SamConfig

ITEMS = {
    "point": {"points": [[31, 47]]},
    "points": {"points": [[31, 47], [12, 80.5]], "labels": [1, 0]},
    "box": {"box": [10, 20, 60, 90]},
    "box and points": {"points": [[31, 47]], "box": [10, 20, 60, 90]},
}


@pytest.fixture(scope="module")
def pair():
    transformers = pytest.importorskip("transformers")
    from tests.network.oracle import SMALL, oracle_for, randomise

    sam = randomise(Sam(SamConfig(SMALL)))
    side = SMALL.image_size
    # before version 5 the plain name was the one that resizes with Pillow, as published
    pillow = getattr(transformers, "SamImageProcessorPil", transformers.SamImageProcessor)
    processor = transformers.SamProcessor(
        pillow(
            size={"longest_edge": side},
            pad_size={"height": side, "width": side},
            mask_size={"longest_edge": side // 4},
            mask_pad_size={"height": side // 4, "width": side // 4},
        )
    )
    model = Model(copy.deepcopy(sam), "small", "vit", "f", torch.device("cpu"))
    return Predictor(model), oracle_for(sam), processor


@pytest.mark.parametrize("kind", ITEMS)
@pytest.mark.parametrize("shape", [(90, 150), (333, 200)])
def test_masks_are_those_of_an_independent_implementation(pair, kind, shape, rng):
    predictor, oracle, processor = pair
    photo = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    photo[20:60, 30:90] //= 3
    item = ITEMS[kind]
    options = {}
    if "points" in item:
        points = [[float(col), float(row)] for row, col in item["points"]]
        options["input_points"] = [[points]]
        options["input_labels"] = [[item.get("labels", [1] * len(points))]]
    if "box" in item:
        top, left, bottom, right = map(float, item["box"])
        options["input_boxes"] = [[[left, top, right, bottom]]]
    inputs = processor(photo, return_tensors="pt", **options)
    with torch.inference_mode():
        wanted = oracle(
            **{
                key: value.float() if value.is_floating_point() else value
                for key, value in inputs.items()
                if key in ("pixel_values", "input_points", "input_labels", "input_boxes")
            }
        )
    result = predictor.predict(predictor.embed(photo), Prompts.from_objects([item]))
    low = wanted.pred_masks[0, 0].numpy()
    np.testing.assert_allclose(result.logits[0], low, rtol=1e-3, atol=1e-4 * np.abs(low).max())
    np.testing.assert_allclose(result.scores[0], wanted.iou_scores[0, 0], rtol=1e-3, atol=1e-4)
    (masks,) = processor.image_processor.post_process_masks(
        wanted.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )
    assert (masks[0].numpy() != result.masks[0]).mean() < 1e-3
