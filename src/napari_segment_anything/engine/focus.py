"""Embeddings of one image from several views."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Protocol

import numpy as np

from .contrast import resolve_contrast_limits
from .embedding import Embedding
from .image import open_image
from .predictor import Predictor
from .view import View
from .windows import Window


class Seen(Protocol):
    """An image as a segmenter wants it: embeddings by view."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the image."""

    def __call__(self, view: View) -> Embedding:
        """Return the embedding of a view, encoding it if it is not there."""

    def has(self, view: View) -> bool:
        """Whether a view is encoded."""


class Views:
    """Embeddings of an image from several views; the last ones are kept.

    Parameters
    ----------
    predictor : Predictor
    image : array-like, or sequence of array-likes
        As for `Predictor.embed`.
    kept : int
        Views kept in memory.
    **options
        Of `Predictor.embed`: channel_axis, channels, contrast_limits. Contrast limits are settled
        once, for the whole image.
    """

    def __init__(self, predictor: Predictor, image: Any, kept: int = 8, **options: Any) -> None:
        self.predictor, self.image, self._count = predictor, image, kept
        limits = options.pop("contrast_limits", "auto")
        source = open_image(image, **options)
        self._shape = source.shape
        self._options = {**options, "contrast_limits": resolve_contrast_limits(source, limits)}
        self._kept: OrderedDict[View, Embedding] = OrderedDict()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return self._shape

    @property
    def whole(self) -> Embedding:
        """The embedding of the whole image."""
        return self(View(Window.full(self.shape)))

    def has(self, view: View) -> bool:
        """Whether a view is in memory."""
        return view in self._kept

    def __call__(self, view: View) -> Embedding:
        """Return the embedding of a view."""
        if view in self._kept:
            self._kept.move_to_end(view)
            return self._kept[view]
        found = self.predictor.embed(
            self.image, window=view.window, span=view.span, **self._options
        )
        self._kept[view] = found
        if len(self._kept) > self._count:
            self._kept.popitem(last=False)
        return found


def around(*points: np.ndarray) -> tuple[float, float, float, float]:
    """Box that holds all points: arrays (n, 2) of (row, column)."""
    every = np.concatenate([np.asarray(each, np.float64).reshape(-1, 2) for each in points])
    low, high = every.min(axis=0), every.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
