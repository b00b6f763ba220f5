"""Detectors, and models that compare images with words: equal to transformers' own pipelines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_segment_anything.errors import CheckpointError, ParameterError
from napari_segment_anything.families.detectors import load_detector
from napari_segment_anything.families.likeness import load_likeness, square_crop

from . import tiny_finders as tiny

IMAGE = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
WORDS = ["bright disk", "a nucleus"]
MAKERS = {
    "clip": tiny.tiny_clip,
    "siglip": tiny.tiny_siglip,
    "siglip2": tiny.tiny_siglip2,
    "owlv2": tiny.tiny_owlv2,
    "grounding-dino": tiny.tiny_grounding_dino,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in made:
            made[kind] = MAKERS[kind](tmp_path_factory.mktemp(kind))
        return made[kind]

    return of


@pytest.mark.parametrize(
    ("kind", "processor"),
    [("clip", "CLIPProcessor"), ("siglip", "SiglipProcessor"), ("siglip2", "Siglip2Processor")],
)
def test_likeness_is_that_of_transformers(folder, kind, processor) -> None:
    import transformers

    path = folder(kind)
    model = load_likeness(path)
    theirs = getattr(transformers, type(model.module).__name__).from_pretrained(path).eval()
    process = getattr(transformers, processor)(model.pixels.processor, model.words.tokenizer)
    length = model.module.config.text_config.max_position_embeddings
    more = {"max_num_patches": 16, "patch_size": 8} if kind == "siglip2" else {}
    inputs = process(
        text=WORDS, images=[IMAGE, IMAGE[:30]], padding="max_length", max_length=length,
        return_tensors="pt", **more,
    )  # fmt: skip
    if kind != "clip":
        inputs.pop("attention_mask", None)
    with torch.inference_mode():
        expected = theirs(**inputs)
    words, images = model.embed_words(WORDS), model.embed_images([IMAGE, IMAGE[:30]])
    assert words.numpy() == pytest.approx(expected.text_embeds.numpy(), abs=1e-4)
    assert images.numpy() == pytest.approx(expected.image_embeds.numpy(), abs=1e-4)
    probable = model.probabilities(images, words).numpy()
    assert probable == pytest.approx(expected.logits_per_image.softmax(1).numpy(), abs=1e-4)


def test_boxes_for_words_are_those_of_transformers(folder) -> None:
    import transformers

    path = folder("owlv2")
    model = load_detector(path)
    theirs = transformers.Owlv2ForObjectDetection.from_pretrained(path).eval()
    process = transformers.Owlv2Processor(model.pixels.processor, model.words.tokenizer)
    inputs = process(text=[[WORDS[0]]], images=IMAGE, return_tensors="pt")
    with torch.inference_mode():
        outputs = theirs(**inputs)
    expected = model.pixels.processor.post_process_object_detection(
        outputs, threshold=0, target_sizes=[IMAGE.shape[:2]]
    )[0]
    found = model.detect(IMAGE, model.read_words(WORDS[0]))
    assert found.scores == pytest.approx(expected["scores"].numpy(), abs=1e-4)
    same_boxes(found, expected)


def test_boxes_like_an_example_are_those_of_transformers(folder) -> None:
    path = folder("owlv2")
    model = load_detector(path)
    pixels = model.pixels([IMAGE], model.device)["pixel_values"]
    query = model.pixels([IMAGE[:40, :40]], model.device)["pixel_values"]
    with torch.inference_mode():
        theirs = model.module.image_guided_detection(pixel_values=pixels, query_pixel_values=query)
        map_ = model.module.image_embedder(pixel_values=query)[0]
        embedded, best, boxes = model.module.embed_image_query(map_.flatten(1, 2), map_)
    x, y, width, height = (boxes[0, best[0, 0]] * 40).tolist()
    box = np.array([y - height / 2, x - width / 2, y + height / 2, x + width / 2]) - 0.5
    wanted = model.read_boxes(IMAGE[:40, :40], box[None])
    assert wanted.numpy() == pytest.approx(embedded[0].numpy(), abs=1e-5)
    found = model.detect(IMAGE, wanted)
    assert found.scores == pytest.approx(theirs.logits[0, :, 0].sigmoid().numpy(), abs=1e-4)


def test_grounding_is_that_of_transformers(folder) -> None:
    import transformers

    path = folder("grounding-dino")
    model = load_detector(path)
    theirs = transformers.GroundingDinoForObjectDetection.from_pretrained(path).eval()
    process = transformers.GroundingDinoProcessor(model.pixels.processor, model.words.tokenizer)
    inputs = process(text="bright disk.", images=IMAGE, return_tensors="pt")
    with torch.inference_mode():
        outputs = theirs(**inputs)
    expected = process.post_process_grounded_object_detection(
        outputs, inputs["input_ids"], threshold=0, target_sizes=[IMAGE.shape[:2]]
    )[0]
    found = model.detect(IMAGE, model.read_words("Bright disk"))
    assert found.scores == pytest.approx(expected["scores"].numpy(), abs=1e-4)
    same_boxes(found, expected)
    assert not len(found.above(2).boxes)
    with pytest.raises(CheckpointError, match="not by examples"):
        model.read_boxes(IMAGE, np.zeros((1, 4)))


def same_boxes(found, expected) -> None:
    x0, y0, x1, y1 = expected["boxes"].numpy().T
    assert found.boxes + 0.5 == pytest.approx(np.stack([y0, x0, y1, x1], axis=1), abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "load", "remove", "message"),
    [
        ("clip", load_likeness, "tokenizer.json", "no tokenizer"),
        ("clip", load_likeness, "preprocessor_config.json", "no description of images"),
        ("owlv2", load_detector, "model.safetensors", "has no model.safetensors"),
        ("owlv2", load_detector, "config.json", "without config.json"),
    ],
)
def test_an_incomplete_folder_is_named(folder, tmp_path, kind, load, remove, message) -> None:
    for file in folder(kind).iterdir():
        if file.name not in (remove, "tokenizer_config.json"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


def test_a_model_of_another_kind_is_refused_with_what_would_do(folder) -> None:
    with pytest.raises(CheckpointError, match="boxes are found by owlv2"):
        load_detector(folder("clip"))
    with pytest.raises(CheckpointError, match="compared by clip"):
        load_likeness(folder("owlv2"))


def test_code_in_a_folder_is_not_run(folder, tmp_path) -> None:
    for file in folder("siglip").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "evil.py").write_text("raise SystemExit('run')\nclass Evil: ...\n")
    path = tmp_path / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    path.write_text(json.dumps(settings))
    load_likeness(tmp_path).embed_words(["disk"])


def test_too_many_words_are_refused(folder) -> None:
    model = load_likeness(folder("clip"))
    with pytest.raises(ParameterError, match="the model reads 32"):
        model.embed_words(["nucleus " * 30])


def test_crops_are_squares_around_the_mask() -> None:
    image = np.full((40, 60, 3), 9, np.uint8)
    image[10:20, 30:34] = 200
    mask = np.ones((10, 4), bool)
    mask[0, 0] = False
    crop = square_crop(image, (10, 30, 19, 33))
    assert crop.shape == (10, 10, 3)
    assert (crop[:, 3:7] == 200).all() and (crop[:, :3] == 9).all()
    blank = square_crop(image, (10, 30, 19, 33), 2.0, mask)
    assert blank.shape == (20, 20, 3)
    assert (blank == 200).sum() == 3 * mask.sum() and (blank == 0).sum() == blank.size - 3 * 39
    corner = square_crop(image, (0, 0, 9, 3), 2.0)
    assert corner.shape == (20, 20, 3) and (corner[:5] == 0).all() and (corner[6, 9] == 9).all()
    tight = square_crop(image, (10, 30, 19, 33), 0.5, mask)
    assert tight.shape == (5, 5, 3) and (tight == 200).sum() == 3 * 20
