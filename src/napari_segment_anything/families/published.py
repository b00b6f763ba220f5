"""Names of the tensors of SAM and SAM-HQ: as published, and in transformers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from torch import Tensor

HQ_MARK = "mask_decoder.hf_token.weight"
"""A tensor that only SAM-HQ's own files have."""

SAM_PIXELS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of pixels in 0..1 that SAM was trained with."""

_TABLE = (
    ("image_encoder.", "vision_encoder.", """
patch_embed.proj.       patch_embed.projection.
blocks.#.norm#.         layers.#.layer_norm#.
blocks.#.               layers.#.
neck.0.                 neck.conv1.
neck.1.                 neck.layer_norm1.
neck.2.                 neck.conv2.
neck.3.                 neck.layer_norm2.
pos_embed               pos_embed
"""),
    ("prompt_encoder.", "prompt_encoder.", """
point_embeddings.       point_embed.
mask_downscaling.0.     mask_embed.conv1.
mask_downscaling.1.     mask_embed.layer_norm1.
mask_downscaling.3.     mask_embed.conv2.
mask_downscaling.4.     mask_embed.layer_norm2.
mask_downscaling.6.     mask_embed.conv3.
"""),
    ("prompt_encoder.pe_layer.", "shared_image_embedding.", """
positional_encoding_gaussian_matrix positional_embedding
"""),
    ("mask_decoder.", "mask_decoder.", """
transformer.layers.#.norm#.   transformer.layers.#.layer_norm#.
transformer.norm_final_attn.  transformer.layer_norm_final_attn.
output_upscaling.0.     upscale_conv1.
output_upscaling.1.     upscale_layer_norm.
output_upscaling.3.     upscale_conv2.
output_hypernetworks_mlps.#.layers.0. output_hypernetworks_mlps.#.proj_in.
output_hypernetworks_mlps.#.layers.1. output_hypernetworks_mlps.#.layers.0.
output_hypernetworks_mlps.#.layers.2. output_hypernetworks_mlps.#.proj_out.
iou_prediction_head.layers.0. iou_prediction_head.proj_in.
iou_prediction_head.layers.1. iou_prediction_head.layers.0.
iou_prediction_head.layers.2. iou_prediction_head.proj_out.
hf_token.               hq_token.
hf_mlp.layers.0.        hq_mask_mlp.proj_in.
hf_mlp.layers.1.        hq_mask_mlp.layers.0.
hf_mlp.layers.2.        hq_mask_mlp.proj_out.
compress_vit_feat.0.    compress_vit_conv1.
compress_vit_feat.1.    compress_vit_norm.
compress_vit_feat.3.    compress_vit_conv2.
embedding_encoder.0.    encoder_conv1.
embedding_encoder.1.    encoder_norm.
embedding_encoder.3.    encoder_conv2.
embedding_maskfeature.0. mask_conv1.
embedding_maskfeature.1. mask_norm.
embedding_maskfeature.3. mask_conv2.
"""),
)  # fmt: skip
"""Beginnings of names, published and in transformers; # stands for a number."""
_SHARED = "prompt_encoder.shared_embedding.positional_embedding"
_POSITIONS = "shared_image_embedding.positional_embedding"


def published_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a SAM in transformers' form to the published names.

    Parameters
    ----------
    state : mapping of str to Tensor
        By their names in transformers, where one tensor may be listed under two names.
    """
    state = dict(state)
    if (shared := state.pop(_SHARED, None)) is not None:
        state.setdefault(_POSITIONS, shared)
    return {_renamed(name, False): tensor for name, tensor in state.items()}


def transformers_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a published SAM or SAM-HQ to their names in transformers.

    Parameters
    ----------
    state : mapping of str to Tensor
        By their published names.
    """
    renamed = {_renamed(name, True): tensor for name, tensor in state.items()}
    if _POSITIONS in renamed:
        renamed[_SHARED] = renamed[_POSITIONS]
    return renamed


def _renamed(name: str, forward: bool) -> str:
    for pattern, made in _rules(forward):
        if match := pattern.match(name):
            return made.format(*match.groups()) + name[match.end() :]
    return name


@cache
def _rules(forward: bool) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple(_parsed(forward))


def _parsed(forward: bool) -> Iterator[tuple[re.Pattern[str], str]]:
    for *places, lines in _TABLE:
        for line in lines.strip().splitlines():
            ours, theirs = (a + b for a, b in zip(places, line.split(), strict=True))
            if not forward:
                ours, theirs = theirs, ours
            yield re.compile(re.escape(ours).replace(r"\#", r"(\d+)")), theirs.replace("#", "{}")
