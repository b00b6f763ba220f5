"""Sheets for blind rating: what is drawn, what raters see, and what their ratings say."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
import tifffile
from scipy import stats

from napari_segment_anything.cli.main import run
from napari_segment_anything.errors import FormatError, ParameterError
from napari_segment_anything.evaluation.rating_sheet import (
    FOR_RATERS,
    KEY,
    RATINGS,
    SHEET,
    make_rating_sheet,
    read_sheet,
)
from napari_segment_anything.evaluation.ratings import (
    analyse_ratings,
    read_ratings,
    sign_flip_p,
    write_rating_report,
)
from napari_segment_anything.formats import write_labels
from napari_segment_anything.progress import finish

from .conftest import discs


@pytest.fixture
def data(tmp_path):
    """Images with labels, and two results: the same labels with other ids, and all but one."""
    for folder in ("images", "labels", "good", "poor"):
        (tmp_path / folder).mkdir()
    for number in range(3):
        image, labels = discs(number)
        tifffile.imwrite(tmp_path / f"images/{number}.tif", image)
        write_labels(tmp_path / f"labels/{number}.tif", labels)
        write_labels(tmp_path / f"good/{number}.tif", np.where(labels > 0, labels + 7, 0))
        least = labels.max()
        write_labels(tmp_path / f"poor/{number}.tif", np.where(labels == least, 0, labels))
    return tmp_path


def sheet_of(data, count=9, **more):
    sources = {"good": data / "good", "poor": data / "poor", "ground truth": None}
    return finish(make_rating_sheet([data / "images"], sources, data / "out", count=count, **more))


def rate(sheet, values, name="ratings.csv", noise=None):
    path = sheet.folder / FOR_RATERS / name
    lines = ["number,rating"]
    for mask in sheet.masks:
        value = values[mask.source] + (0 if noise is None else noise[mask.item])
        lines.append(f"{mask.number},{value}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_what_is_handed_out_does_not_tell_the_source(data):
    sheet = sheet_of(data)
    assert sheet.items == 9 and len({mask.image for mask in sheet.masks}) == 3
    handed = sorted(path.name for path in (sheet.folder / FOR_RATERS).iterdir())
    assert handed == [RATINGS, SHEET]
    page = (sheet.folder / FOR_RATERS / SHEET).read_text()
    assert not any(word in page for word in ("good", "poor", "truth", ".tif", "http:", "https:"))
    pictures = json.loads(re.search(r"const pictures = (\[.*?\]);", page)[1])
    assert len(pictures) == len(sheet.masks)
    with (sheet.folder / FOR_RATERS / RATINGS).open() as stream:
        assert [row["number"] for row in csv.DictReader(stream)] == [
            str(i + 1) for i in range(len(pictures))
        ]
    order = [mask.source for mask in sheet.masks]
    assert order != sorted(order) and [mask.number for mask in sheet.masks][:3] == [1, 2, 3]
    assert read_sheet(sheet.folder) == sheet


@pytest.mark.slow
def test_masks_of_an_object_are_those_under_its_point(data):
    sheet = sheet_of(data, count=12)
    by_item = {}
    for mask in sheet.masks:
        by_item.setdefault(mask.item, {})[mask.source] = mask
    for masks in by_item.values():
        assert masks["good"].label == masks["ground truth"].label + 7
    assert len({(m["good"].image, m["good"].label) for m in by_item.values()}) == len(by_item)
    assert sheet.missing["poor"] == sum("poor" not in masks for masks in by_item.values()) > 0
    assert sheet.missing["good"] == 0


@pytest.mark.slow
def test_the_same_seed_gives_the_same_sheet_and_identical_masks_the_same_picture(data):
    first = sheet_of(data)
    page = (first.folder / FOR_RATERS / SHEET).read_text()
    again = sheet_of(data, overwrite=True)
    assert again.masks == first.masks
    assert (first.folder / FOR_RATERS / SHEET).read_text() == page
    pictures = json.loads(re.search(r"const pictures = (\[.*?\]);", page)[1])
    shown = {}
    for mask in first.masks:
        shown.setdefault(mask.item, set()).add(pictures[mask.number - 1])
    assert all(len(pictures) == 1 for pictures in shown.values())
    assert sheet_of(data, overwrite=True, seed=1).masks != first.masks


@pytest.mark.slow
def test_means_and_paired_differences_by_hand(data):
    sheet = sheet_of(data, count=12)
    rng = np.random.default_rng(0)
    noise = {item: float(rng.integers(-1, 2)) for item in range(12)}
    rate(sheet, {"good": 8, "poor": 5, "ground truth": 9}, noise=noise)
    result = analyse_ratings(sheet.folder)
    means = {each.source: each for each in result.sources}
    assert means["good"].interval.value == pytest.approx(8 + np.mean(list(noise.values())))
    assert means["good"].masks == 12 and sum(means["poor"].counts) == means["poor"].masks
    difference = {(d.first, d.second): d for d in result.differences}["good", "poor"]
    assert difference.interval.value == 3 and difference.interval.low == 3
    assert difference.items == 12 - sheet.missing["poor"]
    assert difference.p == pytest.approx(min(1, 3 * 2 / 2**3))  # all three images, three pairs


@pytest.mark.slow
def test_raters_are_averaged_and_their_disagreement_is_told(data):
    sheet = sheet_of(data)
    rate(sheet, {"good": 8, "poor": 5, "ground truth": 9}, "ratings-ana.csv")
    one = rate(sheet, {"good": 6, "poor": 5, "ground truth": 9}, "ratings-ben.csv")
    one.write_text(one.read_text().replace("number,rating", "number;rating").replace(",", ";"))
    (sheet.folder / FOR_RATERS / RATINGS).unlink()
    result = analyse_ratings(sheet.folder)
    assert result.raters == ("ratings-ana", "ratings-ben")
    assert result.sources[0].interval.value == 7
    share = sum(mask.source == "good" for mask in sheet.masks) / len(sheet.masks)
    assert result.disagreement == pytest.approx(2 * share)
    path = write_rating_report(result)
    text = path.read_text()
    assert "by 2 raters" in text and "| good minus poor | 2.00" in text
    assert {"masks.csv", "ratings.md", "ratings.png"} == {p.name for p in path.parent.iterdir()}


@pytest.mark.slow
def test_masks_that_are_not_rated_are_left_out(data):
    sheet = sheet_of(data)
    path = rate(sheet, {"good": 8, "poor": 5, "ground truth": 9})
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[1:5], f"{lines[5].split(',')[0]},"]) + "\n")
    result = analyse_ratings(sheet.folder)
    assert len(result.ratings) == 4 and "4 of" in write_rating_report(result).read_text()


def test_wrong_tables_name_the_line(data):
    sheet = sheet_of(data, count=2)
    path = data / "ratings.csv"
    for text, message in (
        ("number,score\n1,5\n", "needs a column 'rating'"),
        ("number,rating\n1,11\n", r"line 2: a rating lies between 1 and 10, not 11"),
        ("number,rating\n1,good\n", "line 2: rating must be a number"),
        ("number,rating\n999,5\n", "line 2: the sheet has no number 999"),
        ("number,rating\n1,5\n1,6\n", "line 3: number 1 is rated twice"),
    ):
        path.write_text(text)
        with pytest.raises(FormatError, match=message):
            read_ratings(path, sheet)


def test_the_sign_flip_test_agrees_with_scipy():
    values = np.random.default_rng(3).normal(0.4, 1, 9)
    expected = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip_p(values) == pytest.approx(expected)
    many = np.random.default_rng(3).normal(0.4, 1, 40)
    exact = stats.permutation_test(
        (many,), np.sum, permutation_type="samples", n_resamples=20000, rng=0
    ).pvalue
    assert sign_flip_p(many) == pytest.approx(exact, abs=0.01)


def test_the_program_makes_a_sheet_and_a_report(data, capsys):
    out = str(data / "rating")
    made = ["rate", "make", str(data / "images"), "-o", out, "--count", "6"]
    assert run([*made, "--source", f"good={data / 'good'}", "--truth", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["objects"] == 6 and facts["masks"] == 12
    assert run(["rate", "report", out]) == 2
    assert "nothing is rated yet" in capsys.readouterr().err
    sheet = read_sheet(out)
    rate(sheet, {"good": 7, "ground truth": 9})
    assert run(["rate", "report", out, "--no-plots"]) == 0
    printed = capsys.readouterr().out
    assert "good minus ground truth" in printed and "ratings.md" in printed
    assert run([*made, "--source", f"good={data / 'good'}", "--truth"]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--source", "good={}/good"], "at least two sources"),
        (["--source", "good"], "--source takes NAME=VALUE"),
        (["--source", "a={}/good", "--source", "a={}/poor"], "the same name"),
        (["--source", "a={}/none", "--truth"], "there are no labels at"),
        (["--source", "a={}/images/..", "--truth"], "no image has labels of all sources"),
        (["--source", "a={}/good", "--truth", "--count", "0"], "count is 1 to 2000"),
        (["--source", "a={}/good", "--truth", "--min-area", "9999"], "of 9999 pixels or more"),
    ],
)
def test_bad_input_is_one_line(data, capsys, options, message):
    given = [option.format(data) for option in options]
    asked = ["rate", "make", str(data / "images"), "-o", str(data / "rating"), *given]
    assert run(asked) == 2
    error = capsys.readouterr().err
    assert message in error and error.strip().count("\n") <= 1
    assert not (data / "rating").exists()


def test_labels_of_another_size_are_an_error(data):
    write_labels(data / "poor/0.tif", np.ones((5, 5), np.uint8))
    with pytest.raises(FormatError, match="must lie on the same grid"):
        sheet_of(data)
    with pytest.raises(FormatError, match="it does not exist"):
        read_sheet(data)
    (data / "out").mkdir()
    (data / "out" / KEY).write_text('{"version": 9}')
    with pytest.raises(FormatError, match="another version"):
        read_sheet(data / "out")


def test_folders_of_an_evaluation_are_sources(data):
    folder = data / "evaluated"
    folder.mkdir()
    for path in (data / "good").iterdir():
        path.rename(folder / f"{data.name}__{path.name}.tif")
    sources = {"model": folder, "poor": data / "poor"}
    sheet = finish(make_rating_sheet([data / "images"], sources, data / "out", count=3))
    assert sheet.items == 3 and sheet.missing["model"] == 0


def test_a_sheet_needs_single_planes(data):
    stack = np.zeros((5, 20, 20), np.uint8)
    tifffile.imwrite(
        data / "images/9.tif", stack, metadata={"axes": "TYX"}, photometric="minisblack"
    )
    with pytest.raises(ParameterError, match="is a stack"):
        sheet_of(data)
