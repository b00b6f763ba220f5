"""From an image and prompts to masks."""

from typing import TYPE_CHECKING

from ..lazy import names_on_first_use

if TYPE_CHECKING:
    from .ask import Ask, bounding_box
    from .backoff import MemoryWarning
    from .cache import CacheWarning, EmbeddingCache
    from .calibration import LayerError, Quantized, quantize, quantize_steps
    from .contrast import resolve_contrast_limits
    from .device import choose_device, choose_precision
    from .embedding import Embedding, EmbeddingKey, EmbeddingStore, Views
    from .encode_plan import EncodePlan, Focus, View
    from .image import ImageSource, open_image
    from .masks import binarise, draw_masks, mask_logits, patches, upsample
    from .model import Model, load_model
    from .parts import prompted_parts
    from .planes import PlaneSource
    from .predictor import Prediction, Predictor
    from .prompts import Prompts
    from .segmenter import DECODING, Segmented, Segmenter
    from .windows import NO_MASK, PlacedMask, Window
else:
    __getattr__, __dir__ = names_on_first_use(
        __name__,
        {
            "ask": "Ask bounding_box",
            "backoff": "MemoryWarning",
            "cache": "CacheWarning EmbeddingCache",
            "calibration": "LayerError Quantized quantize quantize_steps",
            "contrast": "resolve_contrast_limits",
            "device": "choose_device choose_precision",
            "embedding": "Embedding EmbeddingKey EmbeddingStore Views",
            "encode_plan": "EncodePlan Focus View",
            "image": "ImageSource open_image",
            "masks": "binarise draw_masks mask_logits patches upsample",
            "model": "Model load_model",
            "parts": "prompted_parts",
            "planes": "PlaneSource",
            "predictor": "Prediction Predictor",
            "prompts": "Prompts",
            "segmenter": "DECODING Segmented Segmenter",
            "windows": "NO_MASK PlacedMask Window",
        },
    )

__all__ = [
    "DECODING",
    "load_model",
    "Model",
    "Predictor",
    "Embedding",
    "Prediction",
    "Prompts",
    "Window",
    "View",
    "Focus",
    "Views",
    "EncodePlan",
    "EmbeddingStore",
    "EmbeddingKey",
    "bounding_box",
    "Segmenter",
    "Segmented",
    "Ask",
    "PlacedMask",
    "NO_MASK",
    "PlaneSource",
    "EmbeddingCache",
    "CacheWarning",
    "MemoryWarning",
    "ImageSource",
    "open_image",
    "resolve_contrast_limits",
    "choose_device",
    "choose_precision",
    "LayerError",
    "Quantized",
    "quantize",
    "quantize_steps",
    "upsample",
    "patches",
    "binarise",
    "draw_masks",
    "mask_logits",
    "prompted_parts",
]
