"""From an object's mask on one plane to its mask on the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..engine import Embedding, PlacedMask, Predictor, Prompts, draw_masks, mask_logits, upsample
from ..errors import ParameterError
from .likeness import Look, Reference
from .masks import interior_point, overlapping_parts, signed_distance, surroundings
from .volume import Volume

PRED_IOU_THRESH = 0.15
OVERLAP_THRESH = 0.15
MAX_AREA_CHANGE = 6.0
STIFFNESS = 12.0
LIKENESS_THRESH = 0.35
_SURE = 6.0
_PAD = 1
_TRUST = (0.3, 0.8)
_LEAST_TRUST = 0.1


@dataclass(frozen=True, slots=True)
class Rules:
    """How an object is followed, and when it ends.

    Parameters
    ----------
    pred_iou_thresh : float
        It ends where the predicted IoU of its mask is below this.
    overlap_thresh : float
        It ends where its mask has a smaller IoU than this with that on the last plane.
    max_area_change : float
        It ends where its area is more than this many times larger or smaller.
    stiffness : float
        How much the last plane's outline counts against what the network says: logits per
        radius of the object. 0 takes the network's masks as they are. Logits count in full from
        a predicted IoU of 0.8, and hardly at 0.3.
    likeness_thresh : float
        It ends where it looks less like it did on the plane it was prompted for on; see
        `Reference.likeness`.

    Raises
    ------
    ParameterError
        If a value is out of range.
    """

    pred_iou_thresh: float = PRED_IOU_THRESH
    overlap_thresh: float = OVERLAP_THRESH
    max_area_change: float = MAX_AREA_CHANGE
    stiffness: float = STIFFNESS
    likeness_thresh: float = LIKENESS_THRESH

    def __post_init__(self) -> None:
        for name in ("pred_iou_thresh", "overlap_thresh", "likeness_thresh"):
            if not 0 <= getattr(self, name) <= 1:
                raise ParameterError(f"{name} lies between 0 and 1, not {getattr(self, name)}")
        if not self.max_area_change > 1:
            raise ParameterError(f"max_area_change is above 1, not {self.max_area_change}")
        if not 0 <= self.stiffness < np.inf:
            raise ParameterError(f"stiffness is 0 or more, not {self.stiffness}")


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of an object on the next plane.

    Parameters
    ----------
    mask : PlacedMask or None
        None if it ends here.
    score : float
        Predicted IoU.
    end : str
        Why it ends: "score", "overlap", "area", "likeness" or "empty"; "" if not.
    """

    mask: PlacedMask | None
    score: float
    end: str = ""


def follow(
    volume: Volume,
    predictor: Predictor,
    embedding: Embedding,
    last: Sequence[PlacedMask],
    rules: Rules,
    references: Sequence[Reference] | None = None,
) -> list[Followed]:
    """Find objects on a plane, given their masks on the plane before.

    The decoder gets each object's box, innermost point and mask. Of its four masks that one is
    taken which has the largest product of predicted IoU and overlap with the last mask; then its
    logits and the distance from the last outline are added up (see `Rules.stiffness`), and parts
    that have nothing in common with the last mask are left out.

    Parameters
    ----------
    volume : Volume
    predictor : Predictor
    embedding : Embedding
        Of the plane, or a window that holds all of `last`.
    last : sequence of PlacedMask
    rules : Rules
    references : sequence of Reference, optional
        The objects where they were prompted for; without, likeness is not asked for.

    Returns
    -------
    list of Followed
        One for each object; objects have no influence on each other.
    """
    prompts = Prompts.from_objects([_prompt(volume, embedding, mask) for mask in last])
    low, iou = predictor.decode(embedding, prompts, multimask=True, return_all=True)
    scores = iou.float().cpu().numpy()
    logits = low.float().cpu()
    count = scores.shape[1]
    threshold = predictor.model.mask_threshold
    cuts = draw_masks(logits.flatten(0, 1).numpy(), embedding, threshold, volume.margin)
    overlaps = np.array(
        [
            [cut.iou(mask) for cut in cuts[i * count : (i + 1) * count]]
            for i, mask in enumerate(last)
        ]
    )
    best = (scores * overlaps).argmax(axis=1)
    which = np.arange(len(last))
    chosen = [cuts[i * count + int(k)] for i, k in enumerate(best)]
    blended = chosen
    if rules.stiffness:
        blended = _blend(
            volume,
            embedding,
            logits[which, best],
            scores[which, best],
            last,
            threshold,
            rules.stiffness,
        )
    out = []
    for index, (mask, raw, new) in enumerate(zip(last, chosen, blended, strict=True)):
        score = float(scores[index, best[index]])
        followed = _judge(mask, raw, overlapping_parts(new, mask), score, rules)
        if references is not None and followed.mask is not None and rules.likeness_thresh:
            look = Look.of(volume, embedding, followed.mask)
            if references[index].likeness(look, score) < rules.likeness_thresh:
                followed = Followed(None, score, "likeness")
        out.append(followed)
    return out


def remember(
    volume: Volume, predictor: Predictor, embedding: Embedding, masks: Sequence[PlacedMask]
) -> list[Reference]:
    """Look at objects on the plane they were prompted for on, to know them again."""
    anything = Rules(0.0, 0.0, np.inf, 0.0, 0.0)
    own = follow(volume, predictor, embedding, masks, anything)
    return [
        Reference(Look.of(volume, embedding, mask), found.score)
        for mask, found in zip(masks, own, strict=True)
    ]


def _judge(
    last: PlacedMask,
    raw: PlacedMask,
    new: PlacedMask,
    score: float,
    rules: Rules,
) -> Followed:
    """Whether the object goes on; the network's own mask has to agree, not only the blend."""
    if new.empty or raw.empty:
        return Followed(None, score, "empty")
    if score < rules.pred_iou_thresh:
        return Followed(None, score, "score")
    if raw.iou(last) < rules.overlap_thresh:
        return Followed(None, score, "overlap")
    change = raw.area / last.area
    if max(change, 1 / change) > rules.max_area_change:
        return Followed(None, score, "area")
    return Followed(new, score)


def _prompt(volume: Volume, embedding: Embedding, mask: PlacedMask) -> dict[str, object]:
    """Box, point and mask, in pixels of the canvas."""
    margin, window = volume.margin, embedding.window
    row0, col0, row1, col1 = (side + margin for side in mask.window.box)
    row, col = interior_point(mask)
    place = (window.row - margin, window.col - margin)
    return {
        "box": (
            max(row0 - _PAD, window.row),
            max(col0 - _PAD, window.col),
            min(row1 + _PAD, window.row + window.height),
            min(col1 + _PAD, window.col + window.width),
        ),
        "points": [[row + margin, col + margin]],
        "labels": [1],
        "mask": mask_logits(mask.crop(*place, *window.shape), embedding),
    }


def _blend(
    volume: Volume,
    embedding: Embedding,
    logits: Tensor,
    scores: NDArray[np.float32],
    last: Sequence[PlacedMask],
    threshold: float,
    stiffness: float,
) -> list[PlacedMask]:
    margin, window = volume.margin, embedding.window
    low, high = _TRUST
    trusts = np.clip((scores - low) / (high - low), _LEAST_TRUST, 1.0)
    out: list[PlacedMask] = []
    for part, values in upsample(logits, embedding):
        pieces = zip(last[part], trusts[part], values.numpy(), strict=True)
        for mask, trust, image in pieces:
            radius = float(np.sqrt(mask.area / np.pi))
            reach = int(np.ceil(_SURE * trust * radius / stiffness)) + 2
            near = surroundings(mask, reach, embedding, margin)
            row, col = near.row + margin - window.row, near.col + margin - window.col
            seen = image[row : row + near.height, col : col + near.width] - threshold
            outline = signed_distance(mask.within(near))
            inside = trust * np.clip(seen, -_SURE, _SURE) + stiffness / radius * outline > 0
            out.append(PlacedMask.of(inside, near.row, near.col))
    return out
