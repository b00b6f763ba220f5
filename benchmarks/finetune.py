"""Effect of fine-tuning on five labelled images of a set, measured on held-out images.

python benchmarks/finetune.py DATA OUTPUT [--model PATH] [--sets a b c] [--steps N] [--write]

The five images are from the training part of the set, the measured ones from the validation part
(`scripts/split.json`), on which neither model was trained. There is no early stop. `--write` puts
the table into docs/training.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import page
import torch
from sets import entries

import napari_segment_anything as nsa
from napari_segment_anything.datasets import rank
from napari_segment_anything.evaluation import (
    PromptSettings,
    evaluate,
    summarise,
)
from napari_segment_anything.progress import Progress, finish

PAGE = Path(__file__).parents[1] / "docs/training.md"
MARKERS = ("<!-- finetune table -->", "<!-- end of finetune table -->")
SETS = ("usiigaci_t98g", "nasa_superalloy", "axon_tem")
COLUMNS = (
    ("everything", "ap50", "everything, AP at .50"),
    ("everything", "ap", "mean AP"),
    ("points", "best_of_three", "point, best of 3"),
    ("boxes", "iou", "box"),
)


@dataclass(frozen=True)
class Row:
    """The figures of one model on one set."""

    values: tuple[float, ...]
    images: int
    objects: int


def chosen(data: Path, name: str, count: int) -> list[str]:
    """Names of `count` images of the training part, chosen by a hash of their names."""
    ranked = sorted(entries(data, name, "train"), key=lambda entry: rank(entry.name))
    return sorted(entry.stem for entry in ranked[:count])


def tune(folder: Path, output: Path, options: argparse.Namespace) -> nsa.TrainingResult:
    """Fine-tune on a few images of a set; a stopped run is resumed."""
    train = chosen(folder.parent, folder.name, options.count)
    config = {
        "model": options.model,
        "train": options.train,
        "steps": options.steps,
        "name": f"{folder.name}-{options.count}",
        "data": [{"folder": str(folder), "train": train}],
    }
    return nsa.train(config, output=output, on_progress=report(folder.name))


def measure(folder: Path, model: str | Path, output: Path, options: argparse.Namespace) -> Row:
    """Evaluate a model on the held-out images of a set."""
    images = entries(folder.parent, folder.name, "validation")
    settings = PromptSettings(objects_per_image=options.objects)
    result = finish(
        evaluate(
            images,
            nsa.load_model(model),
            output,
            protocols=("everything", "points", "boxes"),
            settings=settings,
            overwrite=True,
        ),
        report(f"{folder.name}, measuring"),
    )
    figures = {
        (f.method.partition(":")[0], f.measure): f
        for f in summarise(result.records)
        if f.group.column == "" or f.group.value == folder.name
    }
    picked = [figures[key, measure] for key, measure, _ in COLUMNS]
    values = tuple(figure.interval.value for figure in picked)
    return Row(values, len(images), picked[2].objects)


def report(title: str):
    """Print progress to standard error every ten seconds."""
    last = [0.0]

    def show(step: Progress) -> None:
        if time.monotonic() - last[0] > 10:
            last[0] = time.monotonic()
            print(f"{title} {step.done}/{step.total} {step.message[:90]}", file=sys.stderr)

    return show


def table(rows: dict[str, tuple[Row, Row]], count: int) -> str:
    """A row per set: before and after fine-tuning."""
    cells_of = []
    for name, (before, after) in rows.items():
        cells = []
        for old, new in zip(before.values, after.values, strict=True):
            better = f"**{new:.3f}**" if new > old else f"{new:.3f}"
            cells.append(f"{old:.3f} → {better}")
        held = f"{before.images} images, {before.objects} objects prompted"
        cells_of.append((name, held, *cells))
    text = page.table(("set", "held out", *(title for *_, title in COLUMNS)), cells_of)
    return f"{text}\n\nFine-tuned on {count} images of each set; default → fine-tuned.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("output", type=Path, help="folder for runs, models and results")
    parser.add_argument("--model", default="default", help="model to start from")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--train", default="whole", choices=("whole", "decoder", "lora"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--count", type=int, default=5, help="images to fine-tune on")
    parser.add_argument("--objects", type=int, default=20, help="prompted objects per image")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="put the table into docs/training.md")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = {}
    for name in options.sets:
        folder = options.data / name
        result = tune(folder, options.output / name / "run", options)
        print(f"{name}: {result.steps} in {result.seconds:.0f} s", file=sys.stderr)
        before = measure(folder, options.model, options.output / name / "before", options)
        after = measure(folder, result.model, options.output / name / "after", options)
        rows[name] = (before, after)
        print(table(rows, options.count), flush=True)
    if options.write:
        page.write_between(PAGE, MARKERS, table(rows, options.count))


if __name__ == "__main__":
    main()
