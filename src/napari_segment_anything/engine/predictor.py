"""Image to embedding, prompts to masks; without state in between."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import FormatError, ParameterError, PromptError
from ..network import EncoderOutput
from ..reading import require
from .backoff import run_in_batches
from .cache import CacheWarning, EmbeddingCache, signature
from .contrast import Limits, resolve_contrast_limits, stretch
from .embedding import Embedding
from .frame import to_frame
from .image import ImageSource, open_image
from .masks import binarise
from .model import Model
from .prompt_input import PADDING
from .prompts import Prompts
from .symmetries import encode_symmetric
from .windows import Window, WindowPlan, frame_side, plan_window

DEFAULT_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Masks for the prompts of n objects, c candidates each.

    Parameters
    ----------
    masks : bool array (n, c, H, W)
        At the resolution of the window (the whole image by default).
    scores : float32 array (n, c)
        Predicted IoU.
    logits : float32 array (n, c, 4h, 4w)
        Low-resolution logits, to feed back as mask prompts.
    window : Window
        Where the masks lie in the image.
    notes : tuple of str
        What was done to fit into memory.
    """

    masks: np.ndarray
    scores: np.ndarray
    logits: np.ndarray
    window: Window
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def best_index(self) -> np.ndarray:
        """Candidate of each object with the highest predicted IoU: int (n,)."""
        return np.asarray(self.scores.argmax(axis=1))

    def best(self) -> np.ndarray:
        """Return the mask of each object's best candidate: bool (n, H, W)."""
        best: np.ndarray = self.masks[np.arange(len(self)), self.best_index]
        return best

    def best_logits(self) -> np.ndarray:
        """Return the logits of each object's best candidate: float32 (n, 4h, 4w)."""
        best: np.ndarray = self.logits[np.arange(len(self)), self.best_index]
        return best


class Predictor:
    """Embeds images and turns prompts into masks.

    It keeps nothing of an image: several threads may use one predictor.

    Parameters
    ----------
    model : Model
        From `load_model`.
    cache : EmbeddingCache, optional
        Where embeddings are kept. A cache on disk keeps half-precision numbers, and then gives
        these in the first place, so that results never depend on what is cached.
    """

    def __init__(self, model: Model, cache: EmbeddingCache | None = None) -> None:
        self.model = model
        self.cache = cache

    def embed(
        self,
        image: Any,
        *,
        window: Window | None = None,
        channel_axis: int | None = None,
        channels: Sequence[int] | None = None,
        contrast_limits: Any = "auto",
        level: int | None = None,
        span: int | None = None,
        symmetries: int = 1,
    ) -> Embedding:
        """Encode an image or a window of it.

        Parameters
        ----------
        image : array-like, or sequence of array-likes
            Anything with shape, dtype and indexing, or a pyramid of them, the full resolution
            first; axes as for `open_image`. Only the window is read (and, for contrast limits
            that are not given as numbers, a sample of bounded size).
        window : Window, optional
            In full-resolution pixels, clipped to the image; the whole image by default. Of a
            pyramid's reduced level whole pixels are read, so `Embedding.window` may be a little
            larger.
        channel_axis, channels : int, sequence of int
            As for `open_image`.
        contrast_limits : "auto", "percentile", (low, high), or one such pair per channel
            As for `resolve_contrast_limits`. For many windows of one image, resolve them once.
        level : int, optional
            Pyramid level to read; by default the coarsest at which the window fills the frame.
        span : int, optional
            How many pixels of the image the frame's side stands for, if more than the window has:
            objects are seen smaller, and the rest of the frame holds the window mirrored.
        symmetries : int
            Average the dense maps of a model that has them over so many mirrored and turned views
            of the frame, 1 to 8; each is another pass of the encoder. Prompted masks see the
            averaged maps too, if the model refines them.

        Raises
        ------
        ImageError
            If the image is not one.
        ParameterError
            If the window lies outside the image, or contrast limits or level are wrong.
        ResourceError
            If memory does not suffice, even on the CPU.
        """
        if window is not None:
            require(window, Window, "the window", "make one with Window(row, col, height, width)")
        source = open_image(image, channel_axis=channel_axis, channels=channels)
        plan, limits, pixels = self._read(source, window, contrast_limits, level, span)
        if span is not None and span <= max(plan.canvas):
            span = None
        reduced = None if span is None else span * max(pixels.shape[:2]) / max(plan.canvas)
        notes: tuple[str, ...] = ()
        if self.cache is None:
            output, notes = self._encode(pixels, limits, reduced, symmetries)
        else:
            key = self._key(source, plan, limits, pixels, span, symmetries)
            found = self.cache.get(key, self.model.device)
            if found is None:
                output, notes = self._encode(pixels, limits, reduced, symmetries)
                found = self.cache.put(key, output)
            output = found
        return Embedding(
            features=output.embedding,
            heads=output.heads,
            window=plan.window,
            canvas=plan.canvas,
            frame_shape=frame_side(pixels.shape, self.model.image_size, reduced),
            image_size=self.model.image_size,
            image_shape=source.shape,
            level=plan.level,
            limits=limits,
            fingerprint=self.model.fingerprint,
            precision=self.model.encoder_precision,
            notes=notes,
        )

    def embed_ahead(
        self,
        image: Any,
        *,
        window: Window | None = None,
        channel_axis: int | None = None,
        channels: Sequence[int] | None = None,
        contrast_limits: Any = "auto",
    ) -> bool:
        """Put the embedding that `embed` will ask for into the cache, unless it is there.

        Parameters and errors as for `embed`.

        Returns
        -------
        bool
            Whether it had to be encoded.

        Raises
        ------
        ParameterError
            If there is no cache.
        FormatError
            If the cache could not keep it.
        """
        if self.cache is None:
            raise ParameterError("embedding ahead needs a predictor with a cache")
        source = open_image(image, channel_axis=channel_axis, channels=channels)
        plan, limits, pixels = self._read(source, window, contrast_limits, None)
        key = self._key(source, plan, limits, pixels)
        if self.cache.has(key):
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("error", CacheWarning)
            try:
                self.cache.put(key, self._encode(pixels, limits)[0])
            except CacheWarning as warning:
                raise FormatError(f"{warning}; make room and run again") from warning
        if not self.cache.has(key):
            raise FormatError("an embedding is larger than the cache may be; raise its bound")
        return True

    def _read(
        self,
        source: ImageSource,
        window: Window | None,
        contrast_limits: Any,
        level: int | None,
        span: int | None = None,
    ) -> tuple[WindowPlan, Limits, np.ndarray]:
        plan = plan_window(source.shapes, window, self.model.image_size, level, span)
        limits = resolve_contrast_limits(source, contrast_limits)
        return plan, limits, source.read(plan.level, plan.rows, plan.cols)

    def _key(
        self,
        source: ImageSource,
        plan: WindowPlan,
        limits: Limits,
        pixels: np.ndarray,
        span: int | None = None,
        symmetries: int = 1,
    ) -> str:
        # which channels they are does not matter: a viewer has each as an image of its own
        more = {} if span is None else {"span": span}
        more |= {} if symmetries == 1 else {"symmetries": symmetries}
        return signature(
            pixels,
            shape=source.shape,
            level=plan.level,
            window=(plan.rows.start, plan.rows.stop, plan.cols.start, plan.cols.stop),
            limits=limits,
            fingerprint=self.model.fingerprint,
            precision=self.model.encoder_precision,
            **more,
        )

    def _encode(
        self,
        pixels: np.ndarray,
        limits: Limits,
        reduced: float | None = None,
        symmetries: int = 1,
    ) -> tuple[EncoderOutput, tuple[str, ...]]:
        if symmetries != 1 and not (1 <= symmetries <= 8 and self.model.has_dense_maps):
            raise ParameterError(
                f"symmetries is a number from 1 to 8, and above 1 for models with dense maps of "
                f"their own, such as the default; not {symmetries} for '{self.model.name}'"
            )
        frame = to_frame(stretch(pixels, limits), self.model.image_size, reduced)
        outputs, notes = run_in_batches(
            lambda _, device: encode_symmetric(
                lambda view: self.model.encode(view, device), frame, symmetries
            ),
            1,
            1,
            self.model.devices,
            "image encoder",
        )
        return outputs[0], notes

    def predict(
        self,
        embedding: Embedding,
        prompts: Prompts,
        multimask: bool = True,
        batch_size: int | None = None,
    ) -> Prediction:
        """Predict masks for prompts; objects never influence each other.

        Parameters
        ----------
        embedding : Embedding
            From `embed`, with the same model.
        prompts : Prompts
            In full-resolution coordinates of the whole image, inside the embedding's window.
        multimask : bool
            Three candidates for each object, or the one meant for unambiguous prompts.
        batch_size : int, optional
            Objects decoded at a time, 64 by default.

        Raises
        ------
        PromptError
            If a prompt lies outside the image or the window, or does not fit the embedding.
        ParameterError
            If the embedding is another model's.
        ResourceError
            If memory does not suffice, even on the CPU.
        """
        _check_arguments(embedding, prompts)
        candidates = self._candidates(multimask, False)
        count = len(prompts)
        masks = np.zeros((count, candidates, *embedding.window.shape), bool)
        scores = np.zeros((count, candidates), np.float32)
        logits = np.zeros((count, candidates, *embedding.low_shape), np.float32)
        notes: list[str] = []
        threshold = self.model.mask_threshold
        for which, low, iou, more in self._batches(embedding, prompts, multimask, batch_size):
            notes.extend(more)
            flat = low.flatten(0, 1)
            first, last = int(which[0]), int(which[-1]) + 1
            if last - first == len(which):  # neighbours: straight into the result
                target = masks[first:last].reshape(-1, *embedding.window.shape)
                binarise(flat, embedding, threshold, out=target)
            else:
                shape = (len(which), candidates, *embedding.window.shape)
                masks[which] = binarise(flat, embedding, threshold).reshape(shape)
            logits[which] = low.cpu().numpy()
            scores[which] = iou.cpu().numpy()
        return Prediction(masks, scores, logits, embedding.window, tuple(notes))

    def decode(
        self,
        embedding: Embedding,
        prompts: Prompts,
        multimask: bool = True,
        batch_size: int | None = None,
        return_all: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Predict low-resolution logits only; parameters and errors as for `predict`.

        Parameters
        ----------
        return_all : bool
            All four candidates, the one for unambiguous prompts first.

        Returns
        -------
        logits : float32 tensor (n, c, 4h, 4w)
            On the model's device.
        iou : float32 tensor (n, c)
            Predicted IoU.
        """
        candidates = self._candidates(multimask, return_all)
        count, device = len(prompts), embedding.features.device
        logits = iou = torch.zeros((0, candidates), device=device)
        for which, low, score, _ in self._batches(
            embedding, prompts, multimask, batch_size, return_all
        ):
            if len(which) == count:
                return low, score
            if len(iou) == 0:
                logits = torch.zeros((count, candidates, *embedding.low_shape), device=device)
                iou = torch.zeros((count, candidates), device=device)
            index = torch.from_numpy(which).to(device)
            logits[index] = low.to(device)
            iou[index] = score.to(device)
        return logits.reshape(count, candidates, *embedding.low_shape), iou

    def _candidates(self, multimask: bool, return_all: bool) -> int:
        several = self.model.network.config.multimask_outputs
        return several + 1 if return_all else several if multimask else 1

    def _batches(
        self,
        embedding: Embedding,
        prompts: Prompts,
        multimask: bool,
        batch_size: int | None,
        return_all: bool = False,
    ) -> Iterator[tuple[np.ndarray, Tensor, Tensor, tuple[str, ...]]]:
        """Decode in batches of objects with equal kinds and numbers of prompts."""
        if embedding.fingerprint != self.model.fingerprint:
            raise ParameterError(
                f"the embedding was made with another model than {self.model.name}; embed again"
            )
        if batch_size is None:
            batch_size = DEFAULT_BATCH
        elif batch_size < 1:
            raise ParameterError(f"batch_size must be at least 1, not {batch_size}")
        prompts.check(embedding.window, embedding.image_shape)
        if prompts.masks is not None and prompts.masks.shape[1:] != embedding.low_shape:
            raise PromptError(
                f"mask prompts are logits of shape {embedding.low_shape}, not "
                f"{prompts.masks.shape[1:]}; mask_logits makes them from a boolean mask"
            )
        known = {"maps": embedding.heads["dense"]} if self.model.refines else {}
        for group in _groups(prompts):
            for start in range(0, len(group), batch_size):
                which = group[start : start + batch_size]
                arguments = _arguments(embedding, prompts, which, self.model.refines)

                def work(
                    part: slice, device: torch.device, arguments: dict[str, Tensor] = arguments
                ) -> tuple[Tensor, Tensor]:
                    return self.model.decode(
                        embedding.features,
                        device=device,
                        multimask=multimask,
                        return_all=return_all,
                        **known,
                        **{name: value[part] for name, value in arguments.items()},
                    )

                results, notes = run_in_batches(
                    work, len(which), len(which), self.model.devices, "mask decoder"
                )
                if len(results) == 1:
                    yield which, *results[0], notes
                    continue
                device = results[0][0].device
                yield (
                    which,
                    torch.cat([low.to(device) for low, _ in results]),
                    torch.cat([iou.to(device) for _, iou in results]),
                    notes,
                )


def _groups(prompts: Prompts) -> list[np.ndarray]:
    """Return indices of the objects that have the same kinds and numbers of prompts."""
    kind = prompts.point_counts * 4 + prompts.has_box * 2 + prompts.has_masks
    return [np.flatnonzero(kind == value) for value in np.unique(kind)]


def _arguments(
    embedding: Embedding, prompts: Prompts, which: np.ndarray, refines: bool
) -> dict[str, Tensor]:
    """Return the decoder's arguments, x before y, for objects of one group."""
    first = which[0]
    arguments: dict[str, Tensor] = {}
    count = int(prompts.point_counts[first])
    if count:
        labels = prompts.labels[which]
        real = labels != PADDING
        points = prompts.points[which][real].reshape(len(which), count, 2)
        frame = embedding.to_frame(points)[..., ::-1].astype(np.float32)
        arguments["coords"] = torch.from_numpy(frame)
        labels = labels[real].reshape(len(which), count).astype(np.int32)
        arguments["labels"] = torch.from_numpy(labels)
    if prompts.has_box[first]:
        corners = prompts.boxes[which].reshape(len(which), 2, 2)
        frame = embedding.to_frame(corners)[..., ::-1].astype(np.float32)
        arguments["boxes"] = torch.from_numpy(frame).reshape(len(which), 4)
        if refines:
            # of the outermost pixels' outer edges, as resizing takes them; -0.5 is the frame's
            outer = embedding.to_frame(corners + np.array([[0.0], [1.0]]))[..., ::-1] - 0.5
            edges = torch.from_numpy(outer.astype(np.float32))
            arguments["edges"] = edges.reshape(len(which), 4)
    if prompts.masks is not None and prompts.has_masks[first]:
        arguments["masks"] = torch.from_numpy(prompts.masks[which][:, None])
    return arguments


def _check_arguments(embedding: Embedding, prompts: Prompts) -> None:
    require(embedding, Embedding, "the embedding", "make one with Predictor.embed(image)")
    hint = "make them with Prompts.from_points, from_boxes, each_point or from_objects"
    require(prompts, Prompts, "prompts", hint)
