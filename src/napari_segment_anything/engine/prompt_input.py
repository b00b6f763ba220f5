"""Prompts as users give them, checked and turned into arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import PromptError

PADDING = -1


def floats(values: Any, name: str) -> np.ndarray:
    """Return values as a new float32 array; `name` is for the error."""
    try:
        return np.array(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{name} must be an array of numbers: {error}") from error


def whole_labels(values: Any) -> np.ndarray:
    """Return labels as a new int8 array."""
    array = floats(values, "labels")
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int8)
    if (whole != array).any():
        raise PromptError("labels are 1 (inside the object) or 0 (outside)")
    return whole


def mask_arrays(
    masks: Any, has_mask: Any, count: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return mask logits (count, h, w) and which of them are there, both new or None."""
    if masks is None:
        if has_mask is not None and np.any(has_mask):
            raise PromptError("has_mask marks mask prompts, but there are no masks")
        return None, None
    if getattr(masks, "dtype", None) == np.bool_:
        raise PromptError(
            "mask prompts are low-resolution logits; mask_logits turns a boolean mask into them"
        )
    array = floats(masks, "masks")
    if array.ndim != 3 or len(array) != count or 0 in array.shape[1:]:
        raise PromptError(f"mask prompts have the shape ({count}, h, w), not {array.shape}")
    present = np.ones(count, bool) if has_mask is None else np.array(has_mask, bool)
    if present.shape != (count,):
        raise PromptError(f"has_mask has the shape ({count},), not {present.shape}")
    if not np.isfinite(array[present]).all():
        raise PromptError("a mask prompt is not finite")
    return array, present


def text_arrays(texts: Any, count: int) -> np.ndarray | None:
    """Return vectors of text prompts (count, channels), new; None if no object has one."""
    if texts is None:
        return None
    array = floats(texts, "texts")
    if array.ndim != 2 or len(array) != count or not array.shape[1]:
        raise PromptError(f"texts are vectors of shape ({count}, channels), not {array.shape}")
    given = ~np.isnan(array).all(1)
    if not np.isfinite(array[given]).all():
        raise PromptError("the vector of a text prompt is not finite")
    return array if given.any() else None


def object_arrays(
    item: Mapping[str, Any], number: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Return points (k, 2), labels (k,), box (4,), mask (h, w) and text (w,) of one object."""
    unknown = set(item) - {"points", "labels", "box", "mask", "text"}
    if unknown:
        raise PromptError(
            f"object {number} has {sorted(unknown)}; known are points, labels, box, mask and text"
        )
    raw = item.get("points")
    points = floats([] if raw is None else raw, "points")
    points = points.reshape(-1, 2) if points.size == 0 or points.shape == (2,) else points
    if points.ndim != 2 or points.shape[1] != 2:
        raise PromptError(f"points of object {number} have the shape (k, 2), not {points.shape}")
    given = item.get("labels")
    labels = np.ones(len(points), np.int8) if given is None else np.atleast_1d(whole_labels(given))
    if labels.shape != (len(points),):
        raise PromptError(
            f"object {number} has {len(points)} points and {labels.size} labels; "
            "give one label per point"
        )
    if (labels == PADDING).any():
        raise PromptError(f"object {number}: labels are 1 (inside the object) or 0 (outside)")
    box = item.get("box")
    if box is not None:
        box = floats(box, "box")
        if box.shape != (4,) or not np.isfinite(box).all():
            raise PromptError(
                f"the box of object {number} is (row_min, col_min, row_max, col_max), not {box}"
            )
    mask = item.get("mask")
    if mask is not None:
        if getattr(mask, "dtype", None) == np.bool_:
            raise PromptError(
                "mask prompts are low-resolution logits; mask_logits turns a boolean mask into them"
            )
        mask = floats(mask, "mask")
        if mask.ndim != 2 or 0 in mask.shape:
            raise PromptError(f"the mask of object {number} has the shape (h, w), not {mask.shape}")
    text = item.get("text")
    if text is not None:
        text = floats(text, "text")
        if text.ndim != 1 or not np.isfinite(text).all():
            raise PromptError(
                f"the text of object {number} is a vector, which Prompts.from_words makes of words"
            )
    return points, labels, box, mask, text
