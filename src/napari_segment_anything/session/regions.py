"""Masks and changes of labels, packed small: what history and journal are made of."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from ..engine import PlacedMask, Window
from ..errors import FormatError, PromptError
from ..limits import MASK_PIXELS
from ..reading import inflate


def clusters(windows: Mapping[int, Window]) -> list[list[int]]:
    """Group windows, by their keys, such that those of different groups share no pixel."""
    if not windows:
        return []
    keys = list(windows)
    boxes = np.array([(w.row, w.col, w.row + w.height, w.col + w.width) for w in windows.values()])
    near = (boxes[:, None, :2] < boxes[None, :, 2:]).all(-1)
    count, group = connected_components(csr_array(near & near.T), directed=False)
    return [[keys[i] for i in np.flatnonzero(group == number)] for number in range(count)]


def window_json(window: Window | None) -> list[int] | None:
    """Return a window as [row, col, height, width]."""
    return None if window is None else [window.row, window.col, window.height, window.width]


def window_from(data: Any) -> Window:
    """Read what `window_json` gave."""
    row, col, height, width = data
    return Window(row, col, height, width)


def drawn_mask(mask: Any, window: Window) -> PlacedMask:
    """Take a mask that a user drew.

    Parameters
    ----------
    mask : bool array (height, width)
    window : Window
        Where it lies, in full-resolution pixels.

    Raises
    ------
    PromptError
        If it is not boolean, is empty, or has another shape than the window.
    """
    array = np.asarray(mask)
    if array.dtype != np.bool_:
        raise PromptError(f"a mask is boolean, not {array.dtype}; compare labels with an id")
    if array.shape != window.shape:
        raise PromptError(f"the mask has shape {array.shape}, its window {window.shape}")
    placed = PlacedMask.of(array, window.row, window.col)
    if placed.empty:
        raise PromptError("the mask is empty; draw or choose something")
    return placed


def mask_json(mask: PlacedMask) -> dict[str, Any]:
    """Return a mask as plain values: its window, and its bits deflated, as base64."""
    packed = base64.b64encode(zlib.compress(mask.bits, 6)).decode("ascii")
    return {"window": window_json(mask.window), "bits": packed}


def mask_from(data: Mapping[str, Any]) -> PlacedMask:
    """Read what `mask_json` gave."""
    window = _bounded(data["window"])
    size = -(-window.height * window.width // 8)
    return PlacedMask(window, inflate(_bytes(data["bits"]), size, "a mask in the journal"))


@dataclass(frozen=True, slots=True)
class Patch:
    """A change of labels in a window of a plane, and how to take it back.

    Parameters
    ----------
    plane : tuple of int
        Which plane.
    window : Window
        Where, in full-resolution pixels.
    dtype : str
        Of the labels.
    before, after : bytes
        Labels (height, width), deflated.
    """

    plane: tuple[int, ...]
    window: Window
    dtype: str
    before: bytes
    after: bytes

    @classmethod
    def between(
        cls, plane: tuple[int, ...], window: Window, before: np.ndarray, after: np.ndarray
    ) -> Patch | None:
        """Make the patch that turns `before` into `after`; None where they are equal."""
        changed = PlacedMask.of(before != after, window.row, window.col)
        if changed.empty:
            return None
        dtype, inner = before.dtype.newbyteorder("<"), changed.window
        where = inner.slices_in(window)
        parts = [np.ascontiguousarray(part[where], dtype) for part in (before, after)]
        packed = [zlib.compress(part.tobytes(), 6) for part in parts]
        return cls(tuple(plane), inner, dtype.str, packed[0], packed[1])

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return labels before and after: each int (height, width)."""
        size = self.window.height * self.window.width * np.dtype(self.dtype).itemsize
        before, after = (
            np.frombuffer(inflate(data, size, "a change of labels"), self.dtype).reshape(
                self.window.shape
            )
            for data in (self.before, self.after)
        )
        return before, after

    def inverse(self) -> Patch:
        """Return the patch that takes this one back."""
        return Patch(self.plane, self.window, self.dtype, self.after, self.before)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "plane": list(self.plane),
            "window": window_json(self.window),
            "dtype": self.dtype,
            "before": base64.b64encode(self.before).decode("ascii"),
            "after": base64.b64encode(self.after).decode("ascii"),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Patch:
        """Read what `to_json` gave."""
        patch = cls(
            tuple(data["plane"]),
            _bounded(data["window"]),
            str(data["dtype"]),
            _bytes(data["before"]),
            _bytes(data["after"]),
        )
        patch.arrays()
        return patch


def _bounded(data: Any) -> Window:
    """Read a window of packed pixels, which may not be too many to unpack."""
    window = window_from(data)
    MASK_PIXELS.check(window.height * window.width, "a mask or a change of labels in the journal")
    return window


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(f"packed pixels cannot be read: {error}") from error
