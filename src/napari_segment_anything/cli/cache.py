"""Embeddings that the command line keeps on disk between runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine import Model, Predictor


def embedding_directory() -> Path:
    """Folder of the embeddings that `--cache` keeps."""
    from ..checkpoints import cache_directory

    return cache_directory() / "embeddings"


def make_predictor(model: Model, keep: bool) -> Predictor:
    """Make a predictor that keeps its embeddings on disk, or none."""
    from ..engine import EmbeddingCache, Predictor

    return Predictor(model, EmbeddingCache(embedding_directory()) if keep else None)


def usage(folder: Path) -> dict[str, int]:
    """Number of entries of a folder, and the bytes of all files below it."""
    if not folder.is_dir():
        return {"count": 0, "bytes": 0}
    return {
        "count": sum(1 for _ in folder.iterdir()),
        "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }
