"""Labelled images in the form that crops are cut from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..engine.contrast import resolve_contrast_limits, stretch
from ..engine.image import open_image
from ..errors import FormatError
from .dense import interior_map
from .seen import SEEN, seen_levels


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image with its objects, prepared for cropping.

    Parameters
    ----------
    name : str
        Unique name, ``"set/file"`` (and the plane, for planes of a stack).
    group : str
        Set that it is drawn with.
    image : ndarray
        (h, w, 1 or 3) uint8, contrast stretched (see `pixels`).
    labels : ndarray
        (h, w) int32, 0 background.
    interior : ndarray
        (h, w) uint8, see `dense.interior_map`.
    wholes : ndarray or None
        (h, w) or (layers, h, w) int32, labels of larger objects that contain the objects or
        overlap them, if known.
    typical_size : float
        Median of the square root of the objects' areas, in pixels; 0 without objects.
    digest : str
        First 16 hexadecimal digits of the SHA-256 of pixels and labels before any conversion.
    anchors : ndarray
        (objects, 3) int32: row and column of a pixel deep inside each object, and 1 if the object
        touches another one.
    seen : ndarray or None
        (h, w) uint8, levels of `seen.seen_levels`; None if every object is labelled.
    """

    name: str
    group: str
    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    interior: NDArray[np.uint8] = field(repr=False)
    wholes: NDArray[np.int32] | None
    typical_size: float
    digest: str = ""
    anchors: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 3), np.int32))
    seen: NDArray[np.uint8] | None = field(default=None, repr=False)

    @property
    def nbytes(self) -> int:
        """Memory use in bytes."""
        arrays = (self.image, self.labels, self.interior, self.wholes, self.seen)
        # labels that are 0 throughout may be one number, repeated
        held = [array for array in arrays if array is not None and any(array.strides)]
        return sum(array.nbytes for array in held)


def pixels(
    image: NDArray, channel_axis: int | None = None, channels: Sequence[int] | None = None
) -> NDArray[np.uint8]:
    """Any image as inference shows it to a network, on whole gray levels.

    Parameters
    ----------
    image : ndarray
        (h, w), (h, w, 3 or 4), or channels at `channel_axis`; any number type.
    channel_axis : int, optional
        Axis of the channels.
    channels : sequence of int, optional
        Channels to use.

    Returns
    -------
    ndarray
        (h, w, 1 or 3) uint8.
    """
    source = open_image(image, channel_axis=channel_axis, channels=channels)
    shown = stretch(source.read(0, slice(None), slice(None)), resolve_contrast_limits(source))
    shown = shown[..., None] if shown.ndim == 2 else shown
    return np.ascontiguousarray(np.round(shown).astype(np.uint8))


def labelled_image(
    name: str,
    group: str,
    image: NDArray,
    labels: NDArray,
    wholes: NDArray | None = None,
    *,
    channel_axis: int | None = None,
    channels: Sequence[int] | None = None,
    seen: NDArray | None = None,
) -> LabelledImage:
    """Prepare an image and its labels for training.

    Parameters
    ----------
    name, group : str
        Unique name; set.
    image : ndarray
        (h, w), (h, w, 3 or 4), or with channels at `channel_axis`; any number type.
    labels : ndarray
        (h, w) integers, 0 for background.
    wholes : ndarray, optional
        (h, w) or (layers, h, w), see `LabelledImage`.
    channel_axis : int, optional
        Axis of the channels.
    channels : sequence of int, optional
        Channels to use.
    seen : ndarray, optional
        (h, w) bool, where a person has looked at everything, or uint8 levels as `seen.seen_levels`
        gives them. Labelled objects are seen in any case. Without it, every object is labelled.

    Raises
    ------
    FormatError
        If labels are not integers, or image, labels and `seen` differ in size.
    ImageError
        If the image is not 2-D plus channels.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "uib" or labels.ndim != 2:
        raise FormatError(
            f"{name}: labels are a 2-D array of integers, not {labels.dtype} {labels.shape}"
        )
    shown = pixels(image, channel_axis, channels)
    if shown.shape[:2] != labels.shape:
        raise FormatError(
            f"{name}: the image has {shown.shape[0]} x {shown.shape[1]} pixels, its labels "
            f"{labels.shape[0]} x {labels.shape[1]}; they must lie on the same grid"
        )
    digest = content_hash(*(np.asarray(a) for a in (image, labels, seen) if a is not None))
    if labels.size and int(labels.max()) > 4 * labels.size:  # such as hashes
        labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 0]
    interior = interior_map(labels)
    return LabelledImage(
        name=name,
        group=group,
        image=shown,
        labels=labels,
        interior=interior,
        wholes=None if wholes is None else np.ascontiguousarray(wholes, dtype=np.int32),
        typical_size=float(np.sqrt(np.median(areas))) if len(areas) else 0.0,
        digest=digest,
        anchors=_anchors(labels, interior),
        seen=None if seen is None else _levels(name, np.asarray(seen), labels),
    )


def _levels(name: str, seen: NDArray, labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    if seen.shape != labels.shape or seen.dtype not in (np.bool_, np.uint8):
        raise FormatError(
            f"{name}: 'seen' is an array of booleans of the labels' size, {labels.shape}, not "
            f"{seen.dtype} {seen.shape}"
        )
    if seen.dtype == np.bool_:
        return seen_levels(labels, seen)
    return np.where(labels > 0, np.uint8(SEEN), seen)


def _anchors(labels: NDArray[np.int32], interior: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Row and column inside every object, and whether it touches another one."""
    ids = np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1
    if len(ids) == 0:
        return np.zeros((0, 3), np.int32)
    crowded = np.zeros(int(ids[-1]) + 1, bool)
    for axis in (0, 1):
        a, b = np.delete(labels, -1, axis), np.delete(labels, 0, axis)
        meet = (a != b) & (a > 0) & (b > 0)
        crowded[a[meet]] = crowded[b[meet]] = True
    places = np.array(ndimage.maximum_position(interior, labels, ids), np.int32)
    return np.column_stack([places, crowded[ids]]).astype(np.int32)


def content_hash(*arrays: NDArray) -> str:
    """First 16 hexadecimal digits of the SHA-256 of arrays with their shapes and types."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
