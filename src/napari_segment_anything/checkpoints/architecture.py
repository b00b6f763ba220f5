"""Recognise the architecture of a state dict from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ..errors import CheckpointError
from ..network.encoder import EncoderConfig
from ..network.instance_decoder import InstanceDecoderConfig
from ..network.sam import VIT_B, VIT_H, VIT_L, SamConfig
from ..network.tiny_vit import TinyViTConfig
from ..network.vit import ViTConfig

_ENCODER = "image_encoder."
_SAM2 = "it is a SAM 2 in its authors' form; load the same model by name, such as sam2.1_hiera_tiny"
_FOREIGN = {
    "vision_encoder.": (
        "it has the layout of the transformers library; give the folder with its config.json"
    ),
    "sam_mask_decoder.": _SAM2,
    "sam_prompt_encoder.": _SAM2,
    "image_encoder.trunk.": _SAM2,
    "detector.": "it is a SAM 3 in its authors' form; load the same model by the name sam3",
    "image_encoder.stem.": (
        "it is the state dict of one of this program's own models, whose configuration is in the "
        "header of the .safetensors file; use that file"
    ),
}


def infer_config(state: Mapping[str, Tensor]) -> SamConfig:
    """Recognise a SAM's architecture.

    Parameters
    ----------
    state : mapping of str to Tensor
        Its state dict under the published names. Only shapes are used.

    Returns
    -------
    SamConfig
        ViT encoders of any width, depth, heads, window, global blocks and frame size, and
        TinyViT encoders (with the published frame size of 1024, which tensors do not show).

    Raises
    ------
    CheckpointError
        If the tensors are not those of a SAM, or its configuration cannot be derived.
    """
    for prefix, reason in _FOREIGN.items():
        if any(name.startswith(prefix) for name in state):
            raise CheckpointError(f"its architecture cannot be recognised: {reason}")
    encoder: EncoderConfig
    if f"{_ENCODER}patch_embed.proj.weight" in state:
        encoder = _vit(state)
    elif f"{_ENCODER}patch_embed.seq.0.c.weight" in state:
        encoder = _tiny_vit(state)
    else:
        some = ", ".join(sorted(state)[:3])
        raise CheckpointError(
            f"not a SAM checkpoint: no image encoder of a known kind among its {len(state)} "
            f"tensors ({some} ...)"
        )
    return SamConfig(
        encoder,
        mask_channels=_shape(state, "prompt_encoder.mask_downscaling.3.weight", 4)[0],
        multimask_outputs=_shape(state, "mask_decoder.mask_tokens.weight", 2)[0] - 1,
    )


def infer_decoder_config(state: Mapping[str, Tensor]) -> InstanceDecoderConfig:
    """Recognise the configuration of an instance decoder.

    Parameters
    ----------
    state : mapping of str to Tensor
        Its state dict.

    Raises
    ------
    CheckpointError
        If the tensors are not those of an instance decoder.
    """
    if not any(name.startswith("decoder.blocks.") for name in state):
        some = ", ".join(sorted(state)[:3])
        raise CheckpointError(f"not an instance decoder: it contains {some} ...")
    widths = [_shape(state, "base.block.1.weight", 4)[0]]
    widths += [
        _shape(state, f"decoder.blocks.{i}.block.1.weight", 4)[0]
        for i in range(_count(state, r"decoder\.blocks\.(\d+)\."))
    ]
    if len(widths) != 4:
        raise CheckpointError(f"an instance decoder has 3 blocks, this one has {len(widths) - 1}")
    return InstanceDecoderConfig(
        inputs=_shape(state, "base.block.1.weight", 4)[1],
        widths=tuple(widths),
        outputs=_shape(state, "out_conv.weight", 4)[0],
        transposed="deconv1.block.0.block.weight" in state,
        transposed_samplers="decoder.samplers.0.block.weight" in state,
    )


def architecture_name(config: SamConfig) -> str:
    """Name an architecture: ``"vit_b"``, ``"vit_t"``, ``"micro"`` or a description.

    Parameters
    ----------
    config : SamConfig
        The network's configuration. The frame size is not part of the name.
    """
    encoder = config.encoder
    if isinstance(encoder, ViTConfig):
        for name, preset in (("vit_b", VIT_B), ("vit_l", VIT_L), ("vit_h", VIT_H)):
            known = preset.encoder
            if isinstance(known, ViTConfig) and _vit_size(known) == _vit_size(encoder):
                return name
        return f"vit_{encoder.width}x{encoder.depth}"
    if isinstance(encoder, TinyViTConfig):
        published = TinyViTConfig()
        if (encoder.widths, encoder.depths) == (published.widths, published.depths):
            return "vit_t"
        return f"tiny_vit_{encoder.widths[-1]}x{sum(encoder.depths)}"
    return encoder.kind


def _vit_size(config: ViTConfig) -> tuple[object, ...]:
    return config.width, config.depth, config.heads, config.global_blocks


def _vit(state: Mapping[str, Tensor]) -> ViTConfig:
    width, _, patch, _ = _shape(state, f"{_ENCODER}patch_embed.proj.weight", 4)
    side = _shape(state, f"{_ENCODER}pos_embed", 4)[1]
    depth = _count(state, rf"{re.escape(_ENCODER)}blocks\.(\d+)\.")
    if depth == 0:
        raise CheckpointError("the image encoder has no blocks: the checkpoint is incomplete")
    lengths = []
    head_width = 0
    for i in range(depth):
        length, head_width = _shape(state, f"{_ENCODER}blocks.{i}.attn.rel_pos_h", 2)
        lengths.append(length)
    if head_width == 0 or width % head_width:
        raise CheckpointError(
            f"an encoder of width {width} cannot have heads of width {head_width}: the file is "
            "corrupt"
        )
    everywhere = tuple(i for i, length in enumerate(lengths) if length == 2 * side - 1)
    windowed = {length for length in lengths if length != 2 * side - 1}
    if len(windowed) > 1:
        sides = sorted((length + 1) // 2 for length in windowed)
        raise CheckpointError(f"blocks with different window sizes ({sides}) are not supported")
    hidden = _shape(state, f"{_ENCODER}blocks.0.mlp.lin1.weight", 2)[0]
    return ViTConfig(
        width=width,
        depth=depth,
        heads=width // head_width,
        global_blocks=everywhere,
        image_size=side * patch,
        patch_size=patch,
        window=(windowed.pop() + 1) // 2 if windowed else min(side, 14),
        out_channels=_shape(state, f"{_ENCODER}neck.0.weight", 4)[0],
        mlp_ratio=hidden / width,
    )


def _tiny_vit(state: Mapping[str, Tensor]) -> TinyViTConfig:
    layers = f"{_ENCODER}layers."
    stages = _count(state, rf"{re.escape(layers)}(\d+)\.")
    if stages < 2:
        raise CheckpointError("the image encoder has no stages: the checkpoint is incomplete")
    widths = [_shape(state, f"{_ENCODER}patch_embed.seq.2.c.weight", 4)[0]]
    # The first stage is convolutional; its numbers of heads and windows have no effect.
    published = TinyViTConfig()
    heads, windows = [published.heads[0]], [published.windows[0]]
    depths = []
    for i in range(stages):
        depths.append(_count(state, rf"{re.escape(layers)}{i}\.blocks\.(\d+)\."))
        if i + 1 < stages:
            widths.append(_shape(state, f"{layers}{i}.downsample.conv1.c.weight", 4)[0])
        if i > 0:
            count, cells = _shape(state, f"{layers}{i}.blocks.0.attn.attention_biases", 2)
            heads.append(count)
            windows.append(round(cells**0.5))
    expanded = _shape(state, f"{layers}0.blocks.0.conv1.c.weight", 4)[0]
    hidden = _shape(state, f"{layers}1.blocks.0.mlp.fc1.weight", 2)[0]
    head = state.get(f"{_ENCODER}head.weight")
    return TinyViTConfig(
        widths=tuple(widths),
        depths=tuple(depths),
        heads=tuple(heads),
        windows=tuple(windows),
        classes=0 if head is None else head.shape[0],
        expansion=expanded // widths[0],
        mlp_ratio=hidden // widths[1],
        out_channels=_shape(state, f"{_ENCODER}neck.0.weight", 4)[0],
    )


def _shape(state: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    tensor = state.get(name)
    if tensor is None:
        raise CheckpointError(f"the checkpoint is incomplete: it lacks {name}")
    if tensor.ndim != axes:
        raise CheckpointError(f"{name} has {tensor.ndim} axes where SAM's has {axes}")
    return tuple(tensor.shape)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    found = (re.match(pattern, name) for name in state)
    numbers = {int(m[1][:9]) for m in found if m}
    return max(numbers) + 1 if numbers else 0
