"""From an object's mask on one plane to its mask on the next, by prompting the network with it.

The decoder is prompted with each object's box, innermost point and mask. Of its four masks the one
with the largest product of predicted IoU and overlap with the last mask is used. The distance from
the last outline is added to its logits (see `Rules.stiffness`), and connected parts that do not
overlap the last mask are removed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..engine import Embedding, PlacedMask, Predictor, Prompts, draw_masks, mask_logits, upsample
from .embeddings import Place
from .likeness import Look, Reference
from .masks import interior_point, overlapping_parts, signed_distance, surroundings
from .rules import Followed, Rules, Trail
from .seeds import Seed
from .volume import Volume

_SURE = 6.0
_PAD = 1
_TRUST = (0.3, 0.8)
_LEAST_TRUST = 0.1
_ANYTHING = Rules(0.0, 0.0, 1e9, 0.0, 0.0)


class DecoderFollower:
    """Follows objects with a model's prompt encoder and mask decoder.

    Parameters
    ----------
    volume : Volume
    predictor : Predictor
    """

    remembers = False
    looks_ahead = False

    def __init__(self, volume: Volume, predictor: Predictor) -> None:
        self.volume, self.predictor = volume, predictor

    def know(
        self,
        embedding: Embedding,
        place: Place,
        masks: Sequence[PlacedMask],
        seeds: Sequence[Seed],
    ) -> list[Reference]:
        """Look at objects where they were prompted for; see `ObjectFollower`."""
        own = self._follow(embedding, masks, None, _ANYTHING)
        return [
            Reference(Look.of(self.volume, embedding, mask), found.score)
            for mask, found in zip(masks, own, strict=True)
        ]

    def follow(
        self, embedding: Embedding, place: Place, trails: Sequence[Trail], rules: Rules
    ) -> list[Followed]:
        """Find objects on a plane; see `ObjectFollower`."""
        return self._follow(embedding, [t.last for t in trails], [t.known for t in trails], rules)

    def _follow(
        self,
        embedding: Embedding,
        last: Sequence[PlacedMask],
        references: Sequence[Reference] | None,
        rules: Rules,
    ) -> list[Followed]:
        prompts = Prompts.from_objects([_prompt(self.volume, embedding, mask) for mask in last])
        low, iou = self.predictor.decode(embedding, prompts, multimask=True, return_all=True)
        scores = iou.float().cpu().numpy()
        logits = low.float().cpu()
        count = scores.shape[1]
        threshold = self.predictor.model.mask_threshold
        cuts = draw_masks(logits.flatten(0, 1).numpy(), embedding, threshold, self.volume.margin)
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
                self.volume,
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
                look = Look.of(self.volume, embedding, followed.mask)
                if references[index].likeness(look, score) < rules.likeness_thresh:
                    followed = Followed(None, score, "likeness")
            out.append(followed)
        return out


def _judge(
    last: PlacedMask,
    raw: PlacedMask,
    new: PlacedMask,
    score: float,
    rules: Rules,
) -> Followed:
    """Whether the object continues; the network's own mask has to agree, not only the sum."""
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
