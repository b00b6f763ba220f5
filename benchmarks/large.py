"""Everything mode over images larger than memory: accuracy at seams, memory and time by size.

    python benchmarks/large.py DATA OUT [--sides 2048 4096] [--write]

A mosaic of labelled images (see mosaic.py) is segmented in tiles that cross its cells, and each
cell separately, with the same contrast. Every run has its own process. Results are kept in OUT and
not measured again unless --again is given. --write puts the table of all sides in OUT into
docs/benchmarks.md and draws the pictures of the docs.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from mosaic import CELL, Cells, write_mosaic
from page import resident, table, write_between

PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
MARKERS = ("<!-- large table -->", "<!-- end of large table -->")
FAST_MARKERS = ("<!-- large scale -->", "<!-- end of large scale -->")
LIMITS = (0, 255)
OVERLAP = 1 / 8


# -- runs, each in its own process ----------------------------------------------------------------


@contextmanager
def watched(report: dict[str, Any], interval: float = 0.2) -> Iterator[None]:
    """Measure time, processor time, and the peak and course of memory above the start."""
    stop, course = threading.Event(), []
    idle, began, used = resident(), time.perf_counter(), time.process_time()
    Path("/proc/self/clear_refs").write_text("5")  # resets the recorded peak

    def sample() -> None:
        while not stop.wait(interval):
            course.append((round(time.perf_counter() - began, 2), resident() - idle))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    step = max(1, len(course) // 400)
    report |= {
        "seconds": time.perf_counter() - began,
        "processor": time.process_time() - used,
        "idle": idle,
        "peak": resident("VmHWM") - idle,
        "course": [(at, round(max(m for _, m in course[i : i + step]), 1))
                   for i, (at, _) in enumerate(course) if i % step == 0],
        "page_faults": resource.getrusage(resource.RUSAGE_SELF).ru_majflt,
    }  # fmt: skip


def job_reference(out: Path, _: int, count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Everything mode on each cell separately, resumed if it was stopped."""
    import napari_segment_anything as nsa

    model = nsa.load_model(options.model, "cpu")
    store = out / "separate.zarr"
    made = zarr.open_group(out / "cells.zarr", mode="r")["pixels"]
    if store.exists():
        kept = zarr.open_group(store, mode="r+")
    else:
        kept = zarr.open_group(store, mode="w")
        kept.create_array(
            "labels", dtype="u2", shape=(0, CELL, CELL), chunks=(1, CELL, CELL)
        ).attrs["model"] = model.fingerprint
    labels = kept["labels"]
    if labels.attrs["model"] != model.fingerprint:
        raise SystemExit(f"{store} is of another model: give another OUT")
    first = labels.shape[0]

    def segment(index: int) -> np.ndarray:
        table = nsa.segment_everything(made[index], model, channel_axis=2, contrast_limits=LIMITS)
        return table.to_labels("small")

    report: dict[str, Any] = {"cells": count - first}
    with watched(report):
        for index, found in parallel(segment, range(first, count), options.threads):
            labels.resize((index + 1, CELL, CELL))
            labels[index] = found
    return report


def job_large(out: Path, side: int, _: int, options: argparse.Namespace) -> dict[str, Any]:
    """The stitched run."""
    import napari_segment_anything as nsa
    from napari_segment_anything import large

    model = nsa.load_model(options.model, "cpu")
    report: dict[str, Any] = {}
    phases: dict[str, float] = {}
    with watched(report):
        steps = large.segment_large_steps(
            str(store_of(out, side)),
            model=model,
            contrast_limits=LIMITS,
            overlap=round(model.image_size * OVERLAP),
            workers=options.threads,
            overwrite=True,
            **({"crop_n_layers": 0, "reduced_n_layers": 0} if options.fast else {}),
        )
        last, name = time.perf_counter(), "opening"
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                result = end.value
                break
            now = time.perf_counter()
            if step.message != name:
                phases[name] = phases.get(name, 0) + now - last
                last, name = now, step.message
        phases[name] = phases.get(name, 0) + time.perf_counter() - last
    kinds, counts = np.unique(result.seams["kind"], return_counts=True)
    return report | {
        "phases": {key: round(value, 2) for key, value in phases.items()},
        "tiles": len(result.grid),
        "tile": result.grid.tile,
        "overlap": result.grid.overlap,
        "empty": int((result.status == 2).sum()),
        "failed": len(result.failed),
        "objects": result.count,
        "seams": dict(zip(kinds.tolist(), counts.tolist(), strict=True)),
    }


def job_plain(out: Path, side: int, _: int, options: argparse.Namespace) -> dict[str, Any]:
    """Everything mode on the same tiles, without storing or stitching."""
    import napari_segment_anything as nsa
    from napari_segment_anything import large

    model = nsa.load_model(options.model, "cpu")
    pixels = zarr.open_group(store_of(out, side), mode="r")["0"]
    tile = model.image_size
    grid = large.TileGrid.over((side, side), (), tile, round(tile * OVERLAP))

    def segment(index: int) -> int:
        read = np.moveaxis(pixels[(slice(None), *grid.window(index).slices)], 0, -1)
        table = nsa.segment_everything(read, model, channel_axis=2, contrast_limits=LIMITS)
        return int(table.to_labels("small").max())

    report: dict[str, Any] = {"tiles": len(grid)}
    with watched(report):
        for _ in parallel(segment, range(len(grid)), options.threads):
            pass
    return report


def parallel(
    work: Callable[[int], Any], items: Iterable[int], threads: int
) -> Iterator[tuple[int, Any]]:
    """Map in threads with one torch thread each, as large runs do; results in order."""
    import torch

    torch.set_num_threads(1)
    ahead: list[tuple[int, Any]] = []
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            ahead.append((item, pool.submit(work, item)))
            if len(ahead) > threads:
                index, future = ahead.pop(0)
                yield index, future.result()
        for index, future in ahead:
            yield index, future.result()


JOBS = {"reference": job_reference, "large": job_large, "plain": job_plain}


def store_of(out: Path, side: int) -> Path:
    """Path of the mosaic of a side."""
    return out / f"mosaic{side}.ome.zarr"


def in_process(job: str, side: int, count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run a job in its own process."""
    command = [
        sys.executable, __file__, str(options.data), str(options.out), "--job", job,
        "--sides", str(side), "--count", str(count), "--model", options.model,
        "--threads", str(options.threads), *(["--fast"] if options.fast else []),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    shown = {k: v for k, v in report.items() if k != "course"}
    print(f"{side} {job}: {shown}", file=sys.stderr, flush=True)
    return report


def measure(side: int, options: argparse.Namespace) -> None:
    """Make the mosaic of a side, segment it and record accuracy, memory and time."""
    from large_figures import figures

    out: Path = options.out
    place = out / f"result{side}.json"
    held = json.loads(place.read_text()) if place.exists() and not options.again else {}
    cells = Cells(options.data, out / "cells.zarr", options.seed)
    store = write_mosaic(cells, store_of(out, side), side, options.shuffled)
    count = (side // CELL) ** 2
    separate = out / "separate.zarr"
    have = zarr.open_group(separate, mode="r")["labels"].shape[0] if separate.exists() else 0
    if have < count:
        in_process("reference", side, count, options)
    for job in ("large", "plain"):
        if job not in held and not (job == "plain" and options.no_plain):
            held[job] = in_process(job, side, count, options)
            place.write_text(json.dumps(held))
    held["accuracy"] = figures(store, cells, separate, out / f"faults{side}.png")
    place.write_text(json.dumps(held))
    print(f"{side}: {held['accuracy']}", file=sys.stderr, flush=True)


def measure_fast(side: int, options: argparse.Namespace) -> None:
    """Memory and time of the stitched run only."""
    place = options.out / f"fast{side}.json"
    if place.exists() and not options.again:
        return
    cells = Cells(options.data, options.out / "cells.zarr", options.seed)
    write_mosaic(cells, store_of(options.out, side), side, options.shuffled)
    place.write_text(json.dumps(in_process("large", side, 0, options)))


def fast_text(out: Path) -> str:
    """Table of what `measure_fast` measured."""
    found = {int(p.stem.removeprefix("fast")): json.loads(p.read_text()) for p in out.glob("fast*")}
    columns = (
        "side, px", "tiles", "objects", "failed", "peak memory above the idle model, MiB",
        "processor time per tile, relative",
    )  # fmt: skip
    rows = []
    sides = sorted(found)
    per_tile = {side: found[side]["processor"] / found[side]["tiles"] for side in sides}
    for side in sides:
        run = found[side]
        relative = f"{per_tile[side] / per_tile[sides[0]]:.2f}"
        counts = run["tiles"], run["objects"], run["failed"]
        rows.append((side, *counts, f"{run['peak']:.0f}", relative))
    text = table(columns, rows)
    if len(sides) > 1:
        times = [np.log(found[side]["processor"]) for side in sides]
        slope = np.polyfit(np.log([side**2 for side in sides]), times, 1)[0]
        text += f"\n\nProcessor time grows as area to the power {slope:.2f}."
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("out", type=Path, help="folder for mosaics, labels and results")
    parser.add_argument("--sides", type=int, nargs="*", default=[2048, 4096])
    parser.add_argument("--model", default="default")
    parser.add_argument("--threads", type=int, default=2, help="tiles segmented at a time")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order of cells")
    parser.add_argument("--shuffled", action="store_true", help="cells in random order")
    parser.add_argument("--again", action="store_true", help="measure all sides again")
    parser.add_argument("--no-plain", action="store_true", help="skip the runs without stitching")
    parser.add_argument("--fast", action="store_true", help="memory and time only")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.job:
        report = JOBS[options.job](options.out, options.sides[0], options.count, options)
        print(json.dumps(report))
        return
    for side in sorted(options.sides):
        (measure_fast if options.fast else measure)(side, options)
    if options.fast:
        text = fast_text(options.out)
        print(text)
        if options.write:
            write_between(PAGE, FAST_MARKERS, text)
        return
    from large_figures import draw, report_text

    results = {
        int(path.stem.removeprefix("result")): json.loads(path.read_text())
        for path in options.out.glob("result*.json")
    }
    text = report_text(dict(sorted(results.items())), options.threads)
    print(text)
    if options.write:
        draw(dict(sorted(results.items())), options.out)
        write_between(PAGE, MARKERS, text)


if __name__ == "__main__":
    main()
