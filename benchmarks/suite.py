"""All timed benchmarks in one command: their ratios, and which became slower since the last time.

    python benchmarks/suite.py                 # quick form of all
    python benchmarks/suite.py --only tiles    # one of them
    python benchmarks/suite.py --full          # with the repeats of the documentation
    python benchmarks/suite.py --accept        # take what is slower as the new standard

Runs every file here that has a function `ratios` (see README.md), each in a process of its own.
ratios.csv keeps the last ratio of each on each kind of machine, and the standard that the next one
is compared with: the last that was better by more than the noise, or was accepted. So a loss is
noticed although many small ones make it up. What seems slower is measured once more, and the better
of both counts. Exit code 1 if something became slower by more than the noise, or failed.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import page
from page import Ratio, Unavailable

from napari_segment_anything.formats.atomic import replacing

HERE = Path(__file__).resolve().parent
RECORD = HERE / "ratios.csv"
FLOOR = {"quick": 0.1, "full": 0.05}
"""Changes smaller than this part are noise, whatever the spread of the repeats."""
SECONDS = {"quick": 1200, "full": 4 * 3600}


@dataclass(frozen=True, slots=True)
class Kept:
    """A line of the record.

    Parameters
    ----------
    machine : str
        Kind of machine.
    form : str
        "quick" or "full".
    name : str
        Of the benchmark's file, and of the ratio.
    ratio, spread : float
        The last measurement.
    standard, standard_spread : float
        What the next measurement is compared with.
    date, commit : str
        Of the standard.
    measured : str
        Date of the last measurement.
    lower : bool
        Whether less is better.
    unit : str
        What it is divided by.
    """

    machine: str
    form: str
    name: str
    ratio: float
    spread: float
    standard: float
    standard_spread: float
    date: str
    commit: str
    measured: str
    lower: bool
    unit: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a benchmark gave: its ratios, or why there are none.

    Parameters
    ----------
    ratios : mapping of str to Ratio
    missing : str
        What it needs and is not here.
    error : str
        The last lines of what went wrong.
    """

    ratios: Mapping[str, Ratio]
    missing: str = ""
    error: str = ""


Key = tuple[str, str, str]


def key_of(kept: Kept) -> Key:
    """What a line of the record is found by."""
    return kept.machine, kept.form, kept.name


def read_record(path: Path) -> dict[Key, Kept]:
    """Read the record; empty where there is none."""
    if not path.exists():
        return {}
    lines = csv.DictReader(io.StringIO(path.read_text("utf-8")))
    kinds = {each.name: each.type for each in fields(Kept)}
    read: dict[str, Callable[[str], object]] = {"float": float, "bool": lambda v: v == "True"}
    found = [
        Kept(**{name: read.get(str(kinds[name]), str)(value) for name, value in line.items()})
        for line in lines
    ]
    return {key_of(each): each for each in found}


def write_record(path: Path, record: Mapping[Key, Kept]) -> None:
    """Write the record, in the order of machines and names."""
    text = io.StringIO()
    lines = csv.DictWriter(text, [each.name for each in fields(Kept)], lineterminator="\n")
    lines.writeheader()
    for _, kept in sorted(record.items()):
        line = asdict(kept)
        numbers = {name: f"{v:.4g}" for name, v in line.items() if isinstance(v, float)}
        lines.writerow(line | numbers)
    with replacing(path) as new:
        new.write_text(text.getvalue(), "utf-8")


def change(now: Ratio, kept: Kept, form: str) -> tuple[str, float]:
    """Compare a measurement with the standard.

    Parameters
    ----------
    now : Ratio
    kept : Kept
    form : str
        "quick" or "full".

    Returns
    -------
    str
        "slower", "faster" or "same".
    float
        Relative gain; negative where it became worse.
    """
    if not kept.standard:
        return "same", 0.0
    gain = (now.value - kept.standard) / abs(kept.standard) * (-1 if now.lower else 1)
    noise = max(FLOOR[form], (now.spread + kept.standard_spread) / abs(kept.standard))
    return ("faster" if gain > noise else "slower" if gain < -noise else "same"), gain


def better(a: Ratio, b: Ratio) -> Ratio:
    """The better of two measurements."""
    return min((a, b), key=lambda each: each.value if each.lower else -each.value)


def run_suite(
    names: Sequence[str],
    measure: Callable[[str], Outcome],
    record: dict[Key, Kept],
    *,
    machine: str,
    form: str,
    commit: str,
    date: str,
    accept: bool = False,
) -> tuple[list[tuple[str, ...]], bool]:
    """Run benchmarks, compare them with the record, and update it.

    Parameters
    ----------
    names : sequence of str
        Benchmarks.
    measure : callable
        Runs one of them.
    record : dict of Kept
        Is updated.
    machine, form, commit, date : str
        As in `Kept`.
    accept : bool
        Take what is slower as the new standard.

    Returns
    -------
    list of tuple
        Rows of the table.
    bool
        Whether nothing became slower, and everything ran.
    """
    rows: list[tuple[str, ...]] = []
    well = True
    for name in names:
        outcome = measure(name)
        if outcome.missing or outcome.error:
            said = f"not run: {outcome.missing}" if outcome.missing else f"failed: {outcome.error}"
            rows.append((name, "", "", "", said))
            well = well and not outcome.error
            continue
        now = dict(outcome.ratios)
        mine = {k[2]: kept for k, kept in record.items() if k[:2] == (machine, form)}
        slower = [
            what for what, ratio in now.items()
            if (kept := mine.get(f"{name}: {what}")) and change(ratio, kept, form)[0] == "slower"
        ]  # fmt: skip
        if slower:  # other load does that, too
            again = measure(name).ratios
            now |= {what: better(now[what], again[what]) for what in slower if what in again}
        for what, ratio in now.items():
            full = f"{name}: {what}"
            kept = mine.get(full)
            said, gain = ("new", 0.0) if kept is None else change(ratio, kept, form)
            if said == "slower":
                well = well and accept
            if kept is None or said == "faster" or (said == "slower" and accept):
                new = Kept(
                    machine, form, full, ratio.value, ratio.spread, ratio.value, ratio.spread,
                    date, commit, date, ratio.lower, ratio.unit,
                )  # fmt: skip
            else:
                new = replace(
                    kept, ratio=ratio.value, spread=ratio.spread, measured=date, unit=ratio.unit
                )
            record[key_of(new)] = new
            before = _elsewhere(record, new) if kept is None else f"{kept.standard:.3g}"
            words = f"{said} by {abs(gain):.0%}" if said in ("slower", "faster") else said
            shown = f"{ratio.value:.3g} ± {ratio.spread:.2g}"
            rows.append((full, shown, f"{ratio.unit}", before, words))
        for full in sorted(set(mine) - {f"{name}: {what}" for what in now}):
            if full.startswith(f"{name}: "):
                rows.append((full, "", "", f"{mine[full].standard:.3g}", "not measured any more"))
                if accept:
                    del record[machine, form, full]
    return rows, well


def _elsewhere(record: Mapping[Key, Kept], new: Kept) -> str:
    """The figure of another machine, for a reader; it decides nothing."""
    others = [
        kept for kept in record.values()
        if kept.name == new.name and kept.form == new.form and kept.machine != new.machine
    ]  # fmt: skip
    return f"{others[0].standard:.3g} on {others[0].machine}" if others else ""


def benchmarks(folder: Path = HERE) -> list[str]:
    """Names of the files in a folder that return ratios."""
    return sorted(p.stem for p in folder.glob("*.py") if "\ndef ratios(" in p.read_text("utf-8"))


def in_process(name: str, form: str, folder: Path = HERE) -> Outcome:
    """Run a benchmark in a process of its own.

    Parameters
    ----------
    name : str
    form : str
        "quick" or "full".
    folder : Path
        Where its file lies.
    """
    command = [sys.executable, str(HERE / "suite.py"), "--run", name, "--folder", str(folder)]
    command += ["--full"] if form == "full" else []
    began = time.monotonic()
    print(f"{name} ...", file=sys.stderr, flush=True)
    environment = {"OMP_WAIT_POLICY": "passive"} | os.environ
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS[form], env=environment,
            cwd=folder, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Outcome({}, error=f"it took more than {SECONDS[form]} s")
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    if done.returncode:
        last = " ".join(done.stderr.strip().splitlines()[-1:])
        return Outcome({}, error=last or f"it ended with code {done.returncode}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    found = {what: Ratio(**values) for what, values in told["ratios"].items()}
    return Outcome(found, told["missing"])


def run_here(name: str, form: str, folder: Path) -> None:
    """Run a benchmark in this process, and print its ratios as JSON."""
    sys.path[:0] = [str(folder), str(HERE)]
    found: dict[str, Ratio] = {}
    missing = ""
    try:
        found = importlib.import_module(name).ratios(form == "quick")
    except Unavailable as error:
        missing = str(error)
    print()
    print(json.dumps({"ratios": {k: asdict(r) for k, r in found.items()}, "missing": missing}))


def commit() -> str:
    """The commit of this checkout, with a plus sign where files differ from it."""
    told = []
    for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", "../src")):
        command = ["git", *words]
        told.append(subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False))
    return told[0].stdout.strip() + ("+" if told[1].stdout.strip() else "")


def chosen(only: Iterable[str], there: Sequence[str]) -> list[str]:
    """Names to run; an unknown one ends the program."""
    unknown = set(only) - set(there)
    if unknown:
        raise SystemExit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(there)}")
    return [name for name in there if not only or name in only]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, keep the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="some benchmarks")
    parser.add_argument("--full", action="store_true", help="with all repeats (hours)")
    parser.add_argument("--accept", action="store_true", help="slower is the new standard")
    parser.add_argument("--dry", action="store_true", help="leave the record as it is")
    parser.add_argument("--list", action="store_true", help="say which benchmarks there are")
    parser.add_argument("--record", type=Path, default=RECORD, help="the file of kept ratios")
    parser.add_argument("--folder", type=Path, default=HERE, help=argparse.SUPPRESS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    form = "full" if given.full else "quick"
    if given.run:
        run_here(given.run, form, given.folder)
        return 0
    names = chosen(given.only, benchmarks(given.folder))
    if given.list:
        print(*names, sep="\n")
        return 0
    record = read_record(given.record)
    rows, well = run_suite(
        names, lambda name: in_process(name, form, given.folder), record,
        machine=page.processor(), form=form, commit=commit(),
        date=datetime.date.today().isoformat(), accept=given.accept,
    )  # fmt: skip
    print(page.table(("what", "ratio", "of", "before", "now"), rows))
    if not given.dry:
        write_record(given.record, record)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
