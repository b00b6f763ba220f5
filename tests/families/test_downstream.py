"""What stands on the engine works with models of other families: here SAM 2 and SAM-HQ.

That all ways to segment prompted objects agree with each other: tests/faces.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import napari_segment_anything as nsa
from napari_segment_anything.engine import EmbeddingCache, Model, Predictor, Prompts
from napari_segment_anything.engine.backoff import MemoryWarning
from napari_segment_anything.errors import ParameterError
from napari_segment_anything.evaluation import PromptSettings, evaluate, find_entries
from napari_segment_anything.progress import finish
from tests.families.tiny import tiny_sam2, tiny_sam_hq

LOOSE = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "points_per_side": 4}
GIVEN = Prompts.from_objects([{"points": [20, 30]}, {"points": [70, 100]}, {"points": [45, 75]}])


@pytest.fixture(scope="module", params=["sam2", pytest.param("sam_hq", marks=pytest.mark.slow)])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    write = {"sam2": tiny_sam2, "sam_hq": tiny_sam_hq}[request.param]
    return write(tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return nsa.load_model(folder, device="cpu", precision="fp32")


@pytest.mark.slow
def test_embeddings_from_memory_and_disk_are_the_same(folder, photo, tmp_path) -> None:
    for precision in ("fp32", "bf16"):
        model = nsa.load_model(folder, device="cpu", precision=precision)
        answers = []
        for cache in (EmbeddingCache(tmp_path), EmbeddingCache(tmp_path)):
            predictor = Predictor(model, cache)
            assert predictor.embed_ahead(photo) is not bool(answers)
            for _ in range(2):
                embedding = predictor.embed(photo)
                assert embedding.heads
                answers.append(predictor.predict(embedding, GIVEN).logits)
        assert all(np.array_equal(answers[0], other) for other in answers[1:])


@pytest.mark.slow
def test_16_bits_are_close(folder, model, photo) -> None:
    short = nsa.load_model(folder, device="cpu", precision="bf16")
    assert (short.encoder_precision, model.encoder_precision) == ("bf16", "fp32")
    found = []
    for each in (model, short):
        predictor = Predictor(each)
        embedding = predictor.embed(photo)
        assert embedding.features.dtype == torch.float32
        found.append(predictor.predict(embedding, GIVEN))
    exact, rounded = found
    assert rounded.logits.dtype == np.float32
    error = np.abs(exact.logits - rounded.logits)
    assert 0 < np.median(error) < 0.03 * exact.logits.std()
    assert np.abs(exact.scores - rounded.scores).max() < 0.1


def test_when_memory_runs_out_batches_shrink_and_then_the_cpu_is_used(model, photo) -> None:
    class Full(torch.nn.Module):
        """A network on a device without memory; copies of it lie elsewhere."""

        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.inner, self.largest = network, 2
            self.config, self.mask_threshold = network.config, network.mask_threshold

        def encode(self, pixels):
            if pixels.device.type == "meta":
                raise torch.OutOfMemoryError("CUDA out of memory")
            return self.inner.encode(pixels)

        def decode(self, embedding, *arguments, **options):
            count = len(options["coords"])
            if embedding.device.type == "meta" or count > self.largest:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return self.inner.decode(embedding, *arguments, **options)

    wanted = Predictor(model)
    wanted = wanted.predict(wanted.embed(photo), GIVEN)
    full = Model(Full(model.network), "full", "full", "0", torch.device("meta"))
    predictor = Predictor(full)
    with pytest.warns(MemoryWarning):
        embedding = predictor.embed(photo)
    with pytest.warns(MemoryWarning):
        found = predictor.predict(embedding, GIVEN)
    np.testing.assert_allclose(found.logits, wanted.logits, atol=1e-5)
    assert any("going on on cpu" in note for note in found.notes)


def test_a_copy_for_the_cpu_has_all_weights_and_answers_alike(model, photo) -> None:
    elsewhere = Model(model.network, "m", "m", "0", torch.device("meta"))
    copied = elsewhere.network_on(torch.device("cpu"))
    assert copied is not model.network
    ours = {name: tensor.data_ptr() for name, tensor in model.network.state_dict().items()}
    for name, tensor in copied.state_dict().items():
        assert torch.equal(tensor, model.network.state_dict()[name])
    assert len(ours) == len(copied.state_dict())
    frame = torch.rand(1, 3, model.image_size, model.image_size) * 255
    with torch.inference_mode():
        first, second = (each.encode(frame).embedding for each in (model.network, copied))
    assert torch.equal(first, second)


def test_everything_by_grid(model, photo) -> None:
    assert model.auto_mode == "grid" and not model.has_dense_maps and not model.refines
    table = nsa.segment_everything(photo, model, crop_n_layers=1, **LOOSE)
    assert len(table) >= 1 and len(table.candidates) > 100  # of a grid on the image and four crops
    assert table.to_labels().shape == photo.shape[:2]
    with pytest.raises(ParameterError, match="does not support mode 'instances'"):
        nsa.segment_everything(photo, model, mode="instances")


def test_everything_takes_the_published_threshold(model) -> None:
    published = {"pred_iou_thresh": 0.8} if model.architecture.startswith("sam2") else {}
    assert model.everything_defaults("grid") == published


@pytest.mark.slow
def test_large_images_by_a_model_and_by_its_folder(folder, model, photo, tmp_path) -> None:
    large = np.tile(photo[..., 0], (2, 2))
    results = [
        nsa.segment_large(
            large, tmp_path / f"{name}.zarr", each, tile=128, precision="fp32", **LOOSE
        )
        for name, each in (("model", model), ("folder", folder))
    ]
    labels = [np.asarray(each.labels[...]) for each in results]
    assert labels[0].max() >= 1
    assert np.array_equal(*labels)


def test_evaluation(model, tmp_path) -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((96, 128), np.uint16)
    labels[20:50, 30:60], labels[60:80, 80:110] = 1, 2
    image = (labels > 0) * 150 + rng.integers(0, 50, labels.shape)
    (tmp_path / "data" / "set").mkdir(parents=True)
    np.savez(tmp_path / "data" / "set" / "a.npz", image=image.astype(np.uint8), labels=labels)
    result = finish(
        evaluate(
            find_entries([tmp_path / "data"]),
            model,
            tmp_path / "out",
            modes=("grid",),
            parameters=LOOSE,
            settings=PromptSettings(2, clicks=2),
        )
    )
    assert {record["protocol"] for record in result.records} >= {"points", "boxes", "clicks"}


def test_training_is_refused_in_one_line(folder, photo, tmp_path) -> None:
    labels = np.ones(photo.shape[:2], np.int32)
    with pytest.raises(ParameterError, match="cannot be trained here"):
        nsa.train(
            {"model": str(folder), "steps": 1}, images=[(photo, labels)], output=tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()
