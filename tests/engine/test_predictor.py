from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from napari_segment_anything.engine import (
    Model,
    Predictor,
    Prompts,
    Window,
    mask_logits,
    resolve_contrast_limits,
)
from napari_segment_anything.errors import ImageError, ParameterError, PromptError
from napari_segment_anything.network import MicroConfig, Sam, SamConfig

OBJECTS = [
    {"points": [[10, 20]]},
    {"points": [[30.5, 40.25], [60, 100]], "labels": [1, 0]},
    {"box": [5, 10, 50, 90]},
    {"points": [[20, 30]], "labels": [0], "box": [2, 3, 70, 80]},
    {"points": [[40, 40]]},
    {"points": [[1, 2], [3, 4], [89, 149]], "box": [0, 0, 90, 150]},
]


def plain(network, photo, item, multimask):
    """The published pipeline for one object, written out."""
    side = network.config.image_size
    height, width = photo.shape[:2]
    scale = side / max(height, width)
    new = (int(height * scale + 0.5), int(width * scale + 0.5))
    small = np.asarray(Image.fromarray(photo).resize(new[::-1], Image.Resampling.BILINEAR))
    x = torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float()
    mean = torch.tensor([123.675, 116.28, 103.53]).reshape(1, 3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).reshape(1, 3, 1, 1)
    x = F.pad((x - mean) / std, (0, side - new[1], 0, side - new[0]))
    features = network.image_encoder(x).embedding

    def xy(points):
        points = np.asarray(points, float).reshape(-1, 2)[:, ::-1].copy()
        points[:, 0] *= new[1] / width
        points[:, 1] *= new[0] / height
        return torch.from_numpy(points).float()

    arguments = {}
    if "points" in item:
        labels = item.get("labels", [1] * len(item["points"]))
        arguments = {"coords": xy(item["points"])[None], "labels": torch.tensor([labels])}
    if "box" in item:
        arguments["boxes"] = xy(item["box"]).reshape(1, 4)
    if "mask" in item:
        arguments["masks"] = torch.as_tensor(item["mask"])[None, None]
    low, iou = network.decode(features, multimask=multimask, **arguments)
    options = {"mode": "bilinear", "align_corners": False}
    frame = F.interpolate(low, (side, side), **options)[..., : new[0], : new[1]]
    return F.interpolate(frame, (height, width), **options)[0].numpy(), low[0], iou[0]


@pytest.mark.slow
@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("shape", [(90, 150), (128, 128), (40, 33), (200, 300)])
def test_each_object_is_what_the_published_pipeline_gives(
    predictor, network, rng, multimask, shape
):
    photo = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    top = np.array(shape) / np.array([90, 150])
    items = []
    for item in OBJECTS:
        item = dict(item)
        if "points" in item:
            points = np.minimum(np.array(item["points"]) * top, np.array(shape) - 1)
            item["points"] = points.astype(np.float32)
        if "box" in item:
            item["box"] = (np.array(item["box"]) * np.tile(top, 2)).astype(np.float32)
        items.append(item)
    items.append({"mask": rng.normal(size=(32, 32)).astype(np.float32) * 5, **items[1]})
    items.append({"mask": rng.normal(size=(32, 32)).astype(np.float32) * 5})
    embedding = predictor.embed(photo)
    result = predictor.predict(embedding, Prompts.from_objects(items), multimask=multimask)
    assert result.masks.shape == (len(items), 3 if multimask else 1, *shape)
    assert result.masks.dtype == np.bool_
    for number, item in enumerate(items):
        values, low, iou = plain(network, photo, item, multimask)
        np.testing.assert_allclose(result.logits[number], low, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(result.scores[number], iou, rtol=1e-4, atol=1e-5)
        sure = np.abs(values) > 1e-4
        np.testing.assert_array_equal(result.masks[number][sure], values[sure] > 0)


def test_objects_never_influence_each_other(predictor, photo):
    embedding = predictor.embed(photo)
    prompts = Prompts.from_objects(OBJECTS)
    together = predictor.predict(embedding, prompts)
    for batch_size in (1, 2):
        again = predictor.predict(embedding, prompts, batch_size=batch_size)
        np.testing.assert_allclose(again.logits, together.logits, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(again.scores, together.scores, rtol=1e-4, atol=1e-5)
    for number, one in enumerate(prompts):
        alone = predictor.predict(embedding, one)
        np.testing.assert_allclose(alone.logits[0], together.logits[number], rtol=1e-4, atol=1e-5)
    order = [5, 2, 0, 4, 1, 3]
    shuffled = predictor.predict(embedding, prompts[order])
    np.testing.assert_allclose(shuffled.logits, together.logits[order], rtol=1e-4, atol=1e-5)


def test_decode_gives_the_same_logits(predictor, photo):
    embedding = predictor.embed(photo)
    for prompts in (Prompts.from_objects(OBJECTS), Prompts.each_point([[3, 4], [50, 60]])):
        result = predictor.predict(embedding, prompts)
        low, iou = predictor.decode(embedding, prompts)
        np.testing.assert_allclose(low.numpy(), result.logits, atol=1e-6)
        np.testing.assert_allclose(iou.numpy(), result.scores, atol=1e-6)
        low, iou = predictor.decode(embedding, prompts, return_all=True)
        np.testing.assert_allclose(low[:, 1:].numpy(), result.logits, atol=1e-6)
        assert iou.shape == (len(prompts), 4)


def test_the_best_candidate(predictor, photo):
    result = predictor.predict(predictor.embed(photo), Prompts.from_objects(OBJECTS))
    best = result.scores.argmax(1)
    for number, candidate in enumerate(best):
        np.testing.assert_array_equal(result.best()[number], result.masks[number, candidate])
        np.testing.assert_array_equal(
            result.best_logits()[number], result.logits[number, candidate]
        )


def test_no_objects(predictor, photo):
    embedding = predictor.embed(photo)
    none = Prompts.from_boxes(np.zeros((0, 4)))
    result = predictor.predict(embedding, none)
    assert result.masks.shape == (0, 3, 90, 150)
    assert result.best().shape == (0, 90, 150)
    assert predictor.decode(embedding, none)[0].shape == (0, 3, 32, 32)


def test_last_logits_and_drawn_masks_are_prompts(predictor, photo):
    embedding = predictor.embed(photo)
    prompts = Prompts.each_point([[10, 20], [50, 60]])
    first = predictor.predict(embedding, prompts)
    again = predictor.predict(embedding, prompts.with_masks(first.best_logits()), multimask=False)
    assert again.masks.shape == (2, 1, 90, 150)
    label = np.zeros((90, 150), bool)
    label[20:50, 30:90] = True
    refined = Prompts.from_objects([{"mask": mask_logits(label, embedding)}])
    assert predictor.predict(embedding, refined).logits.any()
    with pytest.raises(PromptError, match=r"\(32, 32\), not \(16, 16\)"):
        predictor.predict(embedding, Prompts.from_objects([{"mask": np.zeros((16, 16))}]))


def test_a_window_is_the_image_cut_out(predictor, photo):
    window = Window(20, 31, 60, 70)
    part = predictor.embed(photo, window=window)
    cut = predictor.embed(photo[window.slices])
    torch.testing.assert_close(part.features, cut.features, rtol=0, atol=0)
    here = predictor.predict(
        part, Prompts.from_objects([{"points": [[45, 50]], "box": [25, 33, 70, 99]}])
    )
    there = predictor.predict(
        cut, Prompts.from_objects([{"points": [[25, 19]], "box": [5, 2, 50, 68]}])
    )
    np.testing.assert_array_equal(here.masks, there.masks)
    assert here.window == window
    with pytest.raises(PromptError, match="outside the window"):
        predictor.predict(part, Prompts.each_point([[5, 5]]))
    with pytest.raises(PromptError, match="outside the image"):
        predictor.predict(part, Prompts.each_point([[95, 5]]))


def test_only_the_window_is_read(predictor, counting):
    lazy = counting(np.broadcast_to(np.arange(20000, dtype=np.uint16), (10000, 20000)))
    limits = resolve_contrast_limits(lazy)
    lazy.pixels = 0
    window = Window.around((5000, 19990), lazy.shape, 100)
    embedding = predictor.embed(lazy, window=window, contrast_limits=limits)
    assert lazy.pixels == 100 * 100
    assert embedding.image_shape == (10000, 20000)
    assert embedding.limits == limits


def test_limits_are_those_of_the_image_not_of_the_window(predictor):
    image = np.zeros((200, 200), np.uint16)
    image[:100] = 10
    image[100:] = 1000
    dark, bright = Window(0, 0, 100, 200), Window(100, 0, 100, 200)
    assert (
        predictor.embed(image, window=dark).limits == predictor.embed(image, window=bright).limits
    )


def test_of_a_pyramid_the_fitting_level_is_read(predictor, counting, rng):
    full = np.kron(rng.integers(0, 200, (128, 128), dtype=np.uint8), np.ones((8, 8), np.uint8))
    levels = [counting(full[::step, ::step]) for step in (1, 2, 4, 8)]
    limits = ((0, 255),)
    whole = predictor.embed(levels, contrast_limits=limits)
    assert [level.pixels for level in levels] == [0, 0, 0, 128 * 128]
    assert whole.level == 3
    assert (whole.window, whole.canvas) == (Window(0, 0, 1024, 1024), (1024, 1024))
    direct = predictor.embed(full[::8, ::8], contrast_limits=limits)
    torch.testing.assert_close(whole.features, direct.features, rtol=0, atol=0)
    result = predictor.predict(whole, Prompts.each_point([[800, 900]]))
    assert result.masks.shape == (1, 3, 1024, 1024)
    part = predictor.embed(levels, window=Window(300, 500, 256, 256), contrast_limits=limits)
    assert part.level == 1
    assert part.to_frame([[300, 500], [556, 756]]).tolist() == [[0, 0], [128, 128]]
    np.testing.assert_allclose(part.from_frame(part.to_frame([[371.5, 601]])), [[371.5, 601]])


def test_images_of_all_kinds_are_embedded(predictor, rng):
    image = rng.normal(size=(40, 50))
    image[3, 4] = np.nan
    assert predictor.embed(image).features.isfinite().all()
    assert predictor.embed(np.zeros((1, 1), bool)).features.isfinite().all()
    assert predictor.embed(rng.random((5, 40, 50)), channel_axis=0, channels=[4, 1]).heads == {}
    with pytest.raises(ImageError):
        predictor.embed(np.zeros((0, 3)))
    result = predictor.predict(predictor.embed(np.zeros((1, 1))), Prompts.from_points([0, 0]))
    assert result.masks.shape == (1, 3, 1, 1)


def test_wrong_parameters(predictor, network, photo):
    embedding = predictor.embed(photo)
    prompts = Prompts.from_points([1, 2])
    with pytest.raises(ParameterError, match="batch_size"):
        predictor.predict(embedding, prompts, batch_size=0)
    other = Model(network, "other", "vit", "0" * 32, torch.device("cpu"))
    with pytest.raises(ParameterError, match="another model"):
        Predictor(other).predict(embedding, prompts)
    with pytest.raises(ParameterError, match="outside"):
        predictor.embed(photo, window=Window(500, 0, 5, 5))
    with pytest.raises(PromptError, match="only negative"):
        predictor.decode(embedding, Prompts.from_points([1, 2], [0]))


def test_threads_may_share_a_predictor(predictor, rng):
    photos = [rng.integers(0, 256, (50 + i, 60, 3), dtype=np.uint8) for i in range(4)]
    prompts = Prompts.from_objects([{"points": [[10, 20]]}, {"box": [3, 4, 40, 50]}])
    barrier = threading.Barrier(4)

    def run(photo):
        barrier.wait()
        return predictor.predict(predictor.embed(photo), prompts)

    expected = [predictor.predict(predictor.embed(photo), prompts) for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(run, photos))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-5)
    assert torch.is_grad_enabled()


def test_a_refiner_gets_the_maps_and_the_outer_edges_of_boxes(monkeypatch):
    torch.manual_seed(0)
    shape = MicroConfig(64, widths=(8, 16, 16, 32), attention_blocks=2, heads=4)
    network = Sam(SamConfig(shape, refiner_width=4)).eval()
    model = Model(network, "tiny", "micro", "0" * 64, torch.device("cpu"), "fp32", "for the test")
    predictor = Predictor(model)
    given = {}
    refine = network.mask_refiner.forward

    def watched(logits, iou, maps, coords=None, labels=None, boxes=None, kinds=slice(None)):
        given.update(maps=maps, boxes=boxes, kinds=kinds)
        return refine(logits, iou, maps, coords, labels, boxes, kinds)

    monkeypatch.setattr(network.mask_refiner, "forward", watched)
    embedding = predictor.embed(np.zeros((16, 16), np.uint8))
    # four frame pixels an image pixel: pixels 2 to 5 are frame pixels 8 to 23
    predictor.predict(embedding, Prompts.from_boxes([[2, 3, 5, 9]]), multimask=False)
    assert given["boxes"].tolist() == [[11.5, 7.5, 39.5, 23.5]]
    assert given["kinds"] == slice(0, 1)
    torch.testing.assert_close(given["maps"], embedding.heads["dense"])
