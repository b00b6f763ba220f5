"""Candidates as they come from the model, before any filter: the expensive part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..engine import PlacedMask
from ..formats.rle import RLE
from ..formats.rle_many import boxes_and_areas
from ..wording import extent
from .grid import ImageCrop, near_crop_edge

if TYPE_CHECKING:
    from .measure import Measured


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """All candidates of one run, column by column, in the order of computation.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns) of the image that was segmented (of the window, where there was one).
    origin : tuple of int
        (row, col) of that image's first pixel in the array it is a window of.
    crops : tuple of ImageCrop
        The crops that were encoded; the whole image is the first.
    crop : int32 array (n,)
        Index of the crop each candidate was found in.
    point : float64 array (n, 2)
        (row, col) of its point in the image.
    output : int8 array (n,)
        Which of the decoder's masks for that point it is.
    predicted_iou : float32 array (n,)
        The model's own estimate of the mask's quality.
    stability_score : float32 array (n,)
        NaN where the predicted IoU is below `pred_iou_floor`, or the mask is empty.
    masks : tuple of RLE or None
        None where the mask is empty or below a floor.
    box : int64 array (n, 4)
        (row_min, col_min, row_max, col_max), the outermost pixels; zeros without a mask.
    area : int64 array (n,)
        Pixels.
    at_crop_edge : bool array (n,)
        Whether it is probably cut by the edge of its crop.
    pred_iou_floor, stability_score_floor : float
        Lowest scores that masks were kept for; 0 keeps all.
    likeness : float32 array (n,), optional
        How probable it is that each is what was looked for, 0 to 1; None in everything mode.
    source : tuple of str
        Where each comes from: "example", or the finder's name; empty in everything mode.
    """

    shape: tuple[int, int]
    origin: tuple[int, int]
    crops: tuple[ImageCrop, ...]
    crop: NDArray[np.int32]
    point: NDArray[np.float64]
    output: NDArray[np.int8]
    predicted_iou: NDArray[np.float32]
    stability_score: NDArray[np.float32]
    masks: tuple[RLE | None, ...]
    box: NDArray[np.int64]
    area: NDArray[np.int64]
    at_crop_edge: NDArray[np.bool_]
    pred_iou_floor: float
    stability_score_floor: float
    likeness: NDArray[np.float32] | None = None
    source: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Candidates: {len(self)} on {extent(self.shape)} pixels>"

    def __len__(self) -> int:
        return len(self.crop)

    @property
    def score(self) -> NDArray[np.float32]:
        """(n,): what better candidates have more of, the likeness or else the predicted IoU."""
        return self.predicted_iou if self.likeness is None else self.likeness

    @property
    def nbytes(self) -> int:
        """Memory of the masks, in bytes."""
        return sum(mask.nbytes for mask in self.masks if mask is not None)


@dataclass(slots=True)
class Builder:
    """Collects candidates batch by batch."""

    shape: tuple[int, int]
    origin: tuple[int, int]
    crops: list[ImageCrop]
    pred_iou_floor: float = 0.0
    stability_score_floor: float = 0.0
    _parts: list[tuple[NDArray[np.generic], ...]] = field(default_factory=list)
    _masks: list[RLE | None] = field(default_factory=list)

    def add(
        self,
        crop: int,
        points: NDArray[np.floating],
        outputs: Sequence[int] | NDArray[np.integer],
        predicted_iou: NDArray[np.floating],
        measured: Sequence[Measured | None],
    ) -> None:
        """Append n candidates of one crop.

        Parameters
        ----------
        crop : int
            Index of the crop.
        points : array (n, 2)
            (row, col) in the image.
        outputs : (n,) int
            Which of the decoder's masks each one is.
        predicted_iou : array (n,)
            Scores.
        measured : sequence of Measured or None
            Masks in the crop's own frame; None where they were not measured.
        """
        where = self.crops[crop]
        count = len(measured)
        masks = [None if item is None else item.mask for item in measured]
        masks = [
            mask if mask is None or mask.size == self.shape
            else mask.place((where.row, where.col), self.shape)
            for mask in masks
        ]  # fmt: skip
        self._masks.extend(masks)
        there = np.flatnonzero([mask is not None for mask in masks])
        box = np.zeros((count, 4), np.int64)
        area = np.zeros(count, np.int64)
        box[there], area[there] = boxes_and_areas([mask for mask in masks if mask is not None])
        self._parts.append(
            (
                np.full(count, crop, np.int32),
                np.asarray(points, np.float64).reshape(count, 2),
                np.asarray(outputs, np.int8),
                np.asarray(predicted_iou, np.float32),
                np.array([np.nan if m is None else m.stability for m in measured], np.float32),
                box,
                area,
                near_crop_edge(box.astype(np.float64), where, self.shape) & (area > 0),
            )
        )

    def build(self) -> Candidates:
        """All candidates so far."""
        empty = (
            np.zeros(0, np.int32), np.zeros((0, 2)), np.zeros(0, np.int8),
            np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros((0, 4), np.int64),
            np.zeros(0, np.int64), np.zeros(0, bool),
        )  # fmt: skip
        columns = [np.concatenate(c) for c in zip(empty, *self._parts, strict=True)]
        for column in columns:
            column.flags.writeable = False
        crop, point, output, iou, stability, box, area, edge = columns
        return Candidates(
            self.shape, self.origin, tuple(self.crops), crop, point, output, iou, stability,
            tuple(self._masks), box, area, edge, self.pred_iou_floor, self.stability_score_floor,
        )  # fmt: skip


def placed(mask: RLE) -> PlacedMask:
    """Convert a mask of run lengths."""
    row, col, *_ = mask.bounds
    return PlacedMask.of(mask.decode_bounds(), row, col)
