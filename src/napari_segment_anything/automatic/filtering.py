"""Filter candidates: the published filters, in their published order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ..engine.parts import clean
from ..errors import ParameterError
from ..formats.rle import RLE, encode
from ..formats.rle_many import boxes_and_areas
from .candidates import Candidates, placed
from .nms import box_nms, mask_nms
from .parameters import Filters

# Chosen on training images: benchmarks/layers.py.
_REDUCED = 2.0
_DOUBTFUL = 0.45


class Reason(IntEnum):
    """Why a candidate was rejected: the first filter that it failed."""

    KEPT = 0
    PRED_IOU = 1  # predicted IoU too low
    STABILITY = 2  # stability score too low
    EMPTY = 3  # no pixel
    CROP_EDGE = 4  # cut by the edge of its crop
    NMS = 5  # overlaps a better one of the same crop
    CROP_NMS = 6  # overlaps one of a smaller crop
    CLEANED_NMS = 7  # overlaps another one after small regions were removed
    TOO_SMALL = 8  # fewer pixels than min_area
    TOO_LARGE = 9  # more pixels than max_area
    CROP_LAYER = 10  # of a crop layer that explains less of the image than another
    LIKENESS = 11  # not enough like what was looked for


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The result of filtering.

    Parameters
    ----------
    reason : uint8 array (n,)
        `Reason` for every candidate.
    kept : int64 array (k,)
        Indices of those kept, in the published order: by score within a crop, smaller crops first,
        cleaned masks last.
    masks : tuple of RLE
        Their masks, small regions removed.
    """

    reason: NDArray[np.uint8]
    kept: NDArray[np.int64]
    masks: tuple[RLE, ...]


def apply(candidates: Candidates, filters: Filters) -> Outcome:
    """Filter candidates as the published mask generator does (SAM paper, appendix B).

    Parameters
    ----------
    candidates : Candidates
        All candidates of a run.
    filters : Filters
        The thresholds.

    Raises
    ------
    ParameterError
        If a threshold is below the floor that masks were kept down to.
    """
    _check_floors(candidates, filters)
    reason = np.zeros(len(candidates), np.uint8)

    def reject(failed: NDArray[np.bool_], why: Reason) -> None:
        reason[failed & (reason == Reason.KEPT)] = why

    # what was looked for may come without these scores: not every model has them
    found = candidates.likeness is not None
    if filters.pred_iou_thresh > 0:
        scores = candidates.predicted_iou
        passes = (scores > filters.pred_iou_thresh) | (found & np.isnan(scores))
        reject(~passes, Reason.PRED_IOU)
    if filters.stability_score_thresh > 0:
        scores = candidates.stability_score
        passes = (scores >= filters.stability_score_thresh) | (found & np.isnan(scores))
        reject(~passes, Reason.STABILITY)
    if candidates.likeness is not None:
        reject(~(candidates.likeness >= filters.likeness_thresh), Reason.LIKENESS)
    reject(candidates.area == 0, Reason.EMPTY)
    reject(candidates.at_crop_edge, Reason.CROP_EDGE)

    kept: NDArray[np.int64] = np.zeros(0, np.int64)
    for crop in range(len(candidates.crops)):
        here = np.flatnonzero((reason == Reason.KEPT) & (candidates.crop == crop))
        stay = _nms(candidates, here, candidates.score[here], filters, "box_nms_thresh")
        kept = np.concatenate([kept, here[stay]])
    _reject_rest(reason, kept, Reason.NMS)

    if filters.crop_choice == "best" and len(kept):
        kept = kept[_best_layer(candidates, kept, filters)]
        _reject_rest(reason, kept, Reason.CROP_LAYER)

    kept = kept[_crop_nms(candidates, kept, filters)]
    _reject_rest(reason, kept, Reason.CROP_NMS)

    masks = [candidates.masks[i] for i in kept]
    if filters.min_mask_region_area > 0 and len(kept):
        kept, masks = _clean(candidates, kept, filters)
        _reject_rest(reason, kept, Reason.CLEANED_NMS)

    final = [mask for mask in masks if mask is not None]
    area = boxes_and_areas(final)[1]
    small, large = area < filters.min_area, np.zeros(len(area), bool)
    if filters.max_area is not None:
        large = area > filters.max_area
    reason[kept[small]] = Reason.TOO_SMALL
    reason[kept[large]] = Reason.TOO_LARGE
    stay = np.flatnonzero(~small & ~large)
    return Outcome(reason, kept[stay], tuple(final[i] for i in stay))


def _crop_nms(
    candidates: Candidates, which: NDArray[np.int64], filters: Filters
) -> NDArray[np.int64]:
    """Non-maximum suppression between crops; higher layers take precedence, or the likeness."""
    if len(candidates.crops) < 2:
        return np.arange(len(which))
    if candidates.likeness is None:
        largest = max(crop.area for crop in candidates.crops)
        rank = [crop.layer - crop.area / (2 * largest) for crop in candidates.crops]
        scores = np.array(rank)[candidates.crop[which]]
    else:
        scores = candidates.likeness[which]
    return _nms(candidates, which, scores, filters, "crop_nms_thresh")


def _best_layer(
    candidates: Candidates, kept: NDArray[np.int64], filters: Filters
) -> NDArray[np.bool_]:
    """Which of the kept candidates belong to the crop layer with the most evidence."""
    layer = np.array([crop.layer for crop in candidates.crops])[candidates.crop[kept]]
    evidence = {}
    for number in np.unique(layer).tolist():
        own = kept[layer == number]
        own = own[_crop_nms(candidates, own, filters)]
        area, score = candidates.area[own], candidates.predicted_iou[own]
        evidence[number] = layer_evidence(area, score, number)
    # without any evidence: the image itself, or the layer closest to it
    chosen: NDArray[np.bool_] = layer == max(evidence, key=lambda n: (evidence[n], -abs(n)))
    return chosen


def layer_masks(candidates: Candidates, layer: int, crop_nms_thresh: float) -> NDArray[np.int64]:
    """Return the masks that a crop layer offers, whatever is filtered later.

    Parameters
    ----------
    candidates : Candidates
    layer : int
        Number of the layer.
    crop_nms_thresh : float
        Largest overlap of two masks from different crops.

    Returns
    -------
    int64 array (k,)
        Indices of candidates.
    """
    of = np.array([crop.layer for crop in candidates.crops])[candidates.crop]
    here = np.flatnonzero((of == layer) & (candidates.area > 0) & ~candidates.at_crop_edge)
    return here[_crop_nms(candidates, here, Filters(crop_nms_thresh=crop_nms_thresh))]


def layer_evidence(area: NDArray[np.integer], score: NDArray[np.floating], layer: int) -> float:
    """How much the masks found in a crop layer say that it is the right one for the image.

    Objects too small for a layer are missed there, and objects too large for it are broken into
    pieces with low scores. So a mask counts by its side (the square root of its area) and by the
    cube of how far its score lies above `_DOUBTFUL`. Layers that show the image reduced merge
    small objects into large ones; they need `_REDUCED` times the evidence of the others.

    Parameters
    ----------
    area : array (n,)
        Pixels of each mask after non-maximum suppression.
    score : array (n,)
        Predicted IoU.
    layer : int
        Number of the crop layer, negative for a reduced image.
    """
    total = float(mask_evidence(area, score).sum())
    return total / _REDUCED if layer < 0 else total


def mask_evidence(area: NDArray[np.integer], score: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return what each mask adds to the evidence for its layer; see `layer_evidence`."""
    certainty = np.maximum(np.asarray(score, np.float64) - _DOUBTFUL, 0)
    share: NDArray[np.float64] = np.sqrt(area) * certainty**3
    return share


def _check_floors(candidates: Candidates, filters: Filters) -> None:
    for stem in ("pred_iou", "stability_score"):
        threshold = getattr(filters, f"{stem}_thresh")
        floor = getattr(candidates, f"{stem}_floor")
        if threshold < floor:
            raise ParameterError(
                f"{stem}_thresh={threshold:g} is below {stem}_floor={floor:g}, which masks "
                f"were kept down to; segment again with a lower {stem}_floor."
            )


def _reject_rest(reason: NDArray[np.uint8], kept: NDArray[np.int64], why: Reason) -> None:
    out = reason == Reason.KEPT
    out[kept] = False
    reason[out] = why


def _nms(
    candidates: Candidates,
    which: NDArray[np.int64],
    scores: NDArray[np.floating],
    filters: Filters,
    limit: str,
) -> NDArray[np.int64]:
    threshold = getattr(filters, limit)
    if filters.nms == "mask":
        masks = [mask for i in which if (mask := candidates.masks[i]) is not None]
        return mask_nms(masks, candidates.box[which], scores, threshold)
    return box_nms(candidates.box[which], scores, threshold)


def _clean(
    candidates: Candidates, kept: NDArray[np.int64], filters: Filters
) -> tuple[NDArray[np.int64], list[RLE | None]]:
    cleaned, untouched = [], []
    for i in kept:
        mask = candidates.masks[i]
        if mask is None:
            continue
        whole, changed = clean(placed(mask), mask.size, filters.min_mask_region_area)
        if changed:
            origin = (whole.window.row, whole.window.col)
            mask = encode(whole.mask).place(origin, mask.size)
        cleaned.append(mask)
        untouched.append(float(not changed))
    threshold = max(filters.box_nms_thresh, filters.crop_nms_thresh)
    boxes = boxes_and_areas(cleaned)[0]
    if filters.nms == "mask":
        stay = mask_nms(cleaned, boxes, untouched, threshold)
    else:
        stay = box_nms(boxes, untouched, threshold)
    return kept[stay], [cleaned[i] for i in stay]
