"""Tiny models of other families with random weights, written in the families' own form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_segment_anything.families.loading import quiet

SIDE = 128
WIDTH = 128  # twice the channels of a memory, which transformers fixes at 64
SIZES = [[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2]


def tiny_sam2(folder: Path, *, video: bool = True, seed: int = 0, **changes: Any) -> Path:
    """Write a tiny SAM 2; `video` with memory, as published."""
    import transformers

    decoder = _decoder() | changes
    if not video:
        config = transformers.Sam2Config(
            vision_config=_hiera(), prompt_encoder_config=_prompts(), mask_decoder_config=decoder
        )
        return written(transformers.Sam2Model(config), folder, seed)
    config = transformers.Sam2VideoConfig(
        vision_config=_hiera(),
        prompt_encoder_config=_prompts(),
        mask_decoder_config=decoder,
        image_size=SIDE,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=SIZES[-1],
        **_memory(),
    )
    return written(transformers.Sam2VideoModel(config), folder, seed)


def tiny_edgetam(folder: Path, seed: int = 0) -> Path:
    """Write a tiny EdgeTAM with memory; its own backbone needs timm, so it has SAM 2's."""
    import transformers

    config = transformers.EdgeTamVideoConfig(
        vision_config=_hiera(),
        prompt_encoder_config=_prompts(),
        mask_decoder_config=_decoder(),
        image_size=SIDE,
        memory_attention_mlp_hidden_size=64,
        memory_attention_rope_feat_sizes=SIZES[-1],
        memory_attention_rope_k_sizes=[4, 4],
        perceiver_resampler_num_latents=16,
        perceiver_resampler_num_latents_2d=16,
        perceiver_resampler_mlp_intermediate_size=64,
        **_memory(),
    )
    return written(transformers.EdgeTamVideoModel(config), folder, seed)


def tiny_sam3_tracker(folder: Path, seed: int = 0) -> Path:
    """Write a tiny tracker of SAM 3, with memory."""
    import transformers

    side, patch = 126, 14
    backbone = transformers.Sam3ViTConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=side,
        patch_size=patch,
        window_size=3,
        global_attn_indexes=[1],
        pretrain_image_size=side,
    )
    config = transformers.Sam3TrackerVideoConfig(
        vision_config=transformers.Sam3VisionConfig(
            backbone_config=backbone,
            fpn_hidden_size=WIDTH,
            backbone_feature_sizes=[[n * side // patch] * 2 for n in (4, 2, 1)],
        ),
        prompt_encoder_config=_prompts() | {"image_size": side, "patch_size": patch},
        mask_decoder_config=_decoder(),
        image_size=side,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[side // patch] * 2,
        **_memory(),
    )
    return written(transformers.Sam3TrackerVideoModel(config), folder, seed)


def written(module: nn.Module, folder: Path, seed: int = 0) -> Path:
    """Fill a model with random weights of which none is zero, and save it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                fan = max(1, parameter.numel() // max(parameter.shape[:2]))
                parameter.copy_(0.8 * noise * fan**-0.5)
            else:
                parameter.add_(0.1 * noise)
    with quiet():
        module.save_pretrained(folder)
    return folder


def edit_config(folder: Path, **changes: Any) -> Path:
    """Change values in config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def _hiera() -> Any:
    import transformers

    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 4],
        window_size_per_stage=[8, 4, 4, 2],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )
    return transformers.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=SIZES,
        fpn_hidden_size=WIDTH,
    )


def _prompts() -> dict[str, Any]:
    return {"hidden_size": WIDTH, "image_size": SIDE, "patch_size": 16}


def _decoder() -> dict[str, Any]:
    return {
        "hidden_size": WIDTH,
        "mlp_dim": 64,
        "num_attention_heads": 4,
        "iou_head_hidden_dim": WIDTH,
    }


def _memory() -> dict[str, Any]:
    return {
        "memory_attention_hidden_size": WIDTH,
        "memory_attention_num_layers": 2,
        "memory_encoder_hidden_size": WIDTH,
        "memory_encoder_output_channels": 64,
        "mask_downsampler_embed_dim": WIDTH,
        "memory_fuser_embed_dim": WIDTH,
        "memory_fuser_intermediate_dim": 64,
        "num_maskmem": 3,
        "max_object_pointers_in_encoder": 4,
    }
