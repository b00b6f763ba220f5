"""Objects to prompt in a batch of crops, each in a window of its crop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .crops import Crops

PER = 4  # logits along the side of an embedding cell


@dataclass(frozen=True, slots=True)
class PromptedObjects:
    """Objects to prompt, each in a window of its crop.

    Parameters
    ----------
    image : Tensor
        (n,) int64, index of the crop.
    corner : Tensor
        (n, 2) int64, first cell of the window in the crop.
    target : Tensor
        (n, 4s, 4s) float32, the object in its window, s cells wide.
    box : Tensor
        (n, 4) float32, row_min, col_min, row_max, col_max in pixels of the crop.
    """

    image: Tensor
    corner: Tensor
    target: Tensor
    box: Tensor

    @property
    def side(self) -> int:
        """Side of a window in cells."""
        return self.target.shape[-1] // PER

    def take(self, chosen: Tensor) -> PromptedObjects:
        """Some of the objects, by their positions."""
        return PromptedObjects(
            self.image[chosen], self.corner[chosen], self.target[chosen], self.box[chosen]
        )


def draw_objects(
    crops: Crops, count: int, side: int, generator: torch.Generator, min_area: int = 10
) -> PromptedObjects | None:
    """Draw objects from each crop, regardless of their size, and place a window on each.

    Parameters
    ----------
    crops : Crops
        The batch.
    count : int
        Largest number of objects per crop.
    side : int
        Side of a window in cells.
    generator : torch.Generator
        Source of randomness.
    min_area : int
        Smallest area, on the grid of the logits.

    Returns
    -------
    PromptedObjects or None
        None if no crop has an object.
    """
    images, corners, targets, boxes = [], [], [], []
    stride = crops.stride
    cells = crops.labels.shape[-1] // PER
    side = min(side, cells)
    device = crops.labels.device
    for index in range(len(crops.labels)):
        labels = crops.labels[index]
        wholes = crops.wholes[index]
        if bool(wholes.any()) and unit(generator, device) < 0.4:
            labels = wholes
        areas = torch.bincount(labels.flatten())
        areas[0] = 0
        known = torch.nonzero(areas >= min_area)[:, 0]
        # prefer objects that fit into a small window with some background around them
        fitting = known[areas[known] <= (0.55 * side * PER // 1) ** 2]
        known = fitting if side < 20 and len(fitting) else known
        order = torch.randperm(len(known), generator=generator, device=device)
        for identity in known[order[:count]].tolist():
            mask = labels == identity
            where = torch.nonzero(mask)
            low, high = where.amin(0), where.amax(0)
            corner = _place(low, high, side, cells, generator)
            r, c = (corner * PER).tolist()
            width = side * PER
            target = mask[r : r + width, c : c + width]
            if int(target.sum()) < min_area:
                continue
            images.append(index)
            corners.append(corner)
            targets.append(target)
            boxes.append(torch.cat([low * stride - 0.5, (high + 1) * stride - 0.5]))
    if not images:
        return None
    return PromptedObjects(
        torch.tensor(images, device=device),
        torch.stack(corners),
        torch.stack(targets).float(),
        torch.stack(boxes).float(),
    )


def _place(low: Tensor, high: Tensor, side: int, cells: int, generator: torch.Generator) -> Tensor:
    """First cell of a window that contains the object, or is centred on a large one."""
    first, last = low // PER, high // PER
    least = (last - side + 1).clamp(0, cells - side)
    most = torch.minimum(first, torch.full_like(first, cells - side)).clamp(0)
    middle = ((first + last - side + 1) // 2).clamp(0, cells - side)
    draw = torch.rand(2, generator=generator, device=low.device)
    inside = least + (draw * (most - least + 1).clamp_min(1)).long()
    return torch.where(most >= least, inside, middle)


def unit(generator: torch.Generator, device: torch.device) -> float:
    """Draw a number between 0 and 1."""
    return float(torch.rand((), generator=generator, device=device))
