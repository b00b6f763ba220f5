"""SAM in torch: tensors in, tensors out."""

from .encoder import EncoderConfig, EncoderOutput
from .sam import VIT_B, VIT_H, VIT_L, Sam, SamConfig
from .vit import ViTConfig

__all__ = [
    "VIT_B",
    "VIT_H",
    "VIT_L",
    "EncoderConfig",
    "EncoderOutput",
    "Sam",
    "SamConfig",
    "ViTConfig",
]
