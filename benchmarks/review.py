"""How well the review queue puts first what needs a correction.

    python benchmarks/review.py DATA [--write docs/benchmarks.md]
    python benchmarks/review.py DATA --fit           # the weights, from training images

Everything mode suggests objects on images of ten sets. A suggestion is wrong if its IoU with every
labelled object is below .75. For each way to sort the suggestions of all images: the share of the
wrong ones in the first tenth, quarter and half of the queue, and the area under the ROC curve (the
probability that a wrong one comes before a right one), over all and within images.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from page import table, write_between
from similar import fit_or_test, logistic, planes

import napari_segment_anything as nsa
from napari_segment_anything.engine import PlaneSource
from napari_segment_anything.finding import everything_steps
from napari_segment_anything.measures import overlap_of_masks
from napari_segment_anything.progress import finish
from napari_segment_anything.projects import Suggestion, Suggestions
from napari_segment_anything.projects.review import with_doubts, worth

ROUNDS = 2
RIGHT = 0.75
MARKERS = ("<!-- review:begin -->", "<!-- review:end -->")
DOUBTS = ("score", "stability", "crops", "unlike")


def suggested(
    image: NDArray, labels: NDArray, predictor: nsa.Predictor
) -> tuple[list[Suggestion], NDArray]:
    """Suggestions for an image, and the best IoU of each with a labelled object."""
    found, pool = finish(everything_steps(PlaneSource(image, rgb=True), predictor))
    made = with_doubts(Suggestions.from_table(found), pool)
    masks = [item.placed for item in made]
    overlaps = overlap_of_masks(labels, ((m.window.row, m.window.col, m.mask) for m in masks))
    iou = np.zeros(len(made))
    np.maximum.at(iou, overlaps.found_index, overlaps.iou)
    return list(made), iou


def ranks(scores: NDArray, wrong: NDArray) -> float:
    """Area under the ROC curve."""
    order = np.argsort(np.argsort(scores)) + 1
    count = int(wrong.sum())
    return float((order[wrong].sum() - count * (count + 1) / 2) / (count * (~wrong).sum()))


def figures(scores: NDArray, wrong: NDArray, image: NDArray) -> list[str]:
    """Share of the wrong ones in the first tenth, quarter and half; areas under the curve."""
    first = wrong[np.argsort(-scores, kind="stable")]
    shares = [first[: round(part * len(first))].sum() / wrong.sum() for part in (0.1, 0.25, 0.5)]
    inside = [
        ranks(scores[image == number], wrong[image == number])
        for number in np.unique(image)
        if 0 < wrong[image == number].sum() < (image == number).sum()
    ]
    areas = [ranks(scores, wrong), float(np.mean(inside))]
    return [f"{share:.0%}" for share in shares] + [f"{area:.3f}" for area in areas]


def doubt(item: Suggestion, name: str) -> float:
    """One of the doubts; 0 where it is not known."""
    known = {"score": 1 - item.predicted_iou, "stability": 1 - item.stability, **item.doubts}
    return float(np.nan_to_num(known.get(name, 0.0)))


ORDERS: dict[str, Callable[[Suggestion], float]] = {
    "predicted IoU": lambda item: doubt(item, "score"),
    "stability": lambda item: doubt(item, "stability"),
    "agreement with crops of other sizes": lambda item: doubt(item, "crops"),
    "unlike the others": lambda item: doubt(item, "unlike"),
    "**the queue**": worth,
}


def main() -> None:
    """Command line entry."""
    options = fit_or_test(__doc__)
    predictor = nsa.Predictor(nsa.load_model(options.model))
    items: list[Suggestion] = []
    ious, images = [], []
    part = "train" if options.fit else "validation"
    rng = np.random.default_rng(7)
    for _ in range(ROUNDS):
        for _, image, labels in planes(options.data, part, rng):
            made, iou = suggested(image, labels, predictor)
            items += made
            images.append(np.full(len(made), len(images)))
            ious.append(iou)
    wrong = np.concatenate(ious) < RIGHT
    if options.fit:
        columns = np.array([[doubt(item, name) for name in DOUBTS] for item in items])
        slopes, bias = logistic(columns, wrong, np.ones(len(items)))
        print(dict(zip(DOUBTS, np.round(slopes, 2).tolist(), strict=True)), "bias", round(bias, 2))
        return
    rows = [
        [name, *figures(np.array([order(item) for item in items]), wrong, np.concatenate(images))]
        for name, order in ORDERS.items()
    ]
    text = f"{len(items)} suggestions, {wrong.mean():.0%} with an IoU below .75.\n\n"
    text += table(["sorted by", "first 10 %", "25 %", "50 %", "AUC", "AUC within images"], rows)
    print(text)
    if options.write:
        write_between(options.write, MARKERS, text)


if __name__ == "__main__":
    main()
