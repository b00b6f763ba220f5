"""The pixels that become one embedding: read, keyed, and encoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ParameterError
from ..network import EncoderOutput
from ..reading import require
from .backoff import run_in_batches
from .cache import signature
from .contrast import Limits, resolve_contrast_limits, stretch
from .embedding import Embedding
from .frame import WindowPlan, frame_side, mirror_margin, plan_window, to_frame
from .image import ImageSource
from .model import Model
from .symmetries import symmetric_maps
from .windows import Window


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
    side : int, optional
        Frame pixels along the window's longer side, if not those of the model's frame.
    mirrored : int
        Frame pixels of its mirror image right of it and below.
    maps_only : bool
        Whether the dense maps alone are computed.
    """

    model: Model
    image_shape: tuple[int, int]
    plan: WindowPlan
    limits: Limits
    pixels: np.ndarray
    span: int | None = None
    symmetries: int = 1
    side: int | None = None
    mirrored: int = 0
    maps_only: bool = False

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
        side: int | None = None,
        mirrored: int = 0,
        maps_only: bool = False,
    ) -> FramePixels:
        """Read what a `Predictor` is to encode; parameters and errors as there."""
        if window is not None:
            require(window, Window, "the window", "make one with Window(row, col, height, width)")
        if symmetries != 1 and not (1 <= symmetries <= 8 and model.has_dense_maps):
            raise ParameterError(
                f"symmetries is a number from 1 to 8, and above 1 for models with dense maps of "
                f"their own, such as the default; not {symmetries} for '{model.name}'"
            )
        frame = model.image_size if side is None else side
        plan = plan_window(source.shapes, window, frame, level, span, model.frame_fit)
        limits = resolve_contrast_limits(source, contrast_limits)
        pixels = source.read(plan.level, plan.rows, plan.cols)
        wide = span is not None and span > max(plan.canvas)
        return cls(
            model, source.shape, plan, limits, pixels, span if wide else None, symmetries,
            side, mirrored, maps_only,
        )  # fmt: skip

    def key(self) -> str:
        """Return the key of the embedding in a cache; hashes the pixels."""
        # which channels they are does not matter: a viewer has each as an image of its own
        more = {} if self.span is None else {"span": self.span}
        more |= {} if self.symmetries == 1 else {"symmetries": self.symmetries}
        if self.maps_only:
            more |= {"side": self._side, "mirrored": self.mirrored}
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

    def frame(self) -> Tensor:
        """Return the frame, neither normalised nor padded: float32 (1, 3, h, w), 0..255."""
        shown = stretch(self.pixels, self.limits)
        frame = to_frame(shown, self._side, self._span_read, self.model.frame_fit)
        return mirror_margin(frame, self.mirrored) if self.mirrored else frame

    def embedding(self, output: EncoderOutput, notes: tuple[str, ...] = ()) -> Embedding:
        """Return the embedding, from the output of `encode` or of a cache."""
        model = self.model
        return Embedding(
            features=output.embedding,
            heads=output.heads,
            window=self.plan.window,
            canvas=self.plan.canvas,
            frame_shape=frame_side(self.pixels.shape, self._side, self._span_read, model.frame_fit),
            image_size=self._side,
            image_shape=self.image_shape,
            level=self.plan.level,
            limits=self.limits,
            fingerprint=model.fingerprint,
            precision=model.encoder_precision,
            notes=notes,
            frame_fit=model.frame_fit,
        )

    @property
    def _side(self) -> int:
        return self.model.image_size if self.side is None else self.side

    @property
    def _span_read(self) -> float | None:
        """The span in pixels of the level that was read."""
        if self.span is None:
            return None
        return self.span * max(self.pixels.shape[:2]) / max(self.plan.canvas)


def encode_frames(
    frames: Sequence[FramePixels],
) -> tuple[list[EncoderOutput], tuple[str, ...]]:
    """Run the image encoder on frames of one size.

    Parameters
    ----------
    frames : sequence of FramePixels
        Of one model, which differ in their pixels only.

    Returns
    -------
    list of EncoderOutput
        One for each; without an embedding (of one zero) where the maps alone are computed.
    tuple of str
        What was done to fit into memory.
    """
    first = frames[0]
    model, symmetries, square = first.model, first.symmetries, first.side is None
    pixels = torch.cat([each.frame() for each in frames])

    def work(part: slice, device: torch.device) -> EncoderOutput:
        here = pixels[part]

        def maps(view: Tensor) -> Tensor:
            return model.dense_maps(view, device, square=square)

        if first.maps_only:
            dense = symmetric_maps(maps, here, symmetries)
            return EncoderOutput(dense.new_zeros(len(dense), 1, 1, 1), {"dense": dense})
        output = model.encode(here, device)
        if symmetries == 1:
            return output
        dense = symmetric_maps(maps, here, symmetries, output.heads["dense"])
        return EncoderOutput(output.embedding, {**output.heads, "dense": dense})

    batches, notes = run_in_batches(work, len(frames), len(frames), model.devices, "image encoder")
    return [each for batch in batches for each in _apart(batch)], notes


def _apart(batch: EncoderOutput) -> Iterator[EncoderOutput]:
    for number in range(len(batch.embedding)):
        here = slice(number, number + 1)
        heads = {name: head[here] for name, head in batch.heads.items()}
        yield EncoderOutput(batch.embedding[here], heads)
