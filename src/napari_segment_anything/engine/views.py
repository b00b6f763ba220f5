"""Embeddings of an image by view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import ParameterError
from .contrast import resolve_contrast_limits
from .embedding import Embedding, EmbeddingStore
from .image import open_image
from .planes import PlaneSource
from .predictor import Predictor
from .view import View
from .windows import Window


class EmbeddingKey(NamedTuple):
    """What an embedding of an image depends on.

    Parameters
    ----------
    plane : tuple of int
        Of a `PlaneSource`; empty for a 2-D image.
    view : View
        What is encoded.
    fingerprint, precision : str
        The model's weights, and the precision of its image encoder.
    """

    plane: tuple[int, ...]
    view: View
    fingerprint: str
    precision: str


class Views:
    """Embeddings of one plane of an image by view, encoded on first use.

    Parameters
    ----------
    predictor : Predictor
    image : array-like, sequence of array-likes, or PlaneSource
        As for `Predictor.embed`. A `PlaneSource` is read only when a view is encoded.
    plane : sequence of int
        Which plane of a `PlaneSource`.
    store : EmbeddingStore, optional
        Where embeddings are kept; a new one by default. Each image needs its own.
    **options
        Of `Predictor.embed`, for an image that is no `PlaneSource`: channel_axis, channels,
        contrast_limits. Contrast limits are resolved at once, for the whole image.

    Raises
    ------
    ImageError
        If the image is not one.
    ParameterError
        If contrast limits are wrong, or options are given for a `PlaneSource`.
    """

    def __init__(
        self,
        predictor: Predictor,
        image: Any,
        *,
        plane: Sequence[int] = (),
        store: EmbeddingStore[EmbeddingKey, Embedding] | None = None,
        **options: Any,
    ) -> None:
        self.predictor, self.image, self.plane = predictor, image, tuple(plane)
        self.store = EmbeddingStore[EmbeddingKey, Embedding]() if store is None else store
        if isinstance(image, PlaneSource):
            if options:
                raise ParameterError(f"a PlaneSource has its own {', '.join(options)}")
        else:
            limits = options.pop("contrast_limits", "auto")
            self.image = open_image(image, **options)
            options = {"contrast_limits": resolve_contrast_limits(self.image, limits)}
        self._options = options
        self.shape: tuple[int, int] = self.image.shape
        """Rows and columns of the image."""

    @property
    def whole(self) -> Embedding:
        """The embedding of the whole image."""
        return self(View(Window.full(self.shape)))

    def find(self, view: View) -> Embedding | None:
        """Return the embedding of a view that is in memory, or None."""
        return self.store.find(self._key(view))

    def __call__(self, view: View) -> Embedding:
        """Return the embedding of a view."""
        return self.store.get(self._key(view), lambda: self._embed(view))

    def _key(self, view: View) -> EmbeddingKey:
        model = self.predictor.model
        return EmbeddingKey(self.plane, view, model.fingerprint, model.encoder_precision)

    def _embed(self, view: View) -> Embedding:
        image, options = self.image, self._options
        if isinstance(image, PlaneSource):
            image, options = image.image(self.plane), image.embed_arguments(self.plane)
        return self.predictor.embed(image, window=view.window, span=view.span, **options)
