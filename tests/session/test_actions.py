"""Actions as values, and the parts of a session by themselves."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

from napari_segment_anything.engine import PlacedMask, PlaneSource, Window
from napari_segment_anything.errors import FormatError, PromptError, ResourceError
from napari_segment_anything.session import ArrayTarget, SessionObject, SuggestedMask
from napari_segment_anything.session import draft_actions as on_draft
from napari_segment_anything.session import object_actions as on_objects
from napari_segment_anything.session import series_actions as on_series
from napari_segment_anything.session import session_actions as on_session
from napari_segment_anything.session.committed import CommittedObjects
from napari_segment_anything.session.decoding import DecodingChain
from napari_segment_anything.session.journal import (
    ACTIONS,
    Recorder,
    model_record,
    read_event,
    to_event,
)
from napari_segment_anything.session.label_edits import LabelEdit, LabelPatch
from napari_segment_anything.session.objects import Draft, DraftPoint
from napari_segment_anything.session.settings import SessionSettings
from napari_segment_anything.session.state import Change, History

from .helpers import disc_predictor, disc_session, discs, put

MASK = PlacedMask.of(np.eye(5, dtype=bool), 3, 4)
MODEL = model_record(disc_predictor())
PATCH = LabelPatch.between(
    (), Window(2, 3, 4, 4), np.zeros((4, 4), np.uint16), np.ones((4, 4), np.uint16)
)
EDIT = LabelEdit(((1, None, SessionObject(1, ())),), (PATCH,), (1, 2))
SAMPLES = [
    on_draft.Begin((1, 2)),
    on_draft.BeginBatch((), ((1.0, 2.0),), ((1.0, 2.0, 3.0, 4.0),)),
    on_draft.AddPoint((), (1.5, 2.0), False, 3),
    on_draft.MovePoint(2, (1.0, 2.0)),
    on_draft.RemovePoint(0),
    on_draft.SetBox((), None, None),
    on_draft.AddScribble((0,), ((1.0, 1.0), (2.0, 3.0)), True, None),
    on_draft.SetMask((), MASK, 1),
    on_draft.PaintPreview(MASK, None),
    on_draft.Choose(2, 0),
    on_draft.Cancel(),
    on_draft.EditObject(4, (), MASK),
    on_objects.Commit(),
    on_objects.Delete((1, 2), None),
    on_objects.Merge((1, 2), (0,)),
    on_objects.SplitOff(1, MASK, ()),
    on_objects.Relabel(1, 7, None),
    on_objects.Paint(),
    on_series.AddKnown((SessionObject(1, (), class_name="cell"),)),
    on_series.TakeUp((), SuggestedMask(3, MASK, 0.5)),
    on_series.TakeUp((), SuggestedMask(3, MASK, 0.5), (1.5, 2.0)),
    on_series.TakeSuggestions((0,), (SuggestedMask(3, MASK, 0.5),), "cell", "f", 1.5),
    on_series.Classify((1, 2), "cell"),
    on_series.Cut(1, ((1.0, 2.0), (3.0, 4.0)), None),
    on_session.Undo(),
    on_session.Redo(),
    on_session.ChangeSettings({"multimask": "auto", "min_mask_region_area": None}),
    on_session.Lock((1, 2), True),
    on_session.Reserve(9),
    on_session.ChangeModel(MODEL),
    on_session.Recovered(MODEL, -1),
    on_session.Decoded(1, None, ((0, Window(0, 0, 9, 9), (0.5, 0.25), 0),), 0.5),
    on_session.Closed(),
]


@pytest.mark.parametrize("action", SAMPLES, ids=lambda action: action.do)
def test_an_action_is_a_value_that_survives_the_journal(action):
    assert ACTIONS[action.do] is type(action)
    assert not hasattr(action, "__dict__")
    for field in fields(action):
        with pytest.raises(FrozenInstanceError):
            setattr(action, field.name, None)
    change = Change("", None, Draft((), 1, window=Window(0, 0, 5, 6)), EDIT)
    line = json.dumps({**to_event(action, change), "t": 2.5}).encode()
    event = read_event(line, "line 2")
    assert event.action == action and event.seconds == 2.5
    assert event.edit == (EDIT if action.edits else None)
    steps = action.in_history and not action.edits
    assert event.window == ((Window(0, 0, 5, 6),) if steps else ())
    assert action.describe(event.edit)


def test_there_is_a_sample_of_every_action():
    assert {action.do for action in SAMPLES} == set(ACTIONS)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"do": "dance"}', "do dance is unknown"),
        ('{"plane": []}', "do is missing"),
        ('{"do": "delete", "ids": [1], "plane": null}', "edit is missing"),
        ('{"do": "add_point", "plane": [], "point": [1], "positive": true}', "point"),
        ('{"do": "add_point", "plane": [], "point": [1, 1e99], "positive": true}', "point"),
        ('{"do": "undo", "t": "late"}', "t: "),
    ],
)
def test_a_line_that_no_action_recorded_is_named(line, message):
    with pytest.raises(FormatError, match=f"line 7: .*{message}"):
        read_event(line.encode(), "line 7")
    assert read_event(b'{"do": "void"}', "line 7") is None


def test_planning_changes_nothing():
    session, labels = disc_session()
    put(session, (20, 20))
    put(session, (40, 60))
    before = labels.copy(), session.objects, session.draft, list(session.state.history.done)
    for action in (
        on_draft.AddPoint((), (5.0, 5.0), True, None),
        on_objects.Delete((1,), None),
        on_objects.Merge((1, 2), None),
        on_objects.Relabel(2, 9, None),
        on_session.Undo(),
    ):
        change = action.plan(session.state)
        assert change.inverse().inverse() == change
        after = labels, session.objects, session.draft, session.state.history.done
        assert (after[0] == before[0]).all() and after[1:] == before[1:]
    with pytest.raises(PromptError, match="nothing to redo"):
        on_session.Redo().plan(session.state)


def test_any_action_can_be_performed():
    session, labels = disc_session()
    change = session.perform(on_draft.AddPoint((), (20.0, 20.0), True, None))
    assert change.description == "add point" and session.draft is not None
    session.update()
    assert session.perform(on_objects.Commit()).edit.written == (1,)
    session.perform(on_session.Undo())
    assert not labels.any()


def test_committed_objects_alone():
    labels = np.zeros((2, 20, 30), np.uint16)
    labels[1, 3:6, 3:6] = 4
    objects = CommittedObjects(ArrayTarget(labels), PlaneSource(np.zeros((2, 20, 30), np.uint8)))
    assert (objects.largest, objects.next_id) == (4, 5)
    objects.reserve(6)
    assert (objects.largest, objects.next_id) == (4, 7)
    plan = objects.plan()
    label = plan.new_id()
    plan.put((0,), Window(1, 2, 3, 4), np.full((3, 4), label))
    plan.set(label, SessionObject(label, (0,)))
    plan.replace(4, 0)
    edit = plan.edit()
    assert not labels[0].any() and not objects.items
    objects.apply(edit)
    assert (labels[0, 1:4, 2:6] == 7).all() and not labels[1].any()
    assert [place.window for place in objects.places()] == [Window(1, 2, 3, 4)]
    assert objects.next_id == 8
    objects.apply(edit.inverse())
    assert not labels[0].any() and (labels[1, 3:6, 3:6] == 4).all() and not objects.items
    objects.locked.add(4)
    with pytest.raises(PromptError, match="locked"):
        objects.require_unlocked(4)
    with pytest.raises(PromptError, match="on which plane object 4 is to be split"):
        objects.plane_of(4, None, "split")


def test_a_decoding_chain_alone():
    source = PlaneSource(np.zeros((60, 80), np.uint8))
    chain = DecodingChain(disc_predictor(), source, SessionSettings())
    draft = Draft(
        (),
        next(chain.revisions),
        points=(DraftPoint((20.0, 20.0), True, 0),),
        window=Window.full((60, 80)),
    )
    request = chain.request(draft)
    result = discs(request)
    assert chain.preview(draft) is None and chain.accepts(draft, result)
    chain.keep(result)
    assert chain.request(draft) is None and not chain.accepts(draft, result)
    assert chain.preview(draft).mask.any()
    assert not chain.configure(SessionSettings(overwrite=True))
    assert chain.configure(SessionSettings(multimask=True))
    assert chain.preview(draft) is None and not chain.accepts(draft, result)


def test_a_history_alone():
    history = History()
    first, second = (Change(name, None, None) for name in ("first", "second"))
    history.push(first)
    history.push(second)
    history.step_back()
    assert (history.done, history.undone) == ([first], [second])
    history.step_forward()
    assert (history.done, history.undone) == ([first, second], [])
    history.step_back()
    history.push(first)
    assert history.undone == []


def test_a_recorder_alone(tmp_path):
    lost = []
    taken = tmp_path / "there.jsonl"
    taken.write_text("")
    recorder = Recorder(taken, lambda: 1.5, dict, lost.append)
    recorder.record({"do": "undo"})
    assert recorder.journal is None and "exists already" in str(lost[0])
    with pytest.raises(ResourceError, match="exists already"):
        Recorder(taken, lambda: 1.5, dict).record({"do": "undo"})
    path = tmp_path / "new.jsonl"
    recorder = Recorder(path, lambda: 1.5, dict)
    recorder.close({"do": "closed"})
    assert not path.exists()
    recorder.record({"do": "undo"})
    recorder.close({"do": "closed"})
    events = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert events == [{"do": "undo", "t": 1.5}, {"do": "closed", "t": 1.5}]
