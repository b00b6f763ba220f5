"""Embeddings, and how coordinates map between the image and the frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .contrast import Limits
from .windows import Window

if TYPE_CHECKING:
    from torch import Tensor

    from ..network import FrameFit


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """An encoded window of an image. Holds no pixels.

    Parameters
    ----------
    features : Tensor (1, 256, h, w)
        Image embedding, float32, on the model's device.
    heads : mapping of str to Tensor
        Further dense maps of the encoder, (1, channels, ., .) float32; empty for published models.
    window : Window
        What was encoded, in full-resolution pixels; masks have its shape.
    canvas : tuple of int
        Full-resolution rows and columns shown in the frame: the window's shape, except for
        the last pixels of a pyramid level that reach over the image's edge (or stop short).
    frame_shape : tuple of int
        Rows and columns of the frame that hold image; the rest, right and below, is padding.
    image_size : int
        Side S of the square frame.
    image_shape : tuple of int
        Rows and columns of the full-resolution image.
    level : int
        Pyramid level that was read.
    limits : tuple of (float, float)
        Contrast limits used; pass them to `embed` for other windows of the same image.
    fingerprint : str
        Of the model's weights.
    precision : str
        Of the image encoder: "fp32", "bf16" or "fp16".
    notes : tuple of str
        What was done to fit into memory.
    frame_fit : {"pad", "stretch"}
        As for `frame_side`.
    """

    features: Tensor
    heads: Mapping[str, Tensor]
    window: Window
    canvas: tuple[int, int]
    frame_shape: tuple[int, int]
    image_size: int
    image_shape: tuple[int, int]
    level: int = 0
    limits: Limits = ()
    fingerprint: str = ""
    precision: str = "fp32"
    notes: tuple[str, ...] = ()
    frame_fit: FrameFit = "pad"

    @property
    def low_shape(self) -> tuple[int, int]:
        """Rows and columns of low-resolution logits, the padding included."""
        return (4 * self.features.shape[-2], 4 * self.features.shape[-1])

    @property
    def halfway(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The size between low-resolution logits and canvas, and rows and columns with image.

        It is the frame's. Logits of a stretched window are resized in one step, as published: then
        both are `low_shape`.
        """
        side = self.image_size
        if self.frame_fit == "stretch" and self.frame_shape == (side, side):
            return self.low_shape, self.low_shape
        return (side, side), self.frame_shape

    @property
    def scale(self) -> tuple[float, float]:
        """Frame pixels per image pixel, along rows and columns."""
        return (
            self.frame_shape[0] / self.canvas[0],
            self.frame_shape[1] / self.canvas[1],
        )

    @property
    def nbytes(self) -> int:
        """Bytes of features and heads."""
        return sum(t.nelement() * t.element_size() for t in (self.features, *self.heads.values()))

    def to_frame(self, coordinates: npt.ArrayLike) -> np.ndarray:
        """Map image (row, column) to frame (row, column), as published: no half-pixel shift.

        Parameters
        ----------
        coordinates : array-like (..., 2)
            In full-resolution pixels of the whole image.

        Returns
        -------
        float64 array (..., 2)
        """
        origin = np.array([self.window.row, self.window.col], np.float64)
        offset: np.ndarray = np.asarray(coordinates, np.float64) - origin
        frame: np.ndarray = offset * np.array(self.scale)
        return frame

    def from_frame(self, coordinates: npt.ArrayLike) -> np.ndarray:
        """Map frame (row, column) to image (row, column): the inverse of `to_frame`."""
        origin = np.array([self.window.row, self.window.col], np.float64)
        offset: np.ndarray = np.asarray(coordinates, np.float64) / np.array(self.scale)
        image: np.ndarray = offset + origin
        return image
