"""Frame, embedding and logits of a network: sizes, strides and precision in training."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from ..engine.device import choose_precision
from ..network.micro import MicroEncoder


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes in frame pixels; by default those of the embedded model.

    Parameters
    ----------
    frame : int
        Side of the frame.
    stride : int
        Frame pixels per logit, and per label of a crop. An embedding cell is four logits wide.
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
    """Data type of a training step, and the reason for it.

    Parameters
    ----------
    device : torch.device
    encoder : nn.Module
        Image encoder.
    """
    micro = isinstance(encoder, MicroEncoder)
    return choose_precision("auto", device, "training" if micro else "linear")


def mixed_precision(device: torch.device, encoder: Any) -> AbstractContextManager[Any]:
    """Autocast to bf16 where it is faster for an image encoder; otherwise float32.

    Parameters
    ----------
    device : torch.device
    encoder : nn.Module
        Image encoder.
    """
    dtype, _ = step_precision(device, encoder)
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
