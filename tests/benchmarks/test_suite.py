"""The benchmark suite, with benchmarks that return what they are told."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FAKE = """
import json
from pathlib import Path
from page import Ratio, Unavailable

def ratios(quick):
    told = json.loads(Path(__file__).with_suffix(".json").read_text())
    print("something for people")
    if "missing" in told:
        raise Unavailable(told["missing"])
    if "error" in told:
        raise RuntimeError(told["error"])
    more = {} if quick else {"at length": Ratio(1.0, 0.0, "of nothing")}
    return more | {name: Ratio(*values) for name, values in told.items()}
"""


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield SimpleNamespace(
        suite=importlib.import_module("suite"), page=importlib.import_module("page")
    )
    for name in ("suite", "page"):
        sys.modules.pop(name, None)


@pytest.fixture
def suite(modules):
    return modules.suite


@pytest.fixture
def run(suite, modules):
    """Run the suite in this process on ratios by benchmark; several are given in turn."""
    record: dict = {}

    def go(told, machine="here", accept=False, form="quick"):
        asked: list[str] = []

        def measure(name):
            asked.append(name)
            given = told[name]
            if isinstance(given, list):
                given = given[min(asked.count(name), len(given)) - 1]
            if isinstance(given, str):
                return suite.Outcome({}, missing=given)
            found = {what: modules.page.Ratio(*values) for what, values in given.items()}
            return suite.Outcome(found)

        rows, well = suite.run_suite(
            list(told), measure, record, machine=machine, form=form, commit="abc",
            date="2026-01-01", accept=accept,
        )  # fmt: skip
        return {row[0]: row[-1] for row in rows}, well, asked

    go.record = record
    return go


def rate(value, spread=0.0):
    return (value, spread, "of the matrix rate")


def test_new_same_faster_and_slower(run) -> None:
    assert run({"a": {"x": rate(0.5), "y": rate(0.5)}})[:2] == (
        {"a: x": "new", "a: y": "new"},
        True,
    )
    said, well, asked = run({"a": {"x": rate(0.52), "y": rate(0.8)}})
    assert said == {"a: x": "same", "a: y": "faster by 60%"} and well and asked == ["a"]
    said, well, asked = run({"a": {"x": rate(0.3), "y": rate(0.79)}})
    assert said == {"a: x": "slower by 40%", "a: y": "same"} and not well
    assert asked == ["a", "a"]  # measured once more before it is said


def test_less_is_better_for_times(run) -> None:
    run({"a": {"click": (2.0, 0.0, "of napari's floor", True)}})
    said, well, _ = run({"a": {"click": (3.0, 0.0, "of napari's floor", True)}})
    assert said == {"a: click": "slower by 50%"} and not well
    assert run({"a": {"click": (1.0, 0.0, "of napari's floor", True)}})[0] == {
        "a: click": "faster by 50%"
    }


def test_changes_within_the_noise_are_none(run) -> None:
    run({"a": {"x": rate(1.0, 0.2)}})
    assert run({"a": {"x": rate(0.7, 0.15)}})[0] == {"a: x": "same"}
    assert run({"a": {"x": rate(0.7, 0.05)}})[0] == {"a: x": "slower by 30%"}


def test_other_load_is_no_loss(run) -> None:
    run({"a": {"x": rate(1.0)}})
    said, well, asked = run({"a": [{"x": rate(0.5)}, {"x": rate(0.98)}]})
    assert said == {"a: x": "same"} and well and asked == ["a", "a"]


def test_many_small_losses_are_one(run) -> None:
    run({"a": {"x": rate(1.0)}})
    for value in (0.96, 0.92):
        assert run({"a": {"x": rate(value)}})[1]
    assert run({"a": {"x": rate(0.88)}})[0] == {"a: x": "slower by 12%"}
    (kept,) = run.record.values()
    assert kept.standard == 1.0 and kept.ratio == 0.88


def test_a_loss_stays_one_until_it_is_accepted(run) -> None:
    run({"a": {"x": rate(1.0)}})
    for _ in range(2):
        assert not run({"a": {"x": rate(0.5)}})[1]
    assert run({"a": {"x": rate(0.5)}}, accept=True)[1]
    assert run({"a": {"x": rate(0.5)}})[:2] == ({"a: x": "same"}, True)


def test_another_machine_has_a_record_of_its_own(run) -> None:
    run({"a": {"x": rate(1.0)}})
    assert run({"a": {"x": rate(0.2)}}, machine="there")[:2] == ({"a: x": "new"}, True)
    assert run({"a": {"x": rate(0.2)}})[0] == {"a: x": "slower by 80%"}
    assert run({"a": {"x": rate(0.2)}}, form="full")[0] == {"a: x": "new"}


def test_what_is_missing_is_said(run) -> None:
    run({"a": {"x": rate(1.0), "y": rate(1.0)}})
    said, well, _ = run({"a": {"x": rate(1.0)}, "b": "a screen"})
    assert said == {
        "a: x": "same", "a: y": "not measured any more", "b": "not run: a screen"
    } and well  # fmt: skip
    assert len(run.record) == 2
    run({"a": {"x": rate(1.0)}}, accept=True)
    assert len(run.record) == 1


def test_the_record_is_written_and_read(suite, run, tmp_path) -> None:
    run({"b": {"x, y": rate(0.123456, 0.01)}, "a": {"t": (3.0, 0.0, "of it", True)}})
    path = tmp_path / "ratios.csv"
    suite.write_record(path, run.record)
    again = suite.read_record(path)
    assert [key[2] for key in again] == ["a: t", "b: x, y"]
    kept = again["here", "quick", "b: x, y"]
    assert (kept.ratio, kept.lower, kept.commit) == (0.1235, False, "abc")
    assert again["here", "quick", "a: t"].lower is True
    assert suite.read_record(tmp_path / "none.csv") == {}


def test_ratio_of_several_measurements(modules) -> None:
    ratio = modules.page.Ratio.of([1.0, 9.0, 2.0, 3.0, 2.5], "of it")
    assert ratio.value == 2.5 and ratio.spread == 0.5
    assert modules.page.Ratio.of([2.0], "of it").spread == 0


def test_what_there_is_follows_the_convention(suite) -> None:
    names = suite.benchmarks()
    assert "tiles" in names and "suite" not in names and "page" not in names


@pytest.mark.slow
def test_each_benchmark_has_a_process_and_the_exit_code_says_what_came(
    suite, tmp_path, capsys
) -> None:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    told = {"good": {"x": rate(1.0)}, "screen": {"missing": "a screen"}}
    for name in told:
        (folder / f"{name}.py").write_text(FAKE)
    (folder / "helper.py").write_text("def other():\n    pass\n")
    line = ["--folder", str(folder), "--record", str(tmp_path / "r.csv")]

    def go(*more: str) -> tuple[int, str]:
        for name, values in told.items():
            (folder / f"{name}.json").write_text(json.dumps(values))
        return suite.main([*line, *more]), capsys.readouterr().out

    code, text = go()
    assert code == 0 and "| good: x | 1 ± 0 | of the matrix rate |  | new |" in text
    assert "not run: a screen" in text and "helper" not in text
    told["good"] = {"x": rate(0.5)}
    code, text = go("--only", "good")
    assert code == 1 and "slower by 50%" in text and "screen" not in text
    told["good"] = {"error": "no memory"}
    code, text = go("--only", "good", "--dry")
    assert code == 1 and "failed: RuntimeError: no memory" in text
    assert go("--list")[1].split() == ["good", "screen"]
    told["good"] = {"x": rate(1.0)}
    assert "at length" in go("--only", "good", "--full")[1]
    with pytest.raises(SystemExit, match="no benchmark nonsense; there are good, screen"):
        suite.main([*line, "--only", "nonsense"])


def test_a_benchmark_that_ends_without_a_word_has_failed(suite, tmp_path):
    (tmp_path / "crash.py").write_text("import os\n\ndef ratios(quick):\n    os._exit(3)\n")
    assert suite.in_process("crash", "quick", tmp_path).error == "it ended with code 3"
