"""Suggestions: from candidates, through decisions, to the disk and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_segment_anything.errors import FormatError, ParameterError
from napari_segment_anything.formats import read_sa1b
from napari_segment_anything.formats.rle import RLE, encode
from napari_segment_anything.projects import Project, Suggestions
from napari_segment_anything.projects.suggestion_files import read_suggestions, suggestions_writer
from napari_segment_anything.projects.suggestions import best_matches

SHAPE = (40, 50)


def square(row: int, col: int, side: int = 10) -> RLE:
    mask = np.zeros(SHAPE, bool)
    mask[row : row + side, col : col + side] = True
    return encode(mask)


@pytest.fixture
def three() -> Suggestions:
    """Scores .9, .6 and .3, side by side."""
    masks = [square(0, 0), square(0, 20), square(20, 0)]
    return Suggestions.from_masks(masks, [0.9, 0.6, 0.3], SHAPE, version="v1", fingerprint="f")


def test_better_score_wins_where_masks_overlap() -> None:
    made = Suggestions.from_masks(
        [square(0, 0), square(0, 4), square(0, 9)], [0.5, 0.9, 0.7], SHAPE
    )
    assert [item.score for item in made] == [0.9, 0.7]  # the first is covered by more than half
    assert [item.mask.area for item in made] == [100, 50]
    assert made.painted()[5, 5] == 1


def test_existing_objects_keep_their_pixels_and_drop_what_they_cover() -> None:
    labels = np.zeros(SHAPE, np.int32)
    labels[:10, :6] = 7
    labels[20:30, :4] = 8
    made = Suggestions.from_masks([square(0, 0), square(20, 0)], [0.9, 0.9], SHAPE, labels=labels)
    assert len(made) == 1
    assert made.items[0].mask.area == 60


def test_shown_is_a_comparison_of_scores(three: Suggestions) -> None:
    assert [len(three.shown(t)) for t in (0, 0.3, 0.31, 0.6, 0.95)] == [3, 3, 2, 2, 0]
    assert len(three.shown(0, "similar")) == 0


def test_decisions_and_back(three: Suggestions) -> None:
    after = three.decide([1], "taken", {1: 12}).decide([3], "rejected")
    assert after.counts() == {"open": 1, "taken": 1, "corrected": 0, "rejected": 1}
    assert after[1].object_id == 12
    assert three[1].status == "open"
    assert [item.id for item in after.shown(0)] == [2]
    assert after.decide([1, 3], "open").counts()["open"] == 3
    with pytest.raises(ParameterError, match="no suggestion 9"):
        three.decide([9], "taken")
    with pytest.raises(ParameterError, match="status must be"):
        three.decide([1], "kept")  # type: ignore[arg-type]


def test_suggestion_at_a_pixel(three: Suggestions) -> None:
    found = three.at(5.2, 24.9)
    assert found is not None and found.id == 2
    assert three.at(15, 15) is None
    assert three.decide([2], "rejected").at(5, 25) is None
    assert three.at(-3, 5) is None


def test_painted_window_equals_part_of_the_plane(three: Suggestions) -> None:
    from napari_segment_anything.engine import Window

    whole = three.painted()
    assert set(np.unique(whole)) == {0, 1, 2, 3}
    assert np.array_equal(three.painted(Window(5, 3, 30, 20)), whole[5:35, 3:23])


def test_new_objects_drop_open_suggestions(three: Suggestions) -> None:
    three = three.decide([1], "taken")
    patch = np.zeros((12, 12), np.int32)
    patch[:10, 1:6] = 3  # half of the second
    left = three.without_covered(patch, 0, 19)
    assert [item.id for item in left] == [1, 2, 3]
    patch[:10, 1:9] = 3
    assert [item.id for item in three.without_covered(patch, 0, 19)] == [1, 3]
    everywhere = np.ones(SHAPE, np.int32)
    assert [item.id for item in three.without_covered(everywhere)] == [1]


def test_renewed_keeps_decisions_and_respects_rejections(three: Suggestions) -> None:
    decided = three.decide([1], "taken").decide([3], "rejected")
    new = Suggestions.from_masks([square(0, 21), square(21, 1)], [0.8, 0.8], SHAPE, version="v2")
    after = decided.renewed(new)
    assert [(item.id, item.status, item.version) for item in after] == [
        (1, "taken", "v1"),
        (3, "rejected", "v1"),
        (4, "open", "v2"),
    ]
    with pytest.raises(ParameterError, match="cannot replace"):
        decided.renewed(Suggestions((9, 9)))


def test_other_sources_survive_a_renewal(three: Suggestions) -> None:
    similar = Suggestions.from_masks([square(20, 20)], [0.7], SHAPE, source="similar")
    both = three.renewed(similar, "similar")
    assert len(both) == 4
    assert [item.source for item in both.renewed(Suggestions(SHAPE))] == ["similar"]


def test_best_matches() -> None:
    iou, index = best_matches(
        [square(0, 0), square(0, 30)], [square(20, 20), square(0, 5), square(0, 1)]
    )
    assert index.tolist() == [2, -1]
    assert iou == pytest.approx([90 / 110, 0])


def test_file_is_read_back_and_by_readers_of_sa1b(tmp_path: Path, three: Suggestions) -> None:
    path = tmp_path / "suggestions.json"
    suggestions_writer(three.decide([2], "corrected", {2: 5}))(path)
    back = read_suggestions(path)
    assert back.shape == SHAPE
    assert [item.mask for item in back] == [item.mask for item in three]
    assert (back[2].status, back[2].object_id, back[2].version) == ("corrected", 5, "v1")
    assert np.isnan(back[1].predicted_iou)
    assert len(read_sa1b(path).records) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"][0].update(status="kept"), "status"),
        (lambda d: d["annotations"][1].update(id=1), "id repeats"),
        (lambda d: d["annotations"][0]["segmentation"].update(counts="zz"), "annotation 0"),
        (lambda d: d["annotations"][0].pop("score"), "score is missing"),
        (lambda d: d["suggestions"].update(version=2), "version 2"),
        (lambda d: d["image"].update(width=60), "another size"),
    ],
)
def test_damaged_file(tmp_path: Path, three: Suggestions, change, message: str) -> None:
    path = tmp_path / "suggestions.json"
    suggestions_writer(three)(path)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(FormatError, match=message):
        read_suggestions(path)


def test_image_of_a_project(project: Project, three: Suggestions, labels: np.ndarray) -> None:
    image = project.images[0]
    assert len(image.suggestions()) == 0
    assert image.suggestions().shape == SHAPE
    with image.lock() as editing:
        editing.write(labels=labels, suggestions=three.decide([1], "taken"))
        assert image.suggestions()[1].status == "taken"
        editing.set_suggestions(three)
        assert image.suggestions()[1].status == "open"
        with pytest.raises(ParameterError, match="suggestions have shape"):
            editing.set_suggestions(Suggestions((3, 3)))
