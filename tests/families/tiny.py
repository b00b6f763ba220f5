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
SAM3_SIDE = 112
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


def tiny_edgetam(folder: Path, *, video: bool = True, seed: int = 0) -> Path:
    """Write a tiny EdgeTAM; its config.json names timm's backbone, as the published one does."""
    import transformers

    from napari_segment_anything.families.repvit import MODEL_TYPE, register

    register()
    shape = {"embed_dim": [8, 16, 32, 64], "depth": [1, 1, 2, 1]}
    parts = {
        "vision_config": {
            "model_type": "edgetam_vision_model",
            "backbone_config": {"model_type": MODEL_TYPE, **shape},
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": SIZES,
            "fpn_hidden_size": WIDTH,
        },
        "prompt_encoder_config": _prompts(),
        "mask_decoder_config": _decoder(),
    }
    if video:
        config = transformers.EdgeTamVideoConfig(
            **parts,
            **_memory(),
            image_size=SIDE,
            memory_attention_mlp_hidden_size=64,
            memory_attention_rope_feat_sizes=SIZES[-1],
            memory_attention_rope_k_sizes=[4, 4],
            perceiver_resampler_num_latents=16,
            perceiver_resampler_num_latents_2d=16,
            perceiver_resampler_mlp_intermediate_size=64,
            enable_temporal_pos_encoding_for_object_pointers=False,
            enable_occlusion_spatial_embedding=False,
        )
        module = transformers.EdgeTamVideoModel(config)
    else:
        module = transformers.EdgeTamModel(transformers.EdgeTamConfig(**parts))
    saved(_calibrated(filled(module, seed)), folder)
    whole = json.loads((folder / "config.json").read_text())
    whole["vision_config"]["backbone_config"] = {
        "model_type": "timm_wrapper",
        "architecture": "repvit_m1",
        "num_classes": 1000,
        "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3], **shape},
    }
    return edit_config(folder, **whole)


def tiny_sam3(folder: Path, *, kind: str = "sam3_video", seed: int = 0) -> Path:
    """Write a tiny SAM 3: detector and tracker together as published, or a tracker alone."""
    import transformers

    side, sizes = SAM3_SIDE, [[32, 32], [16, 16], [8, 8]]
    backbone = transformers.Sam3ViTConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=side,
        patch_size=14,
        window_size=4,
        global_attn_indexes=[1],
        pretrain_image_size=56,
    )
    vision = transformers.Sam3VisionConfig(
        backbone_config=backbone, fpn_hidden_size=WIDTH, backbone_feature_sizes=sizes
    )
    tracker = {
        "vision_config": vision,
        "prompt_encoder_config": _prompts() | {"image_size": side, "patch_size": 14},
        "mask_decoder_config": _decoder(),
    }
    video = transformers.Sam3TrackerVideoConfig(
        **tracker,
        image_size=side,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=sizes[-1],
        **_memory(),
    )
    if kind == "sam3_tracker_video":
        return written(transformers.Sam3TrackerVideoModel(video), folder, seed)
    if kind == "sam3_tracker":
        config = transformers.Sam3TrackerConfig(**tracker)
        return written(transformers.Sam3TrackerModel(config), folder, seed)
    small = {"hidden_size": WIDTH, "num_attention_heads": 2}
    deep = small | {"num_layers": 1, "intermediate_size": 64}
    detector = transformers.Sam3Config(
        vision_config=vision,
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": 100,
            "bos_token_id": 98,
            "eos_token_id": 99,
            "projection_dim": 32,
            "max_position_embeddings": 32,
            "num_hidden_layers": 1,
            **small,
            "intermediate_size": 64,
        },
        geometry_encoder_config=deep,
        detr_encoder_config=deep,
        detr_decoder_config=deep | {"num_queries": 10},
        mask_decoder_config=small,
    )
    config = transformers.Sam3VideoConfig(
        detector_config=detector, tracker_config=video, low_res_mask_size=32
    )
    return written(transformers.Sam3VideoModel(config), folder, seed)


def tiny_sam3_tracker(folder: Path, seed: int = 0) -> Path:
    """Write a tiny tracker of SAM 3, with memory."""
    return tiny_sam3(folder, kind="sam3_tracker_video", seed=seed)


def tiny_sam_hq(folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny SAM-HQ."""
    import transformers

    config = transformers.SamHQConfig(
        vision_config={
            "hidden_size": 32,
            "output_channels": WIDTH,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "window_size": 4,
            "global_attn_indexes": [1, 2],
            "num_pos_feats": WIDTH // 2,
            "mlp_dim": 64,
        },
        prompt_encoder_config=_prompts(),
        mask_decoder_config=_decoder() | {"vit_dim": 32},
    )
    return written(transformers.SamHQModel(config), folder, seed)


def written(module: nn.Module, folder: Path, seed: int = 0) -> Path:
    """Fill a model with random weights and save it."""
    return saved(filled(module, seed), folder)


def filled(module: nn.Module, seed: int = 0) -> nn.Module:
    """Fill a model with random weights of which none is zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                fan = max(1, parameter.numel() // max(parameter.shape[:2]))
                parameter.copy_(0.8 * noise * fan**-0.5)
            else:
                parameter.add_(0.1 * noise)
        for name, buffer in module.named_buffers():
            if name.endswith("positional_embedding"):  # random, and saved
                buffer.copy_(torch.randn(buffer.shape, generator=generator))
    return module


def saved(module: nn.Module, folder: Path) -> Path:
    """Save a model as transformers does."""
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


def _calibrated(module: nn.Module) -> nn.Module:
    """Give batch normalisations the statistics of an image, so that signals do not grow."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        for conv in module.vision_encoder.neck.convs:
            conv.weight.mul_(0.2)
        module.vision_encoder.train()(torch.randn(2, 3, SIDE, SIDE, generator=generator))
    return module.eval()
