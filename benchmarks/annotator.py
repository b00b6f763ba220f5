"""A simulated annotator goes through the loop: annotate, learn, annotate with suggestions.

python benchmarks/annotator.py DATA OUT [--sets a b] [--modes complete partial unsafe] [--write]

Pictures are tiles or planes of images that the default model was not trained on (the part
"validation" of `scripts/split.json`). The annotator works through ten of them; the others are for
measuring, and are never annotated. After 1, 2, 5 and 10 pictures the project learns, starting from
its latest version, with its default steps, and takes the new version.

- complete: every object is annotated.
- region: 30 % of the objects, those on the left, in a region that is declared complete.
- partial: 30 % of the objects, anywhere; of the false suggestions, 30 % are rejected.
- unsafe: the same as partial, declared complete, as if the rest were background.

The annotator sees suggestions above the project's score, takes good ones (IoU of .8, or `--good`)
with one key for all, rejects false ones with a click each, corrects poor ones and prompts what is
missing, up to six clicks an object, then paints. To correct a suggestion, as in the viewer, one
click takes it up, and further ones, each at the largest error, refine its mask. One object in
twenty is overlooked, one click in ten lies anywhere in the object, and one poor suggestion in ten
is taken. Clicks are compared with those for the same picture by prompts alone, with the default
model: what a person does without the loop.

Results are kept in OUT by set, mode and `--good`; what is there is not run again. `--write` puts
the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import page
import tifffile
import torch
from numpy.typing import NDArray
from sets import entries

import napari_segment_anything as nsa
from napari_segment_anything.automatic import segment_everything
from napari_segment_anything.datasets import LabelledPlane, read_planes
from napari_segment_anything.engine import Ask, PlacedMask, Predictor, Window
from napari_segment_anything.evaluation.protocols import (
    PromptSettings,
    Subject,
    compare,
    next_ask,
)
from napari_segment_anything.evaluation.summary import counts_of
from napari_segment_anything.measures import interior_point, next_click
from napari_segment_anything.progress import finish
from napari_segment_anything.projects import ObjectEntry, Project, Suggestions
from napari_segment_anything.projects.learning import learn_steps
from napari_segment_anything.session.objects import ObjectPrompts

PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
MARKERS = ("<!-- annotator table -->", "<!-- end of annotator table -->")
MODES = ("complete", "region", "partial", "unsafe")
STAGES = (0, 1, 2, 5, 10)
GOOD, POOR, MOST_CLICKS = 0.8, 0.5, 6
OVERLOOKED, STRAY, CARELESS = 0.05, 0.1, 0.1
SHARE = 0.3
LEAST_AREA = 12

Picture = tuple[NDArray, NDArray]


@dataclass(frozen=True)
class Cut:
    """How the pictures of a set are made: planes or tiles, and how many are for measuring."""

    rows: int = 1
    columns: int = 1
    measured: int = 4
    planes: int = 10


CUTS = {
    "usiigaci_t98g": Cut(2, 2),
    "bbbc010_worms": Cut(1, 2),
    "axon_sem": Cut(4, 4, 6),
    "ecoli_fluo": Cut(4, 4, 6),
    "plantseg_3d": Cut(planes=16, measured=5),
    "bbbc039": Cut(1, 2),
}


@dataclass
class Effort:
    """What one picture took."""

    objects: int = 0
    clicks: int = 0
    taken: int = 0
    corrected: int = 0
    rejected: int = 0
    prompted: int = 0
    painted: int = 0


@dataclass
class Row:
    """One set, mode and number of annotated pictures."""

    set: str
    mode: str
    images: int
    objects: int
    ap50: float
    ap: float
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    efforts: list[dict[str, int]] = field(default_factory=list)


def pictures(data: Path, name: str) -> tuple[list[Picture], list[Picture]]:
    """Pictures to annotate, ten at most, and pictures to measure on."""
    cut, found = CUTS[name], []
    for entry in entries(data, name, "validation"):
        for plane in read_planes(entry, cut.planes):
            found += list(_tiles(plane, cut))
    found = [(image, labels) for image, labels in found if labels.any()]
    annotated, measured = found[: -cut.measured], found[-cut.measured :]
    # neighbours in an image or a stack come one after the other; take every k-th
    step = max(len(annotated) // STAGES[-1], 1)
    return annotated[::step][: STAGES[-1]], measured


def _tiles(plane: LabelledPlane, cut: Cut) -> Iterator[Picture]:
    image, labels = np.asarray(plane.image), np.asarray(plane.labels)
    height, width = labels.shape
    for r in range(cut.rows):
        for c in range(cut.columns):
            part = (
                slice(r * height // cut.rows, (r + 1) * height // cut.rows),
                slice(c * width // cut.columns, (c + 1) * width // cut.columns),
            )
            ids, small = np.unique(labels[part], return_inverse=True)
            areas = np.bincount(small.ravel())
            kept = np.where((ids > 0) & (areas >= LEAST_AREA), np.arange(len(ids)), 0)
            yield image[part], kept[small].reshape(labels[part].shape).astype(np.int32)


@dataclass
class Annotation:
    """What the annotator made of a picture; `made` says by whom each object was made."""

    labels: NDArray
    made: list[str]
    suggestions: Suggestions
    columns: int
    effort: Effort


class Annotator:
    """Annotates pictures with a model, from their true labels, with mistakes.

    Parameters
    ----------
    model : Model
        Prompted, and asked for suggestions.
    score : float
        Of the suggestions shown; None shows none.
    mode : str
        Of `MODES`.
    seed : int
        Of its mistakes, and of what it leaves out.
    everything : dict
        Parameters of everything mode.
    good : float
        IoU that it asks for.
    """

    def __init__(
        self,
        model: nsa.Model,
        score: float | None,
        mode: str,
        seed: int,
        everything: dict[str, int],
        good: float = GOOD,
    ) -> None:
        self.model, self.score, self.mode = model, score, mode
        self.everything, self.good = everything, good
        self.rng = np.random.default_rng(seed)

    def annotate(self, image: NDArray, truth: NDArray) -> Annotation:
        """Annotate a picture."""
        wanted, columns = self._wanted(truth)
        effort = Effort(objects=len(wanted))
        done: dict[int, tuple[PlacedMask, str]] = {}
        asks: dict[int, Ask] = {}
        corrected: dict[int, Ask] = {}
        true = {int(i): PlacedMask.of(truth == i) for i in wanted}
        everything = {int(i): PlacedMask.of(truth == i) for i in np.unique(truth)[1:]}
        suggestions = self._suggestions(image)
        for item in suggestions.shown(self.score or 0.0):
            mask = item.placed
            ious = {i: mask.iou(each) for i, each in everything.items()}
            best = max(ious, key=lambda i: ious[i])
            if ious[best] < POOR:
                here = np.mean(mask.window.col + np.array([0, mask.window.width])) < columns
                share = SHARE if self.mode in ("partial", "unsafe") else 1.0
                if here and self.rng.random() < share:
                    effort.rejected += 1
                    suggestions = suggestions.decide([item.id], "rejected")
                continue
            if best in done or best in corrected or best not in true:
                continue
            careless = ious[best] < self.good and self.rng.random() < CARELESS
            if ious[best] >= self.good or careless:
                done[best] = (mask, "suggestion")
                effort.taken += 1
                suggestions = suggestions.decide([item.id], "taken")
            else:
                corrected[best] = self._taken_up(mask, truth == best)
                effort.corrected += 1
                suggestions = suggestions.decide([item.id], "corrected")
        singly = self.mode in ("partial", "unsafe")
        effort.clicks += effort.rejected + (effort.taken if singly else effort.taken > 0)
        for i in true:
            if i not in done and i not in corrected:
                asks[i] = Ask(np.array([self._first_click(truth == i)], float), np.array([True]))
                effort.prompted += 1
        self._prompt(image, truth, asks, done, corrected, effort)
        labels = np.zeros(truth.shape, np.int32)
        made = []
        for number, (mask, by) in enumerate(done.values(), start=1):
            labels[mask.within(Window.full(truth.shape)) & (labels == 0)] = number
            made.append(by)
        return Annotation(labels, made, suggestions, columns, effort)

    def _wanted(self, truth: NDArray) -> tuple[NDArray, int]:
        """Ids of the objects to annotate, and the columns that the annotator looks at."""
        ids = np.unique(truth)[1:]
        share = SHARE if self.mode in ("partial", "unsafe") else 1 - OVERLOOKED
        columns = truth.shape[1]
        if self.mode == "region":
            middle = np.sort([np.nonzero(truth == i)[1].mean() for i in ids])
            columns = int(middle[min(round(SHARE * len(ids)), len(ids) - 1)])
            ids = np.unique(truth[:, : columns + 1])[1:]
        count = max(round(share * len(ids)), 1)
        return np.sort(self.rng.permutation(ids)[:count]), columns

    def _suggestions(self, image: NDArray) -> Suggestions:
        if self.score is None:
            return Suggestions(image.shape[:2])
        return Suggestions.from_table(segment_everything(image, self.model, **self.everything))

    def _first_click(self, mask: NDArray) -> tuple[int, int]:
        if self.rng.random() >= STRAY:
            return interior_point(mask)
        where = np.argwhere(mask)
        row, col = where[self.rng.integers(len(where))]
        return int(row), int(col)

    def _taken_up(self, suggested: PlacedMask, mask: NDArray) -> Ask:
        """Prompts after the click that takes up a suggestion and the next, at its largest error."""
        seen = suggested.within(Window.full(mask.shape))
        error = next_click(seen, mask)
        points = (self._first_click(seen & mask), (error.row, error.col))
        return ObjectPrompts(points, (True, error.label == 1), mask=suggested).ask()

    def _prompt(
        self,
        image: NDArray,
        truth: NDArray,
        asks: dict[int, Ask],
        done: dict[int, tuple[PlacedMask, str]],
        corrected: dict[int, Ask],
        effort: Effort,
    ) -> None:
        """Click until each mask is good; paint those that do not get there."""
        plane = LabelledPlane("", "", "", {}, image, None, truth)
        subject = Subject(plane, Predictor(self.model), PromptSettings())
        effort.clicks += len(corrected)  # which take them up
        for click in range(1, MOST_CLICKS + 1):
            effort.clicks += len(asks)
            further: dict[int, Ask] = {}
            order = list(asks)
            for row, found in subject.segment(list(asks.values())):
                i = order[row]
                mask = truth == i
                by = "corrected" if i in corrected else "person"
                if found.mask.iou(PlacedMask.of(mask)) >= self.good:
                    done[i] = (found.mask, by)
                    continue
                following = next_ask(asks[i], found, mask)
                if click == MOST_CLICKS or following is None:
                    done[i] = (PlacedMask.of(mask), by)
                    effort.painted += 1
                elif i in corrected:  # a session refines the suggestion, not later masks
                    further[i] = replace(following, mask=asks[i].mask, feed=None, feed_view=None)
                else:
                    further[i] = following
            asks = {**further, **corrected} if click == 1 else further


def measured(
    model: nsa.Model, test: Sequence[Picture], everything: dict[str, int]
) -> tuple[float, float]:
    """AP at an IoU of .50 and mean AP of everything mode, over pictures."""
    counts = [
        counts_of(compare(truth, segment_everything(image, model, **everything).to_labels()))
        for image, truth in test
    ]
    return (
        float(np.mean([each[0].ap for each in counts])),
        float(np.mean([[c.ap for c in each] for each in counts])),
    )


def go_through(
    name: str, mode: str, out: Path, data: Path, options: argparse.Namespace
) -> list[Row]:
    """One set in one mode; what is done already is read."""
    place = name if options.good == GOOD else f"{name}-{options.good}"
    kept = out / f"{place}-{mode}.json"
    held = json.loads(kept.read_text("utf-8")) if kept.exists() else []
    rows = [Row(**row) for row in held]
    if [row.images for row in rows] == list(options.stages):
        return rows
    annotated, test = pictures(data, name)
    project = new_project(out / place / mode, annotated, options)
    rows, efforts = [], []
    alone = mode == "alone"
    everything = {} if options.crop_layers is None else {"crop_n_layers": options.crop_layers}
    for stage in options.stages:
        model = nsa.load_model(project.model_path(), device=options.device)
        score = None if alone else float(project.settings["suggestion_score"])
        while len(efforts) < min(stage, len(annotated)):
            number = len(efforts)
            annotator = Annotator(model, score, mode, number, everything, options.good)
            done = annotator.annotate(*annotated[number])
            record(project, number, mode, done)
            efforts.append(asdict(done.effort))
        row = Row(name, mode, stage, sum(e["objects"] for e in efforts), 0.0, 0.0)
        if stage and not alone:
            began, used = time.perf_counter(), time.process_time()
            steps = learn_steps(project, steps=options.steps, device=options.device)
            version = finish(steps, report(f"{name}, {mode}, {stage} images"))
            row.seconds, row.cpu_seconds = time.perf_counter() - began, time.process_time() - used
            project.set_model(version.name)
            model = nsa.load_model(version.path, device=options.device)
        if not alone:
            row.ap50, row.ap = measured(model, test, everything)
        row.efforts = list(efforts)
        rows.append(row)
        kept.write_text(json.dumps([asdict(row) for row in rows], indent=1), "utf-8")
        print(json.dumps({k: v for k, v in asdict(row).items() if k != "efforts"}), flush=True)
    return rows


def record(project: Project, number: int, mode: str, done: Annotation) -> None:
    """Write the annotation of a picture into its project."""
    objects = [ObjectEntry(i, made_by=by) for i, by in enumerate(done.made, start=1)]
    partly = mode in ("partial", "region")
    with project.image(f"p{number:02d}").lock() as editing:
        editing.write(
            labels=done.labels,
            objects=objects,
            suggestions=done.suggestions,
            state="in_progress" if partly else "complete",
        )
        if mode == "region":
            editing.add_complete_region((0, 0, done.labels.shape[0], done.columns))


def new_project(folder: Path, annotated: Sequence[Picture], options: argparse.Namespace) -> Project:
    """A fresh project on the pictures."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    raw = folder / "raw"
    raw.mkdir(parents=True)
    for number, (image, _) in enumerate(annotated):
        tifffile.imwrite(raw / f"p{number:02d}.tif", image)
    return Project.create(folder / "project", raw, model=options.model, held_out_share=0.0)


def report(title: str) -> Callable[[object], None]:
    """Print progress to standard error every half minute."""
    last = [0.0]

    def show(step) -> None:
        if time.monotonic() - last[0] > 30:
            last[0] = time.monotonic()
            print(f"{title}: {step.done}/{step.total} {step.message[:70]}", file=sys.stderr)

    return show


def table(results: dict[str, dict[str, list[Row]]], stages: Sequence[int]) -> str:
    """Two tables: AP after learning from so many images, and clicks per object on the way."""
    first, second = [], []
    for name, modes in results.items():
        for mode in (m for m in MODES if m in modes):
            rows = modes[mode]
            cells = [f"{row.ap50:.2f} ({row.ap:.2f})" for row in rows]
            time_taken = f"{rows[-1].cpu_seconds:.0f}"
            first.append((name, mode, rows[-1].objects, *cells, time_taken))
        alone = modes.get("alone")
        loop = modes.get("complete")
        if alone and loop:
            pairs = zip(_per_object(alone[-1].efforts), _per_object(loop[-1].efforts), strict=False)
            second.append((name, *(f"{a:.1f} → {b:.1f}" for a, b in pairs)))
    heads = ("set", "annotation", "objects", *(f"{n} images" for n in stages))
    text = page.table((*heads, "CPU seconds of the last learning"), first)
    if second:
        count = max(len(line) for line in second) - 1
        titles = ("clicks per object, image", *range(1, count + 1))
        second = [(*line, *[""] * (count + 1 - len(line))) for line in second]
        text += "\n\n" + page.table(titles, second)
    return text


def _per_object(efforts: Sequence[dict[str, int]]) -> list[float]:
    return [effort["clicks"] / max(effort["objects"], 1) for effort in efforts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("out", type=Path, help="folder for projects and results")
    parser.add_argument("--sets", nargs="+", default=list(CUTS), choices=CUTS)
    parser.add_argument("--modes", nargs="+", default=["alone", *MODES])
    parser.add_argument("--stages", nargs="+", type=int, default=list(STAGES))
    parser.add_argument("--model", default="default")
    parser.add_argument("--steps", type=int, help="of each learning; the project's own else")
    parser.add_argument("--crop-layers", type=int, help="of everything mode; the model's own else")
    parser.add_argument("--good", type=float, default=GOOD, help="IoU the annotator asks for")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--write", action="store_true", help="put the table into docs/benchmarks.md"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, list[Row]]] = {}
    for name in options.sets:
        for mode in options.modes:
            rows = go_through(name, mode, options.out, options.data, options)
            results.setdefault(name, {})[mode] = rows
        print(table(results, options.stages), flush=True)
    if options.write:
        page.write_between(PAGE, MARKERS, table(results, options.stages))


if __name__ == "__main__":
    main()
