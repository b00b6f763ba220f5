"""Verified weights by name, path or URL; saving weights to files."""

from .architecture import architecture_name, infer_config
from .catalogue import CatalogueEntry, RemoteFile, about_size, catalogue
from .download import cache_directory, cached_path, checkpoint_directory
from .fingerprint import fingerprint
from .loading import Checkpoint, load_checkpoint
from .obtaining import download, is_here, locate
from .saving import save_checkpoint

__all__ = [
    "CatalogueEntry",
    "Checkpoint",
    "RemoteFile",
    "about_size",
    "architecture_name",
    "cache_directory",
    "cached_path",
    "catalogue",
    "checkpoint_directory",
    "download",
    "fingerprint",
    "infer_config",
    "is_here",
    "load_checkpoint",
    "locate",
    "save_checkpoint",
]
