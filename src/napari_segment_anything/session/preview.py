"""Decoded masks, and the preview of the object in progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from ..engine import PlacedMask, View, Window
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
