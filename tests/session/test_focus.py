"""An object in progress is decoded from the view in which the model sees it best."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.engine import PlaneSource, Predictor, Window
from napari_segment_anything.progress import finish
from napari_segment_anything.session import ArrayTarget, Session

from ..tiny import tiny_model

SHAPE = (200, 250)
# blobs of the tiny model are 12 to 32 frame pixels wide
SIZES = {"least": 40.0, "most": 60.0, "best": 50.0}


@pytest.fixture(scope="module")
def focused():
    return tiny_model(focus=SIZES)


def session(model, tmp_path=None) -> Session:
    image = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    journal = None if tmp_path is None else tmp_path / "j.jsonl"
    return Session(
        Predictor(model),
        PlaneSource(image),
        ArrayTarget(np.zeros(SHAPE, np.uint16)),
        journal=journal,
    )


def only(found):
    return found.preview.objects[0].decoded


def test_a_click_is_seen_from_closer_and_further_clicks_from_there(focused):
    mine = session(focused)
    mine.add_point((), (100, 120))
    mine.update()
    first = only(mine)
    assert first.view.side < 200 and first.view.window.holds((100, 120, 100, 120))
    assert first.window == first.view.window and mine.preview.mask.any()
    encoded = len(mine.state.chain.store)
    mine.add_point((), (102, 123))
    request = mine.request()
    ask = request.items[0].ask
    assert ask.feed is not None and mine.state.chain.plan.first_view(ask) == first.view
    mine.accept(finish(mine.decode(request)))
    assert only(mine).view == first.view and len(mine.state.chain.store) == encoded
    # a click elsewhere needs another view, without refinement
    mine.add_point((), (20, 240))
    request = mine.request()
    assert request.items[0].ask.feed is None
    mine.accept(finish(mine.decode(request)))
    assert only(mine).view.window.holds((20, 120, 102, 240))
    assert mine.commit() == (1,)


def test_a_far_negative_click_stays_out_of_the_view(focused):
    mine = session(focused)
    mine.add_point((), (100, 120))
    mine.update()
    first = only(mine)
    mine.add_point((), (5, 5), positive=False)
    assert mine.request().items[0].ask.feed is not None
    mine.update()
    assert only(mine).view == first.view


def test_a_box_needs_no_look_at_the_whole(focused):
    mine = session(focused)
    mine.set_box((), (90, 110, 110, 130))
    mine.update()
    assert len(mine.state.chain.store) == 1 and only(mine).view.side < 100
    mine.cancel()
    mine.set_box((), (5, 5, 195, 245))
    mine.update()
    assert only(mine).view.span > 250 and only(mine).view.window == Window.full(SHAPE)


def test_a_look_under_the_pointer_never_encodes_another_view(focused):
    mine = session(focused)
    request = mine.hover_request((), (100, 120))
    result = finish(mine.decode(request))
    assert result.objects[0].view.window == Window.full(SHAPE) and len(mine.state.chain.store) == 1


def test_many_objects_share_views_and_equal_single_ones(focused):
    places = [(100, 120), (102, 122), (40, 60)]
    mine = session(focused)
    mine.begin_batch((), points=places)
    mine.update()
    together = {item.key: item.decoded for item in mine.preview.objects}
    assert len({item.view for item in together.values()}) == 2
    for place, item in zip(places, together.values(), strict=True):
        alone = session(focused)
        alone.add_point((), place)
        alone.update()
        assert only(alone).view == item.view
        assert only(alone).masks[item.best].window == item.masks[item.best].window


def test_nothing_sure_is_looked_for_from_farther_away():
    mine = session(tiny_model(focus={"least": 5.0, "most": 60.0, "best": 20.0, "unsure": 1.0}))
    mine.add_point((), (100, 120))
    mine.update()
    assert len(mine.state.chain.store) == 3  # the whole, two and four times as far
    scores = set(mine.state.chain.store)
    assert len(scores) == 3 and only(mine).view.side >= 250
    plain = session(tiny_model())
    plain.add_point((), (100, 120))
    plain.update()
    assert max(only(mine).scores) >= max(only(plain).scores)


def test_windows_of_a_size_that_was_asked_for_are_taken(focused):
    image = np.zeros(SHAPE, np.uint8)
    labels = ArrayTarget(np.zeros(SHAPE, np.uint16))
    mine = Session(Predictor(focused), PlaneSource(image), labels, window_size=64)
    mine.add_point((), (123, 125))  # the middle of a window
    mine.update()
    assert mine.preview.window.shape == (64, 64)
