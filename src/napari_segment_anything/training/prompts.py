"""Simulated prompts as in the paper (section 3 and appendix A), for many objects at once.

The first prompt of an object is a random foreground point or a box with noise. Every later round
adds a point from the error region of the mask that the decoder ranks best, positive in false
negatives and negative in false positives, and feeds back that mask's logits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .config import StageConfig
from .crops import EncodedCrops
from .decoding import decode_windows, window_cells, window_positions
from .geometry import mixed_precision
from .losses import dice_loss, focal_loss
from .prompted_objects import PER, PromptedObjects, draw_objects, unit
from .texts import TextPrompts


def noised_boxes(boxes: Tensor, generator: torch.Generator) -> Tensor:
    """Add noise to boxes: a tenth of the side length, at most 20 px (paper, appendix A).

    Parameters
    ----------
    boxes : Tensor
        (n, 4) row_min, col_min, row_max, col_max.
    generator : torch.Generator
        Source of randomness.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = torch.randn(boxes.shape, generator=generator, device=boxes.device) * 0.1 * sides
    return boxes + noise.clamp(-20, 20)


def sample_points(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one cell of each map with probability proportional to its weight.

    Parameters
    ----------
    weights : Tensor
        (n, h, w), not negative, not all zero in any map.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    Tensor
        (n, 2) int64, row and column.
    """
    flat = torch.multinomial(weights.flatten(1), 1, generator=generator)[:, 0]
    return torch.stack([flat // weights.shape[2], flat % weights.shape[2]], dim=1)


def error_points(
    logits: Tensor, target: Tensor, generator: torch.Generator, known: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Draw a corrective point for each object, uniformly from where prediction and truth differ.

    Parameters
    ----------
    logits, target : Tensor
        (n, h, w).
    generator : torch.Generator
        Source of randomness.
    known : Tensor, optional
        (n, h, w) bool, where the truth is known; everywhere unless given.

    Returns
    -------
    points : Tensor
        (n, 2) int64, row and column; a foreground cell if there is no error.
    labels : Tensor
        (n,) int64, 1 in false negatives, 0 in false positives.
    """
    inside = target > 0.5
    wrong = (logits > 0) != inside
    if known is not None:
        wrong = wrong & known
    perfect = ~wrong.flatten(1).any(1)
    weights = torch.where(perfect[:, None, None], inside, wrong).float()
    points = sample_points(weights, generator)
    labels = inside[torch.arange(len(points), device=points.device), points[:, 0], points[:, 1]]
    return points, labels.long()


def mask_losses(
    logits: Tensor,
    iou: Tensor,
    target: Tensor,
    first: bool,
    boxed: bool,
    known: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the losses of all four masks of every object (paper, appendix A).

    Parameters
    ----------
    logits : Tensor
        (n, 4, h, w), the mask for unambiguous prompts first.
    iou : Tensor
        (n, 4), predicted.
    target : Tensor
        (n, h, w).
    first, boxed : bool
        Whether this is the first prompt, and whether it is not ambiguous: a box, or a text.
    known : Tensor, optional
        (n, h, w) bool; other pixels have no loss and do not count in the IoU.

    Returns
    -------
    loss : Tensor
        Scalar.
    error : Tensor
        Scalar, the IoU head's squared error.
    true_iou : Tensor
        (n, 4).
    """
    wide = target[:, None].expand_as(logits)
    each_known = None if known is None else known[:, None]
    each = 20 * focal_loss(logits, wide, known=each_known) + dice_loss(logits, wide, each_known)
    with torch.no_grad():
        found = logits > 0 if each_known is None else (logits > 0) & each_known
        inside = wide > 0.5
        union = (found | inside).flatten(2).sum(-1).clamp_min(1)
        true_iou = (found & inside).flatten(2).sum(-1) / union
    least = each[:, 1:].amin(1).mean()
    spread = each[:, 1:].mean()
    single = each[:, 0].mean()
    share = (1.0, 1.0 if boxed else 0.5) if first else (0.3, 1.0)
    error = (iou - true_iou).square().mean()
    return share[0] * (0.95 * least + 0.05 * spread) + share[1] * single + error, error, true_iou


def prompt_losses(
    network: Any,
    encoded: EncodedCrops,
    stage: StageConfig,
    generator: torch.Generator,
    texts: TextPrompts | None = None,
) -> dict[str, float]:
    """Prompt the objects of a batch for several rounds and accumulate the gradients.

    A backward pass per round keeps memory small: gradients accumulate in the decoder's parameters,
    and in `embedding.grad` if the embedding requires one.

    Parameters
    ----------
    network : Sam
        Its prompt encoder, mask decoder and mask refiner, if it has one, are trained.
    encoded : EncodedCrops
        The batch; its embedding is a leaf.
    stage : StageConfig
        Objects, rounds, shares, window sizes.
    generator : torch.Generator
        Source of randomness.
    texts : TextPrompts, optional
        Makes text prompts of objects: half of those that can have one start from it.

    Returns
    -------
    dict of str to float
        IoU of the best mask by first prompt, and the error of the predicted IoU.
    """
    embedding = encoded.embedding
    draw = unit(generator, embedding.device)
    side = min(stage.windows[int(draw * len(stage.windows))], embedding.shape[-1])
    count = max(stage.cells // side**2, 2) if stage.cells else stage.objects
    objects = draw_objects(encoded.crops, count, side, generator)
    measures = dict.fromkeys(
        ("point_first", "box_first", "point_last", "box_last", "iou_error"), 0.0
    )
    if objects is None:
        return measures
    count = len(objects.image)
    order = torch.randperm(count, generator=generator, device=embedding.device)
    told = order[:0]
    if texts is not None:
        measures |= dict.fromkeys(("text_first", "text_last"), 0.0)
        able = order[texts.able(objects)[order]]
        told = able[: (len(able) + 1) // 2]
        order = order[~torch.isin(order, told)]
    boxed = round(len(order) * stage.box_share)
    for kind, chosen in (("box", order[:boxed]), ("point", order[boxed:]), ("text", told)):
        if len(chosen):
            weight = len(chosen) / count / stage.rounds
            part = objects.take(chosen)
            vectors = texts(encoded, part, generator) if texts and kind == "text" else None
            measures |= _rounds(network, encoded, part, kind, stage, generator, weight, vectors)
    return measures


@dataclass
class _PromptsSoFar:
    """Prompts of objects after some rounds, in frame pixels, (x, y).

    Parameters
    ----------
    to_frame : Tensor
        (n, 2), row and column in the frame of each window's first pixel.
    stride : int
        Frame pixels per logit.
    """

    to_frame: Tensor
    stride: int
    coords: Tensor = field(init=False)
    labels: Tensor = field(init=False)
    boxes: Tensor | None = None

    def __post_init__(self) -> None:
        self.coords = self.to_frame.new_zeros(len(self.to_frame), 0, 2, dtype=torch.float32)
        self.labels = self.to_frame.new_zeros(len(self.to_frame), 0, dtype=torch.int64)

    def add(self, points: Tensor, kinds: Tensor) -> None:
        """Append points given as row and column on the grid of the window's logits."""
        pixels = points * self.stride + 0.5 * (self.stride - 1) + self.to_frame
        self.coords = torch.cat([self.coords, pixels.flip(1)[:, None].float()], dim=1)
        self.labels = torch.cat([self.labels, kinds[:, None]], dim=1)

    def within_windows(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Points, labels and boxes relative to each object's window."""
        first = self.to_frame.flip(1)
        boxes = None if self.boxes is None else self.boxes - first.repeat(1, 2)
        coords = self.coords - first[:, None] if self.coords.shape[1] else self.coords
        return coords, self.labels, boxes


def _rounds(
    network: Any,
    encoded: EncodedCrops,
    objects: PromptedObjects,
    name: str,
    stage: StageConfig,
    generator: torch.Generator,
    weight: float,
    vectors: Tensor | None,
) -> dict[str, float]:
    """All rounds of objects that start from the same kind of prompt: box, point or text."""
    boxed, clear = name == "box", name != "point"
    device, target = encoded.embedding.device, objects.target
    known = None if bool(objects.known.all()) else objects.known
    count, side, stride = len(target), objects.side, encoded.crops.stride
    start = encoded.origin[objects.image]
    cell = PER * stride
    prompts = _PromptsSoFar(objects.corner * cell + start, stride)
    position = window_positions(network.prompt_encoder, objects.corner, start, side, cell)
    if boxed:
        noisy = noised_boxes(objects.box, generator) + start.repeat(1, 2)
        prompts.boxes = noisy[:, [1, 0, 3, 2]]
    if name == "point" or (boxed and unit(generator, device) < stage.box_point_share):
        points = sample_points(target, generator)
        prompts.add(points, torch.ones_like(points[:, 0]))
    previous: Tensor | None = None
    measures: dict[str, float] = {}
    silent = _silent_rounds(stage, generator, device)
    for turn in range(stage.rounds):
        with mixed_precision(device, network.image_encoder):
            coords = prompts.coords if prompts.coords.shape[1] else None
            sparse, dense = network.prompt_encoder(
                coords, prompts.labels, prompts.boxes, previous, vectors
            )
            cells = window_cells(encoded.embedding, objects.image, objects.corner, side)
            cells = cells + dense.flatten(2).transpose(1, 2)
            logits, iou = decode_windows(network.mask_decoder, cells, position, sparse)
        loss, error, true_iou = mask_losses(logits, iou, target, turn == 0, clear, known)
        if encoded.maps is not None:
            logits, iou = _refined(network, logits, iou, encoded.maps, objects, prompts)
            more, error, true_iou = mask_losses(
                logits, iou, target, turn == 0, name != "point", known
            )
            loss = loss + more
        if loss.requires_grad:
            (loss * weight).backward()
        best = true_iou[:, 1:].amax(1) if turn == 0 else true_iou[:, 0]
        measures[f"{name}_first" if turn == 0 else f"{name}_last"] = float(best.mean())
        measures["iou_error"] = float(error.detach())
        if turn + 1 == stage.rounds:
            break
        with torch.no_grad():
            pick = 1 + iou[:, 1:].argmax(1) if turn == 0 else torch.zeros_like(objects.image)
            chosen = logits[torch.arange(count, device=device), pick].detach()
            if turn + 1 not in silent:
                prompts.add(*error_points(chosen, target, generator, known))
            previous = chosen[:, None]
    return measures


def _refined(
    network: Any,
    logits: Tensor,
    iou: Tensor,
    maps: Tensor,
    objects: PromptedObjects,
    prompts: _PromptsSoFar,
) -> tuple[Tensor, Tensor]:
    """Logits and predicted IoU after the refiner; no gradient passes to what precedes it."""
    reach = objects.side * PER
    corners = (objects.corner * PER).tolist()
    near = [
        maps[image, :, row : row + reach, col : col + reach]
        for image, (row, col) in zip(objects.image.tolist(), corners, strict=True)
    ]
    refined: tuple[Tensor, Tensor] = network.mask_refiner(
        logits.detach(), iou.detach(), torch.stack(near), *prompts.within_windows()
    )
    return refined


def _silent_rounds(
    stage: StageConfig, generator: torch.Generator, device: torch.device
) -> set[int]:
    """Rounds without a new point: the final one, then others drawn in between."""
    silent: set[int] = set()
    if stage.silent_rounds:
        silent.add(stage.rounds - 1)
    if stage.silent_rounds > 1:
        middle = torch.randperm(stage.rounds - 2, generator=generator, device=device) + 1
        silent.update(middle[: stage.silent_rounds - 1].tolist())
    return silent
