"""Networks of other families, from folders in the form of the transformers library."""

from .folder import ModelFolder
from .loading import FAMILIES, load_family

__all__ = ["FAMILIES", "ModelFolder", "load_family"]
