"""Text prompts: trained from pictures of objects, given as words."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import napari_segment_anything as nsa
from napari_segment_anything.cli.main import run
from napari_segment_anything.engine import text as engine_text
from napari_segment_anything.errors import CheckpointError, ParameterError, PromptError
from napari_segment_anything.families.likeness import load_likeness
from napari_segment_anything.network import Sam, SamConfig
from napari_segment_anything.training import TrainingConfig
from napari_segment_anything.training.crops import Crops, EncodedCrops
from napari_segment_anything.training.prompted_objects import draw_objects
from napari_segment_anything.training.texts import TextPrompts, with_text_prompts

from ..families.tiny_finders import tiny_clip
from .small import VIT, disks, small_sam, stored

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    engine_text.load_clip.cache_clear()
    return tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="module")
def trained(clip, tmp_path_factory):
    """A few steps of a tiny model that learns points, boxes and texts."""
    folder = tmp_path_factory.mktemp("run")
    seen: list = []
    result = nsa.train(
        {
            "model": str(stored(folder, "vit")), "train": "decoder", "prompt": "clip",
            "clip": str(clip), "text_side": 10, "steps": 3, "rounds": 2, "objects": 6,
            "learning_rate": 1e-2, "log_every": 1,
        },
        images=[disks(seed) for seed in range(2)],
        output=folder / "run",
        on_progress=lambda step: seen.append(step.partial),
    )  # fmt: skip
    return result, [each.losses for each in seen if getattr(each, "losses", None)]


@pytest.mark.slow
def test_training_adds_a_projection_and_trains_it(trained, clip) -> None:
    result, losses = trained
    model = nsa.load_model(result.model)
    assert model.text_width == 16
    assert all("text_first" in each for each in losses)
    assert any(each["text_last"] > 0 for each in losses)
    weight = model.network.state_dict()["prompt_encoder.text_projection.bias"]
    assert weight.abs().max() > 0  # it began as zeros
    assert model.metadata["text_prompt"]["clip"] == str(clip)
    assert "takes words as prompts" in result.card


def test_words_are_prompts_and_a_click_helps(trained) -> None:
    model = nsa.load_model(trained[0].model)
    image, _ = disks(5)
    predictor = nsa.Predictor(model)
    embedding = predictor.embed(image)
    words = nsa.Prompts.from_words("a disk", model)
    other = nsa.Prompts.from_words("a cat", model)
    helped = nsa.Prompts.from_words("a disk", model, [[40, 40]])
    point = nsa.Prompts.from_points([[40, 40]])
    found = [predictor.predict(embedding, each).logits for each in (words, other, helped, point)]
    for a in range(4):
        for b in range(a):
            assert np.abs(found[a] - found[b]).max() > 1e-6
    # together as one by one
    joined = nsa.Prompts.concatenate([words, helped, point, other])
    assert joined.has_text.tolist() == [True, True, False, True]
    together = predictor.predict(embedding, joined).logits
    np.testing.assert_allclose(
        together[[0, 1, 2, 3]], np.concatenate(found)[[0, 2, 3, 1]], atol=1e-4
    )
    assert nsa.Prompts.from_dict(json.loads(json.dumps(joined.to_dict()))) == joined
    segmented = nsa.Segmenter(predictor).segment(image, joined)
    assert len(segmented) == 4
    assert segmented[0].window == nsa.Window.full(image.shape)


def test_one_verb(trained, tmp_path, capsys) -> None:
    np.save(tmp_path / "a.npy", disks(5)[0])
    arguments = ["segment", str(tmp_path / "a.npy"), "--words", "a disk", "--json", "-q"]
    model = ["--model", str(trained[0].model)]
    assert run([*arguments, *model, "--point", "40,40"]) == 0
    assert len(json.loads(capsys.readouterr().out)["records"]) == 1
    assert run([*arguments, *model]) == 0
    capsys.readouterr()
    assert run([*arguments, *model, "--box", "1,1,9,9", "--box", "3,3,20,20"]) == 2
    assert "--words describe one object" in capsys.readouterr().err


def test_models_without_text_prompts_refuse_them(trained, tmp_path, clip) -> None:
    plain = nsa.load_model(stored(tmp_path, "vit"))
    with pytest.raises(PromptError, match="vit takes no words as prompts"):
        nsa.Prompts.from_words("a disk", plain)
    words = nsa.Prompts.from_words("a disk", nsa.load_model(trained[0].model))
    predictor = nsa.Predictor(plain)
    with pytest.raises(PromptError, match="no text prompts of 16 channels"):
        predictor.predict(predictor.embed(disks(5)[0]), words)


def test_the_clip_has_to_be_the_same(trained, tmp_path, clip) -> None:
    model = nsa.load_model(trained[0].model)
    with pytest.raises(PromptError, match="words of a text prompt are missing"):
        nsa.Prompts.from_words(" ", model)
    known = model.metadata["text_prompt"]
    known["mark"] = "0"
    with pytest.raises(CheckpointError, match="trained with another CLIP"):
        nsa.Prompts.from_words("a disk", model)
    known["clip"] = str(tmp_path / "gone")
    with pytest.raises(CheckpointError, match="gone"):
        nsa.Prompts.from_words("a disk", model)
    other = Sam(SamConfig(VIT, text_width=8))
    with pytest.raises(ParameterError, match="text prompts of 8 channels; this CLIP has 16"):
        with_text_prompts(other, TextPrompts(load_likeness(clip), 10), "other")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt": "words"}, "prompt is 'clip'"),
        ({"prompt": "clip"}, "go together"),
        ({"clip": "x"}, "go together"),
        ({"prompt": "clip", "clip": "x", "text_side": 0}, "text_side"),
    ],
)
def test_configurations(values, message) -> None:
    with pytest.raises(ParameterError, match=message):
        TrainingConfig(**values)


class Pictures:
    """Stands for a CLIP: keeps what it is shown."""

    def embed_images(self, pictures):
        self.seen = pictures
        return torch.ones(len(pictures), 4)


def test_pictures_show_large_objects() -> None:
    labels = torch.zeros(1, 32, 32, dtype=torch.int64)
    labels[0, 4:20, 8:28] = 1
    labels[0, 25:29, 2:6] = 2
    images = torch.full((1, 3, 64, 64), 50, dtype=torch.uint8)
    images[:, :, 8:40, 16:56] = 200
    seen = torch.full((1, 32, 32), 2, dtype=torch.uint8)
    crops = Crops(
        images, torch.ones(1, 1, 64, 64, dtype=torch.bool), labels,
        torch.zeros(1, 32, 32, dtype=torch.uint8), torch.zeros_like(labels), seen, 2,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    objects = draw_objects(crops, 5, 8, generator, min_area=20)
    encoded = EncodedCrops(torch.zeros(1, 4, 8, 8), None, crops, torch.zeros(1, 2), {})
    texts = TextPrompts(Pictures(), 20)
    able = texts.able(objects)
    assert able.sum() == 1
    vectors = texts(encoded, objects.take(torch.nonzero(able)[:, 0]), generator)
    assert vectors.shape == (1, 4)
    [picture] = texts.clip.seen
    assert picture.shape[0] == picture.shape[1] >= 40
    assert picture[len(picture) // 2, len(picture) // 2, 0] == 200
    assert set(np.unique(picture)) <= {0, 50, 200}


def test_a_network_without_them_is_unchanged(clip) -> None:
    network = small_sam("vit")
    made = with_text_prompts(network, TextPrompts(load_likeness(clip), 10), "small")
    embedding = torch.randn(1, 256, 8, 8)
    coords, labels = torch.full((1, 1, 2), 20.0), torch.ones(1, 1, dtype=torch.int64)
    with torch.inference_mode():
        before = network.decode(embedding, coords, labels)[0]
        after = made.decode(embedding, coords, labels)[0]
    assert torch.equal(before, after)
    with pytest.raises(ValueError, match="no text prompts"):
        network.decode(embedding, texts=torch.ones(1, 16))
