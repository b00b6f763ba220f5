"""Everything in a stack."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from napari_segment_anything.errors import FormatError, ImageError, ParameterError
from napari_segment_anything.formats import ImageData, open_labels
from napari_segment_anything.stacks import segment_stack, segment_stack_steps

from .helpers import LIMITS, Recording, balls, iou


def run(volume, model, **options):
    return segment_stack(volume, model, contrast_limits=LIMITS, **options)


def volume():
    return balls((10, 48, 48), [(5, 13, 13), (4, 34, 33)], [10, 9])


def test_balls(model):
    image, truth = volume()
    result = run(image, model)
    assert len(result) == 2
    assert result.tracks is None
    for number in (1, 2):
        assert max(iou(result.labels == i, truth == number) for i in (1, 2)) > 0.8
    assert (result.table["score"] > 0.8).all()
    np.testing.assert_array_equal(
        result.table["area"], [(result.labels == i).sum() for i in (1, 2)]
    )


@pytest.mark.slow
def test_any_axis_and_a_store(model, tmp_path):
    image, _ = volume()
    expected = run(image, model)
    moved = np.moveaxis(image, 0, 2)
    path = tmp_path / "out.ome.zarr"
    result = run(moved, model, axis=2, output=path, axes="ZYX")
    assert isinstance(result.labels, zarr.Array)
    np.testing.assert_array_equal(np.moveaxis(result.labels[:], 2, 0), expected.labels)
    assert open_labels(path).shape == moved.shape
    assert result.path == open_labels(path).path
    with pytest.raises(FormatError, match="already"):
        run(moved, model, axis=2, output=path, axes="ZYX")


@pytest.mark.slow
def test_one_plane_at_a_time(model):
    image, _ = volume()
    lazy = Recording(image)
    segment_stack(lazy, model)
    assert all(isinstance(key[0], int) for key in lazy.reads)


@pytest.mark.slow
def test_a_plane_that_cannot_be_read_is_told(model):
    image, _ = volume()

    class Damaged(Recording):
        def __getitem__(self, key):
            if key[0] == 5:
                raise OSError("bad chunk")
            return super().__getitem__(key)

    result = run(Damaged(image), model)
    assert list(result.failed) == [(5,)]
    assert "bad chunk" in result.failed[5,]
    assert len(result) == 2  # bridged
    assert result.labels[5].any()

    class Broken(Recording):
        def __getitem__(self, key):
            raise OSError("gone")

    with pytest.raises(ImageError, match="no plane could be segmented"):
        run(Broken(image), model)


@pytest.mark.slow
def test_a_time_lapse_is_tracked(model):
    frames = np.full((5, 48, 48), 20, np.uint8)
    for t in range(5):
        frames[t, 2:20, 3 + 4 * t : 21 + 4 * t] = 220
        frames[t, 27:45, 20:38] = 220
    data = ImageData(frames, "TYX", None, False, (1.0,) * 3, (None,) * 3, "movie")
    result = run(data, model)
    assert result.tracks is not None
    assert len(result.tracks) == len(result) == 2
    assert result.tracks.data.shape == (10, 4)
    moving = result.labels[0, 10, 10]
    assert result.labels[4, 10, 28] == moving
    assert run(data, model, link="overlap").tracks is None


@pytest.mark.slow
def test_every_further_stack_by_itself(model):
    image, _ = balls((4, 48, 48), [(2, 24, 24)], [13])
    movie = np.stack([image, image])
    result = run(movie, model, axes="TZYX")
    assert result.labels.shape == movie.shape
    assert len(result) == 2
    np.testing.assert_array_equal(result.table["stack"], [0, 1])
    assert set(np.unique(result.labels[0])) == {0, 1}
    assert set(np.unique(result.labels[1])) == {0, 2}
    tracked = run(movie, model, axes="TZYX", axis="T")
    assert tracked.tracks is not None
    assert tracked.tracks.data.shape[1] == 5


@pytest.mark.slow
def test_contrast_is_that_of_the_stack_or_of_each_plane(model):
    image, _ = balls((8, 48, 48), [(4, 24, 24)], [12])
    fading = (image * np.linspace(1, 0.4, 8)[:, None, None]).astype(np.uint8)
    together = segment_stack(fading, model)
    apart = segment_stack(fading, model, contrast_limits="plane")
    assert len(apart) == len(together) == 1
    assert apart.table["extent"][0] > together.table["extent"][0]


@pytest.mark.slow
def test_progress_and_cancelling(model):
    image, _ = volume()
    steps = segment_stack_steps(image, model, contrast_limits=LIMITS)
    messages = []
    for step in steps:
        messages.append(step.message)
        assert step.done <= step.total == 10
        assert step.partial.linked == (step.message == "linking")
    assert messages == ["segmenting"] * 11 + ["linking"] * 10
    steps = segment_stack_steps(image, model, contrast_limits=LIMITS)
    next(steps)
    steps.close()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"link": "glue"}, ParameterError, "link must be"),
        ({"policy": "none"}, ParameterError, "policy"),
        ({"mode": "instances"}, ParameterError, "instances"),
        ({"max_distance": 3}, ParameterError, "link='track' only"),
        ({"link": "track", "anisotropy": 2}, ParameterError, "link=.3d. or .overlap. only"),
        ({"points_per_sid": 3}, ParameterError, "points_per_side"),
        ({"axis": 0, "channel_axis": 0}, ImageError, "a stack has planes"),
    ],
)
def test_options_that_cannot_be_used(model, options, error, words):
    with pytest.raises(error, match=words):
        run(volume()[0], model, **options)


def test_a_single_image_is_no_stack(model):
    with pytest.raises(ImageError, match="a stack has planes"):
        run(np.zeros((20, 20), np.uint8), model)
