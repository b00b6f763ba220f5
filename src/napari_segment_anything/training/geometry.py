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


def mixed_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast to bf16 where the hardware multiplies it fast; float32 elsewhere."""
    dtype, _ = choose_precision("auto", device)
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
