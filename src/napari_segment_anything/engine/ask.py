"""Prompts of one object, and how they are given to the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import PromptError
from .prompts import Prompts
from .windows import PlacedMask, Window

if TYPE_CHECKING:
    from .embedding import Embedding
    from .encode_plan import View


def bounding_box(*points: np.ndarray) -> tuple[float, float, float, float]:
    """Return row_min, col_min, row_max, col_max of all points, arrays (n, 2), or boxes (4,)."""
    every = np.concatenate([np.asarray(each, np.float64).reshape(-1, 2) for each in points])
    low, high = every.min(axis=0), every.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """Prompts of one object, in pixels of the image.

    Parameters
    ----------
    points : float array (k, 2)
        (row, column).
    inside : bool array (k,)
        Whether each point is in the object.
    box : four floats, optional
        row_min, col_min, row_max, col_max.
    mask : PlacedMask, optional
        A mask to refine, such as one drawn by hand.
    window : Window, optional
        Window to decode in first; by default chosen by `EncodePlan`.
    feed : float32 array (4h, 4w), optional
        Logits of an earlier mask of the object, to refine.
    feed_view : View, optional
        The view in which these logits were decoded.
    text : float32 array (channels,), optional
        The vector of words.
    """

    points: np.ndarray
    inside: np.ndarray
    box: Sequence[float] | None = None
    mask: PlacedMask | None = None
    window: Window | None = None
    feed: np.ndarray | None = None
    feed_view: View | None = None
    text: np.ndarray | None = None

    @classmethod
    def each(cls, prompts: Prompts) -> list[Ask]:
        """Split prompts into those of single objects."""
        return [
            cls(
                np.asarray(item.get("points", np.zeros((0, 2))), np.float64),
                np.asarray(item.get("labels", ())) == 1,
                tuple(map(float, item["box"])) if "box" in item else None,
                feed=item.get("mask"),
                text=item.get("text"),
            )
            for item in prompts.objects()
        ]

    @property
    def positive(self) -> np.ndarray:
        """Points in the object: (k, 2)."""
        found: np.ndarray = self.points[self.inside]
        return found

    @property
    def drawn(self) -> np.ndarray:
        """Corners of the mask to refine: (2, 2), or (0, 2) if there is none."""
        if self.mask is None or self.mask.empty:
            return np.zeros((0, 2))
        return np.reshape(self.mask.window.box, (2, 2))

    @property
    def located(self) -> bool:
        """Whether a prompt says where the object is; words alone do not."""
        return bool(len(self.points)) or self.box is not None or bool(len(self.drawn))

    @property
    def ambiguous(self) -> bool:
        """Whether there is a single point and no other prompt: it may be of several objects."""
        alone = all(each is None for each in (self.box, self.mask, self.feed, self.text))
        return len(self.points) == 1 and alone

    def extent(self) -> tuple[float, float, float, float]:
        """Return row_min, col_min, row_max, col_max of all prompts.

        Raises
        ------
        PromptError
            If there are logits alone, which do not say where they are.
        """
        corners = [self.points, self.drawn]
        if self.box is not None:
            corners.append(np.reshape(self.box, (2, 2)))
        if not sum(map(len, corners)):
            raise PromptError("logits alone do not say where an object is; give a point or a box")
        return bounding_box(*corners)

    def fits(self, window: Window) -> bool:
        """Whether the box and the points in the object lie in a window."""
        corners = [self.positive]
        if self.box is not None:
            corners.append(np.reshape(self.box, (2, 2)))
        return not sum(map(len, corners)) or window.holds(bounding_box(*corners))

    def unfed(self) -> Ask:
        """Return the same prompts without logits to refine, which belong to one view."""
        return replace(self, feed=None, feed_view=None)

    def seen_in(self, embedding: Embedding) -> dict[str, np.ndarray]:
        """Return the prompts as `decoder_arguments` takes those of several objects.

        Negative points outside the embedding's window are left out.

        Raises
        ------
        PromptError
            If another prompt lies outside of it, or there are only negative points.
        """
        from .masks import mask_logits  # brings torch, which a project is opened without

        window, points, inside = embedding.window, self.points.astype(np.float32), self.inside
        item: dict[str, np.ndarray] = {}
        if self.box is not None:
            item["boxes"] = np.asarray(self.box, np.float32)
        if self.text is not None:
            item["texts"] = np.asarray(self.text, np.float32)
        if self.feed is not None:
            item["masks"] = self.feed
        elif self.mask is not None and not self.mask.empty:
            item["masks"] = mask_logits(self.mask.within(window), embedding)
            if self.box is None and not inside.any():
                # the network was never trained with a mask alone, and does badly with it
                box = np.add(self.mask.window.box, (-0.5, -0.5, 0.5, 0.5))
                item["boxes"] = box.astype(np.float32)
        if not (item or inside.any()):
            raise PromptError("an object has only negative points; add a positive one or a box")
        if not self.fits(window):
            _, _, last_row, last_col = window.box
            raise PromptError(
                f"a point or the box of an object lies outside what is decoded, rows {window.row} "
                f"to {last_row} and columns {window.col} to {last_col} of the image"
            )
        low = np.array([window.row, window.col]) - 0.5
        kept = inside | ((points >= low) & (points <= low + window.shape)).all(axis=1)
        if kept.any():
            item["points"], item["labels"] = points[kept], inside[kept]
        return item
