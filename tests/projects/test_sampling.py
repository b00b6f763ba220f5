"""Drawing masks from strata, and fields from images."""

import numpy as np
import pytest

import napari_segment_anything as nsa
from napari_segment_anything.formats.rle import RLE, encode, encode_labels
from napari_segment_anything.projects.audit_answers import answer_to, answers_from, standing
from napari_segment_anything.projects.audit_figures import audit_figures
from napari_segment_anything.projects.audit_sample import AuditSample, DrawnField, Population
from napari_segment_anything.projects.sampling import audited_image, draw, population


@pytest.fixture(scope="module")
def labels() -> dict[str, np.ndarray]:
    """Two images with 200 objects of 2 x 2 to 5 x 5 pixels."""
    rng = np.random.default_rng(0)
    found = {}
    for key in ("a", "b"):
        found[key] = np.zeros((120, 160), np.int32)
        for number in range(100):
            row, col, side = 12 * (number // 10), 16 * (number % 10), rng.integers(2, 6)
            found[key][row : row + side, col : col + side] = number + 1
    return found


@pytest.fixture(scope="module")
def masks(labels: dict[str, np.ndarray]) -> dict[str, dict[int, RLE]]:
    return {key: encode_labels(array) for key, array in labels.items()}


@pytest.fixture(scope="module")
def held(masks: dict[str, dict[int, RLE]]) -> Population:
    rng = np.random.default_rng(1)
    return population(
        (audited_image(key, (120, 160), own), own, {i: float(rng.random()) for i in own}, {})
        for key, own in masks.items()
    )


def drawn(held: Population, found, **values) -> AuditSample:
    return draw(held, found.__getitem__, **{"masks": 40, "fields": 8, **values})


def test_strata_of_score_and_size(held: Population, masks) -> None:
    sample = drawn(held, masks)
    assert sum(stratum.masks for stratum in sample.strata) == 200
    assert len(sample.strata) == 6
    scores = [stratum.scores for stratum in sample.strata]
    assert scores[0][1] < scores[2][0] < scores[4][1] <= 1
    for stratum in sample.strata[::2]:
        larger = sample.strata[sample.strata.index(stratum) + 1]
        assert stratum.areas[1] <= larger.areas[0]
    for mask in sample.masks:
        assert mask.rle == masks[mask.image][mask.id]
    assert len({(mask.image, mask.id) for mask in sample.masks}) == 40
    counts = np.bincount([mask.stratum for mask in sample.masks])
    assert counts.min() >= 4


def test_the_same_seed_draws_the_same(held: Population, masks) -> None:
    assert drawn(held, masks, seed=4) == drawn(held, masks, seed=4)
    assert drawn(held, masks, seed=4) != drawn(held, masks, seed=5)


def test_every_mask_can_be_drawn(held: Population, masks) -> None:
    seen = {(m.image, m.id) for seed in range(60) for m in drawn(held, masks, seed=seed).masks}
    assert len(seen) == 200
    whole = drawn(held, masks, masks=1000, fields=1000)
    assert len(whole.masks) == 200
    assert len(whole.fields) == whole.field_count


def test_fields_divide_the_images(held: Population, masks) -> None:
    sample = drawn(held, masks, fields=1000, field_side=30)
    for key in masks:
        covered = np.zeros((120, 160), int)
        for field in sample.fields:
            if field.image == key:
                rows = slice(field.row, field.row + field.height)
                covered[rows, field.col : field.col + field.width] += 1
        assert (covered == 1).all()


def test_an_object_lies_in_one_field() -> None:
    mask = np.zeros((40, 40), bool)
    mask[18:22, 18:22] = True
    fields = [DrawnField("a", r, c, 20, 20) for r in (0, 20) for c in (0, 20)]
    assert [field.holds(encode(mask)) for field in fields].count(True) == 1


def test_masks_without_scores(masks) -> None:
    held = population((audited_image(k, (120, 160), own), own, {}, {}) for k, own in masks.items())
    sample = drawn(held, masks)
    assert len(sample.strata) == 2
    assert all(stratum.scores is None for stratum in sample.strata)


def test_images_without_masks() -> None:
    held = population([(audited_image("a", (100, 100), {}), {}, {}, {})])
    sample = draw(held, {}.__getitem__, field_side=25)
    assert sample.masks == ()
    truth = np.zeros((100, 100), np.int32)
    truth[3:6, 3:6] = 1
    figures = audit_figures(sample, *answers_from(sample, {"a": standing(truth, {})}))
    assert figures["count"].interval.value == 1
    assert np.isnan(figures["precision"].interval.value)


@pytest.mark.parametrize("values", [{"masks": 1}, {"fields": 0}, {"seed": -1}, {"field_side": 0}])
def test_numbers_out_of_range(held: Population, masks, values) -> None:
    with pytest.raises(nsa.ParameterError):
        drawn(held, masks, **values)


def test_what_masks_stand_for() -> None:
    truth = np.zeros((20, 40), np.int32)
    truth[2:8, 2:8] = 1  # in two masks
    truth[2:8, 20:26], truth[2:8, 28:34] = 2, 3  # in one mask
    truth[12:18, 2:8] = 4  # barely touched
    truth[12:18, 20:26] = 5  # covered by a part of a large mask
    found = np.zeros_like(truth)
    found[2:8, 2:6], found[2:8, 6:8] = 1, 2
    found[2:8, 20:34] = 3
    found[16:20, 2:16] = 4
    found[13:16, 21:24] = 5
    there = standing(truth, encode_labels(found))
    assert there.of == {1: (1,), 3: (2, 3), 5: (5,)}
    assert there.missed == (4,)
    with pytest.raises(nsa.ParameterError, match="pixels"):
        standing(truth[1:], encode_labels(found))


def test_answers() -> None:
    mask, other = np.zeros((2, 10, 10), bool)
    mask[:4, :4], other[:4, :2] = True, True
    assert answer_to(encode(mask), [encode(mask)]).verdict == "accepted"
    corrected = answer_to(encode(mask), [encode(other), encode(mask)])
    assert (corrected.verdict, corrected.iou, len(corrected.objects)) == ("corrected", 1, 2)
    assert answer_to(encode(mask), [encode(other)]).iou == 0.5
    assert answer_to(encode(mask), []).iou == 0


def test_an_audit_may_be_ended_early(held: Population, masks, labels) -> None:
    sample = drawn(held, masks, masks=80, fields=20)
    known = {key: standing(array, masks[key]) for key, array in labels.items()}
    answers, fields = answers_from(sample, known)
    some = {number: answer for number, answer in answers.items() if number < 12}
    figures = audit_figures(sample, some, dict(list(fields.items())[:3]))
    assert (figures.masks_answered, figures.fields_answered) == (12, 3)
    assert figures["count"].interval.low < 200 <= figures["count"].interval.high
    with pytest.raises(nsa.ParameterError, match="at least 2 masks"):
        audit_figures(sample, {}, fields)
    with pytest.raises(nsa.ParameterError, match="level"):
        audit_figures(sample, some, fields, level=1.5)


@pytest.mark.slow
def test_intervals_cover_the_truth() -> None:
    """On a population with missed, merged and false masks; 60 audits."""
    rng = np.random.default_rng(5)
    truth, found = np.zeros((2, 300, 400), np.int32)
    for number in range(300):
        row, col, side = 15 * (number // 20), 20 * (number % 20), rng.integers(4, 11)
        truth[row : row + side, col : col + side] = number + 1
        if rng.random() > 0.08:
            loose = int(rng.integers(-1, 2))
            found[row : row + side + loose, col : col + side + loose] = number + 1
        if rng.random() < 0.06:
            found[row + 12 : row + 15, col : col + 8] = 400 + number
    masks = encode_labels(found)
    held = population(
        [
            (
                audited_image("a", (300, 400), masks),
                masks,
                {i: 0.9 if i < 400 else 0.6 for i in masks},
                {},
            )
        ]
    )
    known = {"a": standing(truth, masks)}
    wanted = {"count": 300, "area": np.count_nonzero(truth)}
    levels = (0.8, 0.95)
    hits = {(level, name): 0 for level in levels for name in wanted}
    for seed in range(60):
        sample = draw(held, lambda key: masks, masks=60, fields=15, seed=seed)
        answers = answers_from(sample, known)
        for level in levels:
            figures = audit_figures(sample, *answers, level=level)
            for name, value in wanted.items():
                interval = figures[name].interval
                hits[level, name] += interval.low <= value <= interval.high
    for level in levels:
        assert min(hits[level, name] for name in wanted) >= 60 * level - 5


@pytest.mark.slow
def test_intervals_cover_the_truth_of_each_class() -> None:
    """Classes of 240 and 60 objects; masks are missed, merged, false, loose, of the other class."""
    rng = np.random.default_rng(8)
    truth, found = np.zeros((2, 300, 400), np.int32)
    really, given = {}, {}
    for number in range(300):
        row, col, side = 15 * (number // 20), 20 * (number % 20), rng.integers(4, 11)
        truth[row : row + side, col : col + side] = number + 1
        really[number + 1] = "dead" if number % 5 == 0 else "cell"
        if rng.random() > (0.2 if number % 5 == 0 else 0.06):
            loose = int(rng.integers(-1, 2))
            found[row : row + side + loose, col : col + side + loose] = number + 1
            given[number + 1] = really[number + 1]
            if rng.random() < 0.08:
                given[number + 1] = "cell" if number % 5 == 0 else "dead"
        if rng.random() < 0.06:
            found[row + 12 : row + 15, col : col + 8] = 400 + number
            given[400 + number] = "dead"
    masks = encode_labels(found)
    image = audited_image("a", (300, 400), masks, classes=given)
    held = population([(image, masks, {i: 0.9 if i < 400 else 0.6 for i in masks}, given)])
    known = {"a": standing(truth, masks, really)}
    objects = encode_labels(truth)
    wanted = {
        (name, figure): sum(count for i, count in each.items() if really[i] == name)
        for figure, each in {
            "count": dict.fromkeys(objects, 1),
            "area": {i: mask.area for i, mask in objects.items()},
        }.items()
        for name in ("cell", "dead")
    }
    hits = dict.fromkeys(wanted, 0)
    for seed in range(100):
        sample = draw(
            held, lambda key: masks, masks=60, fields=15, seed=seed, classes=["cell", "dead"]
        )
        figures = audit_figures(sample, *answers_from(sample, known))
        assert not any(each.lacking for each in figures.classes)
        for each in figures.classes:
            for name in ("count", "area"):
                interval = each[name].interval
                hits[each.name, name] += interval.low <= wanted[each.name, name] <= interval.high
    assert min(hits.values()) >= 90, hits
