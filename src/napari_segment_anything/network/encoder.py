"""The interface between SAM and its image encoders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class EncoderOutput:
    """Output of an image encoder.

    Parameters
    ----------
    embedding : Tensor
        Image embedding, (batch, 256, h, w), float32.
    heads : dict of str to Tensor
        Further dense maps by name; empty for the published encoders.
    """

    embedding: Tensor
    heads: dict[str, Tensor] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(t.nelement() * t.element_size() for t in (self.embedding, *self.heads.values()))


class EncoderConfig(Protocol):
    """What SAM has to know about an image encoder before it is built.

    A configuration is a frozen dataclass of plain values, so that it can be stored
    beside the weights as JSON. `kind` names it there.
    """

    @property
    def kind(self) -> str:
        """Name of the encoder family, such as ``"vit"``."""

    @property
    def image_size(self) -> int:
        """Side of the square frame the encoder sees, in pixels."""

    @property
    def embedding_size(self) -> int:
        """Side of the image embedding for a whole frame."""

    def build(self) -> nn.Module:
        """Make the encoder, with random weights: (B, 3, S, S) -> `EncoderOutput`."""
