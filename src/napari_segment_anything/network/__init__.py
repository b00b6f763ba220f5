"""SAM in torch: tensors in, tensors out."""

from .encoder import EncoderConfig, EncoderOutput
from .instance_decoder import InstanceDecoder, InstanceDecoderConfig
from .micro import MicroConfig
from .promptable import Ability, FrameFit, Promptable, PromptableConfig
from .sam import VIT_B, VIT_H, VIT_L, VIT_T, Sam, SamConfig
from .tiny_vit import TinyViTConfig
from .vit import ViTConfig

__all__ = [
    "VIT_B",
    "VIT_H",
    "VIT_L",
    "VIT_T",
    "Ability",
    "EncoderConfig",
    "EncoderOutput",
    "FrameFit",
    "InstanceDecoder",
    "InstanceDecoderConfig",
    "MicroConfig",
    "Promptable",
    "PromptableConfig",
    "Sam",
    "SamConfig",
    "TinyViTConfig",
    "ViTConfig",
]
