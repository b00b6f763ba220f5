"""SAM-HQ with this package's image encoders.

They are faster than those of transformers and need less memory. Light HQ-SAM has MobileSAM's
encoder, which transformers does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from ..network import EncoderConfig, Promptable, TinyViTConfig, ViTConfig
from ..network.layers import cast_products
from .loading import FAMILIES, fitted, quiet, transformers_for
from .published import transformers_names
from .sam_hq import SamHqNetwork

_ENCODER = "image_encoder."
_PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")


class OwnEncoder(nn.Module):
    """An image encoder of this package, called as transformers calls SAM-HQ's.

    Parameters
    ----------
    network : nn.Module
        The encoder.
    early : int
        The block or stage whose output the mask decoder takes.
    """

    def __init__(self, network: nn.Module, early: int) -> None:
        super().__init__()
        self.network, self.early = network, early

    def forward(self, frame: Tensor) -> SimpleNamespace:
        """Encode normalised frames (B, 3, S, S)."""
        where = frame.device.type  # its weights are cast instead
        with nullcontext() if frame.is_meta else torch.autocast(where, enabled=False):
            seen = self.network(frame, self.early)
        return SimpleNamespace(
            last_hidden_state=seen.embedding,
            intermediate_embeddings=[seen.heads["early"].permute(0, 2, 3, 1)],
        )


class OwnSamHqNetwork(SamHqNetwork):
    """SAM-HQ with an image encoder of this package."""

    def set_precision(self, dtype: torch.dtype, decoder: torch.dtype | None = None) -> None:
        """Compute products in 16 bits, for which the encoder's weights are cast.

        Parameters
        ----------
        dtype : torch.dtype
            Of the image encoder.
        decoder : torch.dtype, optional
            Of the mask decoder, the encoder's by default.
        """
        super().set_precision(dtype, decoder)
        cast_products(self.parts.vision_encoder, dtype)


def build_hq(
    encoder: EncoderConfig,
    state: Mapping[str, Tensor],
    where: str,
    config: Mapping[str, Any] | None = None,
    pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> Promptable:
    """Make a network from the weights of a SAM-HQ.

    Parameters
    ----------
    encoder : EncoderConfig
        Its image encoder, as recognised from its tensors.
    state : mapping of str to Tensor
        By their published names.
    where : str
        The file or folder, for messages.
    config : mapping, optional
        Content of config.json, if there is one.
    pixels : tuple, optional
        Mean and deviation of pixels in 0..255, by channel; by default as published.

    Raises
    ------
    CheckpointError
        If transformers is not installed, or tensors do not fit.
    """
    if isinstance(encoder, TinyViTConfig):
        early, width, patch = 1, encoder.widths[2], encoder.stride
    elif isinstance(encoder, ViTConfig) and encoder.global_blocks:
        early, width, patch = encoder.global_blocks[0], encoder.width, encoder.patch_size
    else:
        raise CheckpointError(f"{where} is a SAM-HQ with an unknown image encoder")
    library = transformers_for(f"{where} (sam_hq)")
    sizes = {"image_size": encoder.image_size, "patch_size": patch}
    values = dict(config or {})
    for part in _PARTS:
        if not isinstance(values.get(part, {}), dict):
            raise CheckpointError(f"{where} is no complete SAM-HQ: its {part} is no mapping")
    values["prompt_encoder_config"] = {**values.get("prompt_encoder_config", {}), **sizes}
    values["mask_decoder_config"] = {**values.get("mask_decoder_config", {}), "vit_dim": width}
    # transformers' own encoder is made as small as it can be, and replaced
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "mlp_dim": 8}
    vision = values.get("vision_config", {})
    kept = {key: vision[key] for key in ("output_channels", "num_pos_feats") if key in vision}
    values["vision_config"] = {**small, **sizes, **kept}
    own = {name: state[name] for name in state if name.startswith(_ENCODER)}
    named = transformers_names({name: state[name] for name in state if name not in own})
    place = "vision_encoder.network."
    named |= {place + name.removeprefix(_ENCODER): own[name] for name in own}
    try:
        with quiet():
            settings = library.SamHQConfig.from_dict(values)
            module = library.SamHQModel._from_config(settings, attn_implementation="sdpa")
        module.vision_encoder = OwnEncoder(encoder.build(), early)
        missing, unexpected = module.load_state_dict(named, strict=False)
    except Exception as error:  # whatever a wrong configuration makes of transformers and torch
        reason = str(error).splitlines()[-1].strip() or type(error).__name__
        raise CheckpointError(f"{where} is no complete SAM-HQ: {reason}") from error
    missing = [name for name in missing if not name.endswith(".num_batches_tracked")]
    for what, names in (("missing", missing), ("unexpected", unexpected)):
        if names:
            more = " and more" if len(names) > 3 else ""
            raise CheckpointError(
                f"{where} is no complete SAM-HQ: {len(names)} {what} tensors "
                f"({', '.join(names[:3])}{more})"
            )
    if pixels is None:
        mean, deviation = (tuple(255 * v for v in each) for each in FAMILIES["sam_hq"].pixels)
        pixels = mean, deviation
    module = module.float().eval().requires_grad_(False)
    return fitted(OwnSamHqNetwork, module, "sam_hq", pixels, where)
