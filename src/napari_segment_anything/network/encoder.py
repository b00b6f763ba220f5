"""The seam between SAM and its image encoders."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class EncoderOutput:
    """What an image encoder gives.

    Parameters
    ----------
    embedding : Tensor
        Image embedding, (batch, 256, h, w), float32.
    heads : dict of str to Tensor
        Further dense maps an encoder computes on the way, by name; empty for the
        published encoders.
    """

    embedding: Tensor
    heads: dict[str, Tensor] = field(default_factory=dict)
