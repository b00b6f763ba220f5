"""Refinement of prompted masks by the maps of the dense head.

The mask decoder works at a stride of eight frame pixels and finds the object; the dense head of
`micro` works at a stride of two and finds where objects end, but not which of them is prompted for.
The refiner is a small network applied to each logit separately. Its inputs are the decoder's logit,
foreground and interior, and how well the box that the dense head predicts there agrees with the
mask, with the prompt, and with boxes at negative points. Its last layer is initialised to zero, so
that training starts from the unrefined masks. A prompted box also says which of its pixels an
object most likely has, without looking at the image (`box_prior`): that decides where the network
does not know.

Published models have no refiner.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import MLP
from .micro import DENSE_STRIDE, box_edges

_FEATURES = 8
_QUALITIES = 7
_UNIT = 4.0  # logits are divided by this
_FLOOR = -4.0
_LEAST = 0.1
# Of a prompted box, chosen on training images, with boxes that are tight and that are too large:
# what is added to logits in its middle, the squared radius in the inscribed ellipse up to which
# that is, and the IoU of mask and ellipse from which, and that up to which, less is added.
_BOX_LOGIT, _CORE = 6.0, 0.5
_LEAST_ALIKE, _ALIKE = 0.3, 0.5


class MaskRefiner(nn.Module):
    """Corrects the logits of a mask decoder by the maps of a dense head.

    Parameters
    ----------
    width : int
        Of its hidden layers.
    masks : int
        Mask tokens of the decoder.
    """

    def __init__(self, width: int, masks: int = 4) -> None:
        super().__init__()
        self.enter = nn.Linear(_FEATURES, width)
        self.kind = nn.Embedding(masks, width)
        self.hidden = nn.Linear(width, width)
        self.leave = nn.Linear(width, 1)
        self.quality = MLP(_QUALITIES, 32, 1, 2)
        self._last: tuple[weakref.ref[Tensor], list[_Seen]] | None = None
        for parameter in (
            *self.leave.parameters(),
            *self.quality.layers[-1].parameters(),
            *self.kind.parameters(),
        ):
            nn.init.zeros_(parameter)

    def forward(
        self,
        logits: Tensor,
        iou: Tensor,
        maps: Tensor,
        coords: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        kinds: slice = slice(None),
    ) -> tuple[Tensor, Tensor]:
        """Refine masks of several objects.

        Parameters
        ----------
        logits : Tensor
            (objects, c, h, w) of the mask decoder.
        iou : Tensor
            (objects, c), predicted by it.
        maps : Tensor
            (objects or 1, 6, h, w), the ``"dense"`` head where the logits are.
        coords, labels : Tensor, optional
            (objects, n, 2) x and y in frame pixels from the first pixel of the maps;
            (objects, n) 1 foreground, 0 background; others are ignored.
        boxes : Tensor, optional
            (objects, 4), outer edges x_min, y_min, x_max, y_max, likewise.
        kinds : slice
            Which of the decoder's masks these are.

        Returns
        -------
        logits : Tensor
            (objects, c, h, w) float32.
        iou : Tensor
            (objects, c) float32, predicted IoU of the refined masks.
        """
        seen = self._seen(maps)
        parts = []
        for index in range(len(logits)):  # one at a time: intermediate maps are large
            parts.append(
                self._refine(
                    logits[index].float(),
                    iou[index].float(),
                    seen[index if len(seen) > 1 else 0],
                    None if coords is None or labels is None else coords[index],
                    None if labels is None else labels[index],
                    None if boxes is None else boxes[index],
                    kinds,
                )
            )
        if not parts:
            return logits.float(), iou.float()
        return torch.stack([p[0] for p in parts]), torch.stack([p[1] for p in parts])

    def _seen(self, maps: Tensor) -> list[_Seen]:
        """Derive what all prompts of an image share; in inference, that of the last is kept."""
        if len(maps) > 1 or not torch.is_inference_mode_enabled():
            return [_Seen(each.float()) for each in maps]
        last = self._last
        if last is None or last[0]() is not maps:
            last = self._last = (weakref.ref(maps), [_Seen(maps[0].float())])
        return last[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def _refine(
        self,
        logits: Tensor,
        iou: Tensor,
        seen: _Seen,
        coords: Tensor | None,
        labels: Tensor | None,
        box: Tensor | None,
        kinds: slice,
    ) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            prompt, other = _prompted_boxes(seen.corners, coords, labels, box)
            nothing = torch.zeros_like(seen.foreground)
            weight = (logits.sigmoid() * seen.ridge).square() + 1e-6
            weight = weight.flatten(1) / weight.sum((1, 2))[:, None]
            wanted = weight @ seen.corners.flatten(1).T
            if prompt is not None:
                wanted = torch.cat([wanted, prompt[None]])
            agreement = _agreement(seen.corners, wanted)
            of_mask = agreement[: len(logits)]
            of_prompt = nothing if prompt is None else agreement[-1]
            # elsewhere there is no evidence for the object: logits are left as they are
            told = (logits > _FLOOR) | (of_mask > _LEAST) | (of_prompt > _LEAST)
            rows, cols = torch.nonzero(told.any(0), as_tuple=True)
            of_other = nothing[rows, cols]
            if len(other):
                of_other = _agreement(seen.corners[:, rows, cols], other).amax(0)
            features = [
                seen.maps[0, rows, cols].clamp(-8, 8) / _UNIT,
                seen.maps[1, rows, cols].clamp(-8, 8) / _UNIT,
                of_prompt[rows, cols],
                nothing[rows, cols] if prompt is None else _depth(rows, cols, prompt),
                of_other,
                torch.full_like(of_other, float(box is not None)),
            ]
            shared = torch.stack(features, dim=1)
            here = logits[:, rows, cols]
            single = torch.stack([here.clamp(-12, 12) / _UNIT, of_mask[:, rows, cols]], dim=2)
        x = self.enter(torch.cat([single, shared.expand(len(logits), -1, -1)], dim=2))
        x = F.relu(x + self.kind.weight[kinds][:, None])
        x = F.relu(self.hidden(x))
        there = here + self.leave(x)[..., 0].float()
        each = torch.arange(len(logits), device=rows.device)[:, None]
        refined = logits.index_put((each, rows[None], cols[None]), there)
        if box is not None:
            # what a mask alone has, whatever others are asked for with it
            refined = refined + box_prior(torch.where(told, refined, logits), box)
        with torch.no_grad():
            known = (of_mask[:, rows, cols], of_prompt[rows, cols], seen.foreground[rows, cols])
            qualities = _qualities(there, here, iou, known)
        return refined, iou + self.quality(qualities)[:, 0].float()


def _qualities(
    refined: Tensor, logits: Tensor, iou: Tensor, known: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Return what the IoU is predicted from, (c, qualities); logits (c, cells) before and after."""
    chance, mask = refined.sigmoid(), (refined > 0).float()
    before = (logits > 0).float()
    area = mask.sum(1)
    inside = [(mask * each).sum(1) / area.clamp_min(1) for each in known]
    return torch.stack(
        [
            iou,
            (chance * mask).sum(1) / torch.maximum(chance, mask).sum(1).clamp_min(1e-3),
            (mask * before).sum(1) / torch.maximum(mask, before).sum(1).clamp_min(1),
            *inside,
            (area + 1).log() / 8,
        ],
        dim=1,
    )


class _Seen:
    """Maps of a dense head, and what is derived from them once for all objects.

    Parameters
    ----------
    maps : Tensor
        (6, h, w).
    """

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps
        self.foreground = maps[0].sigmoid()
        self.ridge = self.foreground * (maps[1].sigmoid() + 0.05)
        self.corners = torch.stack(box_edges(maps[2:].clamp_min(0.5)))  # (4, h, w)


def _prompted_boxes(
    corners: Tensor, coords: Tensor | None, labels: Tensor | None, box: Tensor | None
) -> tuple[Tensor | None, Tensor]:
    """Return the box of the prompted object, and the boxes predicted at negative points (n, 4)."""
    prompt, other = None, corners.new_zeros(0, 4)
    if coords is not None and labels is not None:
        limit = coords.new_tensor([corners.shape[2] - 1, corners.shape[1] - 1])
        cells = ((coords - (DENSE_STRIDE - 1) / 2) / DENSE_STRIDE).round().clamp_min(0)
        cells = torch.minimum(cells, limit).long()
        found = corners[:, cells[:, 1], cells[:, 0]]
        if bool((labels == 1).any()):
            prompt = found[:, labels == 1].mean(dim=1)
        other = found[:, labels == 0].T
    if box is not None:
        prompt = box[[1, 0, 3, 2]].to(corners.dtype)
    return prompt, other


def _agreement(corners: Tensor, boxes: Tensor) -> Tensor:
    """IoU of cells' boxes (4, ...) with each of some boxes (n, 4): (n, ...)."""
    each = boxes.T.reshape(4, -1, *[1] * (corners.ndim - 1))
    height = torch.minimum(corners[2], each[2]) - torch.maximum(corners[0], each[0])
    width = torch.minimum(corners[3], each[3]) - torch.maximum(corners[1], each[1])
    shared = height.clamp_min_(0).mul_(width.clamp_min_(0))
    sides = (each[2:] - each[:2]).clamp_min(0.5)
    areas = (corners[2] - corners[0]) * (corners[3] - corners[1]) + sides[0] * sides[1]
    return shared.div_(areas.sub_(shared).clamp_min_(1e-3))


def box_prior(logits: Tensor, box: Tensor) -> Tensor:
    """Return what to add to logits because most objects fill the ellipse inscribed in their box.

    It is positive in the middle of the box, negative outside the ellipse, and 0 between, so that
    boxes may be larger than their objects. Masks that are unlike the ellipse, such as those of
    worms and of several objects in one box, get less or nothing.

    Parameters
    ----------
    logits : Tensor
        (c, h, w); no gradient is passed on.
    box : Tensor
        (4,), x_min, y_min, x_max, y_max in frame pixels from the first pixel of the logits.

    Returns
    -------
    Tensor
        (c, h, w).
    """
    middle, half = (box[:2] + box[2:]) / 2, ((box[2:] - box[:2]) / 2).clamp_min(1.0)
    cols, rows = (
        (torch.arange(size, device=logits.device) * DENSE_STRIDE + 0.5 - at) / reach
        for size, at, reach in zip(logits.shape[:0:-1], middle, half, strict=True)
    )
    radius = rows.square()[:, None] + cols.square()
    depth = (1 - radius).clamp(-1, 0) + (1 - radius / _CORE).clamp_min(0)
    ellipse, chance = (radius < 1).float(), logits.detach().sigmoid()
    shared = (chance * ellipse).sum((1, 2))
    alike = shared / (chance.sum((1, 2)) + ellipse.sum() - shared).clamp_min(1e-6)
    share = ((alike - _LEAST_ALIKE) / (_ALIKE - _LEAST_ALIKE)).clamp(0, 1)
    return _BOX_LOGIT * share[:, None, None] * depth


def _depth(rows: Tensor, cols: Tensor, box: Tensor) -> Tensor:
    """Distance of cells to a box's nearest edge, positive inside, in quarters of its side."""
    down, along = rows * DENSE_STRIDE + 0.5, cols * DENSE_STRIDE + 0.5
    down = torch.minimum(down - box[0], box[2] - down)
    along = torch.minimum(along - box[1], box[3] - along)
    side = (box[2:] - box[:2]).max().clamp_min(4.0)
    return (torch.minimum(down, along) * 4 / side).clamp(-1, 1)
