"""What a network is confident of in parts of images that nobody has looked at.

Where only some objects are labelled, too few of them, and too little background, have a loss. A
network that has learned from these for a while finds more: what its dense head is as sure of as of
the confirmed objects is labelled too, and so is what it is sure to be background. What lies between
is left open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..automatic.dense import BoxDecoding, decode_dense, sigmoid
from ..formats import open_npz
from ..formats.atomic import replacing
from ..measures import overlap_table
from .data import LabelledImage
from .dense import interior_map
from .seen import ASSUMED, BESIDE, REJECTED, SEEN, UNSEEN
from .validation import MIN_CELLS, cell_index, dense_maps

_READING = BoxDecoding(0.6, 0.3, 0.45, 0.2, 0.7)  # as the default model's everything mode reads
_FOUND = 0.5  # IoU from which a confirmed object counts as found
_FEWEST = 3  # confirmed objects found, for a threshold
_QUANTILE = 0.2  # of the scores of confirmed objects that are found
_BACKGROUND = 0.1  # foreground probability below which a cell is background
_LIKELY = 0.5  # the same, next to a confirmed object and in a rejected mask
_SEEN = 0.2  # share of an object that may lie where a person has looked


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a dense head finds in an image, on its grid.

    Parameters
    ----------
    found : int32 array (h, w)
        Instances, 0 elsewhere.
    scores : float32 array (n,)
        Of the instances.
    foreground : float32 array (h, w)
        Probability.
    labels : int32 array (h, w)
        The image's labels on the grid.
    """

    found: NDArray[np.int32]
    scores: NDArray[np.float32]
    foreground: NDArray[np.float32]
    labels: NDArray[np.int32]

    @classmethod
    def of(cls, encoder: Any, image: LabelledImage) -> Reading:
        """Read an image.

        Parameters
        ----------
        encoder : nn.Module
            Image encoder with a dense head, in evaluation mode.
        image : LabelledImage
        """
        maps, labels = dense_maps(encoder, image)
        instances = decode_dense(maps, _READING, min_cells=MIN_CELLS)
        return cls(instances.labels, instances.scores, sigmoid(maps[0]), labels)

    def confirmed_scores(self) -> list[float]:
        """Scores of the labelled objects that are found."""
        table = overlap_table(self.labels, self.found)
        matched = table.found_index[table.iou >= _FOUND]
        scores: list[float] = self.scores[table.found_ids[matched] - 1].tolist()
        return scores


def with_assumed(encoder: Any, images: Sequence[LabelledImage], kept: Path) -> list[LabelledImage]:
    """Label what a network is confident of, where nobody has looked.

    Parameters
    ----------
    encoder : nn.Module
        Image encoder with a dense head, in evaluation mode.
    images : sequence of LabelledImage
        Those that are seen everywhere stay as they are.
    kept : Path
        NPZ of the labels: written, or read if it exists, so that a resumed run has the same.
    """
    partial = [image for image in images if image.seen is not None]
    if kept.exists():
        with open_npz(kept) as held:
            made = [(held[f"labels{i}"], held[f"seen{i}"]) for i in range(len(partial))]
    else:
        made = _labelled(encoder, partial)
        arrays: dict[str, Any] = {}
        for i, (labels, levels) in enumerate(made):
            arrays |= {f"labels{i}": labels, f"seen{i}": levels}
        with replacing(kept) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
    changed = iter(made)
    return [image if image.seen is None else _changed(image, *next(changed)) for image in images]


def _labelled(
    encoder: Any, images: Sequence[LabelledImage]
) -> list[tuple[NDArray[np.int32], NDArray[np.uint8]]]:
    """Labels and levels of images that are not seen everywhere."""
    readings = [Reading.of(encoder, image) for image in images]
    scores = [score for reading in readings for score in reading.confirmed_scores()]
    least = float(np.quantile(scores, _QUANTILE)) if len(scores) >= _FEWEST else np.inf
    return [_assumed(*each, least) for each in zip(images, readings, strict=True)]


def _assumed(
    image: LabelledImage, reading: Reading, least: float
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """An image's labels with the objects of at least this score, and its levels."""
    labels, levels = image.labels.copy(), np.array(image.seen)
    index = cell_index(labels.shape, reading.found.shape)
    found = reading.found[index]
    free, rejected = levels != SEEN, levels == REJECTED
    beside = free & (levels > UNSEEN)
    areas = np.bincount(found.ravel(), minlength=len(reading.scores) + 1)
    covered = np.bincount(found[~free], minlength=len(areas))
    sure = np.append(False, reading.scores >= least) & (covered <= _SEEN * areas)
    refused = np.zeros(len(sure), bool)
    table = overlap_table(ndimage.label(rejected)[0], found)
    refused[table.found_ids[table.found_index[table.iou >= _FOUND]]] = True
    sure &= ~refused
    object_here = sure[found] & free
    labels[object_here] = labels.max(initial=0) + found[object_here]
    limit = np.where(beside, _LIKELY, _BACKGROUND)
    nothing = free & (found == 0) & (reading.foreground[index] < limit)
    levels[beside] = BESIDE
    levels[object_here | nothing] = ASSUMED
    levels[rejected & refused[found]] = REJECTED
    return labels, levels


def _changed(
    image: LabelledImage, labels: NDArray[np.int32], levels: NDArray[np.uint8]
) -> LabelledImage:
    return replace(image, labels=labels, interior=interior_map(labels), seen=levels)
