"""What the engine needs of a network that turns prompts into masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor, nn

from .encoder import EncoderOutput

FrameFit = Literal["pad", "stretch"]
"""How a window becomes the square frame. "pad", as in SAM 1: its long side is scaled to the side of
the frame, and the rest is padded. "stretch", as in SAM 2 and 3: both sides are scaled."""

Ability = Literal["prompt", "everything", "memory", "words", "examples", "train"]
"""What a model can do: masks for prompts; all objects of an image; follow objects through a stack
by memory; find objects by words or by examples; be trained here."""


class PromptableConfig(Protocol):
    """Shape of a promptable network."""

    @property
    def image_size(self) -> int:
        """Side of the square frame, in pixels."""

    @property
    def embedding_size(self) -> int:
        """Side of the image embedding; low-resolution masks have four times as many cells."""

    @property
    def multimask_outputs(self) -> int:
        """Masks for ambiguous prompts."""

    @property
    def refiner_width(self) -> int:
        """Width of a `MaskRefiner`; 0 for none."""

    @property
    def text_width(self) -> int:
        """Channels of the vectors of text prompts; 0 if it takes none."""

    @property
    def encoder_kind(self) -> str:
        """Name of the kind of image encoder, such as ``"vit"``."""

    @property
    def frame_fit(self) -> FrameFit:
        """How a window becomes the frame."""


class Promptable(Protocol):
    """A torch module that embeds images and decodes prompts: `Sam`, or one of `families`."""

    @property
    def config(self) -> PromptableConfig:
        """Its shape."""

    @property
    def mask_threshold(self) -> float:
        """A mask is where logits exceed this."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """What it can do."""

    @property
    def image_encoder(self) -> nn.Module:
        """The module that `encode` spends its time in."""

    def set_precision(self, dtype: torch.dtype, decoder: torch.dtype | None = None) -> None:
        """Compute products of the image encoder in `dtype`, the mask decoder's in `decoder`."""

    def encode(self, pixels: Tensor) -> EncoderOutput:
        """Embed images (B, 3, h, w), RGB in 0..255, fitted to the frame but not padded."""

    def decode(
        self,
        embedding: Tensor,
        coords: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        *,
        heads: Mapping[str, Tensor],
        multimask: bool = True,
        return_all: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Masks for prompts on one embedded image.

        Parameters
        ----------
        embedding : Tensor
            (1, channels, h, w).
        coords, labels : Tensor, optional
            (objects, n, 2) x and y in frame pixels, (objects, n) 1 foreground, 0 background.
        boxes : Tensor, optional
            (objects, 4), x_min, y_min, x_max, y_max in frame pixels.
        masks : Tensor, optional
            (objects, 1, 4h, 4w) low-resolution logits of an earlier mask.
        heads : mapping of str to Tensor
            The other outputs of `encode` for this image.
        multimask : bool
            Several masks for ambiguous prompts, or the one for unambiguous prompts.
        return_all : bool
            All of them, the unambiguous one first.

        Returns
        -------
        logits : Tensor
            (objects, candidates, 4h, 4w), float32.
        iou : Tensor
            (objects, candidates), predicted IoU, float32.
        """

    # -- of torch modules ------------------------------------------------------------------------

    def to(self, device: torch.device) -> Self:
        """Move it in place."""

    def eval(self) -> Self:
        """Switch to evaluation mode."""

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Switch gradients on or off."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return all weights."""

    def buffers(self) -> Iterator[Tensor]:
        """Return all buffers."""

    def state_dict(self) -> dict[str, Any]:
        """Return weights and persistent buffers by name."""
