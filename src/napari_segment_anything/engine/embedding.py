"""Embeddings: how coordinates map between image and frame; a store for them; those of a plane."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import ParameterError
from ..wording import extent
from .contrast import Limits, resolve_contrast_limits
from .encode_plan import View
from .image import open_image
from .planes import PlaneSource
from .windows import Window

if TYPE_CHECKING:
    from torch import Tensor

    from ..network import FrameFit
    from .predictor import Predictor

MEMORY_BYTES = 512 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """An encoded window of an image. Holds no pixels.

    Parameters
    ----------
    features : Tensor (1, 256, h, w)
        Image embedding, float32, on the model's device.
    heads : mapping of str to Tensor
        Further dense maps of the encoder, (1, channels, ., .) float32; empty for published models.
    window : Window
        What was encoded, in full-resolution pixels; masks have its shape.
    canvas : tuple of int
        Full-resolution rows and columns shown in the frame: the window's shape, except for
        the last pixels of a pyramid level that reach over the image's edge (or stop short).
    frame_shape : tuple of int
        Rows and columns of the frame that hold image; the rest, right and below, is padding.
    image_size : int
        Side S of the square frame.
    image_shape : tuple of int
        Rows and columns of the full-resolution image.
    level : int
        Pyramid level that was read.
    limits : tuple of (float, float)
        Contrast limits used; pass them to `embed` for other windows of the same image.
    fingerprint : str
        Of the model's weights.
    precision : str
        Of the image encoder: "fp32", "bf16" or "fp16".
    notes : tuple of str
        What was done to fit into memory.
    frame_fit : {"pad", "stretch"}
        As for `frame_side`.
    """

    features: Tensor
    heads: Mapping[str, Tensor]
    window: Window
    canvas: tuple[int, int]
    frame_shape: tuple[int, int]
    image_size: int
    image_shape: tuple[int, int]
    level: int = 0
    limits: Limits = ()
    fingerprint: str = ""
    precision: str = "fp32"
    notes: tuple[str, ...] = ()
    frame_fit: FrameFit = "pad"

    low_shape: tuple[int, int] = field(init=False)
    """Rows and columns of low-resolution logits, the padding included."""
    halfway: tuple[tuple[int, int], tuple[int, int]] = field(init=False)
    """The size between low-resolution logits and canvas, and rows and columns with image.

    It is the frame's. Logits of a stretched window are resized in one step, as published: then
    both are `low_shape`.
    """
    scale: tuple[float, float] = field(init=False)
    """Frame pixels per image pixel, along rows and columns."""

    def __post_init__(self) -> None:
        low = (4 * self.features.shape[-2], 4 * self.features.shape[-1])
        frame = (self.image_size, self.image_size)
        one_step = self.frame_fit == "stretch" and self.frame_shape == frame
        rows, cols = self.frame_shape
        object.__setattr__(self, "low_shape", low)
        object.__setattr__(self, "halfway", (low, low) if one_step else (frame, self.frame_shape))
        object.__setattr__(self, "scale", (rows / self.canvas[0], cols / self.canvas[1]))

    def __repr__(self) -> str:
        return f"<Embedding of {self.window} of {extent(self.image_shape)}, {self.precision}>"

    @property
    def nbytes(self) -> int:
        """Bytes of features and heads."""
        return sum(t.nelement() * t.element_size() for t in (self.features, *self.heads.values()))

    def to_frame(self, coordinates: npt.ArrayLike) -> np.ndarray:
        """Map image (row, column) to frame (row, column), as published: no half-pixel shift.

        Parameters
        ----------
        coordinates : array-like (..., 2)
            In full-resolution pixels of the whole image.

        Returns
        -------
        float64 array (..., 2)
        """
        origin = np.array([self.window.row, self.window.col], np.float64)
        offset: np.ndarray = np.asarray(coordinates, np.float64) - origin
        frame: np.ndarray = offset * np.array(self.scale)
        return frame

    def from_frame(self, coordinates: npt.ArrayLike) -> np.ndarray:
        """Map frame (row, column) to image (row, column): the inverse of `to_frame`."""
        origin = np.array([self.window.row, self.window.col], np.float64)
        offset: np.ndarray = np.asarray(coordinates, np.float64) / np.array(self.scale)
        image: np.ndarray = offset + origin
        return image


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=_Sized)


class EmbeddingStore(Generic[K, V]):
    """Embeddings, or what was found by them, by key; bounded in bytes. Threads may share it.

    When it is full, the least recently used are dropped, but never the one added last.

    Parameters
    ----------
    memory_bytes : int
        Bound of the sum of `nbytes`, on any device.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self.memory_bytes = memory_bytes
        self._items: OrderedDict[K, V] = OrderedDict()
        self._used = 0
        self._lock = threading.Lock()

    def find(self, key: K) -> V | None:
        """Return the value of a key, or None; counts as a use."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return the value of a key; if there is none, make it and keep it."""
        found = self.find(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Keep a value."""
        with self._lock:
            previous = self._items.pop(key, None)
            self._used += value.nbytes - (0 if previous is None else previous.nbytes)
            self._items[key] = value
            while self._used > self.memory_bytes and len(self._items) > 1:
                self._used -= self._items.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._items.clear()
            self._used = 0

    @property
    def used(self) -> int:
        """Bytes kept."""
        return self._used

    def __iter__(self) -> Iterator[K]:
        """Iterate over the present keys, the least recently used first."""
        with self._lock:
            return iter(list(self._items))

    def __len__(self) -> int:
        return len(self._items)


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
