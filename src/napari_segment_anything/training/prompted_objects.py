"""Objects to prompt in a batch of crops, each in a window of its crop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .crops import Crops
from .dense import ObjectExtents
from .seen import ASSUMED, UNSEEN

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
    known : Tensor
        (n, 4s, 4s) bool, False where nobody has looked.
    box : Tensor
        (n, 4) float32, row_min, col_min, row_max, col_max in pixels of the crop.
    """

    image: Tensor
    corner: Tensor
    target: Tensor
    known: Tensor
    box: Tensor

    @property
    def side(self) -> int:
        """Side of a window in cells."""
        return self.target.shape[-1] // PER

    def take(self, chosen: Tensor) -> PromptedObjects:
        """Some of the objects, by their positions."""
        return PromptedObjects(
            *(part[chosen] for part in (self.image, self.corner, self.target, self.known, self.box))
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
    stride, device = crops.stride, crops.labels.device
    cells = crops.labels.shape[-1] // PER
    side = min(side, cells)
    has_wholes = crops.wholes.flatten(1).any(1)
    chance = torch.rand(len(has_wholes), generator=generator, device=device)
    labels = torch.where((has_wholes & (chance < 0.4))[:, None, None], crops.wholes, crops.labels)
    found = ObjectExtents.of(labels)
    usable = (found.label > 0) & (found.area >= min_area)
    usable[found.index[crops.seen == ASSUMED]] = False
    if side < 20:
        # prefer objects that fit into a small window with some background around them
        fitting = usable & (found.area <= (0.55 * side * PER // 1) ** 2)
        some = torch.zeros(len(labels), dtype=torch.bool, device=device)
        some[found.image[fitting]] = True
        usable = torch.where(some[found.image], fitting, usable)
    rows = torch.nonzero(usable)[:, 0]
    draw = torch.rand(len(rows), generator=generator, device=device, dtype=torch.float64)
    rows = rows[(found.image[rows] + draw).argsort()]  # in random order within each crop
    image = found.image[rows]
    rows = rows[torch.arange(len(rows), device=device) - torch.searchsorted(image, image) < count]
    image, low, high = found.image[rows], found.low[rows], found.high[rows]
    corner = _place(low, high, side, cells, generator)
    reach = torch.arange(side * PER, device=device)
    r, c = (corner[:, axis, None] * PER + reach for axis in (0, 1))
    where = (image[:, None, None], r[:, :, None], c[:, None])
    target = labels[where] == found.label[rows, None, None]
    known = (crops.seen[where] > UNSEEN) | target
    enough = target.flatten(1).sum(1) >= min_area
    if not bool(enough.any()):
        return None
    box = torch.cat([low * stride - 0.5, high * stride - 0.5], 1).float()
    found_objects = PromptedObjects(image, corner, target.float(), known, box)
    return found_objects.take(torch.nonzero(enough)[:, 0])


def _place(low: Tensor, high: Tensor, side: int, cells: int, generator: torch.Generator) -> Tensor:
    """First cell of windows (n, 2) that contain the objects, or are centred on large ones."""
    first, last = low // PER, (high - 1) // PER
    least = (last - side + 1).clamp(0, cells - side)
    most = first.clamp(0, cells - side)
    middle = ((first + last - side + 1) // 2).clamp(0, cells - side)
    draw = torch.rand(low.shape, generator=generator, device=low.device)
    inside = least + (draw * (most - least + 1).clamp_min(1)).long()
    return torch.where(most >= least, inside, middle)


def unit(generator: torch.Generator, device: torch.device) -> float:
    """Draw a number between 0 and 1."""
    return float(torch.rand((), generator=generator, device=device))
