"""Our networks beside `transformers`' SamModel with the same random weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from napari_segment_anything.network import Sam, SamConfig, ViTConfig

if TYPE_CHECKING:
    from transformers import SamModel

SMALL = ViTConfig(
    width=96, depth=4, heads=4, global_blocks=(1, 3), image_size=256, patch_size=16, window=7
)

_RENAMED = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$",
     "prompt_encoder.shared_embedding.positional_embedding"),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.point_embeddings\.", ".point_embed."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"(iou_prediction_head|hypernetworks_mlps\.\d)\.layers\.0\.", r"\1.proj_in."),
    (r"(iou_prediction_head|hypernetworks_mlps\.\d)\.layers\.1\.", r"\1.layers.0."),
    (r"(iou_prediction_head|hypernetworks_mlps\.\d)\.layers\.2\.", r"\1.proj_out."),
    (r"\.neck\.0\.", ".neck.conv1."),
    (r"\.neck\.1\.", ".neck.layer_norm1."),
    (r"\.neck\.2\.", ".neck.conv2."),
    (r"\.neck\.3\.", ".neck.layer_norm2."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"\.blocks\.", ".layers."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
)  # fmt: skip


def randomise(sam: Sam, seed: int = 0) -> Sam:
    """Fill every tensor with random non-zero values of a scale that keeps signals alive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in sam.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator)
            if "gaussian_matrix" in name:
                tensor.copy_(noise)
            elif "norm" in name and name.endswith("weight"):
                tensor.copy_(1 + 0.1 * noise)
            elif tensor.ndim > 1 and "embed" not in name and "token" not in name[-20:]:
                fan = tensor[0].numel()
                tensor.copy_(noise * fan**-0.5)
            else:
                tensor.copy_(0.1 * noise)
    return sam.eval()


def oracle_for(sam: Sam) -> SamModel:
    """`transformers`' model with `sam`'s weights."""
    from transformers import SamConfig as OracleConfig  # which takes seconds to import
    from transformers import SamModel, SamVisionConfig

    config = sam.config.encoder
    if not isinstance(config, ViTConfig):
        raise TypeError("the oracle has ViT encoders only")
    vision = SamVisionConfig(
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        image_size=config.image_size,
        patch_size=config.patch_size,
        window_size=config.window,
        global_attn_indexes=list(config.global_blocks),
        mlp_dim=int(config.width * config.mlp_ratio),
    )
    whole = OracleConfig(vision_config=vision)
    whole.prompt_encoder_config.image_size = config.image_size
    whole.prompt_encoder_config.image_embedding_size = config.embedding_size
    oracle = SamModel(whole).eval()
    state = {}
    for name, tensor in sam.state_dict().items():
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        state[name] = tensor
    position = "prompt_encoder.shared_embedding.positional_embedding"
    state["shared_image_embedding.positional_embedding"] = state[position]
    oracle.load_state_dict(state)
    return oracle


def small_sam(seed: int = 0) -> Sam:
    """A small random SAM with windowed, padded and global blocks."""
    return randomise(Sam(SamConfig(SMALL)), seed)
