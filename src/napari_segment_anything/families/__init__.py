"""Networks of other families, from folders in the form of the transformers library."""

from .folder import ModelFolder
from .loading import MODEL_TYPES, load_family

__all__ = ["MODEL_TYPES", "ModelFolder", "load_family"]
