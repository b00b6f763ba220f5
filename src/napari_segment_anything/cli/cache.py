"""The part of the cache folder that the command line uses: embeddings kept between runs."""

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
    """A predictor that keeps its embeddings on disk, or keeps nothing."""
    from ..engine import EmbeddingCache, Predictor

    return Predictor(model, EmbeddingCache(embedding_directory()) if keep else None)


def usage(folder: Path) -> dict[str, int]:
    """Files and folders directly in a folder, and the bytes of all that is in them."""
    if not folder.is_dir():
        return {"count": 0, "bytes": 0}
    return {
        "count": sum(1 for _ in folder.iterdir()),
        "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }
