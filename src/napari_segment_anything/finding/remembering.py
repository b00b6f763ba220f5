"""A predictor that encodes no view of an image twice while it is searched."""

from __future__ import annotations

from typing import Any

from ..engine import Embedding, EmbeddingStore, Predictor, Window


class RememberingPredictor(Predictor):
    """Keeps the embeddings of one image, whose channels and contrast limits do not change.

    Parameters
    ----------
    inner : Predictor
        What it computes with.
    """

    def __init__(self, inner: Predictor) -> None:
        super().__init__(inner.model, inner.cache)
        self._kept = EmbeddingStore[tuple[Any, ...], Embedding]()

    def embed(self, image: Any, *, window: Window | None = None, **options: Any) -> Embedding:  # type: ignore[override]
        """Encode a window, unless it is in memory; as `Predictor.embed`."""
        key = (window, *(options.get(name) for name in ("level", "span", "symmetries")))
        return self._kept.get(
            key, lambda: super(RememberingPredictor, self).embed(image, window=window, **options)
        )
