"""From an image and prompts to masks."""

from .ask import Ask, bounding_box
from .backoff import MemoryWarning
from .cache import CacheWarning, EmbeddingCache
from .calibration import LayerError, Quantized, quantize, quantize_steps
from .contrast import resolve_contrast_limits
from .device import choose_device, choose_precision
from .embedding import Embedding
from .embedding_store import EmbeddingStore
from .encode_plan import EncodePlan
from .image import ImageSource, open_image
from .masks import binarise, draw_masks, mask_logits, patches, upsample
from .model import Model, load_model
from .parts import prompted_parts
from .placed_mask import NO_MASK, PlacedMask
from .planes import PlaneSource
from .predictor import Prediction, Predictor
from .prompts import Prompts
from .segmenter import DECODING, Segmented, Segmenter
from .view import Focus, View
from .views import EmbeddingKey, Views
from .windows import Window

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
