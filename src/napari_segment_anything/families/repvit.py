"""EdgeTAM's backbone, RepViT (Wang et al. 2023), with the names of timm's weights.

Transformers takes it from timm, which needs torchvision. Here it is a model of transformers' own
kind instead, registered under a name of ours.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from ..errors import CheckpointError

MODEL_TYPE = "napari_segment_anything_repvit"
_SHAPES: dict[str, dict[str, Any]] = {
    "repvit_m1": {"embed_dim": [48, 96, 192, 384], "depth": [2, 2, 14, 2]},
}


def with_repvit(config: dict[str, Any]) -> dict[str, Any]:
    """Return EdgeTAM's config.json with timm's backbone replaced by this one.

    Parameters
    ----------
    config : dict
        Content of config.json.

    Raises
    ------
    CheckpointError
        If its backbone is another one.
    """
    vision = dict(config.get("vision_config") or {})
    backbone = vision.get("backbone_config") or {}
    name = str(backbone.get("architecture", "repvit_m1")).partition(".")[0]
    if name not in _SHAPES:
        raise CheckpointError(f"EdgeTAM with the backbone {name} is not known; it is a RepViT-M1")
    shape = _SHAPES[name] | {
        key: value
        for key, value in (backbone.get("model_args") or {}).items()
        if key in ("embed_dim", "depth")
    }
    register()
    return config | {
        "vision_config": vision | {"backbone_config": {"model_type": MODEL_TYPE} | shape}
    }


@lru_cache(maxsize=1)
def register() -> None:
    """Make the backbone known to transformers."""
    import transformers
    from transformers.modeling_outputs import BaseModelOutput

    class RepVitConfig(transformers.PreTrainedConfig):
        model_type = MODEL_TYPE

        def __init__(self, embed_dim: Any = (), depth: Any = (), **kwargs: Any) -> None:
            self.embed_dim, self.depth = list(embed_dim), list(depth)
            super().__init__(**kwargs)

    class RepVitModel(transformers.PreTrainedModel):
        config_class = RepVitConfig
        main_input_name = "pixel_values"
        _supports_sdpa = True

        def __init__(self, config: RepVitConfig) -> None:
            super().__init__(config)
            self.timm_model = RepVitFeatures(tuple(config.embed_dim), tuple(config.depth))
            self.post_init()

        def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutput:
            return BaseModelOutput(last_hidden_state=self.timm_model(pixel_values))

    transformers.AutoConfig.register(MODEL_TYPE, RepVitConfig)
    transformers.AutoModel.register(RepVitConfig, RepVitModel)


class RepVitFeatures(nn.Module):
    """The four stages, of strides 4 to 32.

    Parameters
    ----------
    widths, depths : tuple of int
        Channels and blocks of each stage.
    """

    def __init__(self, widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = _Stem(widths[0])
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            before = widths[max(index - 1, 0)]
            self.add_module(f"stages_{index}", _Stage(before, width, depth, first=index == 0))
        self._stages = len(widths)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return a map (B, channels, h, w) of each stage."""
        x = self.stem(pixels)
        maps = []
        for index in range(self._stages):
            x = getattr(self, f"stages_{index}")(x)
            maps.append(x)
        return maps


class _ConvNorm(nn.Sequential):
    """A convolution and batch normalisation."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int = 1, groups: int = 1):
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, side, stride, side // 2, groups=groups, bias=False)
        self.add_module("c", conv)
        self.add_module("bn", nn.BatchNorm2d(outputs))


class _Stem(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _ConvNorm(3, width // 2, 3, stride=2)
        self.conv2 = _ConvNorm(width // 2, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(nn.functional.gelu(self.conv1(x)))


class _TokenMixer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = _ConvNorm(width, width, 3, groups=width)
        self.conv1 = _ConvNorm(width, width, 1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.conv1(x) + x


class _ChannelMixer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _ConvNorm(width, 2 * width, 1)
        self.conv2 = _ConvNorm(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(nn.functional.gelu(self.conv1(x)))


class _SqueezeExcite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(8, int(width / 4 + 4) // 8 * 8)
        self.fc1 = nn.Conv2d(width, inner, 1)
        self.fc2 = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = x.mean((2, 3), keepdim=True)
        return x * self.fc2(self.fc1(weight).relu()).sigmoid()


class _Block(nn.Module):
    def __init__(self, width: int, *, squeezes: bool) -> None:
        super().__init__()
        self.token_mixer = _TokenMixer(width)
        self.se = _SqueezeExcite(width) if squeezes else nn.Identity()
        self.channel_mixer = _ChannelMixer(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.se(self.token_mixer(x))
        return x + self.channel_mixer(x)


class _Downsample(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.pre_block = _Block(inputs, squeezes=False)
        self.spatial_downsample = _ConvNorm(inputs, inputs, 3, stride=2, groups=inputs)
        self.channel_downsample = _ConvNorm(inputs, outputs, 1)
        self.ffn = _ChannelMixer(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.channel_downsample(self.spatial_downsample(self.pre_block(x)))
        return x + self.ffn(x)


class _Stage(nn.Module):
    def __init__(self, inputs: int, outputs: int, depth: int, *, first: bool) -> None:
        super().__init__()
        self.downsample = nn.Identity() if first else _Downsample(inputs, outputs)
        blocks = (_Block(outputs, squeezes=index % 2 == 0) for index in range(depth))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))
