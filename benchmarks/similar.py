"""How well objects like one or three examples are found by the embedded model's own features.

    python benchmarks/similar.py DATA [--write docs/benchmarks.md]
    python benchmarks/similar.py DATA --fit           # the weights, from training images

Examples are labelled objects that some candidate matches. A candidate is right if it matches
another object of the same set (IoU of .5 or more, after better ones have taken their pixels).
Figures are the average precision of the ranking over the objects that any candidate matches. In
"one set" an image shows one set; in "four sets" it is a mosaic of four, so that three quarters of
the objects are wrong; in "series" the examples lie in one mosaic, the candidates in all others.

The second table has precision and recall of what `find` keeps, at its default threshold, over all
objects of the set but the examples.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from page import table, write_between
from sets import entries

import napari_segment_anything as nsa
from napari_segment_anything.automatic.candidates import placed
from napari_segment_anything.automatic.grid import ImageCrop
from napari_segment_anything.datasets import read_planes
from napari_segment_anything.engine import PlaneSource
from napari_segment_anything.finding import (
    CandidatePool,
    Query,
    Sightings,
    Traits,
    everything_steps,
)
from napari_segment_anything.finding.choosing import FinderOptions
from napari_segment_anything.finding.comparing import WEIGHTS, evidence, likeness
from napari_segment_anything.finding.concept import Concept
from napari_segment_anything.finding.own_features import OwnFeatures
from napari_segment_anything.finding.run import FindRun
from napari_segment_anything.measures import overlap_of_masks, overlap_table
from napari_segment_anything.progress import finish
from napari_segment_anything.projects.suggestions import Suggestions

SETS = (
    "dsb2018 fluo", "dsb2018 stain", "bbbc039", "usiigaci_t98g", "axon_tem", "axon_sem",
    "bbbc010_worms", "pebbles_photo", "nasa_superalloy", "qpi_cells",
)  # fmt: skip
SIDE, QUARTER, MOSAICS, REPEATS = 512, 256, 8, 2
COUNTS = (1, 3)
SAME, GOOD = 0.5, 0.7
SERIES = 4
MARKERS = ("<!-- similar:begin -->", "<!-- similar:end -->")
FOUND = ("<!-- find:begin -->", "<!-- find:end -->")
Ranking = Callable[[Traits, CandidatePool], NDArray]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An image with candidates; `kind` is the set of each labelled object."""

    source: PlaneSource
    labels: NDArray
    kind: NDArray
    pool: CandidatePool
    iou: NDArray  # (objects, candidates)


def gray(image: NDArray) -> NDArray:
    """An image as uint8 RGB, stretched between percentiles."""
    colours = image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)
    low, high = np.percentile(colours, [0.5, 99.8])
    return np.clip((colours[..., :3] - low) / max(high - low, 1) * 255, 0, 255).astype(np.uint8)


def planes(
    data: Path, part: str, rng: np.random.Generator
) -> Iterator[tuple[str, NDArray, NDArray]]:
    """Set, image and labels of one plane of each set."""
    for title in SETS:
        name, _, kind = title.partition(" ")
        known = entries(data, name, part, {"modality": kind} if kind else None)
        plane = next(read_planes(known[int(rng.integers(len(known)))]))
        if plane.channel_axis in (None, plane.image.ndim - 1):
            yield title, gray(plane.image[:SIDE, :SIDE]), plane.labels[:SIDE, :SIDE]


def mosaic(
    tiles: list[tuple[str, NDArray, NDArray]], rng: np.random.Generator
) -> tuple[NDArray, NDArray, dict[int, str]]:
    """Four sets in one image: pixels, labels, and the set of each label."""
    image = np.zeros((2 * QUARTER, 2 * QUARTER, 3), np.uint8)
    labels = np.zeros(image.shape[:2], np.int64)
    kinds: dict[int, str] = {}
    for place, number in enumerate(rng.choice(len(tiles), 4, replace=False)):
        title, pixels, truth = tiles[number]
        top, left = (int(rng.integers(max(1, n - QUARTER + 1))) for n in truth.shape)
        cut = (slice(top, top + QUARTER), slice(left, left + QUARTER))
        ids, ranks = np.unique(truth[cut], return_inverse=True)
        ranks = np.where(truth[cut] > 0, ranks.reshape(truth[cut].shape) + len(kinds) + 1, 0)
        row, col = place // 2 * QUARTER, place % 2 * QUARTER
        height, width = ranks.shape
        image[row : row + height, col : col + width] = pixels[cut]
        labels[row : row + height, col : col + width] = ranks
        kinds.update(dict.fromkeys(range(len(kinds) + 1, len(kinds) + len(ids) + 2), title))
    return image, labels, kinds


def scene(
    image: NDArray, labels: NDArray, kinds: dict[int, str] | str, predictor: nsa.Predictor
) -> Scene:
    """Candidates of an image, compared with its labels."""
    source = PlaneSource(image, rgb=True)
    _, pool = finish(everything_steps(source, predictor))
    masks = [placed(mask) for mask in pool.masks]
    overlaps = overlap_of_masks(labels, ((m.window.row, m.window.col, m.mask) for m in masks))
    iou = np.zeros((overlaps.true_count, len(pool)))
    iou[overlaps.true_index, overlaps.found_index] = overlaps.iou
    kind = [kinds if isinstance(kinds, str) else kinds[i] for i in overlaps.true_ids.tolist()]
    return Scene(source, labels, np.array(kind), pool, iou)


def scenes(data: Path, part: str, predictor: nsa.Predictor) -> tuple[list[Scene], list[Scene]]:
    """Images of one set each, and mosaics of four sets."""
    rng = np.random.default_rng(3)
    tiles = list(planes(data, part, rng))
    single = [scene(image, labels, title, predictor) for title, image, labels in tiles]
    mixed = [scene(*mosaic(tiles, rng), predictor) for _ in range(MOSAICS)]
    return single, mixed


def draws(found: Scene, count: int, repeats: int = REPEATS) -> Iterator[tuple[str, NDArray]]:
    """Kind and objects (positions) of examples."""
    rng = np.random.default_rng(0)
    for kind in np.unique(found.kind):
        good = np.flatnonzero((found.iou.max(axis=1, initial=0) >= GOOD) & (found.kind == kind))
        if len(good) >= count + 3:
            for _ in range(repeats):
                yield str(kind), rng.choice(good, count, replace=False)


def hits(found: Scene, scores: NDArray, kind: str, known: NDArray) -> tuple[NDArray, NDArray, int]:
    """Scores of the suggestions and which are right, without those of the examples; all objects."""
    best = np.sort(np.argsort(-scores)[:500])
    made = Suggestions.from_masks(
        [found.pool.masks[i] for i in best], scores[best], found.labels.shape
    )
    overlaps = overlap_table(found.labels, made.painted())
    pairs = overlaps.iou >= SAME
    row, at = overlaps.true_index[pairs], overlaps.found_index[pairs]
    right = np.zeros(len(made), bool)
    right[at] = found.kind[row] == kind
    example = np.zeros(len(made), bool)
    example[at] = np.isin(row, known)
    reachable = (found.iou.max(axis=1, initial=0) >= SAME) & (found.kind == kind)
    reachable[known] = False
    order = np.array([item.score for item in made])
    return order[~example], right[~example], int(reachable.sum())


def precision(parts: list[tuple[NDArray, NDArray, int]]) -> float:
    """Average precision of a ranking that is joined from images."""
    scores, right = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    right = right[np.argsort(-scores, kind="stable")]
    ranks = np.flatnonzero(right) + 1
    total = sum(part[2] for part in parts)
    return float((np.arange(1, len(ranks) + 1) / ranks).sum() / max(total, len(ranks), 1))


def within(found: list[Scene], count: int, ranking: Ranking) -> float:
    """Average precision in the image of the examples."""
    values = []
    for each in found:
        for kind, known in draws(each, count):
            examples = each.pool.traits[each.iou[known].argmax(axis=1)]
            values.append(precision([hits(each, ranking(examples, each.pool), kind, known)]))
    return float(np.mean(values))


def across(found: list[Scene], count: int, ranking: Ranking) -> float:
    """Average precision over other images, the examples in one."""
    values = []
    nobody = np.zeros(0, int)
    for number, each in enumerate(found[:SERIES]):
        for kind, known in draws(each, count, 1):
            others = [other for i, other in enumerate(found) if i != number]
            if not any((other.kind == kind).any() for other in others):
                continue
            examples = each.pool.traits[each.iou[known].argmax(axis=1)]
            values.append(
                precision([hits(o, ranking(examples, o.pool), kind, nobody) for o in others])
            )
    return float(np.mean(values))


@dataclass(frozen=True, slots=True)
class PoolFinder(OwnFeatures):
    """Compares candidates that are known already."""

    pool: CandidatePool | None = None

    def look(
        self, learned: Traits, source: PlaneSource, predictor: nsa.Predictor, window: nsa.Window
    ) -> Generator[nsa.Progress, None, Sightings]:
        """Compare the pool."""
        yield nsa.Progress(1, 1)
        pool = self.pool
        scores = likeness(learned, pool.traits, pool.predicted_iou, pool.stability)
        return Sightings(pool.masks, scores.astype(np.float32), pool.predicted_iou, pool.stability)


def found(found: list[Scene], count: int, predictor: nsa.Predictor) -> dict[str, NDArray]:
    """Precision and recall of `find` for each kind, a row for each draw; and what can be found."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    filters = FinderOptions().filters(OwnFeatures(0))
    for each in found:
        whole = ImageCrop(0, 0, *each.source.shape, 0)
        finder = PoolFinder(predictor.model.image_size, pool=each.pool)
        for kind, known in draws(each, count):
            examples = each.pool.traits[each.iou[known].argmax(axis=1)]
            concept = Concept(Query("like these"), finder, filters, learned=examples)
            run = FindRun(
                each.source, concept, predictor, nsa.Window.full(each.source.shape), (whole,)
            )
            labels = finish(run.run()).to_labels("score")
            overlaps = overlap_table(each.labels, labels)
            pairs = overlaps.iou >= SAME
            row, at = overlaps.true_index[pairs], overlaps.found_index[pairs]
            example = np.isin(row, known)
            others = np.setdiff1d(np.flatnonzero(each.kind == kind), known)
            right = np.isin(row, others)
            made = overlaps.found_count - len(np.unique(at[example]))
            reachable = (each.iou[others].max(axis=1, initial=0) >= SAME).sum()
            rows.setdefault(kind, []).append(
                (right.sum() / max(made, 1), right.sum() / len(others), reachable / len(others))
            )
    return {kind: np.array(values) for kind, values in rows.items()}


def found_table(single: list[Scene], mixed: list[Scene], predictor: nsa.Predictor) -> str:
    """Precision and recall from one and from three examples, by set."""
    parts = [found(where, count, predictor) for where in (single, mixed) for count in COUNTS]
    rows = []
    for title in (*SETS, "**all**"):
        row = [title]
        for part in parts:
            known = list(part.values()) if title == "**all**" else [part.get(title)]
            if known[0] is None:
                row.append("")
                continue
            mean = np.mean([values.mean(axis=0) for values in known], axis=0)
            row.append(f"{mean[0]:.2f} / {mean[1]:.2f} of {mean[2]:.2f}")
        rows.append(row)
    columns = [f"{place}, {n}" for place in ("one set", "four sets") for n in COUNTS]
    return table(["set", *columns], rows)


def one(*names: str) -> Ranking:
    """Rank by some of the evidence alone."""

    def ranking(examples: Traits, pool: CandidatePool) -> NDArray:
        parts = evidence(examples, pool.traits, pool.predicted_iou, pool.stability)
        return np.asarray(1 / (1 + np.exp(-sum(WEIGHTS[name] * parts[name] for name in names))))

    return ranking


def everything(examples: Traits, pool: CandidatePool) -> NDArray:
    """Rank by all of it."""
    return likeness(examples, pool.traits, pool.predicted_iou, pool.stability)


RANKINGS: dict[str, Ranking] = {
    "predicted IoU and stability, without examples": one("predicted_iou", "stability"),
    "embedding": one("embedding"),
    "size and shape": one("size", "shape"),
    "brightness": one("light"),
    "all but brightness": one("embedding", "size", "shape", "predicted_iou", "stability"),
    "**all**": everything,
}


def fit(found: list[Scene]) -> None:
    """Print the weights of a logistic regression over all draws."""
    rows, truth, weights = [], [], []
    for each in found:
        for count in COUNTS:
            for kind, known in draws(each, count):
                pool = each.pool
                examples = pool.traits[each.iou[known].argmax(axis=1)]
                parts = evidence(examples, pool.traits, pool.predicted_iou, pool.stability)
                others = each.iou[known].max(axis=0) < 0.3
                rows.append(np.stack([parts[name] for name in WEIGHTS], axis=1)[others])
                right = (each.iou[each.kind == kind] >= SAME).any(axis=0)[others]
                truth.append(right)
                weights.append(np.full(len(right), 1 / max(len(right), 1)))
    x, y, w = (np.concatenate(part) for part in (rows, truth, weights))
    slopes, bias = logistic(x, y, w)
    print(dict(zip(WEIGHTS, np.round(slopes, 2).tolist(), strict=True)))
    print("bias", round(bias, 2), f"right {y.mean():.0%}")


def logistic(x: NDArray, y: NDArray, weights: NDArray) -> tuple[NDArray, float]:
    """Slopes and bias of a logistic regression, slightly regularised."""
    w = weights / weights.mean()
    centre, scale = x.mean(0), x.std(0)
    z = np.c_[(x - centre) / scale, np.ones(len(x))]
    beta = np.zeros(z.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-z @ beta))
        hessian = (z * (w * p * (1 - p))[:, None]).T @ z + 1e-3 * len(x) * np.eye(len(beta))
        beta -= np.linalg.solve(hessian, z.T @ (w * (p - y)) + 1e-3 * len(x) * beta)
    slopes = beta[:-1] / scale
    return slopes, float(beta[-1] - (slopes * centre).sum())


def fit_or_test(description: str | None) -> argparse.Namespace:
    """Read the options of a benchmark that fits constants (--fit), or prints a table."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=plain)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    return parser.parse_args()


def main() -> None:
    """Command line entry."""
    options = fit_or_test(__doc__)
    predictor = nsa.Predictor(nsa.load_model(options.model))
    single, mixed = scenes(options.data, "train" if options.fit else "validation", predictor)
    if options.fit:
        fit(single + mixed)
        return
    rows = []
    for name, ranking in RANKINGS.items():
        figures = [
            test(where, count, ranking)
            for test, where in ((within, single), (within, mixed), (across, mixed))
            for count in COUNTS
        ]
        rows.append([name, *(f"{value:.2f}" for value in figures)])
        print(rows[-1], flush=True)
    columns = [f"{place}, {n}" for place in ("one set", "four sets", "series") for n in COUNTS]
    text = table(["ranked by", *columns], rows)
    print(text)
    kept = found_table(single, mixed, predictor)
    print(kept)
    if options.write:
        write_between(options.write, MARKERS, text)
        write_between(options.write, FOUND, kept)


if __name__ == "__main__":
    main()
