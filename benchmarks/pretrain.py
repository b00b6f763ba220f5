"""Does pre-training on a set's images without labels help fine-tuning on five labelled ones?

python benchmarks/pretrain.py DATA OUTPUT [--sets a b c] [--starts N ...] [--steps N] [--tuning N]
                              [--scratch N] [--seeds 1 2] [--write]

Four starts: the default model; the default, pre-trained on the set's training images without
their labels; scratch, with an encoder of `--widths`; scratch, pre-trained in the same way. Encoder
and dense head of each are fine-tuned on the same five images, which benchmarks/finetune.py takes
too, and measured on the held-out ones (`scripts/split.json`): AP of the objects that the dense head
shows, as `train` validates. Stopped runs are resumed, so that processes may share the work by
`--starts`. `--write` puts the table into docs/training.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import page
import torch
from finetune import PAGE, chosen, report
from sets import entries

import napari_segment_anything as nsa
from napari_segment_anything.datasets import read_planes

MARKERS = ("<!-- pretraining table -->", "<!-- end of pretraining table -->")
SETS = ("usiigaci_t98g", "axon_sem")
STARTS = {
    "default": ("default", False),
    "default, pre-trained": ("default", True),
    "scratch": ("scratch", False),
    "scratch, pre-trained": ("scratch", True),
}
MEASURES = {"ap50": "AP at .50", "ap70": "AP at .70", "ap80": "AP at .80"}
Figures = dict[str, float]


def planes(data: Path, name: str, part: str, only: list[str] | None = None) -> list:
    """Labelled planes of one part of a set."""
    found = [e for e in entries(data, name, part) if only is None or e.stem in only]
    return [plane for entry in found for plane in read_planes(entry)]


def start_of(model: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a configuration says of the model to start from."""
    if model != "scratch":
        return {"model": model}
    return {"model": model, "encoder": {"widths": options.widths}}


def pretrained(folder: Path, model: str, output: Path, options: argparse.Namespace) -> Path:
    """Pre-train an encoder on all images of the training part of a set."""
    images = [plane.image for plane in planes(folder.parent, folder.name, "train")]
    config = {
        **start_of(model, options),
        "steps": options.steps,
        "batch_size": options.batch,
        "name": f"{folder.name}-pretrained",
    }
    note = report(f"{folder.name}, {model}, pre-training")
    result = nsa.pretrain(config, images=images, output=output, on_progress=note)
    print(f"{folder.name}, {model}: pre-trained in {result.seconds:.0f} s", file=sys.stderr)
    return result.model


def tuned(
    folder: Path, start: str, output: Path, seed: int, options: argparse.Namespace
) -> tuple[Figures, Figures]:
    """Fine-tune one of the starts; its figures before and after."""
    model, first = STARTS[start]
    fresh = model == "scratch"
    five = planes(folder.parent, folder.name, "train", chosen(folder.parent, folder.name, 5))
    held = planes(folder.parent, folder.name, "validation")
    stage = {
        "name": "dense",
        "steps": options.scratch if fresh else options.tuning,
        "batch_size": options.batch,
        "encoder_learning_rate": 1e-3 if fresh else 2e-4,
        "warmup": 20,
        "ema": 0.98,
        "crop": {"size": 256, "near": 0.7, "wide": [0.6, 1.7]},
    }
    config = {"seed": seed, "stages": [stage], "validate_every": 10**6}
    config |= {"model": model} if first else start_of(model, options)
    if first:
        made = pretrained(folder, model, output.parent / f"pretrain-{model}", options)
        config["encoder_weights"] = str(made)
    result = nsa.train(
        config,
        images=[(plane.image, plane.labels) for plane in five],
        held_out=[(plane.image, plane.labels) for plane in held],
        output=output,
        on_progress=report(f"{folder.name}, {start}"),
    )
    print(f"{folder.name}, {start}: {result.steps} in {result.seconds:.0f} s", file=sys.stderr)
    return result.before, result.after


def table(rows: dict[tuple[str, str], list[Figures]]) -> str:
    """A row per set and start: means over seeds."""
    cells = []
    for (name, start), found in rows.items():
        means = (sum(each[key] for each in found) / len(found) for key in MEASURES)
        cells.append((name, start, *(f"{mean:.3f}" for mean in means)))
    return page.table(("set", "fine-tuned from", *MEASURES.values()), cells)


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("output", type=Path, help="folder for runs and models")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--starts", type=int, nargs="+", default=range(4), help="which of the four")
    parser.add_argument("--steps", type=int, default=300, help="of pre-training")
    parser.add_argument("--tuning", type=int, default=200, help="steps from the default")
    parser.add_argument("--scratch", type=int, default=600, help="steps from scratch")
    parser.add_argument("--widths", type=int, nargs=4, default=[16, 32, 64, 128])
    parser.add_argument("--batch", type=int, default=4, help="crops a step")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="of fine-tuning")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="put the table into docs/training.md")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: dict[tuple[str, str], list[Figures]] = {}
    for name in options.sets:
        folder, output = options.data / name, options.output / name
        for number in options.starts:
            start = list(STARTS)[number]
            for seed in options.seeds:
                run = output / f"{start.replace(', ', '-')}-{seed}"
                before, after = tuned(folder, start, run, seed, options)
                if start == "default":
                    rows[name, "default, not fine-tuned"] = [before]
                rows.setdefault((name, start), []).append(after)
            print(table(rows), flush=True)
    seeds = "one seed" if len(options.seeds) == 1 else f"means of {len(options.seeds)} seeds"
    note = (
        f"Pre-trained for {options.steps} steps on the training images of the set, without labels; "
        f"encoder and dense head tuned on five images, {options.tuning} steps from the default "
        f"and {options.scratch} from scratch, of {options.batch} crops; {seeds}."
    )
    if options.write:
        page.write_between(PAGE, MARKERS, f"{table(rows)}\n\n{note}\n")


if __name__ == "__main__":
    main()
