"""What learning loses where only some objects are annotated, and what it gets back by assuming.

python benchmarks/partial.py DATA OUT [--sets a b] [--write]

The simulated annotator of `annotator.py` goes through two pictures with the default model, which
then learns from them, once and for a short time: what decides about suggestions is the dense head,
so the decoder gets little (two objects a crop, one round), and the refiner none.

- complete: every object is annotated.
- partial: 30 % of the objects, anywhere; the rest has no loss.
- assumed: the same annotation; the model labels the rest where it is confident (`assume`).
- unsafe: the same annotation, declared complete, as if the rest were background.

AP at an IoU of .50, and the mean over .50 to .95, are of everything mode without crops, on pictures
that are never annotated. Results are kept in OUT. `--write` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import annotator
import page
import torch

import napari_segment_anything as nsa
from napari_segment_anything.progress import finish
from napari_segment_anything.projects import Project
from napari_segment_anything.projects.learning_data import copy_annotation, read_copies
from napari_segment_anything.projects.learning_options import DENSE_OPTIONS
from napari_segment_anything.training import TrainingConfig, train_steps
from napari_segment_anything.training.initial import trainable

MARKERS = ("<!-- partial table -->", "<!-- end of partial table -->")
MODES = ("complete", "partial", "assumed", "unsafe")
SETS = ("axon_sem", "ecoli_fluo", "bbbc010_worms")
PICTURES = 2
EVERYTHING = {"crop_n_layers": 0}
LIGHT = {"objects": 2, "rounds": 1, "refiner_learning_rate": 0.0}


def annotated(name: str, mode: str, place: Path, options: argparse.Namespace) -> list[tuple]:
    """Images with labels, and with levels of what was seen, as learning gets them."""
    model = nsa.load_model("default", device=options.device)
    pictures, _ = annotator.pictures(options.data, name)
    project: Project = annotator.new_project(place, pictures[:PICTURES], options)
    score = float(project.settings["suggestion_score"])
    for number, picture in enumerate(pictures[:PICTURES]):
        by = annotator.Annotator(model, score, mode, number, EVERYTHING)
        annotator.record(project, number, mode, by.annotate(*picture))
    network = trainable(nsa.load_model("default", device="cpu").network, "default")
    copies = [
        copy_annotation(image, "train", place / "copies", network)
        for image in project.images[:PICTURES]
    ]
    return list(read_copies(place / "copies", copies, "train"))


def learned(images: list[tuple], folder: Path, assume: float, options: argparse.Namespace) -> Path:
    """The model that the default becomes."""
    stage = {**DENSE_OPTIONS, **LIGHT, "steps": options.steps, "assume": assume}
    config = TrainingConfig(model="default", train="whole", options=stage, name="partial")
    steps = train_steps(config, images=images, output=folder, device=options.device)
    return finish(steps).model


def measured(name: str, mode: str, options: argparse.Namespace) -> dict[str, float]:
    """AP after learning in a mode, and processor seconds of learning; what was measured is read."""
    kept = options.out / f"{name}-{mode}.json"
    if kept.exists():
        return json.loads(kept.read_text("utf-8"))
    place = options.out / name / mode
    shutil.rmtree(place, ignore_errors=True)
    images = annotated(name, "partial" if mode == "assumed" else mode, place, options)
    began = time.process_time()
    assume = float(DENSE_OPTIONS["assume"]) if mode == "assumed" else 0.0
    model = nsa.load_model(learned(images, place / "run", assume, options), device=options.device)
    seconds = time.process_time() - began
    _, test = annotator.pictures(options.data, name)
    ap50, ap = annotator.measured(model, test, EVERYTHING)
    figures = {"ap50": ap50, "ap": ap, "seconds": seconds}
    kept.write_text(json.dumps(figures), "utf-8")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("out", type=Path, help="folder for projects and results")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=annotator.CUTS)
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--write", action="store_true", help="put the table into docs/benchmarks.md"
    )
    options = parser.parse_args()
    options.model = "default"
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in options.sets:
        found = {mode: measured(name, mode, options) for mode in options.modes}
        rows.append((name, *(f"{row['ap50']:.2f} ({row['ap']:.2f})" for row in found.values())))
        print(page.table(("set", *options.modes), rows), flush=True)
    if options.write:
        page.write_between(annotator.PAGE, MARKERS, page.table(("set", *options.modes), rows))


if __name__ == "__main__":
    main()
