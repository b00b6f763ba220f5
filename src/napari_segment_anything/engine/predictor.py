"""From an image to an embedding, from prompts to the network's masks; stateless."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import FormatError, ParameterError, PromptError
from ..reading import require
from ..wording import counted, extent
from .backoff import run_in_batches
from .cache import CacheWarning, EmbeddingCache
from .contrast import resolve_contrast_limits
from .embedding import Embedding
from .frame_pixels import FramePixels, encode_frames
from .image import open_image
from .masks import binarise
from .model import Model
from .prompts import PADDING, Prompts
from .windows import Window

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
        Of the image, that the masks cover.
    notes : tuple of str
        What was done to fit into memory.
    """

    masks: np.ndarray
    scores: np.ndarray
    logits: np.ndarray
    window: Window
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        masks = f"{counted(self.masks.shape[1], 'mask')} each, {extent(self.masks.shape[2:])}"
        return f"<Prediction: {counted(len(self), 'object')}, {masks}>"

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
    """Embeds images and decodes prompts: the network's own arithmetic, in one window.

    It leaves out what `Segmenter` decides: which view to encode, which candidate to take, what to
    clean away, and which connected parts are meant. It keeps no state of an image, so that
    threads may share it.

    Parameters
    ----------
    model : Model
        From `load_model`.
    cache : EmbeddingCache, optional
        Where embeddings are kept. With a cache on disk embeddings are rounded to half precision
        even when they are new, so that results never depend on what is cached.
    """

    def __init__(self, model: Model, cache: EmbeddingCache | None = None) -> None:
        require(model, Model, "a Predictor's model", "load one with load_model(name)")
        self.model = model
        self.cache = cache

    def __repr__(self) -> str:
        return f"<Predictor: {self.model!r}>"

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
            Pixels of the image along the side of the frame, if more than the window has: objects
            appear smaller, and the rest of the frame is filled with the window mirrored.
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
        frame = FramePixels.read(
            self.model,
            open_image(image, channel_axis=channel_axis, channels=channels),
            window,
            contrast_limits,
            level,
            span,
            symmetries,
        )
        return self._embedded([frame])[0]

    def embed_maps(
        self,
        image: Any,
        windows: Sequence[Window | None],
        *,
        side: int | None = None,
        mirrored: int = 0,
        channel_axis: int | None = None,
        channels: Sequence[int] | None = None,
        contrast_limits: Any = "auto",
        symmetries: int = 1,
    ) -> list[Embedding]:
        """Compute the dense maps alone of a model that has them, in frames of any size.

        The embeddings have no features that could be decoded. For the model's own frame, the maps
        are those of `embed`.

        Parameters
        ----------
        image, channel_axis, channels, contrast_limits, symmetries
            As for `embed`.
        windows : sequence of Window
            Encoded together, if they have one shape; None is the whole image.
        side : int, optional
            Pixels along the longer side of a window in its frame; by default those of the
            model's frame, to which it is padded then.
        mirrored : int
            Pixels in the frame by which each window is continued by its mirror image to the right
            and below.

        Raises
        ------
        ImageError, ParameterError, ResourceError
            As for `embed`.
        """
        source = open_image(image, channel_axis=channel_axis, channels=channels)
        limits = resolve_contrast_limits(source, contrast_limits)
        frames = [
            FramePixels.read(
                self.model, source, window, limits, symmetries=symmetries, side=side,
                mirrored=mirrored, maps_only=True,
            )
            for window in windows
        ]  # fmt: skip
        if len({frame.pixels.shape for frame in frames}) == 1:
            return self._embedded(frames)
        return [embedding for frame in frames for embedding in self._embedded([frame])]

    def _embedded(self, frames: Sequence[FramePixels]) -> list[Embedding]:
        """Encode what the cache lacks."""
        keys = [None if self.cache is None else frame.key() for frame in frames]
        outputs = [
            None if self.cache is None or key is None else self.cache.get(key, self.model.device)
            for key in keys
        ]
        missing = [number for number, output in enumerate(outputs) if output is None]
        notes: tuple[str, ...] = ()
        if missing:
            made, notes = encode_frames([frames[number] for number in missing])
            for number, output in zip(missing, made, strict=True):
                key = keys[number]
                kept = output if self.cache is None or key is None else self.cache.put(key, output)
                outputs[number] = kept
        return [
            frame.embedding(output, notes)
            for frame, output in zip(frames, outputs, strict=True)
            if output is not None
        ]

    def embed_ahead(
        self,
        image: Any,
        *,
        window: Window | None = None,
        channel_axis: int | None = None,
        channels: Sequence[int] | None = None,
        contrast_limits: Any = "auto",
    ) -> bool:
        """Encode a window into the cache, for `embed` to find, unless it is there.

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
        frame = FramePixels.read(self.model, source, window, contrast_limits)
        key = frame.key()
        if self.cache.has(key):
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("error", CacheWarning)
            try:
                self.cache.put(key, encode_frames([frame])[0][0])
            except CacheWarning as warning:
                raise FormatError(f"{warning}; make room and run again") from warning
        if not self.cache.has(key):
            raise FormatError("an embedding is larger than the cache may be; raise its bound")
        return True

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
        count, device = len(prompts), embedding.features.device
        found: tuple[Tensor, Tensor] | None = None
        for which, low, score, _ in self._batches(
            embedding, prompts, multimask, batch_size, return_all
        ):
            if len(which) == count:
                return low, score
            if found is None:
                shape = (count, *low.shape[1:])
                found = torch.zeros(shape, device=device), torch.zeros(shape[:2], device=device)
            index = torch.from_numpy(which).to(device)
            found[0][index] = low.to(device)
            found[1][index] = score.to(device)
        if found is None:
            shape = (0, self._candidates(multimask, return_all), *embedding.low_shape)
            return torch.zeros(shape, device=device), torch.zeros(shape[:2], device=device)
        return found

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
        if batch_size is None:
            batch_size = DEFAULT_BATCH
        elif batch_size < 1:
            raise ParameterError(f"batch_size must be at least 1, not {batch_size}")
        prompts.check(embedding.window, embedding.image_shape)
        for group in groups_of(prompts):
            for start in range(0, len(group), batch_size):
                which = group[start : start + batch_size]
                arrays = group_arrays(prompts, which)
                yield which, *self.decode_group(embedding, arrays, multimask, return_all)

    def decode_group(
        self,
        embedding: Embedding,
        arrays: Mapping[str, np.ndarray],
        multimask: bool,
        return_all: bool = False,
    ) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        """Predict logits and IoU of objects that have the same kinds and numbers of prompts.

        Parameters
        ----------
        embedding : Embedding
            From `embed`, with the same model.
        arrays : mapping of str to array
            As for `decoder_arguments`; all prompts inside the embedding's window.
        multimask, return_all : bool
            As for `decode`.

        Returns
        -------
        logits, iou : float32 tensor (n, c, 4h, 4w), float32 tensor (n, c)
        notes : tuple of str
            What was done to fit into memory.

        Raises
        ------
        PromptError, ParameterError, ResourceError
            As for `predict`.
        """
        model = self.model
        if embedding.fingerprint != model.fingerprint:
            raise ParameterError(
                f"the embedding was made with another model than {model.name}; embed again"
            )
        if "texts" in arrays and arrays["texts"].shape[1] != model.text_width:
            raise PromptError(
                f"{model.name} takes no text prompts of {arrays['texts'].shape[1]} channels; "
                "make them with Prompts.from_words(words, model), for a model trained with them"
            )
        if "masks" in arrays and arrays["masks"].shape[1:] != embedding.low_shape:
            raise PromptError(
                f"mask prompts are logits of shape {embedding.low_shape}, not "
                f"{arrays['masks'].shape[1:]}; mask_logits makes them from a boolean mask"
            )
        arguments = decoder_arguments(embedding, arrays, model.refines)
        count = len(next(iter(arguments.values())))

        def work(part: slice, device: torch.device) -> tuple[Tensor, Tensor]:
            return model.decode(
                embedding.features,
                device=device,
                multimask=multimask,
                return_all=return_all,
                heads=embedding.heads,
                **{name: value[part] for name, value in arguments.items()},
            )

        results, notes = run_in_batches(work, count, count, model.devices, "mask decoder")
        if len(results) == 1:
            return *results[0], notes
        device = results[0][0].device
        logits, iou = (
            torch.cat([each.to(device) for each in parts]) for parts in zip(*results, strict=True)
        )
        return logits, iou, notes


def _check_arguments(embedding: Embedding, prompts: Prompts) -> None:
    require(embedding, Embedding, "the embedding", "make one with Predictor.embed(image)")
    hint = "make them with Prompts.from_points, from_boxes, each_point or from_objects"
    require(prompts, Prompts, "prompts", hint)


def groups_of(prompts: Prompts) -> list[np.ndarray]:
    """Return indices of the objects that have the same kinds and numbers of prompts."""
    kind = prompts.point_counts * 8 + prompts.has_box * 4 + prompts.has_masks * 2 + prompts.has_text
    return [np.flatnonzero(kind == value) for value in np.unique(kind)]


def group_arrays(prompts: Prompts, which: np.ndarray) -> dict[str, np.ndarray]:
    """Return the prompts of the objects of one group, as `decoder_arguments` takes them.

    Parameters
    ----------
    prompts : Prompts
    which : int array (n,)
        Indices of the objects: one of `groups_of`.
    """
    first = which[0]
    arrays: dict[str, np.ndarray] = {}
    count = int(prompts.point_counts[first])
    if count:
        labels = prompts.labels[which]
        real = labels != PADDING
        arrays["points"] = prompts.points[which][real].reshape(len(which), count, 2)
        arrays["labels"] = labels[real].reshape(len(which), count)
    if prompts.has_box[first]:
        arrays["boxes"] = prompts.boxes[which]
    if prompts.masks is not None and prompts.has_masks[first]:
        arrays["masks"] = prompts.masks[which]
    if prompts.texts is not None and prompts.has_text[first]:
        arrays["texts"] = prompts.texts[which]
    return arrays


def decoder_arguments(
    embedding: Embedding, arrays: Mapping[str, np.ndarray], refines: bool
) -> dict[str, Tensor]:
    """Return the mask decoder's arguments, x before y, for n objects.

    Parameters
    ----------
    embedding : Embedding
        What they are decoded from.
    arrays : mapping of str to array
        Each optional: float32 "points" (n, k, 2) and "labels" (n, k), "boxes" (n, 4), "masks"
        (n, 4h, 4w), "texts" (n, channels).
    refines : bool
        Whether the model's refiner needs the boxes' outer edges as well.
    """
    arguments: dict[str, Tensor] = {}
    if "points" in arrays:
        frame = embedding.to_frame(arrays["points"])[..., ::-1].astype(np.float32)
        arguments["coords"] = torch.from_numpy(frame)
        arguments["labels"] = torch.from_numpy(arrays["labels"].astype(np.int32))
    if "boxes" in arrays:
        corners = arrays["boxes"].reshape(-1, 2, 2)
        frame = embedding.to_frame(corners)[..., ::-1].astype(np.float32)
        arguments["boxes"] = torch.from_numpy(frame).reshape(-1, 4)
        if refines:
            # of the outermost pixels' outer edges, as resizing takes them; -0.5 is the frame's
            outer = embedding.to_frame(corners + np.array([[0.0], [1.0]]))[..., ::-1] - 0.5
            arguments["edges"] = torch.from_numpy(outer.astype(np.float32)).reshape(-1, 4)
    if "masks" in arrays:
        arguments["masks"] = torch.from_numpy(arrays["masks"][:, None])
    if "texts" in arrays:
        arguments["texts"] = torch.from_numpy(arrays["texts"])
    return arguments
