"""Objects seen at a size the model is good at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.draw import disk

from napari_segment_anything.engine import (
    EmbeddingCache,
    EncodePlan,
    Focus,
    Predictor,
    Prompts,
    Segmenter,
    View,
    Views,
    Window,
)
from napari_segment_anything.engine.frame import to_frame

FOCUS = Focus(30.0, 90.0, 50.0)
sides = st.integers(1, 6000)


@given(st.data(), sides, sides, st.sampled_from([128, 512, 1024]), st.floats(1, 2))
def test_a_view_holds_the_object_at_a_good_size(data, rows, cols, frame, slack):
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    bottom, right = data.draw(st.integers(top, rows - 1)), data.draw(st.integers(left, cols - 1))
    box = (top, left, bottom, right)
    whole = View(Window.full((rows, cols)))
    plan = EncodePlan((rows, cols), frame, FOCUS)
    view = plan.suited(box, whole, slack)
    window = view.window
    assert view.window.holds(box)
    assert window.row + window.height <= rows and window.col + window.width <= cols
    size = max(bottom - top, right - left) + 1
    seen = size * frame / view.side
    if view == whole:
        assert FOCUS.least / slack <= seen <= FOCUS.most * slack or whole.side in (
            view.side,
            max(rows, cols),
        )
    else:
        aim = 50 if size * frame / max(rows, cols) < 90 else 72
        if 32 * 1.2 < size * frame / aim < 16 * frame / 1.2:
            assert aim / 1.2 <= seen <= aim * 1.2
    # looked at from there it stays there
    assert plan.suited(box, view, 2.0) == view or not 25 <= seen <= 180
    assert view.span is None or view.span > max(window.shape)


def test_neighbours_share_a_view():
    plan = EncodePlan((4000, 4000), 512, FOCUS)
    views = {
        plan.suited((row, col, row + 20, col + 20), View(Window.full(plan.shape)))
        for row in range(1000, 1100, 10)
        for col in range(1000, 1100, 10)
    }
    assert len(views) <= 9


@pytest.mark.parametrize("shape", [(60, 100), (100, 100), (1, 7), (60, 100, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_the_rest_of_the_frame_is_the_image_mirrored(shape, kind):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(kind)
    span = 4 * max(shape)
    frame = to_frame(pixels, 4 * max(shape), span).numpy()  # not resized
    gray = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    missing = [(0, 4 * max(shape) - n) for n in shape[:2]]
    assert np.array_equal(
        frame[0].transpose(1, 2, 0), np.pad(gray, [*missing, (0, 0)], "symmetric")
    )


def test_embedding_with_a_span(predictor, photo):
    whole = predictor.embed(photo)
    assert predictor.embed(photo, span=100).scale == whole.scale  # less than the image has
    far = predictor.embed(photo, span=300)
    assert far.frame_shape == (38, 64) and far.scale == pytest.approx((38 / 90, 64 / 150))
    places = np.array([[0, 0], [89, 149], [10.5, 20.25]])
    assert np.allclose(far.from_frame(far.to_frame(places)), places)
    found = predictor.predict(far, Prompts.from_points([[40, 40]]))
    assert found.masks.shape == (1, 3, 90, 150)
    assert not np.array_equal(
        found.logits, predictor.predict(whole, Prompts.from_points([[40, 40]])).logits
    )


def test_a_span_is_part_of_the_key(model, photo):
    predictor = Predictor(model, EmbeddingCache())
    features = [predictor.embed(photo, span=span).features for span in (None, 300, 450, 300)]
    assert not features[0].equal(features[1]) and not features[1].equal(features[2])
    assert features[1].equal(features[3])


def test_a_reduced_level_is_read_for_a_large_span(model, rng):
    levels = [np.zeros((1024 >> i, 1024 >> i), np.uint8) for i in range(4)]
    predictor = Predictor(model)
    assert predictor.embed(levels, contrast_limits=(0, 1)).level == 3
    window = Window(0, 0, 256, 256)
    assert predictor.embed(levels, window=window, contrast_limits=(0, 1)).level == 1
    far = predictor.embed(levels, window=window, span=1024, contrast_limits=(0, 1))
    assert far.level == 3 and far.frame_shape == (32, 32)


def looks(predictor, photo, prompts, **options):
    views = Views(predictor, photo)
    found = Segmenter(predictor, min_mask_region_area=0, **options).segment(views, prompts)
    return found, [key.view for key in views.store]


def test_without_focus_it_is_predict(predictor, photo):
    prompts = Prompts.from_boxes([[5, 5, 9, 9], [0, 0, 80, 140]])
    found, used = looks(predictor, photo, prompts, multimask=False)
    plain = predictor.predict(predictor.embed(photo), prompts, multimask=False)
    assert used == [View(Window.full((90, 150)))]
    for each, mask, score in zip(found, plain.best(), plain.scores[:, 0], strict=True):
        assert np.array_equal(each.mask.within(Window.full((90, 150))), mask)
        assert each.score == score
    assert looks(predictor, photo, prompts[[]])[0] == []


def test_each_object_is_seen_from_its_view(model, photo):
    sizes = {"least": 30.0, "most": 90.0, "best": 50.0}
    predictor = Predictor(replace(model, metadata={"focus": sizes}))
    items = [
        {"box": [5, 5, 9, 9]},
        {"box": [0, 0, 85, 140]},
        {"box": [20, 20, 70, 70]},
        {"points": [[6, 6], [80, 140]], "labels": [1, 0], "box": [5, 5, 9, 9]},
    ]
    # what the random network draws means nothing: no mask is cut off and asks for a larger window
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EncodePlan, "wider", lambda *_: None)
        found, used = looks(predictor, photo, Prompts.from_objects(items))
    assert len(used) == 3
    where = [each.view for each in found]
    assert where[0] == where[3]  # a far negative point says nothing there, and is left out
    assert max(where[0].window.shape) < 40 and where[1].side > 200
    assert where[2] == View(Window.full((90, 150)))
    assert all(each.window == each.view.window for each in found)


@pytest.fixture(scope="module")
def default(default_model) -> Predictor:
    return Predictor(default_model)


@pytest.mark.parametrize(("side", "radius"), [(512, 130), (256, 100), (900, 4), (512, 3)])
def test_very_large_and_very_small_discs(default, side, radius):
    """Without another view the large ones give IoU .1 and less."""
    truth = np.zeros((side, side), bool)
    centre = side // 2
    truth[disk((centre, centre), radius + 0.5)] = True
    noise = np.random.default_rng(0).normal(0, 4, truth.shape)
    image = np.clip(np.where(truth, 200, 30) + noise, 0, 255).astype(np.uint8)
    low, high = centre - radius, centre + radius
    for prompts in (
        Prompts.from_boxes([[low, low, high, high]]),
        Prompts.from_points([[centre] * 2]),
    ):
        ((found,), _) = looks(default, image, prompts)
        mask = found.mask.within(Window.full(truth.shape))
        assert (mask & truth).sum() / (mask | truth).sum() > 0.8
