"""Measures of committed objects, and objects that are hidden or locked; in a script."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed")
from skimage.measure import regionprops

from napari_segment_anything.bridge import ViewerSession
from napari_segment_anything.engine import Predictor
from napari_segment_anything.errors import PromptError
from napari_segment_anything.formats import read_table

from ...tiny import tiny_model

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def predictor():
    return Predictor(tiny_model())


@pytest.fixture
def opened(viewer, predictor):
    rng = np.random.default_rng(0)
    for name in ("red", "green"):
        pixels = rng.integers(0, 255, (100, 120)).astype(np.uint8)
        viewer.add_image(pixels, name=name, scale=(0.5, 0.5), units="um")
    layers = [viewer.layers["red"], viewer.layers["green"]]
    session = ViewerSession(viewer, predictor=predictor, image=layers)
    yield session, layers
    session.close()


def put(session, box) -> int:
    session.set_box(box)
    (label,) = session.commit()
    return label


def test_features_and_csv_have_what_regionprops_gives(opened, tmp_path) -> None:
    session, layers = opened
    labels = [put(session, (10, 10, 40, 45)), put(session, (55, 60, 90, 110))]
    features = session.target.features
    assert features["index"].tolist() == labels
    pixels = np.stack([layer.data for layer in layers], -1)
    for label, row in zip(labels, features.to_dict("records"), strict=True):
        mask = (np.asarray(session.target.data) == label).astype(int)
        (truth,) = regionprops(mask, pixels, spacing=(0.5, 0.5))
        assert row["area"] == pytest.approx(truth.area)
        assert (row["centroid_row"], row["centroid_col"]) == pytest.approx(truth.centroid)
        assert row["perimeter"] == pytest.approx(truth.perimeter)
        assert (row["bbox_row_min"], row["bbox_col_min"]) == truth.bbox[:2]
        for channel in (0, 1):
            assert row[f"intensity_mean_{channel}"] == pytest.approx(truth.intensity_mean[channel])
        item = session.objects[label]
        assert (row["predicted_iou"], row["seconds"]) == (item.score, item.seconds)
        assert row["unit"] in ("um", "micrometer")
    session.measures.save(tmp_path / "objects.csv")
    table = read_table(tmp_path / "objects.csv")
    assert table["label"].tolist() == labels
    assert table["area"] == pytest.approx(features["area"].to_numpy())


def test_the_table_follows_every_change(opened) -> None:
    session, _ = opened
    first = put(session, (10, 10, 40, 45))
    before = session.target.features.iloc[0]["area"]
    session.set_options(overwrite=True)
    second = put(session, (25, 10, 60, 45))
    features = session.target.features.set_index("index")
    sizes = {n: 0.25 * (np.asarray(session.target.data) == n).sum() for n in (first, second)}
    assert {n: features.loc[n, "area"] for n in (first, second)} == sizes
    assert sizes[first] < before
    session.undo()
    assert session.target.features["index"].tolist() == [first]
    assert session.target.features.iloc[0]["area"] == before
    session.delete(first)
    assert session.target.features.empty and session.measures.table() == {}


def test_features_of_others_stay(opened) -> None:
    import pandas as pd

    session, _layers = opened
    put(session, (10, 10, 40, 45))
    layer = session.target
    layer.features = pd.concat(
        [layer.features, pd.DataFrame({"index": [77], "name": ["mine"]})], ignore_index=True
    )
    put(session, (55, 60, 90, 110))
    features = layer.features.set_index("index")
    assert features.loc[77, "name"] == "mine" and sorted(features.index) == [1, 2, 77]


def test_locked_objects_are_changed_by_nothing(opened) -> None:
    session, _ = opened
    first = put(session, (10, 10, 40, 45))
    pixels = np.asarray(session.target.data) == first
    session.lock([first])
    for change in (session.delete, session.edit, lambda n: session.relabel(n, 9)):
        with pytest.raises(PromptError, match="locked"):
            change(first)
    session.set_options(overwrite=True)
    put(session, (25, 10, 60, 45))
    assert ((np.asarray(session.target.data) == first) == pixels).all()
    layer = session.target
    layer.brush_size, layer.selected_label = 6, 2
    row, col = (int(n) for n in np.argwhere(pixels).mean(0))
    layer.paint((row, col), 2)
    assert ((np.asarray(layer.data) == first) == pixels).all()
    assert layer.preserve_labels
    session.lock([first], False)
    assert not layer.preserve_labels
    session.delete(first)
    assert not (np.asarray(session.target.data) == first).any()


@pytest.mark.slow
def test_hidden_objects_are_not_drawn_and_the_others_keep_their_colours(opened) -> None:
    session, _ = opened
    first, second = put(session, (10, 10, 40, 45)), put(session, (55, 60, 90, 110))
    layer = session.target
    colours = layer.colormap
    before = np.asarray(layer.get_color(second))
    session.hide([first])
    assert session.hidden == {first}
    assert layer.get_color(first)[3] == 0 and layer.get_color(second) == pytest.approx(before)
    third = put(session, (5, 70, 30, 110))
    assert layer.get_color(third)[3] == 1
    session.hide([first], False)
    assert layer.colormap is colours and not session.hidden


def test_locks_survive_recovery_and_replay(viewer, predictor, tmp_path) -> None:
    from napari_segment_anything.session import Journal, replay

    image = np.random.default_rng(0).integers(0, 255, (100, 120)).astype(np.uint8)
    viewer.add_image(image, name="one")
    path = tmp_path / "one.jsonl"
    session = ViewerSession(viewer, predictor=predictor, journal=path, overwrite=True)
    first = put(session, (10, 10, 40, 45))
    session.lock([first])
    put(session, (25, 10, 60, 45))
    labels = np.array(session.target.data)
    session.close()
    assert "lock" in {event.action.do for event in Journal.read(path)[1]}
    assert replay(path, image, predictor.model).identical
    viewer.layers.remove(viewer.layers["one objects"])
    again = ViewerSession(viewer, predictor=predictor)
    again.recover(path)
    assert again.locked == {first} and (np.asarray(again.target.data) == labels).all()
    assert again.target.features["index"].tolist() == [1, 2]
    again.close()
