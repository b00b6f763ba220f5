"""What objects look like, and how like examples candidates are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.draw import disk

from napari_segment_anything.engine import PlacedMask, PlaneSource, Predictor, Window
from napari_segment_anything.errors import FormatError, ParameterError
from napari_segment_anything.finding import describe_objects, everything_steps, likeness, read_pool
from napari_segment_anything.finding.traits import light_of, pooled, shape_of
from napari_segment_anything.progress import finish

from .spots import GRID, spots, traits_of


def test_shapes_of_a_disk_a_bar_and_a_crescent() -> None:
    round_one = np.zeros((41, 41), bool)
    round_one[disk((20, 20), 15)] = True
    bar = np.ones((5, 40), bool)
    crescent = round_one.copy()
    crescent[disk((20, 28), 14, shape=(41, 41))] = False
    ratio, full, compact = shape_of(round_one)
    assert ratio == pytest.approx(0, abs=0.02)
    assert full == pytest.approx(1, abs=0.02)
    assert compact > 0.85
    assert shape_of(bar)[0] == pytest.approx(np.log(8), abs=0.1)
    assert shape_of(bar)[2] < 0.5
    assert shape_of(crescent)[1] < 0.8
    assert np.isfinite(shape_of(np.ones((1, 1), bool))).all()


def test_brightness_inside_and_against_the_surroundings() -> None:
    pixels = np.full((30, 30), 0.2, np.float32)
    pixels[10:20, 10:20] = 0.8
    mask = PlacedMask.of(np.ones((10, 10), bool), 110, 210)
    mean, deviation, contrast = light_of(mask, pixels, Window(100, 200, 30, 30))
    assert (mean, deviation, contrast) == pytest.approx((0.8, 0, 0.6), abs=1e-6)


def test_pooled_features_are_the_mean_over_the_mask(predictor: Predictor) -> None:
    image, masks = spots()
    embedding = predictor.embed(image)
    found = pooled(masks, embedding)
    features = embedding.features[0].numpy()
    stride = embedding.image_size / features.shape[-1]
    rows, cols = np.nonzero(masks[0].within(Window.full(image.shape)))
    cells = (
        ((rows + 0.5) * embedding.scale[0] / stride).astype(int),
        ((cols + 0.5) * embedding.scale[1] / stride).astype(int),
    )
    expected = features[:, cells[0], cells[1]].mean(1)
    assert found[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_large_plane_is_described_where_it_has_objects(predictor: Predictor) -> None:
    image, masks = spots((520, 300))
    windows = []
    embed = predictor.embed
    predictor.embed = lambda *a, **k: windows.append(k["window"]) or embed(*a, **k)  # type: ignore[method-assign]
    try:
        found = finish(describe_objects(masks[:2] + masks[-1:], PlaneSource(image), predictor))
    finally:
        del predictor.embed
    assert len(found) == 3
    assert 1 <= len(windows) <= 3
    assert all(window.height == 128 for window in windows)
    assert found.light[0, 0] > found.light[2, 0]
    assert not finish(describe_objects([], PlaneSource(image), predictor)).size.size


@pytest.mark.parametrize(
    "other",
    [
        {"size": np.array([5, 5, 7], np.float32)},
        {"shape": np.array([[0.1, 1, 0.9], [0.1, 1, 0.9], [1.5, 0.8, 0.4]], np.float32)},
        {"light": np.array([[0.5, 0.1, 0.3], [0.5, 0.1, 0.3], [0.2, 0.1, -0.1]], np.float32)},
        {"embedding": np.eye(3, 256, dtype=np.float32)[[0, 0, 2]]},
    ],
)
def test_every_trait_counts(other: dict[str, np.ndarray]) -> None:
    scores = likeness(traits_of(1), traits_of(3, **other), [0.8] * 3, [0.9] * 3)
    assert scores[0] == scores[1] > scores[2]
    assert ((scores > 0) & (scores < 1)).all()


def test_doubtful_masks_rank_lower_and_missing_scores_are_no_error() -> None:
    scores = likeness(traits_of(1), traits_of(3), [0.9, 0.5, np.nan], [0.9, 0.9, np.nan])
    assert scores[0] > scores[1] > scores[2]
    assert len(likeness(traits_of(1), traits_of(0), [], [])) == 0
    with pytest.raises(ParameterError, match="at least one object"):
        likeness(traits_of(0), traits_of(3), [1] * 3, [1] * 3)


def test_examples_that_vary_allow_for_it() -> None:
    sizes = np.array([5.0, 7.0], np.float32)
    candidates = traits_of(1, size=np.array([7.0], np.float32))
    score = [0.8], [0.9]
    alike = likeness(traits_of(2), candidates, *score)
    varied = likeness(traits_of(2, size=sizes), candidates, *score)
    assert varied[0] > alike[0]


def test_pool_of_everything_is_kept_on_disk(tmp_path: Path, predictor: Predictor) -> None:
    image, _ = spots()
    table, found = finish(everything_steps(PlaneSource(image), predictor, **GRID))
    assert len(found) >= len(table) > 0
    path = tmp_path / "candidates.npz"
    found.writer()(path)
    back = read_pool(path)
    assert back.masks == found.masks
    assert back.fingerprint == predictor.model.fingerprint
    assert back.traits.embedding == pytest.approx(found.traits.embedding, abs=1e-3)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FormatError, match="cannot be read"):
        read_pool(path)
    with pytest.raises(FormatError, match="does not exist"):
        read_pool(tmp_path / "none.npz")
