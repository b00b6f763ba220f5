"""How frame, embedding, logits and labels of a network lie on each other."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from ..engine.device import choose_precision
from ..network.micro import MicroEncoder


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sides in frame pixels; the embedded default's unless given.

    Parameters
    ----------
    frame : int
        Side of the frame.
    stride : int
        Side of a logit, and of a label in a crop. A cell of the embedding is four logits wide.
    """

    frame: int = 512
    stride: int = 2

    @classmethod
    def of(cls, encoder: Any) -> Geometry:
        """Geometry of an image encoder of `network`."""
        frame = int(encoder.image_size)
        return cls(frame, max(frame // int(encoder.config.embedding_size) // 4, 1))

    @property
    def cells(self) -> int:
        """Cells along the side of a whole frame's embedding."""
        return self.frame // (4 * self.stride)


def has_dense_head(network: Any) -> bool:
    """Whether the network's image encoder has a dense head to train."""
    return isinstance(network.image_encoder, MicroEncoder)


def step_precision(device: torch.device, encoder: Any) -> tuple[torch.dtype, str]:
    """Return what a training step with such an image encoder computes in, and why."""
    micro = isinstance(encoder, MicroEncoder)
    return choose_precision("auto", device, "training" if micro else "linear")


def mixed_precision(device: torch.device, encoder: Any) -> AbstractContextManager[Any]:
    """Autocast to bf16 where that is faster for this image encoder; float32 elsewhere."""
    dtype, _ = step_precision(device, encoder)
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
