"""Names, paths and URLs to verified weights, and weights to files."""

from .architecture import architecture_name, infer_config
from .catalogue import CatalogueEntry, RemoteFile, catalogue
from .download import cache_directory, cached_path, checkpoint_directory, download
from .fingerprint import fingerprint
from .loading import Checkpoint, load_checkpoint
from .saving import save_checkpoint

__all__ = [
    "CatalogueEntry",
    "Checkpoint",
    "RemoteFile",
    "architecture_name",
    "cache_directory",
    "cached_path",
    "catalogue",
    "checkpoint_directory",
    "download",
    "fingerprint",
    "infer_config",
    "load_checkpoint",
    "save_checkpoint",
]
