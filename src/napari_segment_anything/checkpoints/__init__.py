"""Verified weights by name, path or URL; saving weights to files."""

from .architecture import architecture_name, infer_config
from .catalogue import ABILITIES, CatalogueEntry, RemoteFile, about_size, cannot, catalogue
from .download import cache_directory, cached_path, checkpoint_directory
from .fingerprint import fingerprint
from .hub import INSTALL_EXTRA, missing_packages
from .loading import PRETRAINED, Checkpoint, load_checkpoint
from .obtaining import download, is_here, known_abilities, locate, present
from .saving import save_checkpoint

__all__ = [
    "ABILITIES",
    "INSTALL_EXTRA",
    "PRETRAINED",
    "CatalogueEntry",
    "Checkpoint",
    "RemoteFile",
    "about_size",
    "architecture_name",
    "cache_directory",
    "cached_path",
    "cannot",
    "catalogue",
    "checkpoint_directory",
    "download",
    "fingerprint",
    "infer_config",
    "is_here",
    "known_abilities",
    "load_checkpoint",
    "locate",
    "missing_packages",
    "present",
    "save_checkpoint",
]
