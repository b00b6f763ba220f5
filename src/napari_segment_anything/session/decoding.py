"""Decoding a snapshot of prompts, which takes time, on any thread; and the masks it gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np

from ..engine import Ask, PlacedMask, Segmenter, View, Views, Window
from ..progress import Progress
from .objects import ObjectPrompts


@dataclass(frozen=True, slots=True, eq=False)
class DecodedObject:
    """Masks of one object.

    Parameters
    ----------
    key : int
        The draft's key.
    prompts : ObjectPrompts
        What was decoded.
    asked, window : Window
        The window of the request, and the pixels that the masks were decoded in.
    masks : tuple of PlacedMask
        A mask for each candidate.
    scores : tuple of float
        Predicted IoU of each.
    best : int
        Index of the candidate that is used unless another is chosen.
    logits : float32 array (candidates, 4h, 4w) or None
        Low-resolution masks, which the next prompt refines; None in a batch.
    view : View or None
        From where they were decoded; None for a mask drawn by hand.
    """

    key: int
    prompts: ObjectPrompts
    asked: Window
    window: Window
    masks: tuple[PlacedMask, ...]
    scores: tuple[float, ...]
    best: int
    logits: np.ndarray | None = None
    view: View | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PreviewObject:
    """An object in progress as it would be committed.

    Parameters
    ----------
    decoded : DecodedObject
    chosen : int
        Index of the candidate that is used.
    mask : PlacedMask
        What a commit writes: the candidate, or a mask drawn by hand.
    score : float or None
        Predicted IoU; None for a mask drawn by hand.
    """

    decoded: DecodedObject
    chosen: int
    mask: PlacedMask
    score: float | None

    @classmethod
    def of(cls, decoded: DecodedObject, chosen: int) -> PreviewObject:
        """Make it of one of the candidates."""
        return cls(decoded, chosen, decoded.masks[chosen], decoded.scores[chosen])

    @property
    def key(self) -> int:
        """The draft's key."""
        return self.decoded.key


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """Masks of the draft.

    Parameters
    ----------
    revision : int
    plane : tuple of int
    objects : tuple of PreviewObject
        In the order of the draft's keys; at least one.
    """

    revision: int
    plane: tuple[int, ...]
    objects: tuple[PreviewObject, ...]
    extent: Window | None = field(init=False)
    """The smallest window that holds every mask; None if all are empty."""
    window: Window = field(init=False)
    """Where the masks lie: a single object's window, or what holds every mask of a batch."""

    def __post_init__(self) -> None:
        masks = [item.mask.window for item in self.objects if not item.mask.empty]
        extent, window = None, self.objects[0].decoded.window
        if masks:
            extent = reduce(Window.union, masks)
            window = extent.union(window) if len(self.objects) == 1 else extent
        object.__setattr__(self, "extent", extent)
        object.__setattr__(self, "window", window)

    @property
    def mask(self) -> np.ndarray:
        """All objects together: bool (height, width) of `window`."""
        return self.labels > 0

    @property
    def labels(self) -> np.ndarray:
        """Object number 1, 2, ... in the order of `objects`: int32 (height, width) of `window`.

        Where two overlap, the higher score is in front.
        """
        return self.labels_in(self.window)

    def labels_in(self, window: Window) -> np.ndarray:
        """Return the `labels` of another window: int32 (height, width)."""
        result = np.zeros(window.shape, np.int32)
        for index in np.argsort([item.score or 0.0 for item in self.objects], kind="stable"):
            self.objects[index].mask.paste(result, index + 1, window.row, window.col)
        return result

    @property
    def candidates(self) -> np.ndarray:
        """Every candidate of the first object: bool (c, height, width) of `window`."""
        window = self.window
        return np.stack([mask.within(window) for mask in self.objects[0].decoded.masks])

    @property
    def scores(self) -> tuple[float, ...]:
        """Predicted IoU of the first object's candidates."""
        return self.objects[0].decoded.scores

    @property
    def chosen(self) -> int:
        """Index of the first object's candidate that is shown."""
        return self.objects[0].chosen

    @property
    def score(self) -> float | None:
        """Predicted IoU of what is shown of the first object; None if it was drawn by hand."""
        return self.objects[0].score


@dataclass(frozen=True, slots=True, eq=False)
class DecodeItem:
    """One object to decode: its prompts, also as the segmenter takes them.

    Parameters
    ----------
    key : int
    prompts : ObjectPrompts
    ask : Ask
        With the window to decode in, and logits to refine, if any.
    reuse : DecodedObject, optional
        Masks of the same prompts, which need not be decoded again.
    """

    key: int
    prompts: ObjectPrompts
    ask: Ask
    reuse: DecodedObject | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DecodeRequest:
    """A snapshot of everything that decoding needs; made by `Session.request`.

    Parameters
    ----------
    revision : int
        Of the draft; negative for a look at what a point would give.
    plane : tuple of int
    items : tuple of DecodeItem
    segmenter : Segmenter
    views : Views
        The plane, with embeddings by view.
    fed_by : int or None
        The revision whose masks are refined.
    epoch : int
        Changes with the model and the settings.
    """

    revision: int
    plane: tuple[int, ...]
    items: tuple[DecodeItem, ...]
    segmenter: Segmenter
    views: Views
    fed_by: int | None = None
    epoch: int = 0

    @property
    def is_encoded(self) -> bool:
        """Whether it needs the mask decoder only, which is fast."""
        plan = self.segmenter.plan(self.views.shape)
        return all(item.reuse or self.views.find(plan.first_view(item.ask)) for item in self.items)


@dataclass(frozen=True, slots=True, eq=False)
class DecodeResult:
    """The result of `decode`.

    Parameters
    ----------
    revision : int
        Of the draft it belongs to.
    plane : tuple of int
    fingerprint : str
        Of the model.
    objects : tuple of DecodedObject
    fed_by : int or None
    seconds : float
        Computing time.
    epoch : int
    """

    revision: int
    plane: tuple[int, ...]
    fingerprint: str
    objects: tuple[DecodedObject, ...]
    fed_by: int | None = None
    seconds: float = 0.0
    epoch: int = 0
    nbytes: int = field(init=False)
    """Of masks and logits."""

    def __post_init__(self) -> None:
        bits = sum(len(mask.bits) for item in self.objects for mask in item.masks)
        logits = sum(item.logits.nbytes for item in self.objects if item.logits is not None)
        object.__setattr__(self, "nbytes", bits + logits)

    def preview(self) -> Preview:
        """Return the masks as a preview, each object's best candidate chosen."""
        return Preview(
            self.revision,
            self.plane,
            tuple(PreviewObject.of(item, item.best) for item in self.objects),
        )


def decode(
    request: DecodeRequest, cancelled: Callable[[], bool] = lambda: False
) -> Generator[Progress, None, DecodeResult | None]:
    """Decode a request, on any thread; several may run at a time.

    Parameters
    ----------
    request : DecodeRequest
        From `Session.request` or `Session.hover_request`.
    cancelled : callable
        Asked before every step that takes time.

    Yields
    ------
    Progress
        Before every step.

    Returns
    -------
    DecodeResult or None
        For `Session.accept`; None if it was cancelled.
    """
    began = time.perf_counter()
    done: dict[int, DecodedObject] = {
        item.key: replace(item.reuse, key=item.key) for item in request.items if item.reuse
    }
    waiting = [item for item in request.items if item.reuse is None]
    found = yield from request.segmenter.steps(
        request.views,
        [item.ask for item in waiting],
        cancelled,
        peek=request.revision < 0,
    )
    if found is None:
        return None
    for item, each in zip(waiting, found, strict=True):
        # logits of a batch would be large, and nobody goes on with them
        logits = each.logits if len(request.items) == 1 else None
        done[item.key] = DecodedObject(
            item.key, item.prompts, each.asked, each.embedding.window,
            each.masks, each.scores, each.best, logits, each.view,
        )  # fmt: skip
    return DecodeResult(
        request.revision,
        request.plane,
        request.segmenter.predictor.model.fingerprint,
        tuple(done[item.key] for item in request.items),
        request.fed_by,
        time.perf_counter() - began,
        request.epoch,
    )
