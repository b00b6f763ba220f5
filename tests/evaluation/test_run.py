"""Protocols, resuming, summaries and reports, with a model that answers at once."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_segment_anything import engine
from napari_segment_anything.cli.main import run as run_program
from napari_segment_anything.engine import Model, Predictor
from napari_segment_anything.errors import FormatError, ParameterError, ResourceError
from napari_segment_anything.evaluation import (
    Group,
    LabelledPlane,
    PromptSettings,
    evaluate,
    find_entries,
    summarise,
    write_report,
)
from napari_segment_anything.evaluation import protocols as ask
from napari_segment_anything.evaluation.published import published, published_for
from napari_segment_anything.evaluation.run import protocol_names
from napari_segment_anything.evaluation.store import ResultStore
from napari_segment_anything.evaluation.summary import clicks_to, groups_of
from napari_segment_anything.measures import mask_iou
from napari_segment_anything.network import Sam, SamConfig, ViTConfig
from napari_segment_anything.progress import finish

from ..tiny import tiny_model
from .conftest import discs

LADDER = np.arange(640).reshape(8, 80) // 8
LOOSE = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "points_per_side": 4}


class Oracle(Sam):
    """Knows the answer, and gives more of it with every click."""

    truth: np.ndarray

    def decode(self, embedding, coords=None, labels=None, boxes=None, masks=None, **options):
        multimask = options["multimask"]
        side = 4 * embedding.shape[-1]
        truth = torch.from_numpy(self.truth.astype(np.float32))
        if coords is not None:
            at = coords[:, 0].round().long()
            clicks = coords.shape[1]
        else:
            at = ((boxes[:, :2] + boxes[:, 2:]) / 2).round().long()
            clicks = 9
        out = []
        for x, y in at.tolist():
            mask = truth == truth[y, x]
            rows = torch.nonzero(mask.any(1)).flatten()
            # a click uncovers a quarter of the rows
            mask[rows[0] + (len(rows) * min(clicks, 4) + 3) // 4 :] = False
            out.append(torch.where(mask[::2, ::2], 4.0, -4.0))
        first = torch.stack(out)[:, None]
        assert first.shape[-1] == side
        if not multimask:
            return first, torch.full((len(out), 1), 0.5)
        nothing = torch.full_like(first, -4.0)
        if options.get("return_all"):
            logits = torch.cat([first, nothing, first, nothing], 1)
            return logits, torch.tensor([[0.5, 0.1, 0.9, 0.2]]).repeat(len(out), 1)
        logits = torch.cat([nothing, first, nothing], 1)
        return logits, torch.tensor([[0.1, 0.9, 0.2]]).repeat(len(out), 1)


@pytest.fixture
def oracle():
    """Predictor and plane of one 64 x 64 image that fills the frame, logits at half of it."""
    truth = np.zeros((64, 64), np.int32)
    truth[8:24, 8:28] = 1
    truth[32:56, 16:40] = 7
    truth[2, 2] = 9
    config = SamConfig(ViTConfig(
        width=16, depth=1, heads=2, global_blocks=(), image_size=64, patch_size=8, window=4,
    ))  # fmt: skip
    network = Oracle(config).eval().requires_grad_(False)
    network.truth = truth
    model = Model(network, "oracle", "vit", "0" * 16, torch.device("cpu"))
    plane = LabelledPlane("set/a", "set/a", "set", {}, truth.astype(np.uint8), None, truth)
    return ask.Subject(plane, Predictor(model), PromptSettings(clicks=6))


def test_tiny_objects_are_not_prompted_and_draws_are_fixed(oracle):
    assert oracle.ids.tolist() == [1, 7]
    plane = LabelledPlane("x", "x", "s", {}, np.zeros((8, 80)), None, LADDER)
    chosen = [
        ask.choose_objects(plane, PromptSettings(5, 8, seed=s))[0].tolist() for s in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(chosen[0]) == 5 and 0 not in chosen[0]
    assert len(ask.choose_objects(plane, PromptSettings(0, 8))[0]) == 79


def test_points_and_boxes_of_an_oracle(oracle):
    record = ask.points(oracle)
    # the first click shows the upper quarter of the rows: 4 of 16, 6 of 24
    np.testing.assert_allclose(record["iou"], [[0, 0.25, 0], [0, 0.25, 0]], atol=0.03)
    assert record["areas"] == [320, 576]
    np.testing.assert_allclose(record["predicted"], [[0.1, 0.9, 0.2]] * 2, atol=1e-5)
    record = ask.boxes(oracle)
    np.testing.assert_allclose(record["iou"], [1, 1])
    np.testing.assert_allclose(record["ellipse"], [np.pi / 4] * 2, atol=0.02)


def test_clicks_of_an_oracle_rise_and_stop(oracle):
    record = ask.clicks(oracle)
    iou = np.array(record["iou"])
    assert iou.shape == (2, 6)
    np.testing.assert_allclose(iou[:, :4], [[0.25, 0.5, 0.75, 1]] * 2, atol=0.03)
    assert (iou[:, 4:] == 1).all()
    assert clicks_to(iou, 0.85).tolist() == [4, 4]
    assert clicks_to(iou[:, :3], 0.85).tolist() == [3, 3]


def test_clicks_give_the_network_what_the_paper_says(oracle, monkeypatch):
    seen = []
    decode = Oracle.decode

    def spy(self, embedding, coords=None, labels=None, boxes=None, masks=None, **options):
        logits, iou = decode(self, embedding, coords, labels, boxes, masks, **options)
        seen.append((coords, labels, masks, options["return_all"], logits))
        return logits, iou

    monkeypatch.setattr(Oracle, "decode", spy)
    ask.clicks(oracle)
    assert [each[0].shape[1] for each in seen] == [1, 2, 3, 4]
    # the single mask of further clicks is the first of all four
    assert [each[3] for each in seen] == [False, True, True, True]
    assert seen[0][2] is None
    torch.testing.assert_close(seen[1][2][:, 0], seen[0][4][:, 1])
    torch.testing.assert_close(seen[2][2], seen[1][4][:, :1])
    # what was missed lies below: all clicks are inside
    assert (seen[3][1] == 1).all()


def test_an_image_without_objects(model):
    empty = np.zeros((64, 64), np.int32)
    plane = LabelledPlane("set/e", "set/e", "set", {}, discs(0, (64, 64))[0], None, empty)
    subject = ask.Subject(plane, Predictor(model), PromptSettings())
    for function in (ask.points, ask.boxes, ask.clicks):
        assert function(subject)["ids"] == []
    record, labels = ask.everything(subject, "grid", LOOSE)
    assert record["areas"] == [] and record["found_ids"]
    assert len(record["found_ids"]) == len(np.unique(labels)) - 1
    assert ask.proposals(subject, LOOSE)["best"] == {"10": [], "100": [], "1000": []}


def test_everything_agrees_with_its_label_image(model):
    image, truth = discs(3)
    plane = LabelledPlane("set/d", "set/d", "set", {}, image, None, truth)
    subject = ask.Subject(plane, Predictor(model), PromptSettings())
    record, labels = ask.everything(subject, "grid", LOOSE)
    ids = [i for i in np.unique(labels) if i]
    assert record["found_ids"] == ids and len(record["predicted"]) == len(ids)
    true_ids = [t for t in np.unique(truth) if t]
    best = [max(mask_iou(labels == i, truth == t) for i in ids) for t in true_ids]
    np.testing.assert_allclose(record["best"], best, atol=1e-5)


def collect(data, model, out, **options):
    options = {"modes": ("grid",), "parameters": LOOSE, **options}
    options.setdefault("settings", PromptSettings(3, clicks=3))
    return finish(evaluate(find_entries([data]), model, out, **options))


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_where_it_stood(data, model, tmp_path, monkeypatch):
    whole = collect(data, model, tmp_path / "whole")
    steps = evaluate(
        find_entries([data]), model, tmp_path / "part", modes=("grid",), parameters=LOOSE,
        settings=PromptSettings(3, clicks=3),
    )  # fmt: skip
    for _ in range(3):
        next(steps)
    steps.close()
    path = tmp_path / "part" / "results.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-3]) + lines[-3][:20])  # killed in the middle of a line
    asked = []
    points = ask.points
    monkeypatch.setattr(ask, "points", lambda s: asked.append(s.plane.name) or points(s))
    rest = collect(data, model, tmp_path / "part")

    def plain(evaluation):
        rows = [{k: v for k, v in r.items() if k != "seconds"} for r in evaluation.records]
        return sorted(rows, key=lambda r: (r["image"], r["protocol"]))

    assert plain(rest) == plain(whole)
    assert "first/0.npz" not in asked and "first/3.npz" in asked
    asked.clear()
    again = collect(data, model, tmp_path / "part")
    assert asked == [] and plain(again) == plain(whole)


def test_columns_given_later_count_for_what_was_measured_before(data, model, tmp_path):
    collect(data, model, tmp_path / "out", protocols=("boxes",))
    entries = find_entries([data])
    table = tmp_path / "images.csv"
    rows = [f"{entry.name},{i % 2}" for i, entry in enumerate(entries)]
    table.write_text("\n".join(["file,stain", *rows]))
    later = finish(
        evaluate(
            find_entries([data], metadata=table), model, tmp_path / "out", protocols=("boxes",),
            settings=PromptSettings(3, clicks=3), modes=("grid",), parameters=LOOSE,
        )
    )  # fmt: skip
    assert {record["columns"]["stain"] for record in later.records} == {"0", "1"}


def test_a_folder_belongs_to_one_model_and_settings(data, model, tmp_path):
    collect(data, model, tmp_path, protocols=("floors",))
    with pytest.raises(ParameterError, match="another fingerprint"):
        collect(data, tiny_model(1), tmp_path, protocols=("floors",))
    with pytest.raises(ParameterError, match="another settings"):
        collect(data, model, tmp_path, protocols=("floors",), settings=PromptSettings(4))
    collect(data, tiny_model(1), tmp_path, protocols=("floors",), overwrite=True)
    (tmp_path / "results.jsonl").write_text("nonsense\n")
    with pytest.raises(FormatError, match="line 1"):
        collect(data, model, tmp_path)


def test_one_writer_at_a_time(tmp_path):
    store, other = ResultStore(tmp_path, {}), ResultStore(tmp_path, {})
    with store.writing(), pytest.raises(ResourceError, match="another"), other.writing():
        pass
    with pytest.raises(ResourceError):
        store.add({"image": "a", "protocol": "b"})


def test_an_unreadable_image_is_reported_and_the_rest_goes_on(data, model, tmp_path):
    np.savez(data / "first" / "1.npz", image=np.zeros((5, 6)), labels=np.zeros((5, 7), int))
    result = collect(data, model, tmp_path, protocols=("floors",))
    assert list(result.failures) == ["first/1.npz"]
    assert {r["image"] for r in result.records} >= {"first/0.npz", "first/2.npz"}
    path = write_report(result, plots=False, gallery=0)
    assert "could not be read" in path.read_text()


def test_names_of_protocols(model):
    assert protocol_names(model, ["everything", "points"], ["auto", "grid"]) == [
        "points", "everything:grid",
    ]  # fmt: skip
    for wrong in ((["dots"], ["auto"]), (["points"], ["instances"]), ([], ["auto"])):
        with pytest.raises(ParameterError):
            protocol_names(model, *wrong)


def record(image, hits, true=2, found=2, protocol="floors", **columns):
    return {
        "image": image, "file": image.split(":")[0], "set": image.split("/")[0],
        "columns": columns, "protocol": protocol,
        "seconds": 1.0, "areas": [5] * true, "best": [1.0] * hits + [0.0] * (true - hits),
        "found_ids": list(range(found)), "found_best": [0.5] * found, "hits": [hits] * 10,
        "matched_iou": 0.75 * hits,
    }  # fmt: skip


def test_groups_and_means_by_hand():
    records = [
        record("a/1", 2, kind="x"), record("a/2", 1, kind="y"), record("b/1", 0, kind="x"),
    ]  # fmt: skip
    groups = groups_of(records)
    assert [g.title for g in groups] == ["all images", "a", "a, x", "a, y", "b", "kind x"]
    held = {(f.group.title, f.measure): f.interval.value for f in summarise(records)}
    # AP: 2/2, 1/3, 0/4
    assert held["all images", "ap50"] == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert held["all images", "ap50_pooled"] == pytest.approx(3 / (2 + 3 + 4))
    assert held["kind x", "ap"] == pytest.approx(0.5)
    assert held["a", "pq"] == pytest.approx((0.75 * 1 + 0.75 * 0.5) / 2)
    assert held["a", "miou"] == pytest.approx(3 / 4)


def test_planes_of_a_stack_are_not_independent():
    records = [record(f"a/stack:{i}", i % 2) for i in range(6)]
    (figure,) = [f for f in summarise(records) if f.measure == "ap50"]
    assert figure.images == 6 and figure.interval.count == 1
    assert np.isnan(figure.interval.low)
    assert figure.group == Group("set", "a")


def test_published_figures_stand_beside_the_nearest_group():
    fluo, whole = Group("set, modality", "dsb2018, fluo"), Group("set", "dsb2018")
    found = published_for([whole, fluo])
    assert {item.method for item in found[fluo]} == {"StarDist", "Mask R-CNN", "U-Net, 3 classes"}
    assert all(item.mean for item in found[whole])
    assert len(published_for([whole])[whole]) == len(published())
    assert published_for([Group("set", "other")]) == {}


@pytest.fixture
def program(monkeypatch):
    monkeypatch.setattr(engine, "load_model", lambda *a, **k: tiny_model())
    return run_program


@pytest.mark.slow
def test_the_program_writes_a_report(data, tmp_path, program, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    command = ["evaluate", str(data), "-o", str(out), "--mode", "grid", "--clicks", "3"]
    command += ["--objects-per-image", "2", "--limit", "2", "--gallery", "1"]
    for name, value in LOOSE.items():
        command += ["--parameter", f"{name}={value}"]
    assert program(command) == 0
    printed = capsys.readouterr().out
    assert "AR@1000" in printed and "first, bright" in printed
    assert f"report: {out / 'report.md'}" in printed
    text = (out / "report.md").read_text()
    for part in ("first, bright", "Corrective clicks", "AR@1000", "Otsu + watershed", "second"):
        assert part in text
    linked = [line.split("](")[1].rstrip(")") for line in text.splitlines() if line[:2] == "!["]
    assert {"ap.png", "sets.png", "clicks.png", "calibration.png"} <= set(linked)
    assert all((out / name).stat().st_size > 1000 for name in linked)
    with (out / "figures.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["method"] for row in rows} >= {"points", "boxes", "clicks", "everything:grid"}
    with (out / "objects.csv").open() as stream:
        objects = [row for row in csv.DictReader(stream) if row["protocol"] == "clicks"]
    assert {row["mask_or_click"] for row in objects} == {"1", "2", "3"}

    assert program([*command, "--json", "--no-plots", "--gallery", "0"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["failures"] == {} and printed["model"]["fingerprint"] == tiny_model().fingerprint
    assert any(f["measure"] == "ar1000" for f in printed["figures"])


SPLIT = str(Path(__file__).parents[2] / "scripts" / "split.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--protocol", "dots"], "no protocol 'dots'"),
        (["--mode", "instances"], "does not support mode"),
        (["--parameter", "sharpness=3"], "points_per_side"),
        (["--parameter", "min_area=few"], "number"),
        (["--split-file", "x.json"], "--split"),
        (["--split", "validation"], "--split-file"),
        (["--split", "validation", "--split-file", SPLIT], "none of the"),
        (["--where", "modality"], "NAME=VALUE"),
        (["--where", "modality=x-ray"], "none of the"),
        (["--unlabelled", "maybe"], "unlabelled is"),
        (["--channels", "9"], "has 0 channels"),
        (["--limit", "0"], "at least 1"),
        (["--clicks", "0"], "at least 1"),
    ],
)
def test_bad_input_is_one_line(data, tmp_path, program, capsys, options, message):
    assert program(["evaluate", str(data), "-o", str(tmp_path / "o"), "-q", *options]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_columns_choose_the_images(data, tmp_path, program):
    out = tmp_path / "out"
    command = ["evaluate", str(data), "-o", str(out), "-q", "--where", "modality=bright"]
    assert program([*command, "--protocol", "floors", "--no-plots", "--gallery", "0"]) == 0
    lines = (out / "results.jsonl").read_text().splitlines()[1:]
    images = {json.loads(line).get("image") for line in lines} - {None}
    assert images == {"first/0.npz", "first/1.npz"}


def test_an_interruption_says_how_to_go_on(data, tmp_path, program, capsys, monkeypatch):
    points = ask.points

    def slow(subject):
        if subject.plane.name == "first/2.npz":
            raise KeyboardInterrupt
        return points(subject)

    monkeypatch.setattr(ask, "points", slow)
    command = ["evaluate", str(data), "-o", str(tmp_path / "o"), "-q", "--protocol", "points"]
    assert program([*command, "--no-plots"]) == 130
    assert "run the same command again to continue" in capsys.readouterr().err
    held = (tmp_path / "o" / "results.jsonl").read_text()
    assert "first/1.npz" in held and "first/2.npz" not in held
    monkeypatch.setattr(ask, "points", points)
    assert program([*command, "--no-plots"]) == 0
