"""Objects in 3-D from planes along all three axes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_segment_anything.automatic.dense import BoxDecoding
from napari_segment_anything.engine import Predictor
from napari_segment_anything.errors import ImageError, ParameterError
from napari_segment_anything.progress import finish
from napari_segment_anything.stacks import (
    segment_stack,
    segment_stack_steps,
    solid_maps,
    solid_parts,
    solid_segment,
)
from napari_segment_anything.stacks.solid_maps import Sight, SolidMaps, resampling
from napari_segment_anything.stacks.solid_objects import group_cells
from napari_segment_anything.stacks.solid_parts import plan_parts
from napari_segment_anything.stacks.stack_labels import StackLabels

from .helpers import LIMITS, Recording, balls, iou, seen


@pytest.fixture
def perfect(monkeypatch):
    """Planes of bright balls are seen as they are; a cell is a voxel."""
    calls = []

    def plane_maps(predictor, planes, scale, limits, cells):
        calls.extend(plane.shape for plane in planes)
        assert tuple(cells) == planes.shape[1:3]
        return np.stack([seen(ndimage.label(plane[..., 0] > 120)[0]) for plane in planes], 1)

    monkeypatch.setattr(solid_maps, "plane_maps", plane_maps)
    monkeypatch.setattr(solid_segment, "choose_scale", lambda *_: 4.0)
    return calls


CENTRES, RADII = [(12, 14, 14), (11, 40, 33), (12, 15, 46)], [8, 9, 7]
EVEN = {"contrast_limits": LIMITS, "axes": "ZYX", "anisotropy": 1}


def volume():
    return balls((24, 56, 60), CENTRES, RADII)


def same(labels, truth) -> float:
    return min(max(iou(labels == i, truth == n) for i in np.unique(labels) if i) for n in (1, 2, 3))


@pytest.mark.parametrize(("size", "count"), [(7, 3), (3, 7), (5, 5), (1, 4), (9, 1)])
def test_resampling_keeps_means_and_slopes(size, count):
    table = resampling(size, count)
    assert table.shape == (count, size)
    np.testing.assert_allclose(table.sum(1), 1, rtol=1e-6)
    ramp = (np.arange(size) + 0.5) / size
    inner = slice(None) if count <= size else slice(count // size, -(count // size))
    np.testing.assert_allclose(
        (table @ ramp)[inner], ((np.arange(count) + 0.5) / count)[inner], atol=0.02
    )


@pytest.mark.parametrize("gap", [0, 3])
def test_balls_that_touch_are_two(gap):
    _, truth = balls((30, 30, 50), [(15, 15, 15), (15, 15, 33 + gap)], [9, 9])
    views = []
    for normal in range(3):
        maps = np.stack([seen(plane) for plane in np.moveaxis(truth.astype(int), normal, 0)], 1)
        views.append(np.moveaxis(maps, 1, 1 + normal))
    reach = {0: [(1, 0), (2, 0)], 1: [(0, 0), (2, 1)], 2: [(0, 1), (1, 1)]}
    low, high = (
        np.stack([sum(views[v][start + k] for v, k in reach[axis]) / 2 for axis in range(3)])
        for start in (2, 4)
    )
    found = finish(group_cells(SolidMaps(views[0][0], low, high), BoxDecoding()))
    assert len(found.scores) == 2
    assert min(max(iou(found.labels == i, truth == n) for i in (1, 2)) for n in (1, 2)) > 0.85
    middles = found.middles[np.argsort(found.middles[:, 2])]
    np.testing.assert_allclose(middles, [(15, 15, 15), (15, 15, 33 + gap)], atol=1)


def test_nothing_is_found_in_nothing():
    empty = np.full((5, 6, 7), -9, np.float32)
    nothing = SolidMaps(empty, *np.zeros((2, 3, 5, 6, 7), np.float32))
    found = finish(group_cells(nothing, BoxDecoding()))
    assert not found.labels.any() and len(found.scores) == 0


@pytest.mark.parametrize("shape", [(10, 300, 300), (400, 500, 90), (3, 40, 5000)])
@pytest.mark.parametrize("sight", [Sight(1, 4), Sight(3, 1), Sight(0.5, 0.2)])
def test_cores_tile_the_volume(shape, sight):
    parts = plan_parts(shape, sight)
    cover = np.zeros(shape, np.uint8)
    for part in parts:
        cover[part.core] += 1
        for box, core, size in zip(part.box, part.core, shape, strict=True):
            assert 0 <= box.start <= core.start < core.stop <= box.stop <= size
        assert np.prod(sight.cells(part.shape), dtype=float) < 12e6
    assert (cover == 1).all()


def test_found_in_3d_by_default(default_model, perfect):
    image, truth = volume()
    result = segment_stack(image, default_model, **EVEN)
    assert len(result) == 3 and same(result.labels, truth) > 0.85
    assert len(perfect) == sum(image.shape)
    np.testing.assert_array_equal(result.table["label"], [1, 2, 3])
    assert (np.diff(result.table["first"]) >= 0).all()
    np.testing.assert_array_equal(
        result.table["area"], [(result.labels == i).sum() for i in (1, 2, 3)]
    )
    assert (result.table["score"] > 0.6).all() and result.tracks is None


def test_planes_encoded_together_are_seen_as_alone(default_model, monkeypatch):
    image = volume()[0][..., None].astype(np.float32)
    predictor = Predictor(default_model)
    alone = finish(solid_maps.solid_maps(predictor, image, Sight(1.5, 2), LIMITS))
    counts = []
    encode = Predictor.embed_maps

    def counted(self, image, windows, **options):
        counts.append(len(windows))
        return encode(self, image, windows, **options)

    monkeypatch.setattr(Predictor, "embed_maps", counted)
    monkeypatch.setattr(solid_maps, "_together", lambda model: 8)
    steps = solid_maps.solid_maps(predictor, image, Sight(1.5, 2), LIMITS)
    together = finish(steps)
    assert max(counts) == 8
    for name in ("foreground", "low", "high"):
        np.testing.assert_allclose(getattr(together, name), getattr(alone, name), atol=2e-3)


def test_grouping_reports_and_can_be_cancelled(default_model, perfect, tmp_path):
    image, truth = volume()
    options = {**EVEN, "output": tmp_path / "out.zarr"}
    steps = segment_stack_steps(image, default_model, **options)
    grouping = [step for step in steps if step.message == "grouping cells into objects"]
    assert len(grouping) > 6 and all(step.done == sum(image.shape) for step in grouping)
    options = {**EVEN, "output": tmp_path / "again.zarr"}
    steps = segment_stack_steps(image, default_model, **options)
    assert any(step.message == "grouping cells into objects" for step in steps)
    steps.close()
    result = segment_stack(image, default_model, **options)
    assert len(result) == 3 and same(result.labels[...], truth) > 0.85


def test_in_parts_as_in_one(default_model, perfect, monkeypatch):
    image, truth = volume()
    monkeypatch.setattr(solid_parts, "_CELLS", 44)
    monkeypatch.setattr(solid_parts, "_MARGIN", 12)
    result = segment_stack(image, default_model, **EVEN)
    assert len(plan_parts(image.shape, Sight(1, 4))) > 4
    assert len(result) == 3 and same(result.labels, truth) > 0.85


def test_any_axis_into_a_store_and_resumed(default_model, perfect, monkeypatch, tmp_path):
    image, _ = volume()
    monkeypatch.setattr(solid_parts, "_CELLS", 44)
    monkeypatch.setattr(solid_parts, "_MARGIN", 12)
    expected = segment_stack(image, default_model, **EVEN)
    every = len(perfect)
    moved = np.moveaxis(image, 0, 2)
    options = {**EVEN, "axis": 2, "output": tmp_path / "out.zarr"}
    steps = segment_stack_steps(moved, default_model, **options)
    for step in steps:
        if step.done > step.total / 2:
            break
    steps.close()
    perfect.clear()
    result = segment_stack(moved, default_model, **options)
    assert 0 < len(perfect) < 0.6 * every
    np.testing.assert_array_equal(np.moveaxis(result.labels[...], 2, 0), expected.labels)
    np.testing.assert_allclose(result.table["score"], expected.table["score"])


def test_killed_between_labels_and_note(default_model, perfect, monkeypatch, tmp_path):
    image, _ = volume()
    monkeypatch.setattr(solid_parts, "_CELLS", 44)
    monkeypatch.setattr(solid_parts, "_MARGIN", 12)
    expected = segment_stack(image, default_model, **EVEN)
    options = {**EVEN, "output": tmp_path / "out.zarr"}
    noted = StackLabels.keep_part

    def killed(self, number, scores):
        if number == 3:
            raise KeyboardInterrupt
        noted(self, number, scores)

    monkeypatch.setattr(StackLabels, "keep_part", killed)
    with pytest.raises(KeyboardInterrupt):
        segment_stack(image, default_model, **options)
    monkeypatch.setattr(StackLabels, "keep_part", noted)
    result = segment_stack(image, default_model, **options)
    np.testing.assert_array_equal(result.labels[...], expected.labels)


def test_a_plane_that_cannot_be_read_is_taken_from_its_neighbour(default_model, perfect):
    image, truth = volume()

    class Damaged(Recording):
        def __getitem__(self, key):
            if key[0] == 5:
                raise OSError("bad chunk")
            return super().__getitem__(key)

    result = segment_stack(Damaged(image), default_model, **EVEN)
    assert list(result.failed) == [(5,)] and "bad chunk" in result.failed[5,]
    assert len(result) == 3 and same(result.labels, truth) > 0.85

    class Broken(Recording):
        def __getitem__(self, key):
            raise OSError("gone")

    with pytest.raises(ImageError, match="no plane could be segmented"):
        segment_stack(Broken(image), default_model, **EVEN)


def test_estimates_pass_over_planes_that_cannot_be_read(default_model):
    image, _ = balls((8, 40, 40), [(4, 20, 20)], [12])

    class Damaged(Recording):
        def __getitem__(self, key):
            if key[0] in (0, 4):
                raise OSError("bad chunk")
            return super().__getitem__(key)

    result = segment_stack(Damaged(image), default_model, axes="ZYX", link="3d")
    assert set(result.failed) == {(0,), (4,)}
    assert result.labels.shape == image.shape


def test_stacks_of_a_time_lapse_are_segmented_one_by_one(default_model, perfect):
    image, truth = volume()
    both = np.stack([image, image[:, ::-1]])
    result = segment_stack(both, default_model, **{**EVEN, "axes": "TZYX"}, axis="Z")
    assert result.table["stack"].tolist() == [0, 0, 0, 1, 1, 1]
    assert same(result.labels[0], truth) > 0.85
    assert same(result.labels[1], truth[:, ::-1]) > 0.85
    assert len(np.unique(result.labels)) == 7


def test_what_cannot_be_is_refused(model, default_model, perfect):
    image, _ = volume()
    for options, what in (
        ({"link_thresh": 0.2}, "link_thresh is for link='overlap' or 'track' only"),
        ({"crop_n_layers": 1}, "crop_n_layers would have no effect"),
        ({"policy": "score"}, "policy would have no effect"),
        ({"contrast_limits": "plane"}, "contrast limits are each plane's own"),
        ({"mode": "proposals"}, "single planes"),
    ):
        with pytest.raises(ParameterError, match=what):
            segment_stack(image, default_model, **{**EVEN, **options}, link="3d")
    with pytest.raises(ParameterError, match="no dense head"):
        segment_stack(image, model, **EVEN, link="3d")
    with pytest.raises(ParameterError, match="fewer than 4 planes"):
        segment_stack(image[:3], default_model, **EVEN, link="3d")
    assert not perfect


def test_filters(default_model, perfect):
    image, _ = volume()
    least = segment_stack(image, default_model, **EVEN, min_area=200)
    assert len(least) == 1
    assert len(segment_stack(image, default_model, **EVEN, pred_iou_thresh=1)) == 0


@pytest.mark.parametrize("colour", [True, False])
def test_real_maps_of_colour_and_channels(default_model, colour):
    image, truth = balls((10, 32, 34), [(5, 16, 16)], [9])
    several = np.repeat(image[..., None], 3 if colour else 2, axis=-1)
    options = {"rgb": True} if colour else {"channel_axis": -1}
    axes = "ZYXS" if colour else "ZYXC"
    result = segment_stack(several, default_model, axes=axes, anisotropy=2, link="3d", **options)
    assert result.labels.shape == image.shape
    assert max((iou(result.labels == i, truth > 0) for i in result.table["label"]), default=0) > 0.5
