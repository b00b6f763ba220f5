"""Precomputed embeddings: every click finds one, and only missing ones are encoded."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segment_anything.engine import (
    EmbeddingCache,
    EncodePlan,
    PlaneSource,
    Predictor,
    Window,
)
from napari_segment_anything.errors import FormatError, ParameterError
from napari_segment_anything.progress import finish
from napari_segment_anything.session import (
    ArrayTarget,
    ObjectPrompts,
    Session,
    ahead_windows,
    embed_ahead,
    replay,
)
from napari_segment_anything.session.precompute import WindowList

from ..tiny import SIDE, tiny_model

SHAPE = (500, 420)


@pytest.fixture
def model(monkeypatch):
    """A tiny model that counts what it encodes."""
    model = tiny_model()
    model.metadata["encoded"] = 0
    real = type(model).encode

    def encode(self, *arguments):
        model.metadata["encoded"] += 1
        return real(self, *arguments)

    monkeypatch.setattr(type(model), "encode", encode)
    # masks of this model are random: none may ask for a larger window
    monkeypatch.setattr(EncodePlan, "wider", lambda *_: None)
    return model


@pytest.fixture
def image(tmp_path: Path):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(3, *SHAPE), dtype=np.uint16, chunks=(1, 128, 128)
    )
    array[:] = np.random.default_rng(0).integers(0, 4000, (3, *SHAPE), np.uint16)
    return array


def source_of(image, **options):
    return PlaneSource(image, path=str(image.store.root), **options)


def click(session: Session, plane, point) -> None:
    session.add_point(plane, point)
    session.update()
    session.commit()


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_prompt_has_a_window(data):
    shape = data.draw(st.tuples(st.integers(1, 3000), st.integers(1, 3000)))
    size = data.draw(st.integers(16, 700))
    reach = data.draw(st.integers(0, size // 2))
    windows = ahead_windows(shape, size, reach)
    row = data.draw(st.floats(-0.5, shape[0] - 0.5, exclude_max=True))
    col = data.draw(st.floats(-0.5, shape[1] - 0.5, exclude_max=True))
    prompts = ObjectPrompts(((row, col),), (True,))
    plan = EncodePlan(shape, size, window_size=size)
    assert plan.window(prompts, None, windows) in windows
    low = (max(row - reach, -0.5), max(col - reach, -0.5))
    if row > low[0] and col > low[1]:
        prompts = ObjectPrompts(box=(*low, row, col))
        assert plan.window(prompts, None, windows) in windows


def test_windows_in_a_region_only():
    everywhere = ahead_windows((5000, 5000), 512)
    region = Window(1000, 1200, 300, 10)
    some = ahead_windows((5000, 5000), 512, region=region)
    assert 0 < len(some) < len(everywhere) / 10
    for row in (1000, 1150, 1299):
        prompts = ObjectPrompts(((row, 1205),), (True,))
        assert EncodePlan((5000, 5000), 512).window(prompts, None, some) in some
    with pytest.raises(ParameterError, match="are up to 256"):
        ahead_windows((5000, 5000), 512, 300)


@pytest.mark.slow
def test_later_clicks_encode_nothing(model, image, tmp_path):
    planes = [(0,), (2,)]
    predictor = Predictor(model, EmbeddingCache(tmp_path / "cache", 0))
    source = source_of(image)
    windows = ahead_windows(SHAPE, EncodePlan(SHAPE, SIDE).size)
    steps = list(embed_ahead(predictor, source, planes, windows))
    assert (steps[0].done, steps[-1].done, steps[-1].total) == (
        0,
        2 * len(windows),
        2 * len(windows),
    )
    assert model.metadata["encoded"] == 2 * len(windows)

    # another process, another day: the same file, and its planes as a viewer may have them
    import dask.array

    for array, plane in [(image, (2,)), (dask.array.from_zarr(image), (2,)), (image, (0,))]:
        other = Predictor(model, EmbeddingCache(tmp_path / "cache"))
        session = Session(
            other, source_of_like(array, image), ArrayTarget(np.zeros(image.shape, int))
        )
        before = model.metadata["encoded"]
        for point in [(3, 4), (250, 200), (130, 97), (499, 419), (96, 300)]:
            click(session, plane, point)
        assert model.metadata["encoded"] == before
    click(session, (1,), (250, 200))
    assert model.metadata["encoded"] == before + 1  # this plane was left out


def source_of_like(array, image):
    return PlaneSource(array, path=str(image.store.root))


@pytest.mark.slow
def test_a_stopped_run_goes_on(model, image, tmp_path):
    predictor = Predictor(model, EmbeddingCache(tmp_path / "cache", 0))
    windows = ahead_windows(SHAPE, SIDE)
    run = embed_ahead(predictor, source_of(image), [(1,)], windows)
    for _ in range(6):
        next(run)
    run.close()
    assert model.metadata["encoded"] == 5
    done = finish(embed_ahead(predictor, source_of(image), [(1,)], windows))
    assert (done.encoded, done.found) == (len(windows) - 5, 5)
    assert model.metadata["encoded"] == len(windows)
    assert done.bytes > 0
    again = finish(embed_ahead(predictor, source_of(image), [(1,)], windows))
    assert (again.encoded, again.found, again.bytes) == (0, len(windows), 0)
    listed = WindowList(predictor.cache, source_of(image), (1,), model)
    assert listed.around((0, 0, 499, 419)) == []
    assert listed.around((10, 10, 20, 20)) == [windows[0]]
    path = listed._path
    path.write_text(
        path.read_text()[:-6] + "\n1 2\nx y z w\n9 9 0 0\n"
    )  # incomplete and invalid lines
    torn = WindowList(predictor.cache, source_of(image), (1,), model)
    assert torn.around((10, 10, 20, 20)) == [windows[0]]
    assert len(torn._read()) >= len(windows) - 1
    predictor.cache.clear()
    assert len(torn._read()) == len(predictor.cache) == 0


def test_planes_in_memory_have_the_limits_of_a_viewer(model, image, tmp_path):
    """A file that a viewer reads whole: contrast is estimated from all of the plane."""
    shape = (2, 1100, 1300)  # more than a sample
    whole = np.random.default_rng(1).gamma(2, 400, shape).astype(np.uint16)
    lazy = zarr.create_array(tmp_path / "b.zarr", data=whole, chunks=(1, 256, 256))
    predictor = Predictor(model, EmbeddingCache(tmp_path / "cache", 0))
    windows = ahead_windows(shape[1:], SIDE, region=Window(0, 0, 50, 50))
    source = PlaneSource(lazy, path="/data/b.tif")
    finish(embed_ahead(predictor, source, [(1,)], windows, in_memory=True))
    before = model.metadata["encoded"]
    viewer = PlaneSource(whole, path="/data/b.tif")
    session = Session(predictor, viewer, ArrayTarget(np.zeros(shape, int)))
    click(session, (1,), (20, 20))
    assert model.metadata["encoded"] == before


@pytest.mark.slow
def test_channels_and_colours_are_found(model, tmp_path):
    """A viewer has a channel as an image of its own, or the channels first, or colours."""
    pixels = np.random.default_rng(2).integers(0, 255, (2, 300, 280), np.uint8)
    predictor = Predictor(model, EmbeddingCache(tmp_path / "cache", 0))
    windows = ahead_windows((300, 280), SIDE)
    path = "/data/c.ome.zarr"
    ours = PlaneSource(pixels, channel_axis=0, channels=(1,), path=path)
    finish(embed_ahead(predictor, ours, [()], windows, in_memory=True))
    before = model.metadata["encoded"]
    session = Session(
        predictor, PlaneSource(pixels[1], path=path), ArrayTarget(np.zeros((300, 280), int))
    )
    click(session, (), (150, 140))
    assert model.metadata["encoded"] == before
    rgb = np.moveaxis(np.concatenate([pixels, pixels[:1]]), 0, -1)
    for source in (
        PlaneSource(rgb, rgb=True, path="/data/d.png"),
        PlaneSource(rgb, channel_axis=2, path="/data/e.png"),
    ):
        finish(embed_ahead(predictor, source, [()], windows[:1], in_memory=True))
        before = model.metadata["encoded"]
        session = Session(predictor, source, ArrayTarget(np.zeros((300, 280), int)))
        click(session, (), (30, 30))
        assert model.metadata["encoded"] == before


@pytest.mark.slow
def test_a_replay_takes_the_recorded_windows(model, image, tmp_path):
    """It has no list of windows, and still gives the same labels."""
    predictor = Predictor(model, EmbeddingCache(tmp_path / "cache", 0))
    finish(embed_ahead(predictor, source_of(image), [(1,)], ahead_windows(SHAPE, SIDE)))
    target = ArrayTarget(np.zeros(image.shape, np.uint16))
    journal = tmp_path / "session.jsonl"
    session = Session(predictor, source_of(image), target, journal=journal)
    for point in [(250, 200), (130, 97), (300, 400)]:
        session.add_point((1,), point)
        session.update()
        session.add_point((1,), (point[0] + 3, point[1]))
        session.update()
        session.commit()
    session.close()
    result = replay(journal, image, model)
    assert result.identical
    assert result.labels.any()


def test_what_cannot_be_kept(model, image, tmp_path):
    windows = ahead_windows(SHAPE, SIDE)
    for cache in (None, EmbeddingCache()):
        with pytest.raises(ParameterError, match="cache on disk"):
            finish(embed_ahead(Predictor(model, cache), source_of(image), [(0,)], windows))
    with pytest.raises(ParameterError, match="needs a predictor with a cache"):
        Predictor(model).embed_ahead(image[0])
    small = EmbeddingCache(tmp_path / "small", 0, 400_000)
    with pytest.raises(ParameterError, match="raise the bound"):
        finish(embed_ahead(Predictor(model, small), source_of(image), [(0,)], windows))
    tiny = EmbeddingCache(tmp_path / "tiny", 0, 10)
    with pytest.raises(FormatError, match="raise its bound"):
        finish(embed_ahead(Predictor(model, tiny), source_of(image), [(0,)], windows))
    (tmp_path / "file").write_text("no folder")
    blocked = EmbeddingCache(tmp_path / "file" / "cache", 0)
    with warnings.catch_warnings(), pytest.raises(FormatError, match="make room and run again"):
        finish(embed_ahead(Predictor(model, blocked), source_of(image), [(0,)], windows))
