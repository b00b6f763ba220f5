"""Whether the intervals of an audit cover the truth, in audits of masks with known errors.

python benchmarks/audit.py DATA [--audits 100] [--masks 120] [--fields 40]

Labels of real images are spoiled: objects are missed, merged, drawn too loosely or too tightly,
and false ones added. Each audit draws masks and fields at random and gets the answers that the true
labels give. The table says how many of the intervals at 95 % hold the true value.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_segment_anything.datasets import find_entries, read_planes, spread
from napari_segment_anything.formats.rle import RLE, encode_labels
from napari_segment_anything.projects.audit_answers import Standing, answers_from, standing
from napari_segment_anything.projects.audit_figures import audit_figures
from napari_segment_anything.projects.audit_sample import AuditedImage, Population
from napari_segment_anything.projects.sampling import audited_image, draw, population

SETS = {
    "nuclei": ("dsb2018", 40),
    "U2OS nuclei": ("bbbc039", 12),
    "phase contrast": ("usiigaci_t98g", 30),
    "worms": ("bbbc010_worms", 40),
    "pebbles": ("pebbles_photo", 6),
    "axons": ("axon_sem", 3),
}
SHOWN = ("count", "area", "density", "iou_above_75", "iou_above_90", "precision", "recall")


@dataclass(frozen=True)
class Errors:
    """Shares of objects where something goes wrong; spread of outlines as a share of the radius."""

    missed: float
    merged: float
    false: float
    outline: float


REGIMES = {
    "few errors": Errors(0.01, 0.005, 0.01, 0.03),
    "some": Errors(0.06, 0.04, 0.06, 0.08),
    "many": Errors(0.25, 0.12, 0.2, 0.15),
}


def spoiled(
    truth: NDArray[np.integer], errors: Errors, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Labels like those of a model that makes such errors."""
    labels = np.zeros(truth.shape, np.int32)
    places = ndimage.find_objects(truth)
    ids = [i for i, place in enumerate(places, start=1) if place is not None]
    areas = {i: np.count_nonzero(truth[places[i - 1]] == i) for i in ids}
    # errors cluster in images, and small objects are missed more often
    here = rng.gamma(2, errors.missed / 2)
    median = np.median(list(areas.values())) if ids else 1
    lost = {i for i in ids if rng.random() < here * (1.5 if areas[i] < median else 0.5)}
    near = ndimage.grey_dilation(truth, size=(5, 5))
    pairs = np.unique(
        np.stack([truth, near])[:, (truth > 0) & (near > 0) & (near != truth)], axis=1
    )
    joined = {int(a): int(b) for a, b in pairs.T if rng.random() < errors.merged}
    for i in rng.permutation(ids):
        if i in lost:
            continue
        _draw(labels, truth, places, int(i), joined.get(int(i)), errors.outline, rng)
    for _ in range(rng.poisson(errors.false * len(ids))):
        shape = truth[places[int(rng.choice(ids)) - 1]] > 0
        row, col = (
            rng.integers(max(n - m, 1)) for n, m in zip(truth.shape, shape.shape, strict=True)
        )
        under = (slice(row, row + shape.shape[0]), slice(col, col + shape.shape[1]))
        free = shape & (labels[under] == 0) & (truth[under] == 0)
        if free.sum() > 10:
            labels[under][free] = labels.max() + 1
    return labels


def _draw(labels, truth, places, i, other, spread_of_outline, rng) -> None:
    wanted = [place for place in (places[i - 1], other and places[other - 1]) if place]
    start = [max(min(p[k].start for p in wanted) - 8, 0) for k in (0, 1)]
    stop = [max(p[k].stop for p in wanted) + 8 for k in (0, 1)]
    under = (slice(start[0], stop[0]), slice(start[1], stop[1]))
    part = truth[under]
    mask = (part == i) | (part == (other or i))
    depth = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    radius = np.sqrt(mask.sum() / np.pi)
    rough = ndimage.gaussian_filter(rng.standard_normal(mask.shape), max(radius / 4, 1))
    rough *= spread_of_outline * radius / max(rough.std(), 1e-9)
    shift = rng.normal(-0.3, 1) * spread_of_outline * radius
    drawn = (depth + rough > shift) & (labels[under] == 0)
    if drawn.any():
        labels[under][drawn] = i


def spoil(
    data: Path, folder: str, images: int, errors: Errors, seed: int = 0
) -> tuple[Population, dict[str, dict[int, RLE]], dict[str, Standing]]:
    """The automatic masks of a set's images and the objects that they stand for."""
    rng = np.random.default_rng(seed)
    held: list[tuple[AuditedImage, dict[int, RLE], dict[int, float], dict[int, str]]] = []
    known: dict[str, Standing] = {}
    for name, truth in _truth(data, folder, images):
        masks = encode_labels(spoiled(truth, errors, rng))
        known[name] = standing(truth, masks)
        # a model's own idea of the IoU is about right, give or take .1
        iou = {m: a.iou for m, a in _all_answers(name, masks, known[name]).items()}
        scores = {m: float(np.clip(v + rng.normal(0, 0.1), 0, 1)) for m, v in iou.items()}
        held.append((audited_image(name, truth.shape, masks), masks, scores, {}))
    return population(held), {image.key: masks for image, masks, *_ in held}, known


def _truth(data: Path, folder: str, images: int) -> Iterator[tuple[str, NDArray[np.int32]]]:
    for entry in spread(find_entries([data / folder]), images):
        for plane in read_planes(entry, planes=1):
            _, labels = np.unique(plane.labels, return_inverse=True)
            yield plane.name, labels.reshape(plane.labels.shape).astype(np.int32)


def _all_answers(name, masks, there):
    from napari_segment_anything.projects.audit_answers import answer_to

    return {m: answer_to(masks[m], [there.objects[i] for i in there.of.get(m, ())]) for m in masks}


def truth_of(
    held: Population, masks: dict[str, dict[int, RLE]], known: dict[str, Standing]
) -> dict[str, float]:
    """What the figures of an audit should be."""
    answers = [a for key in known for a in _all_answers(key, masks[key], known[key]).values()]
    iou = np.array([a.iou for a in answers])
    objects = [mask for there in known.values() for mask in there.objects.values()]
    missed = sum(len(there.missed) for there in known.values())
    ground = sum(image.rows * image.cols for image in held.images)
    return {
        "count": len(objects),
        "area": sum(mask.area for mask in objects),
        "density": len(objects) * 1e6 / ground,
        "iou_above_75": (iou > 0.75).mean(),
        "iou_above_90": (iou > 0.90).mean(),
        "precision": (iou > 0).mean(),
        "recall": 1 - missed / len(objects),
    }


def main() -> None:
    """Print a row for each set and amount of errors."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--audits", type=int, default=100)
    parser.add_argument("--masks", type=int, default=120)
    parser.add_argument("--fields", type=int, default=40)
    parser.add_argument("--only", help="one of the sets")
    args = parser.parse_args()
    titles = [name.replace("_", " ") for name in SHOWN]
    print("| images | errors | masks | objects |", " | ".join(titles), "| count ± |")
    print("|" + "---|" * (len(SHOWN) + 5))
    for title, (folder, images) in SETS.items():
        if args.only and args.only != title:
            continue
        for regime, errors in REGIMES.items():
            held, masks, known = spoil(args.data, folder, images, errors)
            true = truth_of(held, masks, known)
            covered = dict.fromkeys(SHOWN, 0)
            margin = []
            for seed in range(args.audits):
                sample = draw(
                    held, masks.__getitem__, masks=args.masks, fields=args.fields, seed=seed
                )
                found = audit_figures(sample, *answers_from(sample, known))
                for name in SHOWN:
                    interval = found[name].interval
                    covered[name] += interval.low - 1e-9 <= true[name] <= interval.high + 1e-9
                interval = found["count"].interval
                margin.append((interval.high - interval.low) / 2 / true["count"])
            cells = " | ".join(str(covered[name]) for name in SHOWN)
            print(
                f"| {title} | {regime} | {len(held.ids)} | {true['count']} | {cells} "
                f"| {np.mean(margin):.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
