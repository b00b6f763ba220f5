"""Suggestions in a viewer: outlined, taken, corrected, rejected, and brought back by undo."""

from __future__ import annotations

import queue
import time
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from napari_segment_anything.bridge.project import suggestion_board
from napari_segment_anything.bridge.project.project_session import ProjectSession
from napari_segment_anything.bridge.project.reviewing import ReviewRound
from napari_segment_anything.bridge.project.suggesting import Suggested
from napari_segment_anything.bridge.viewer_session import ViewerSession
from napari_segment_anything.engine import PlacedMask, Window
from napari_segment_anything.errors import PromptError
from napari_segment_anything.formats.rle import encode
from napari_segment_anything.progress import Progress
from napari_segment_anything.projects import Project, Suggestions

from .conftest import SHAPE, click

PLACES = ((5, 5, 0.9), (5, 40, 0.7), (30, 5, 0.6), (30, 40, 0.3))


def suggestions(model) -> Suggestions:
    masks = []
    for row, col, _ in PLACES:
        mask = np.zeros(SHAPE, bool)
        mask[row : row + 10, col : col + 12] = True
        masks.append(encode(mask))
    found = Suggestions.from_masks(
        masks, [score for *_, score in PLACES], SHAPE, fingerprint=model.fingerprint
    )
    return Suggestions(SHAPE, found.items, {"fingerprint": model.fingerprint})


@pytest.fixture
def board(opened, project, model):
    for image in project.images[:2]:
        with image.lock() as editing:
            editing.set_suggestions(suggestions(model))
    opened.next()
    return opened.board


def counts(project, key="a"):
    found = project.image(key).suggestions().counts()
    return {status: count for status, count in found.items() if count}


def test_outlines_follow_the_threshold(opened, board, viewer):
    layer = viewer.layers["suggestions"]
    assert [item.score for item in board.shown] == [0.9, 0.7, 0.6] and board.open_count == 4
    assert layer.data[5, 5] and not layer.data[8, 8] and not layer.data[30, 40]
    board.threshold = 0.2
    assert layer.data[30, 40] and len(board.shown) == 4
    board.threshold = 0.8
    assert not layer.data[5, 40] and not opened.layers.labels.data.any()


def test_taking_all_is_one_step_that_undo_reverts(opened, board, project):
    assert board.take(board.shown) == (1, 2, 3)
    assert counts(project) == {"open": 1, "taken": 3}
    assert {entry.made_by for entry in project.image("a").objects()} == {"suggestion"}
    assert not board.shown
    opened.session.undo()
    assert counts(project) == {"open": 4} and len(board.shown) == 3
    opened.session.redo()
    assert counts(project) == {"open": 1, "taken": 3}
    opened.session.delete(2)
    assert counts(project) == {"open": 1, "taken": 2, "rejected": 1}


def test_a_click_takes_a_suggestion_up_and_further_prompts_correct_it(opened, board, project):
    opened.session.mouse.click((8, 8))
    assert opened.session.preview.mask.sum() == 120
    [clicked] = opened.session.draft.points
    assert clicked.position == (8, 8) and clicked.positive
    opened.session.commit()
    assert counts(project) == {"open": 3, "taken": 1}
    opened.session.mouse.click((8, 45), positive=False)
    assert [point.positive for point in opened.session.draft.points] == [False]
    opened.session.add_point((9, 46))
    opened.session.commit()
    assert counts(project) == {"open": 2, "taken": 1, "corrected": 1}
    opened.session.mouse.click((50, 70))
    assert len(opened.session.draft.points) == 1


def test_rejecting_and_bringing_back(opened, board, project, viewer):
    viewer.cursor.position = (8, 8)
    board.reject_at_cursor()
    assert counts(project) == {"open": 3, "rejected": 1}
    with pytest.raises(PromptError, match="no suggestion under"):
        board.take_at_cursor()
    assert board.bring_back() and counts(project) == {"open": 4}
    assert not board.bring_back()
    assert board.take_at_cursor() == (1,)


def test_labelled_suggestions_are_not_shown(opened, board):
    mask = np.ones((10, 12), bool)
    opened.session.set_mask(mask, PlacedMask.of(mask, 5, 5).window)
    opened.session.planes.current.session.paint_preview(mask, PlacedMask.of(mask, 5, 5).window)
    opened.session.commit()
    assert [item.score for item in board.shown] == [0.7, 0.6]
    opened.session.undo()
    assert len(board.shown) == 3


def test_decisions_are_kept_when_an_image_is_opened_again(opened, board, project):
    board.take(board.shown[:1])
    opened.go_to("c")
    opened.go_to("a")
    assert counts(project) == {"open": 3, "taken": 1} and len(board.shown) == 2
    assert opened.session.objects[1].suggestion == 1


def test_a_complete_region_is_outlined(opened, board, viewer):
    opened.add_complete_region((20, 20, 55, 70))
    assert viewer.layers["suggestions"].data[20, 45] == 4
    assert opened.saver.occupied()[30, 30] and not opened.saver.occupied()[5, 5]


def test_a_review_goes_through_the_images(opened, board, project):
    asked = []
    review = ReviewRound(opened)
    review.asked.connect(asked.append)
    review.begin()
    assert len(review.queue) == 6 and board.asked == review.item.id
    first = review.item
    review.accept()
    assert review.item != first and first not in review.queue
    review.reject()
    review.later()
    assert len(review.queue) == 3
    while review.item is not None:
        review.accept()
    taken = sum(counts(project, key).get("taken", 0) for key in "ab")
    assert taken == 4 and asked[-1] is None
    review.close()


@pytest.mark.slow
def test_similar_objects_of_a_model(opened, board, project):
    click(opened, (50, 70))
    board.find_similar([1])
    assert board.source == "similar" and not board.busy
    with pytest.raises(PromptError, match="choose an object"):
        board.find_similar([])


@pytest.mark.slow
def test_suggesting_again_copies_no_plane_on_the_viewers_thread(
    viewer, tmp_path, model, monkeypatch
):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2048, 2048), np.uint8))
    project = Project.create(tmp_path / "project", tmp_path / "a.tif")
    todo, found = queue.Queue(), []

    def looked_for(ahead, predictor, occupied, before, *rest):
        yield Progress(0, 1)
        found.append(occupied())
        return Suggested(before, {}, None)

    monkeypatch.setattr(suggestion_board, "suggest", looked_for)
    owner = ProjectSession(ViewerSession(viewer, model), project, dispatch=todo.put)
    board = owner.board
    board.automatic = False
    owner.next()
    while owner.now is None:
        todo.get()()
    owner.session.set_mask(np.ones((10, 12), bool), Window(1000, 5, 10, 12))
    owner.session.commit()
    start = time.thread_time()
    board.compute()
    while board.busy:
        todo.get()()
    held, start = time.thread_time() - start, time.thread_time()
    labels = owner.now.session.target.read((), Window.full((2048, 2048)))
    assert held < time.thread_time() - start
    assert labels.any() and ((labels != 0) == found[0]).all()
    image = owner.image
    owner.close()
    owner.session.close()
    assert (image.labels() == labels).all()


@pytest.fixture
def suggesting(viewer, project, model):
    """Return a session on the project whose model finds objects in noise, and suggests them."""
    grid = {"points_per_side": 4, "pred_iou_thresh": 0.1, "stability_score_thresh": 0.1}
    session = ViewerSession(viewer, replace(model, metadata={"everything": {"grid": grid}}))
    made = ProjectSession(session, project, who="ann")
    yield made
    made.close()
    session.close()


def test_what_is_marked_as_background_is_not_suggested(suggesting, project):
    suggesting.next()
    before = suggesting.board.suggestions
    point = np.argwhere(before.items[0].mask.decode())[0]
    suggesting.leave()
    with project.image("a").lock() as editing:
        editing.add_negatives([point])
    suggesting.go_to("a")
    suggesting.board.compute()
    after = suggesting.board.suggestions
    assert before.at(*point) is not None and after.at(*point) is None and len(after) > 0


@pytest.mark.slow
def test_large_images_get_suggestions_when_they_are_asked_for(suggesting, project, monkeypatch):
    monkeypatch.setattr("napari_segment_anything.projects.suggesting.LARGE_FRAMES", 0.3)
    suggesting.next()
    assert suggesting.board.suggestions is None or not len(suggesting.board.suggestions)
    assert suggesting.board.is_large
    steps = []
    suggesting.board.progressed.connect(steps.append)
    suggesting.board.compute()
    assert "segmenting" in {step.message for step in steps}
    found = suggesting.board.suggestions
    assert len(found) > 0 and all("seam" in item.doubts for item in found)
    assert not list(project.image("a").folder.glob("tiles-*"))
    click(suggesting, (50, 70))
    suggesting.board.find_similar([1])
    assert suggesting.board.source == "similar" and not suggesting.board.busy
