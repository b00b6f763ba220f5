"""SAM 2 from a folder answers prompts as transformers does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_segment_anything.engine import Model, Predictor, Prompts, load_model
from napari_segment_anything.engine.masks import upsample
from tests.families.pipeline import answers, image_model
from tests.families.tiny import SIDE, tiny_sam2

CLOSE = 1e-4


@pytest.fixture(scope="module", params=[True, False], ids=["video", "image"])
def folder(request, tmp_path_factory) -> Path:
    return tiny_sam2(tmp_path_factory.mktemp("models") / "sam2", video=request.param)


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def theirs(folder: Path):
    return image_model(folder, "Sam2Model")


POINTS = np.array([[[20.0, 30.0], [50.5, 100.0]], [[70.0, 10.0], [5.0, 140.0]]])
LABELS = np.array([[1, 0], [1, 1]])
BOXES = np.array([[10.0, 20.0, 60.0, 90.0], [0.0, 0.0, 89.0, 149.0]])


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", ["points", "boxes", "both"])
def test_prompts_equal_transformers(model, theirs, photo, kind, multimask):
    points, labels = (POINTS, LABELS) if kind != "boxes" else (None, None)
    boxes = BOXES if kind != "points" else None
    low, scores, full = answers(
        theirs, photo, points=points, labels=labels, boxes=boxes, multimask=multimask
    )
    predictor = Predictor(model)
    embedding = predictor.embed(photo, contrast_limits=(0, 255))
    prompts = Prompts.from_objects(
        {
            "points": None if points is None else points[index],
            "labels": None if points is None else labels[index],
            "box": None if boxes is None else boxes[index],
        }
        for index in range(2)
    )
    found = predictor.predict(embedding, prompts, multimask=multimask)
    assert np.abs(low).max() > 1
    np.testing.assert_allclose(found.logits, low, atol=CLOSE)
    np.testing.assert_allclose(found.scores, scores, atol=CLOSE)
    ours = torch.cat(
        [each for _, each in upsample(torch.tensor(found.logits).flatten(0, 1), embedding)]
    )
    np.testing.assert_allclose(ours.reshape(full.shape), full, atol=CLOSE)
    assert (found.masks == (full > 0))[np.abs(full) > CLOSE].all()


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("box", [True, False])
def test_mask_prompts_equal_transformers(model, theirs, photo, box, multimask):
    mask = torch.randn(1, 1, SIDE // 4, SIDE // 4, generator=torch.Generator().manual_seed(1))
    boxes = BOXES[:1] if box else None
    low, scores, _ = answers(theirs, photo, boxes=boxes, mask=mask, multimask=multimask)
    predictor = Predictor(model)
    embedding = predictor.embed(photo, contrast_limits=(0, 255))
    prompts = Prompts.from_objects([{"box": BOXES[0] if box else None, "mask": mask[0, 0].numpy()}])
    found = predictor.predict(embedding, prompts, multimask=multimask)
    np.testing.assert_allclose(found.logits, low, atol=CLOSE)
    np.testing.assert_allclose(found.scores, scores, atol=CLOSE)
