"""Prompts, previews, candidates, batches, commits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_segment_anything.engine import NO_MASK, PlaneSource, Window
from napari_segment_anything.errors import ParameterError, PromptError
from napari_segment_anything.progress import finish
from napari_segment_anything.session import ArrayTarget, Session

from ..tiny import tiny_model
from .helpers import disc_predictor, disc_session, discs, put


def state(session, labels):
    return labels.copy(), session.objects, session.draft, session.can_undo, session.can_redo


def same(first, second) -> bool:
    return (first[0] == second[0]).all() and first[1:] == second[1:]


@pytest.fixture
def real(predictor, image):
    labels = np.zeros(image.shape, np.uint16)
    return Session(predictor, PlaneSource(image), ArrayTarget(labels)), labels


def test_click_mask_commit_undo_redo(real):
    session, labels = real
    assert session.request() is None
    assert session.add_point((), (40, 50)) == 0
    assert session.preview is None
    preview = session.update()
    assert preview.mask.shape == preview.window.shape == (120, 150)
    assert preview.candidates.shape == (3, 120, 150)
    assert len(preview.scores) == 3
    assert preview.score == max(preview.scores)
    assert (preview.mask == preview.candidates[preview.chosen]).all()
    assert session.commit() == (1,)
    assert ((labels == 1) == preview.mask).all()
    item = session.objects[1]
    assert item.prompts.points == ((40.0, 50.0),)
    assert item.score == preview.score
    assert item.scores == preview.scores
    assert item.fingerprint == session.predictor.model.fingerprint
    assert item.state == "committed"
    assert session.draft is None
    assert session.undo() == "commit object 1"
    assert not labels.any()
    assert session.objects == {}
    assert (session.preview.mask == preview.mask).all()  # at once, nothing is decoded again
    assert session.request() is None
    assert session.undo() == "add point"
    assert session.draft is None
    assert session.undo() is None
    assert session.redo() == "add point"
    assert session.redo() == "commit object 1"
    assert session.redo() is None
    assert ((labels == 1) == preview.mask).all()
    assert session.objects == {1: item}


def test_candidates_cycle_and_can_be_chosen(real):
    session, labels = real
    session.add_point((), (40, 50))
    preview = session.update()
    first = preview.chosen
    seen = []
    for _ in range(3):
        session.cycle()
        seen.append(session.preview.chosen)
    assert seen == [(first + 1) % 3, (first + 2) % 3, first]
    session.cycle(-1)
    wanted = session.preview
    assert session.request() is None  # choosing decodes nothing
    session.commit()
    assert ((labels > 0) == wanted.mask).all()
    assert session.objects[1].candidate == wanted.chosen
    assert session.objects[1].score == wanted.scores[wanted.chosen]
    with pytest.raises(PromptError, match="no object in progress"):
        session.choose(0)


def test_no_empty_candidate_is_shown(real, monkeypatch):
    session, _ = real
    session.add_point((), (40, 50))
    preview = session.update()
    masks = list(preview.objects[0].decoded.masks)
    empty = (preview.chosen + 1) % 3
    masks[empty] = NO_MASK
    decoded = replace(preview.objects[0].decoded, masks=tuple(masks))
    item = replace(preview.objects[0], decoded=decoded)
    monkeypatch.setattr(Session, "preview", replace(preview, objects=(item,)))
    chosen = []
    monkeypatch.setattr(session, "choose", lambda index, key: chosen.append(index))
    session.cycle()
    session.cycle(-1)
    assert chosen == [(preview.chosen + 2) % 3] * 2


def test_a_choice_does_not_outlive_the_masks_it_was_made_among(real):
    session, _ = real
    session.add_point((), (40, 50))
    session.update()
    with pytest.raises(PromptError, match="no candidate 7"):
        session.choose(7)
    session.choose(0)
    session.add_point((), (45, 55))
    assert session.draft.candidates == ()
    preview = session.update()
    assert len(preview.scores) == 4  # the mask for several prompts, and the three
    assert preview.chosen == 0


def test_the_next_click_refines_the_last_mask(real):
    session, _ = real
    session.add_point((), (40, 50))
    assert session.request().items[0].ask.feed is None
    session.update()
    session.choose(2)
    session.add_point((), (60, 50), positive=False)
    request = session.request()
    result = session.state.chain.results.get(request.fed_by)
    assert np.array_equal(request.items[0].ask.feed, result.objects[0].logits[2])
    session.move_point(0, (42, 50))  # the old mask belongs to another place
    assert session.request().items[0].ask.feed is None


def test_stale_results_are_refused(real):
    session, _ = real
    session.add_point((), (40, 50))
    result = finish(session.decode(session.request()))
    session.add_point((), (45, 55))
    assert not session.accept(result)
    assert not session.accept(None)
    assert session.preview is None
    session.undo()
    assert session.accept(result)
    assert not session.accept(result)
    hover = finish(session.decode(session.hover_request((), (10, 10))))
    assert not session.accept(hover)
    assert hover.preview().mask.any()


def test_decoding_can_be_cancelled_at_every_step(real):
    session, _ = real
    session.add_point((), (40, 50))
    request = session.request()
    steps = []
    assert finish(session.decode(request), steps.append) is not None
    for count in range(len(steps)):
        answers = iter([False] * count + [True] * 9)
        assert finish(session.decode(request, lambda: next(answers))) is None  # noqa: B023
    assert [step.message for step in steps] == ["encoding", "decoding"]


def test_masks_do_not_depend_on_the_thread_or_on_what_is_cached(real, predictor, image):
    session, _ = real
    session.add_point((), (40, 50))
    first = finish(session.decode(session.request()))
    assert session.request().is_encoded
    again = finish(session.decode(session.request()))
    assert np.array_equal(first.objects[0].logits, again.objects[0].logits)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda s: s.add_point((), (60, 5)), "rows run from 0 to 59"),
        (lambda s: s.add_point((), (5, -1)), "outside the image"),
        (lambda s: s.add_point((), (np.nan, 5)), "point is"),
        (lambda s: s.add_point((), (1, 2, 3)), "point is"),
        (lambda s: s.add_point((0,), (5, 5)), "has 0 indices"),
        (lambda s: s.set_box((), (0, 100, 9, 200)), "outside the image"),
        (lambda s: s.set_box((), (9, 9, 3, 12)), "has no area"),
        (lambda s: s.add_scribble((), [(-5, -5), (-9, -9)]), "outside the image"),
        (lambda s: s.add_scribble((), []), "no point"),
        (lambda s: s.set_mask((), np.zeros((60, 80), bool)), "empty"),
        (lambda s: s.set_mask((), np.ones((6, 8), np.uint8)), "boolean"),
        (lambda s: s.set_mask((), np.ones((6, 8), bool), Window(70, 0, 6, 8)), "outside"),
        (lambda s: s.begin_batch((), points=[(5, 5), (99, 5)]), "outside the image"),
        (lambda s: s.move_point(3, (5, 5)), "no point 3"),
        (lambda s: s.remove_point(1), "no point 1"),
        (lambda s: s.commit(), "not there yet"),
        (lambda s: s.edit(4), "in progress"),
        (lambda s: s.delete(4), "no object 4"),
        (lambda s: s.merge([1]), "at least two"),
        (lambda s: s.merge([1, 9]), "no object"),
        (lambda s: s.split_off(4, np.ones((2, 2), bool), Window(0, 0, 2, 2)), "no object 4"),
        (lambda s: s.relabel(4, 5), "no object 4"),
        (lambda s: s.relabel(1, 1), "already"),
        (lambda s: s.paint((), Window(0, 0, 1, 1), [[0]], [[0]]), "nothing was painted"),
    ],
)
def test_bad_input_is_one_clear_error_and_changes_nothing(act, message):
    session, labels = disc_session()
    put(session, (30, 60))
    session.add_point((), (20, 20))
    before = state(session, labels)
    if "begin_batch" in str(act.__code__.co_names):
        session.cancel()
        before = state(session, labels)
    with pytest.raises(PromptError, match=message):
        act(session)
    assert same(before, state(session, labels))


def test_edges_of_the_image():
    session, _ = disc_session()
    for corner in ((-0.5, -0.5), (59.5, 79.5), (0, 79)):
        session.add_point((), corner)
        assert session.update().mask.any()
        session.cancel()
    session.set_box((), (-10, 60, 20, 500))  # a drag that leaves the image
    assert session.draft.boxes == ((0, (-0.5, 60.0, 20.0, 80.0)),)
    session.cancel()
    session.add_scribble((), [(-3, 5), (10, 5), (20, 5)])
    assert session.draft.scribbles[0][1].line == ((10.0, 5.0), (20.0, 5.0))


def test_an_object_lies_on_one_plane():
    session, labels = disc_session((3, 60, 80))
    session.add_point((1,), (20, 20))
    with pytest.raises(PromptError, match="lies on plane"):
        session.add_point((2,), (20, 20))
    with pytest.raises(PromptError, match="lies outside the image"):
        session.add_point((3,), (20, 20))
    session.update()
    session.commit()
    put(session, (20, 20), (2,))
    assert labels[1].any() and labels[2].any() and not labels[0].any()
    assert [item.plane for item in session.objects.values()] == [(1,), (2,)]
    session.undo()
    session.undo()
    assert labels[1].any() and not labels[2].any()
    session.undo()
    assert not labels.any()
    session.redo()
    assert labels[1].any() and not labels[2].any()


def test_negative_prompts_alone_are_held_but_not_decoded():
    session, _ = disc_session()
    session.add_point((), (20, 20), positive=False)
    assert session.request() is None
    assert session.preview is None
    with pytest.raises(PromptError, match="add a positive point"):
        session.commit()
    session.add_point((), (24, 24))
    assert session.update().mask.any()


def test_existing_labels_are_respected_unless_overwritten():
    labels = np.zeros((60, 80), np.uint16)
    labels[:, 40:] = 7
    session, _ = disc_session(labels=labels)
    assert put(session, (30, 40)) == 8
    assert (labels[:, 40:] == 7).all()
    assert (labels[:, :40] == 8).any()
    session.undo()
    session.cancel()
    session.add_point((), (30, 60))
    session.update()
    with pytest.raises(PromptError, match="overwrite"):
        session.commit()
    assert session.draft is not None
    session.overwrite = True
    assert session.commit() == (8,)
    assert labels[30, 60] == 8
    session.undo()
    assert (labels[:, 40:] == 7).all()


def test_an_object_that_is_covered_whole_is_gone_until_that_is_undone():
    session, labels = disc_session(overwrite=True)
    put(session, (30, 30))
    session.add_point((), (30, 30))
    session.update()
    session.choose(2)  # the larger disc
    assert session.commit() == (2,)
    assert set(session.objects) == {2}
    session.undo()
    assert set(session.objects) == {1}
    assert (labels == 1).sum() == (np.hypot(*np.mgrid[-30:30, -30:50]) <= 7).sum()


def test_batch_every_prompt_is_an_object_and_negatives_belong_to_their_own():
    session, labels = disc_session()
    keys = session.begin_batch((), points=[(15, 15), (15, 60)], boxes=[(40, 10, 50, 20)])
    assert keys == (0, 1, 2)
    assert session.add_point((), (15, 63), positive=False) == 1
    assert session.add_point((), (45, 22), positive=False) == 2
    assert session.add_point((), (45, 60)) == 3
    prompts = session.draft.prompts
    assert prompts[0].labels == (True,)
    assert prompts[1].points == ((15.0, 60.0), (15.0, 63.0))
    assert prompts[2].points == ((45.0, 22.0),)
    preview = session.update()
    assert len(preview.objects) == 4
    assert set(np.unique(preview.labels)) == {0, 1, 2, 3, 4}
    assert session.commit() == (1, 2, 3, 4)
    assert labels[15, 63] == 0 and labels[15, 60] == 2
    assert session.undo() == "commit 4 objects"
    assert not labels.any()
    session.remove_point(0)
    assert session.draft.keys == (1, 2, 3)


def test_batch_decodes_only_what_changed(real):
    session, _ = real
    session.begin_batch((), points=[(20, 20), (20, 90), (90, 30)])
    session.update()
    session.add_point((), (24, 24), positive=False)
    request = session.request()
    assert [item.reuse is None for item in request.items] == [True, False, False]
    assert len(session.update().objects) == 3
    assert len(session.commit()) == 3


def test_batch_objects_share_contested_pixels_without_losing_any(real):
    session, labels = real
    session.begin_batch((), points=[(40, 50), (44, 56)])
    preview = session.update()
    ids = session.commit()
    assert ids[0] == 1
    assert ((labels > 0)[preview.window.slices] == preview.mask).all()
    assert (labels > 0).sum() == preview.mask.sum()


def test_painted_preview_is_committed_as_it_is_or_refined():
    session, labels = disc_session()
    session.add_point((), (30, 30))
    session.update()
    drawn = np.zeros((60, 80), bool)
    drawn[10:14, 10:20] = True
    session.paint_preview(drawn)
    assert session.request() is None
    assert (session.preview.mask == drawn[session.preview.window.slices]).all()
    session.commit()
    assert ((labels == 1) == drawn).all()
    assert session.objects[1].score is None
    assert (session.objects[1].prompts.mask.within(Window(0, 0, 60, 80)) == drawn).all()
    session.undo()
    session.add_point((), (12, 12))
    assert session.draft.painted == ()
    assert session.draft.prompts[0].mask.window == Window(10, 10, 4, 10)
    assert session.request() is not None


def test_scribbles_and_regions_are_prompts(real):
    session, labels = real
    session.add_scribble((), [(20, 20), (20, 60)])
    session.add_scribble((), [(60, 20), (60, 60)], positive=False)
    assert session.update().mask.any()
    session.commit()
    region = np.zeros(labels.shape, bool)
    region[70:90, 80:110] = True
    session.set_mask((), region)
    assert session.update().mask.any()
    session.add_point((), (80, 95))
    request = session.request()
    assert request.items[0].ask.feed is None  # the region itself is refined, not its mask
    session.update()
    (label,) = session.commit()
    assert session.objects[label].prompts.mask.mask.all()


def test_edit_brings_prompts_back_and_replaces_the_object(real):
    session, labels = real
    session.add_point((), (40, 50))
    first = session.update().mask
    session.commit()
    session.add_point((), (90, 120))
    session.update()
    session.commit()
    draft = session.edit(1)
    assert draft.points[0].position == (40.0, 50.0)
    assert (session.update().mask == first).all()
    assert ((labels == 1) == first).all()  # until the commit
    with pytest.raises(PromptError, match="being edited"):
        session.delete(1)
    session.move_point(0, (64, 50))
    second = session.update().mask
    assert session.commit() == (1,)
    assert ((labels == 1) == second).all()
    assert session.objects[1].prompts.points == ((64.0, 50.0),)
    for _ in range(3):
        session.undo()
    assert ((labels == 1) == first).all()
    assert session.objects[1].prompts.points == ((40.0, 50.0),)


def test_edit_of_a_label_without_prompts_refines_its_region():
    labels = np.zeros((60, 80), np.uint16)
    labels[20:30, 20:40] = 5
    session, _ = disc_session(labels=labels)
    assert session.object_at((), (25, 25)) == 5
    assert session.object_at((), (0, 0)) is None
    assert session.object_at((), (-9, 0)) is None
    draft = session.edit(5)
    assert draft.masks[0][1].window == Window(20, 20, 10, 20)
    session.update()
    assert session.commit() == (5,)
    assert set(session.objects) == {5}


def test_seconds_are_counted_from_the_first_prompt_on():
    now = [100.0]
    session, _ = disc_session(clock=lambda: now[0])
    now[0] += 30
    session.add_point((), (20, 20))
    now[0] += 4
    session.add_point((), (22, 20))
    session.update()
    now[0] += 2.5
    session.commit()
    assert session.objects[1].seconds == 6.5
    now[0] += 50
    session.edit(1)
    now[0] += 1
    session.update()
    session.commit()
    assert session.objects[1].seconds == 7.5
    session.begin_batch((), points=[(50, 50), (50, 70)])
    session.update()
    now[0] += 3
    session.commit()
    assert [session.objects[i].seconds for i in (2, 3)] == [1.5, 1.5]


def test_model_switched_in_mid_object(predictor, image):
    from napari_segment_anything.engine import Predictor

    labels = np.zeros(image.shape, np.uint16)
    session = Session(predictor, PlaneSource(image), ArrayTarget(labels))
    session.add_point((), (40, 50))
    session.update()
    session.commit()
    session.add_point((), (90, 120))
    running = session.request()
    session.update()
    assert len(session.state.chain.store)
    other = Predictor(tiny_model(seed=1))
    session.set_predictor(other)
    assert len(session.state.chain.store) == 0
    assert session.preview is None
    assert not session.accept(finish(session.decode(running)))  # of the old model
    assert session.draft.points[0].position == (90.0, 120.0)
    session.update()
    session.commit()
    prints = [item.fingerprint for item in session.objects.values()]
    assert prints == [predictor.model.fingerprint, other.model.fingerprint]
    assert prints[0] != prints[1]


def test_settings_act_at_once(real):
    session, _ = real
    session.add_point((), (40, 50))
    assert len(session.update().scores) == 3
    session.multimask = False
    assert len(session.update().scores) == 1
    session.multimask = True
    session.add_point((), (45, 55))
    assert len(session.update().scores) == 3
    before = session.preview.mask.sum()
    session.min_mask_region_area = 10**6
    assert session.update().mask.sum() != before or session.preview.mask.any()
    with pytest.raises(ParameterError, match="multimask"):
        session.multimask = "many"
    with pytest.raises(ParameterError, match="min_mask_region_area"):
        session.min_mask_region_area = -1


def test_the_models_own_smallest_region_is_taken():
    session, _ = disc_session(predictor=disc_predictor(defaults={"min_mask_region_area": 30}))
    session.add_point((), (20, 20))
    assert session.request().segmenter.min_mask_region_area == 30
    session.min_mask_region_area = 0
    assert session.request().segmenter.min_mask_region_area == 0


def test_a_label_that_does_not_fit_is_refused_before_anything_is_written():
    labels = np.zeros((60, 80), np.uint8)
    labels[0, 0] = 255
    session, _ = disc_session(labels=labels)
    session.add_point((), (30, 30))
    session.update()
    with pytest.raises(ParameterError, match="label 256 does not fit"):
        session.commit()
    assert np.count_nonzero(labels) == 1
    assert session.draft is not None


def test_a_target_that_fails_leaves_everything_as_it_was():
    session, labels = disc_session()
    put(session, (20, 20))
    session.begin_batch((), points=[(40, 20), (40, 60)])
    session.update()
    write, calls = session.target.write, []

    def failing(plane, window, values):
        calls.append(window)
        half = values.copy()
        half[len(half) // 2 :] = 0
        write(plane, window, half if len(calls) == 1 else values)
        if len(calls) == 1:
            raise OSError("disk full")

    before = state(session, labels)
    session.target.write = failing
    with pytest.raises(OSError, match="disk full"):
        session.commit()
    assert same(before, state(session, labels))
    session.target.write = write
    assert session.commit() == (2, 3)


def test_events_tell_what_changed():
    session, _ = disc_session()
    heard = []
    for name in ("draft_changed", "preview_changed", "history_changed"):
        getattr(session.events, name).connect(lambda name=name: heard.append(name))
    session.events.objects_changed.connect(lambda ids: heard.append(("objects", ids)))
    session.events.target_changed.connect(lambda plane, window: heard.append(("target", plane)))
    session.add_point((), (20, 20))
    assert heard == ["draft_changed", "preview_changed", "history_changed"]
    heard.clear()
    session.update()
    assert heard == ["preview_changed"]
    heard.clear()
    session.add_point((), (21, 20))
    assert heard == [
        "draft_changed",
        "history_changed",
    ]  # the old mask stays until there is a new one
    session.update()
    heard.clear()
    session.commit()
    assert heard == [
        ("target", ()),
        ("objects", (1,)),
        "draft_changed",
        "preview_changed",
        "history_changed",
    ]
    heard.clear()
    session.undo()
    assert ("objects", (1,)) in heard and "preview_changed" in heard


def test_discs_follow_the_request():
    session, _ = disc_session()
    session.add_point((), (20, 20))
    assert discs(session.request()).objects[0].masks[0].area > 20
