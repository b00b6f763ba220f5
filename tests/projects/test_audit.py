"""Audits of a project: drawn, answered by people or labels, reported."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import napari_segment_anything as nsa
from napari_segment_anything.formats.rle import encode, encode_labels
from napari_segment_anything.projects import ObjectEntry, Project
from napari_segment_anything.projects.audit import Audit, audit_names
from napari_segment_anything.projects.audit_figures import audit_figures
from napari_segment_anything.projects.audit_report import class_rows
from napari_segment_anything.projects.suggestions import Suggestions


@pytest.fixture
def truth() -> np.ndarray:
    """Twelve objects of 6 x 6 pixels."""
    found = np.zeros((40, 50), np.int32)
    for number in range(12):
        row, col = 2 + 12 * (number // 4), 2 + 12 * (number % 4)
        found[row : row + 6, col : col + 6] = number + 1
    return found


@pytest.fixture
def segmented(project: Project, truth: np.ndarray) -> Project:
    """In each image the first object is missed, 2 and 3 are merged, 4 is small, 20 is false."""
    found = truth.copy()
    found[truth == 1] = 0
    found[2:8, 14:32] = 2
    found[truth == 4] = 0
    found[3:7, 39:43] = 4
    found[34:39, 30:40] = 20
    entries = [
        ObjectEntry(int(i), score=0.9 - i / 50, made_by="suggestion", fingerprint="f" * 64)
        for i in np.unique(found)[1:]
    ]
    for image in project.images:
        with image.lock() as editing:
            editing.write(labels=found, objects=entries)
    return project


def test_a_census_gives_exact_figures(segmented: Project, truth: np.ndarray) -> None:
    audit = Audit.draw(segmented, masks=100, fields=100, field_side=20)
    assert len(audit.sample.masks) == 33
    for image in segmented.images:
        audit.answer_from(image.key, truth)
    figures = audit.figures()
    assert figures.verdicts == {"accepted": 24, "corrected": 6, "rejected": 3}
    assert figures.missed == 3
    count, area = figures["count"], figures["area"]
    assert count.automatic == 33
    assert (count.interval.low, count.interval.value, count.interval.high) == (36, 36, 36)
    assert (area.interval.low, area.interval.high) == pytest.approx((3 * 12 * 36,) * 2)
    assert figures["iou_above_90"].interval.value == pytest.approx(24 / 33)
    assert figures["recall"].interval.value == pytest.approx(11 / 12)
    with pytest.raises(nsa.ParameterError, match="no figure"):
        figures["colour"]


def test_answers_are_kept_as_they_come(segmented: Project, truth: np.ndarray) -> None:
    audit = Audit.draw(segmented, "first", masks=10, fields=6, field_side=20)
    number = audit.open_masks()[0]
    drawn = audit.sample.masks[number].rle
    answer = audit.answer_mask(number, [drawn], seconds=4, by="ada")
    assert (answer.verdict, answer.iou, answer.objects) == ("accepted", 1, ())
    smaller = drawn.decode()
    smaller[smaller.any(1).nonzero()[0][0]] = False
    second = audit.open_masks()[0]
    assert second != number
    audit.answer_mask(second, [])
    field = audit.open_fields()[0]
    place = audit.sample.fields[field]
    inside, outside = np.zeros((2, 40, 50), bool)
    inside[place.row + 1, place.col + 1] = True
    outside[(place.row + place.height + 1) % 40, (place.col + place.width + 1) % 50] = True
    assert len(audit.answer_field(field, [inside, outside]).missed) == 1

    again = Audit.open(Project.open(segmented.folder))
    assert again.name == "first"
    assert again.masks[number].by == "ada"
    assert again.masks[second].verdict == "rejected"
    assert list(again.fields) == [field]
    assert audit.answer_mask(number, [smaller]).verdict == "corrected"
    assert again.masks[number].iou < 1
    with pytest.raises(nsa.ParameterError, match="no mask 99"):
        audit.answer_mask(99, [])
    with pytest.raises(nsa.ParameterError, match="not empty"):
        audit.answer_mask(number, [np.zeros((40, 50), bool)])
    with pytest.raises(nsa.ParameterError, match="not empty"):
        audit.answer_field(field, [np.zeros((40, 50), bool)])


def test_what_people_made_counts_as_right(segmented: Project, truth: np.ndarray) -> None:
    whole, partly, _ = segmented.images
    with whole.lock() as editing:
        editing.write(labels=truth, state="complete")
    with partly.lock() as editing:
        entries = [replace(entry, made_by="person") for entry in partly.objects()[:3]]
        editing.write(objects=[*entries, *partly.objects()[3:]])
    audit = Audit.draw(segmented, masks=100, fields=100)
    held = {image.key: image for image in audit.sample.images}
    assert (held[whole.key].masks, held[whole.key].trusted) == (0, 12)
    assert (held[partly.key].masks, held[partly.key].trusted) == (8, 3)
    assert whole.key not in {field.image for field in audit.sample.fields}
    for image in segmented.images:
        audit.answer_from(image.key, truth)
    assert audit.figures().trusted == 15
    # label 2, which a person made, has merged two objects
    assert audit.figures()["count"].interval.value == 35


def test_open_suggestions_are_audited_from_the_projects_score_on(
    segmented: Project, truth: np.ndarray
) -> None:
    image = segmented.images[0]
    first, other = np.zeros((2, 40, 50), bool)
    first[2:8, 2:8], other[30:34, 2:8] = True, True
    made = Suggestions.from_masks(
        [encode(first), encode(other)], [0.85, 0.4], (40, 50), version="v1", fingerprint="e" * 64
    )
    with image.lock() as editing:
        editing.set_suggestions(made)
    audit = Audit.draw(segmented, masks=100, fields=100)
    assert len(audit.sample.masks) == 34
    (drawn,) = (mask for mask in audit.sample.masks if mask.id < 0)
    assert (drawn.image, drawn.score, drawn.rle) == (image.key, 0.85, encode(first))
    assert audit.drawn.threshold == segmented.settings["suggestion_score"]
    assert [m.masks for m in audit.drawn.models if m.version == "v1"] == [1]
    for each in segmented.images:
        audit.answer_from(each.key, truth)
    assert audit.figures()["count"].interval.value == 36
    assert audit.figures().missed == 2
    assert f"at least {audit.drawn.threshold:.2f}" in audit.write_report()[1].read_text()


def test_images_with_suggestions_only(project: Project, truth: np.ndarray) -> None:
    image = project.images[1]
    with image.lock() as editing:
        editing.set_suggestions(
            Suggestions.from_masks(list(encode_labels(truth).values()), [0.9] * 12, (40, 50))
        )
    Path(project.images[0].path).unlink()  # nothing of it is audited
    audit = Audit.draw(Project.open(project.folder))
    assert [(i.key, i.masks) for i in audit.sample.images] == [(image.key, 12)]
    assert audit.drawn.left_out == 2


def test_the_report(segmented: Project, truth: np.ndarray) -> None:
    audit = Audit.draw(segmented, masks=20, fields=10, seed=3)
    with pytest.raises(nsa.ParameterError, match="0 masks and 0 fields are answered"):
        audit.write_report()
    for image in segmented.images:
        audit.answer_from(image.key, truth, by="ada")
    report, methods = audit.write_report()
    held = json.loads(report.read_text())
    figure = held["figures"]["count"]
    assert figure["low"] <= 36 <= figure["high"]
    assert held["models"] == [
        {"model": "", "version": "", "fingerprint": "f" * 64, "masks": 33},
    ]
    text = methods.read_text()
    for part in (nsa.__version__, "f" * 16, "seed 3", "by ada", "Clopper", "above .90"):
        assert part in text


def test_other_masks_than_those_drawn(segmented: Project, truth: np.ndarray) -> None:
    audit = Audit.draw(segmented)
    image = segmented.images[0]
    with image.lock() as editing:
        editing.write(labels=truth)
    with pytest.raises(nsa.ParameterError, match="have changed"):
        audit.answer_from(image.key, truth)
    with pytest.raises(nsa.ParameterError, match="does not cover"):
        audit.answer_from("b", truth)


def test_names_and_images(segmented: Project) -> None:
    with segmented.images[0].lock() as editing:
        editing.set_state("skipped")
    first = Audit.draw(segmented)
    assert first.drawn.left_out == 1
    one = segmented.images[1].key
    assert [i.key for i in Audit.draw(segmented, images=[one]).sample.images] == [one]
    assert audit_names(segmented) == ["audit-1", "audit-2"]
    with pytest.raises(nsa.ParameterError, match="already"):
        Audit.draw(segmented, "audit-1")
    with pytest.raises(nsa.ParameterError, match="audit-1, audit-2"):
        Audit.open(segmented, "other")
    with pytest.raises(nsa.ParameterError, match="masks"):
        Audit.draw(segmented, masks=1)


def test_figures_by_class(segmented: Project, truth: np.ndarray) -> None:
    """Automatic: 2, 3 and 4 are dead, the others cells. Really: 4 is a cell, 12 is dead."""
    for image in segmented.images:
        dead = {2, 3, 4}
        named = [
            replace(entry, class_name="dead cell" if entry.id in dead else "cell")
            for entry in image.objects()
        ]
        with image.lock() as editing:
            editing.write(objects=named)
    audit = Audit.draw(segmented, masks=100, fields=100, field_side=20)
    assert audit.sample.classes == ("cell", "dead cell")
    assert {stratum.class_name for stratum in audit.sample.strata} == {"cell", "dead cell"}
    really = {i: "dead cell" if i in (1, 2, 3, 12) else "cell" for i in range(1, 13)}
    for image in segmented.images:
        audit.answer_from(image.key, truth, classes=really)
    cell, dead = audit.figures().classes
    assert (cell.name, cell.masks, cell.missed) == ("cell", 27, 0)
    assert (dead.masks, dead.masks_answered, dead.missed) == (6, 6, 3)
    for figures, count in ((cell, 3 * 8), (dead, 3 * 4)):
        interval = figures["count"].interval
        assert (interval.low, interval.value, interval.high) == (count,) * 3
        assert figures["area"].interval.value == pytest.approx(36 * count)
    assert dead["precision"].interval.value == 0.5  # that of 2 and 3 merged, not 4
    assert dead["recall"].interval.value == pytest.approx(9 / 12)
    held = json.loads(audit.write_report()[0].read_text())
    assert [each["figures"]["count"]["value"] for each in held["classes"]] == [24, 12]
    assert "classes of 33 masks were checked" in (audit.folder / "methods.md").read_text()
    with pytest.raises(nsa.ParameterError, match="no class 'worm'; its classes are: cell"):
        audit.answer_mask(0, [truth == 5], classes=["worm"])
    with pytest.raises(nsa.ParameterError, match="1 objects of an answer need as many classes"):
        audit.answer_mask(0, [truth == 5], classes=[])


def test_classes_that_nothing_has_are_left_out(segmented: Project, truth: np.ndarray) -> None:
    audit = Audit.draw(segmented, masks=20, fields=10)
    assert audit.sample.classes
    for image in segmented.images:
        audit.answer_from(image.key, truth)
    assert audit.figures().classes == ()


def audit_of_cells(segmented: Project, truth: np.ndarray) -> Audit:
    """Everything is a cell, and every mask and field is answered from the truth."""
    for image in segmented.images:
        with image.lock() as editing:
            editing.write(objects=[replace(e, class_name="cell") for e in image.objects()])
    audit = Audit.draw(segmented, masks=100, fields=100, field_side=20)
    for image in segmented.images:
        audit.answer_from(image.key, truth)
    return audit


def test_what_cannot_be_estimated_is_a_dash(segmented: Project, truth: np.ndarray) -> None:
    audit = audit_of_cells(segmented, truth)
    rows = class_rows(audit.figures())
    assert ["dead cell", "masks with IoU above 0.75", "", "–", "–"] in rows
    assert not any(row[-1].strip() == "to" for row in rows)


def test_too_few_masks_of_a_class(segmented: Project, truth: np.ndarray) -> None:
    audit = audit_of_cells(segmented, truth)
    cell, dead, none = audit.figures().classes
    assert none.name == "" and none["count"].interval.value == 3  # missed, of an unknown class
    assert dead["count"].interval.value == 0
    assert cell["count"].interval.value == 33
    some = {number: audit.masks[number] for number in range(9)}
    lacking, *_ = audit_figures(audit.sample, some, audit.fields).classes
    assert lacking.figures == ()
    assert lacking.lacking == "9 of its 33 masks are answered; figures need 10"


def test_nothing_to_audit(project: Project) -> None:
    with pytest.raises(nsa.ParameterError, match="nothing to audit"):
        Audit.draw(project)
    assert audit_names(project) == []


def test_an_answer_that_was_cut_off_is_left_out(segmented: Project) -> None:
    audit = Audit.draw(segmented)
    for number in range(2):
        audit.answer_mask(number, [audit.sample.masks[number].rle])
    path = audit.folder / "answers.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert list(audit.masks) == [0]
    audit.answer_mask(0, [])  # the last answer counts
    audit.answer_mask(2, [])
    assert {n: each.verdict for n, each in audit.masks.items()} == {0: "rejected", 2: "rejected"}
    assert len(path.read_text().splitlines()) == 3


def test_answers_in_one_file_of_an_earlier_version(segmented: Project) -> None:
    audit = Audit.draw(segmented)
    audit.answer_mask(0, [audit.sample.masks[0].rle])
    (audit.folder / "answers.jsonl").replace(audit.folder / "answers.json")
    audit.answer_mask(1, [])
    assert [audit.masks[n].verdict for n in range(2)] == ["accepted", "rejected"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sample.json", lambda text: text.replace('"stratum": 0', '"stratum": 99')),
        ("sample.json", lambda text: text[: len(text) // 2]),
        ("answers.jsonl", lambda text: text.replace('"masks": {"', '"masks": {"9')),
        ("answers.jsonl", lambda text: text.replace('"iou": 1.0', '"iou": "all"')),
    ],
)
def test_damaged_files(segmented: Project, name: str, change) -> None:
    audit = Audit.draw(segmented)
    audit.answer_mask(0, [audit.sample.masks[0].rle])
    path = audit.folder / name
    path.write_text(change(path.read_text()))
    with pytest.raises(nsa.FormatError):
        _ = Audit.open(segmented).masks
