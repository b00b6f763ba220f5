"""The embedding cache that the settings describe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..engine import EmbeddingCache


def embedding_cache(engine: Mapping[str, Any]) -> EmbeddingCache:
    """Return the embedding cache that the settings describe."""
    from ..checkpoints import cache_directory

    if engine["cache_gigabytes"] <= 0:
        return EmbeddingCache()
    folder = engine["cache_directory"]
    where = cache_directory() / "embeddings" if folder is None else Path(folder).expanduser()
    return EmbeddingCache(where, disk_bytes=int(engine["cache_gigabytes"] * 2**30))
