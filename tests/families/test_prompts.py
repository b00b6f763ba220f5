"""A model from a folder answers prompts as transformers does, in the whole image and in windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_segment_anything.engine import Predictor, Prompts, Window, load_model
from napari_segment_anything.engine.masks import upsample
from tests.families.pipeline import Pipeline, load
from tests.families.tiny import tiny_sam2

CLOSE = 1e-4
POINTS = np.array([[[20.0, 30.0], [50.5, 100.0]], [[70.0, 10.0], [5.0, 140.0]]])
LABELS = np.array([[1, 0], [1, 1]])
BOXES = np.array([[10.0, 20.0, 60.0, 90.0], [0.0, 0.0, 89.0, 149.0]])
KINDS = {
    "points": {"points": POINTS, "labels": LABELS},
    "boxes": {"boxes": BOXES},
    "both": {"points": POINTS, "labels": LABELS, "boxes": BOXES},
    "point": {"points": POINTS[:, :1], "labels": LABELS[:, :1]},
}


def prompts(points=None, labels=None, boxes=None, offset=(0, 0)) -> Prompts:
    count = len(boxes if points is None else points)
    return Prompts.from_objects(
        {
            "points": None if points is None else points[index] + offset,
            "labels": None if labels is None else labels[index],
            "box": None if boxes is None else boxes[index] + np.tile(offset, 2),
        }
        for index in range(count)
    )


def check(predictor, embedding, given, theirs, multimask) -> None:
    low, scores, full = theirs
    assert low.std() > 0.3
    found = predictor.predict(embedding, given, multimask=multimask)
    np.testing.assert_allclose(found.logits, low, atol=CLOSE)
    np.testing.assert_allclose(found.scores, scores, atol=CLOSE)
    flat = torch.tensor(found.logits).flatten(0, 1)
    ours = torch.cat([values for _, values in upsample(flat, embedding)])
    np.testing.assert_allclose(ours.reshape(full.shape), full, atol=CLOSE)
    assert (found.masks == (full > 0))[np.abs(full) > CLOSE].all()


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_prompts(predictor, embedding, pipeline, photo, kind, multimask) -> None:
    theirs = pipeline(photo, multimask=multimask, **KINDS[kind])
    check(predictor, embedding, prompts(**KINDS[kind]), theirs, multimask)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("with_box", [True, False])
def test_a_mask_as_prompt(predictor, embedding, pipeline, photo, with_box, multimask) -> None:
    mask = torch.randn(1, 1, *embedding.low_shape, generator=torch.Generator().manual_seed(1))
    boxes = BOXES[:1] if with_box else None
    given = Prompts.from_objects(
        [{"box": BOXES[0] if with_box else None, "mask": mask[0, 0].numpy()}]
    )
    theirs = pipeline(photo, boxes=boxes, mask=mask, multimask=multimask)
    check(predictor, embedding, given, theirs, multimask)


def test_several_masks_as_prompts_are_those_of_each(predictor, embedding) -> None:
    generator = torch.Generator().manual_seed(1)
    masks = torch.randn(7, *embedding.low_shape, generator=generator).numpy()
    objects = [{"box": BOXES[i % 2], "mask": mask} for i, mask in enumerate(masks)]
    together = predictor.predict(embedding, Prompts.from_objects(objects))
    for index, each in enumerate(objects):
        alone = predictor.predict(embedding, Prompts.from_objects([each]))
        np.testing.assert_allclose(together.logits[index], alone.logits[0], atol=CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_windows_map_back(predictor, pipeline, photo, kind) -> None:
    rng = np.random.default_rng(5)
    large = rng.integers(0, 256, (300, 401, 3), dtype=np.uint8)
    large[57:147, 131:281] = photo
    window = Window(57, 131, *photo.shape[:2])
    embedding = predictor.embed(large, window=window, contrast_limits=(0, 255))
    theirs = pipeline(photo, **KINDS[kind])
    check(predictor, embedding, prompts(**KINDS[kind], offset=(57, 131)), theirs, True)


def test_a_wider_view_fills_the_frame_with_the_mirrored_image(model, pipeline, photo) -> None:
    """With as many pixels along the frame as it has, nothing is resized; masks are cut from it."""
    small, side = photo[:, :100], model.image_size
    predictor = Predictor(model)
    embedding = predictor.embed(small, contrast_limits=(0, 255), span=side)
    assert embedding.frame_shape == small.shape[:2]
    mirrored = np.pad(small, ((0, side - 90), (0, side - 100), (0, 0)), mode="symmetric")
    boxes = np.minimum(BOXES, 89.0)
    low, scores, full = pipeline(mirrored, boxes=boxes)
    theirs = low, scores, full[..., :90, :100]
    check(predictor, embedding, prompts(boxes=boxes), theirs, True)


def test_all_masks_at_once(predictor, photo) -> None:
    embedding = predictor.embed(photo)
    given = prompts(**KINDS["points"])
    logits, iou = predictor.decode(embedding, given, return_all=True)
    for multimask, part in ((False, slice(0, 1)), (True, slice(1, None))):
        some, score = predictor.decode(embedding, given, multimask=multimask)
        assert torch.equal(some, logits[:, part])
        assert torch.equal(score, iou[:, part])


SOME_STABLE = {"dynamic_multimask_stability_delta": 2.0, "dynamic_multimask_stability_thresh": 0.5}


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(SOME_STABLE, id="some stable"),
        *(
            pytest.param({f"dynamic_multimask_{name}": value}, id=said, marks=pytest.mark.slow)
            for said, name, value in (
                ("always stable", "stability_thresh", 0.0),
                ("never stable", "stability_thresh", 1.1),
                ("not asked", "via_stability", False),
            )
        ),
    ],
)
def test_a_mask_that_is_not_stable_is_replaced(rule, photo, tmp_path) -> None:
    folder = tiny_sam2(tmp_path / "sam2", video=False, **rule)
    predictor = Predictor(load_model(folder, device="cpu", precision="fp32"))
    embedding = predictor.embed(photo, contrast_limits=(0, 255))
    theirs = Pipeline(load(folder, "Sam2Model"))(photo, multimask=False, **KINDS["points"])
    check(predictor, embedding, prompts(**KINDS["points"]), theirs, False)
