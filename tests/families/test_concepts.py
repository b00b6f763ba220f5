"""SAM 3 finds instances by words and boxes as transformers does, with weights in memory once."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import napari_segment_anything as nsa
from napari_segment_anything.errors import CheckpointError
from napari_segment_anything.families.concepts import ConceptFinder, load_concepts, roi_align
from napari_segment_anything.finding import Query, load_finder
from napari_segment_anything.finding.choosing import choose_finder
from napari_segment_anything.finding.loading import concepts_of

from .tiny_finders import tiny_clip, tiny_concepts

IMAGE = np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8)
BOXES = np.array([[10, 20, 40, 60], [50, 10, 90, 30]], float)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_concepts(tmp_path_factory.mktemp("sam3"))


@pytest.fixture(scope="module")
def finder(folder) -> ConceptFinder:
    return load_concepts(folder)


def align(features, boxes, size):
    """Pool as torchvision's source does it: sample by sample."""
    out = torch.zeros(sum(map(len, boxes)), features.shape[1], size, size)
    pairs = [
        (image, box) for image, several in zip(features, boxes, strict=True) for box in several
    ]
    for number, (image, box) in enumerate(pairs):
        x0, y0, x1, y1 = box.tolist()
        width, height = max(x1 - x0, 1.0), max(y1 - y0, 1.0)
        across, down = math.ceil(width / size), math.ceil(height / size)
        for row, col in np.ndindex(size, size):
            total = torch.zeros(len(image))
            for i, j in np.ndindex(down, across):
                y = y0 + (row + (i + 0.5) / down) * height / size
                x = x0 + (col + (j + 0.5) / across) * width / size
                total += bilinear(image, max(y, 0.0), max(x, 0.0))
            out[number, :, row, col] = total / (down * across)
    return out


def bilinear(image, y, x):
    rows, cols = image.shape[1:]
    top, left = min(int(y), rows - 1), min(int(x), cols - 1)
    bottom, right = min(top + 1, rows - 1), min(left + 1, cols - 1)
    down, across = (y - top if top < rows - 1 else 0), (x - left if left < cols - 1 else 0)
    upper = image[:, top, left] * (1 - across) + image[:, top, right] * across
    lower = image[:, bottom, left] * (1 - across) + image[:, bottom, right] * across
    return upper * (1 - down) + lower * down


def test_features_are_pooled_as_by_torchvision() -> None:
    features = torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    boxes = [
        torch.tensor([[0.0, 0, 9, 8], [2.3, 1.1, 2.5, 7.9]]),
        torch.tensor([[6.5, 5.5, 9, 8]]),
    ]
    assert roi_align(features, boxes, 3).numpy() == pytest.approx(
        align(features, boxes, 3).numpy(), abs=1e-5
    )
    assert roi_align(features, [features[0, 0, :0, :4]] * 2, 3).shape == (0, 3, 3, 3)


@pytest.fixture(scope="module")
def theirs(folder):
    import transformers

    return transformers.Sam3VideoModel.from_pretrained(folder).eval().detector_model


@pytest.mark.parametrize(
    ("words", "boxes"),
    [
        pytest.param("disk", None, marks=pytest.mark.slow),
        pytest.param("", BOXES, marks=pytest.mark.slow),
        ("disk", BOXES),
    ],
)
def test_instances_are_those_of_transformers(theirs, finder, words, boxes, monkeypatch) -> None:
    import transformers

    stand_in = SimpleNamespace(ops=SimpleNamespace(roi_align=align))
    modelling = transformers.models.sam3.modeling_sam3
    pixels = torch.from_numpy(IMAGE).permute(2, 0, 1)[None] / 127.5 - 1
    tokens = finder.words.tokenizer(
        words or "visual", padding="max_length", max_length=32, return_tensors="pt"
    )
    more = {}
    if boxes is not None:
        y0, x0, y1, x1 = torch.tensor(boxes + 0.5, dtype=torch.float32).T / 112
        more["input_boxes"] = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], 1)[None]
    with torch.inference_mode(), monkeypatch.context() as patch:
        patch.setattr(modelling, "torchvision", stand_in, raising=False)
        outputs = theirs(pixel_values=pixels, **tokens, **more)
    scores = outputs.pred_logits[0].sigmoid() * outputs.presence_logits[0].sigmoid()
    masks = torch.nn.functional.interpolate(
        outputs.pred_masks.sigmoid(), size=(60, 80), mode="bilinear", align_corners=False
    )
    found = finder.find(IMAGE, words, boxes)
    assert found.scores == pytest.approx(scores.numpy(), abs=1e-4)
    assert found.logits.numpy() == pytest.approx(outputs.pred_masks[0].numpy(), abs=1e-3)
    assert np.array_equal(found.mask(3, (60, 80)), masks[0, 3].numpy() > 0.5)
    few = finder.find(IMAGE, words, boxes, least=float(np.median(found.scores)))
    assert len(few) == (found.scores >= np.median(found.scores)).sum()


def test_an_image_is_stretched_to_the_frame(finder) -> None:
    assert finder.frame == 112
    assert finder._pixels(IMAGE[:50, :70]).shape == (1, 3, 112, 112)
    whole = finder._relative(np.array([[-0.5, -0.5, 49.5, 69.5]]), (50, 70))
    assert whole.tolist() == [[0.5, 0.5, 1, 1]]


@pytest.mark.slow
def test_a_model_that_is_sam_3_finds_by_itself(folder, finder) -> None:
    model = nsa.load_model(folder, device="cpu")
    assert {"words", "examples"} <= model.abilities
    own = concepts_of(model)
    assert own is not None and own.module is model.network.module.detector_model
    assert own.find(IMAGE, "disk").scores == pytest.approx(
        finder.find(IMAGE, "disk").scores, abs=1e-5
    )
    image = IMAGE[:90, :100]
    table = nsa.find(image, "disk", model, likeness_thresh=0.0, nms="box", box_nms_thresh=1)
    assert table.parameters["finder"] == "sam3" and set(table.sources) <= {"sam3"}
    assert len(table.candidates) and table.shape == (90, 100)
    named = choose_finder(Query("disk"), model, str(folder))
    assert named.model.module is own.module  # not loaded again
    both = nsa.find(image, "disk", model, examples=BOXES[:1], likeness_thresh=0.0)
    assert both.sources[0] == "example"


@pytest.mark.slow
def test_without_words_only_views_with_an_example_are_looked_at(finder, folder) -> None:
    model = nsa.load_model(folder, device="cpu")
    image = np.random.default_rng(1).integers(0, 255, (400, 400), np.uint8)
    box = [(300.0, 300.0, 330.0, 340.0)]
    table = nsa.find(image, model=model, examples=box, likeness_thresh=0.0)
    seen = {int(i) for i in table.candidates.crop}
    for index in seen:
        crop = table.candidates.crops[index]
        assert crop.row <= 300 and crop.row + crop.height > 330
        assert crop.col <= 300 and crop.col + crop.width > 340


def test_other_models_are_refused(tmp_path, finder) -> None:
    clip = tiny_clip(tmp_path)
    with pytest.raises(CheckpointError, match="concepts are found by sam3"):
        load_concepts(clip)
    assert load_finder(clip, "cpu").name == "clip"
