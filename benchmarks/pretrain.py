"""Does pre-training on a set's images without labels help fine-tuning on five labelled ones?

python benchmarks/pretrain.py DATA OUTPUT [--sets a b c] [--starts N ...] [--steps N] [--tuning N]
                              [--scratch N] [--seeds 1 2] [--write]

Four starts: the default model; the default, pre-trained on the set's training images without
their labels; scratch; scratch, pre-trained in the same way. Each is fine-tuned on the same five
images and measured on held-out ones (`scripts/split.json`), as by benchmarks/finetune.py. Stopped
runs are resumed, so that processes may share the work by `--starts`. `--write` puts the table into
docs/training.md.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import page
import torch
from finetune import COLUMNS, PAGE, Row, chosen, measure, report
from sets import entries

import napari_segment_anything as nsa

MARKERS = ("<!-- pretraining table -->", "<!-- end of pretraining table -->")
SETS = ("usiigaci_t98g", "axon_sem")
STARTS = {
    "default": ("default", False),
    "default, pre-trained": ("default", True),
    "scratch": ("scratch", False),
    "scratch, pre-trained": ("scratch", True),
}


def pretrained(folder: Path, model: str, output: Path, options: argparse.Namespace) -> Path:
    """Pre-train an encoder on all images of the training part of a set."""
    names = [entry.stem for entry in entries(folder.parent, folder.name, "train")]
    config = {
        "model": model,
        "steps": options.steps,
        "name": f"{folder.name}-pretrained",
        "data": [{"folder": str(folder), "train": names}],
    }
    result = nsa.pretrain(config, output=output, on_progress=report(f"{folder.name}, {model}"))
    print(f"{folder.name}, {model}: pre-trained in {result.seconds:.0f} s", file=sys.stderr)
    return result.model


def tuned(folder: Path, start: str, output: Path, seed: int, options: argparse.Namespace) -> Path:
    """Fine-tune one of the starts on a few images of a set."""
    model, first = STARTS[start]
    train = chosen(folder.parent, folder.name, options.count)
    config = {
        "model": model,
        "steps": options.scratch if model == "scratch" else options.tuning,
        "seed": seed,
        "data": [{"folder": str(folder), "train": train}],
    }
    if first:
        made = pretrained(folder, model, output.parent / f"pretrain-{model}", options)
        config["encoder_weights"] = str(made)
    result = nsa.train(config, output=output, on_progress=report(f"{folder.name}, {start}"))
    print(f"{folder.name}, {start}: {result.steps} in {result.seconds:.0f} s", file=sys.stderr)
    return result.model


def mean_row(rows: list[Row]) -> Row:
    """Mean of the figures of several seeds."""
    values = zip(*(row.values for row in rows), strict=True)
    return replace(rows[0], values=tuple(sum(v) / len(rows) for v in values))


def table(rows: dict[tuple[str, str], Row]) -> str:
    """A row per set and start."""
    cells = [
        (name, start, *(f"{value:.3f}" for value in row.values))
        for (name, start), row in rows.items()
    ]
    return page.table(("set", "fine-tuned from", *(title for *_, title in COLUMNS)), cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("output", type=Path, help="folder for runs, models and results")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--starts", type=int, nargs="+", default=range(4), help="which of the four")
    parser.add_argument("--steps", type=int, default=300, help="of pre-training")
    parser.add_argument("--tuning", type=int, default=200, help="steps from the default")
    parser.add_argument("--scratch", type=int, default=600, help="steps from scratch")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="of fine-tuning")
    parser.add_argument("--count", type=int, default=5, help="images to fine-tune on")
    parser.add_argument("--objects", type=int, default=20, help="prompted objects per image")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="put the table into docs/training.md")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: dict[tuple[str, str], Row] = {}
    for name in options.sets:
        folder, output = options.data / name, options.output / name
        if 0 in options.starts:
            before = measure(folder, "default", output / "before", options, overwrite=False)
            rows[name, "default, not fine-tuned"] = before
        for number in options.starts:
            start = list(STARTS)[number]
            found = []
            for seed in options.seeds:
                run = output / f"{start.replace(', ', '-')}-{seed}"
                model = tuned(folder, start, run, seed, options)
                found.append(measure(folder, model, run / "measured", options, overwrite=False))
            rows[name, start] = mean_row(found)
            print(table(rows), flush=True)
    seeds = "one seed" if len(options.seeds) == 1 else f"means of {len(options.seeds)} seeds"
    note = (
        f"Pre-trained for {options.steps} steps on the training images of the set, without labels; "
        f"fine-tuned on {options.count} images, {options.tuning} steps from the default and "
        f"{options.scratch} from scratch; {seeds}."
    )
    if options.write:
        page.write_between(PAGE, MARKERS, f"{table(rows)}\n\n{note}\n")


if __name__ == "__main__":
    main()
