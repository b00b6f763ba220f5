"""The pixels that become one embedding: read, keyed, and encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ParameterError
from ..network import EncoderOutput
from ..reading import require
from .backoff import run_in_batches
from .cache import signature
from .contrast import Limits, resolve_contrast_limits, stretch
from .embedding import Embedding
from .frame import to_frame
from .image import ImageSource
from .model import Model
from .symmetries import encode_symmetric
from .windows import Window, WindowPlan, frame_side, plan_window


@dataclass(frozen=True, slots=True, eq=False)
class FramePixels:
    """A window's pixels and everything else that its embedding depends on.

    Made by `FramePixels.read`.

    Parameters
    ----------
    model : Model
    image_shape : (int, int)
        Rows and columns of the full-resolution image.
    plan : WindowPlan
        What was read.
    limits : tuple of (float, float)
        Contrast limits of each channel.
    pixels : array (rows, columns, channels)
        As read from the image.
    span, symmetries : int
        As for `Predictor.embed`; `span` is None if it is not larger than the window.
    """

    model: Model
    image_shape: tuple[int, int]
    plan: WindowPlan
    limits: Limits
    pixels: np.ndarray
    span: int | None = None
    symmetries: int = 1

    @classmethod
    def read(
        cls,
        model: Model,
        source: ImageSource,
        window: Window | None,
        contrast_limits: Any,
        level: int | None = None,
        span: int | None = None,
        symmetries: int = 1,
    ) -> FramePixels:
        """Read what `Predictor.embed` is to encode; parameters and errors as there."""
        if window is not None:
            require(window, Window, "the window", "make one with Window(row, col, height, width)")
        if symmetries != 1 and not (1 <= symmetries <= 8 and model.has_dense_maps):
            raise ParameterError(
                f"symmetries is a number from 1 to 8, and above 1 for models with dense maps of "
                f"their own, such as the default; not {symmetries} for '{model.name}'"
            )
        plan = plan_window(source.shapes, window, model.image_size, level, span, model.frame_fit)
        limits = resolve_contrast_limits(source, contrast_limits)
        pixels = source.read(plan.level, plan.rows, plan.cols)
        wide = span is not None and span > max(plan.canvas)
        return cls(model, source.shape, plan, limits, pixels, span if wide else None, symmetries)

    def key(self) -> str:
        """Return the key of the embedding in a cache; hashes the pixels."""
        # which channels they are does not matter: a viewer has each as an image of its own
        more = {} if self.span is None else {"span": self.span}
        more |= {} if self.symmetries == 1 else {"symmetries": self.symmetries}
        rows, cols = self.plan.rows, self.plan.cols
        return signature(
            self.pixels,
            shape=self.image_shape,
            level=self.plan.level,
            window=(rows.start, rows.stop, cols.start, cols.stop),
            limits=self.limits,
            fingerprint=self.model.fingerprint,
            precision=self.model.encoder_precision,
            **more,
        )

    def encode(self) -> tuple[EncoderOutput, tuple[str, ...]]:
        """Run the image encoder; return its output, and notes on how it was fitted into memory."""
        model = self.model
        shown = stretch(self.pixels, self.limits)
        frame = to_frame(shown, model.image_size, self._span_read, model.frame_fit)
        outputs, notes = run_in_batches(
            lambda _, device: encode_symmetric(
                lambda view: model.encode(view, device), frame, self.symmetries
            ),
            1,
            1,
            model.devices,
            "image encoder",
        )
        return outputs[0], notes

    def embedding(self, output: EncoderOutput, notes: tuple[str, ...] = ()) -> Embedding:
        """Return the embedding, from the output of `encode` or of a cache."""
        model = self.model
        return Embedding(
            features=output.embedding,
            heads=output.heads,
            window=self.plan.window,
            canvas=self.plan.canvas,
            frame_shape=frame_side(
                self.pixels.shape, model.image_size, self._span_read, model.frame_fit
            ),
            image_size=model.image_size,
            image_shape=self.image_shape,
            level=self.plan.level,
            limits=self.limits,
            fingerprint=model.fingerprint,
            precision=model.encoder_precision,
            notes=notes,
            frame_fit=model.frame_fit,
        )

    @property
    def _span_read(self) -> float | None:
        """The span in pixels of the level that was read."""
        if self.span is None:
            return None
        return self.span * max(self.pixels.shape[:2]) / max(self.plan.canvas)
