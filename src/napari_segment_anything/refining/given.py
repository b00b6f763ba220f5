"""Objects of another program, in any form that they come in: boxes, masks, a label image."""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..engine import PlacedMask, Window
from ..errors import PromptError
from ..formats import is_url, open_label_array
from ..formats.detection import Detection
from ..formats.detection_files import first_repeated, read_detections
from ..progress import Progress

_BLOCK = 2048
"""Side of the blocks in which a label image is searched for its objects, in pixels."""
_EDGES = (-0.5, -0.5, 0.5, 0.5)
_LISTS = (".csv", ".json", ".geojson")


@dataclass(frozen=True, slots=True, eq=False)
class GivenObjects:
    """Objects in an image that another program found.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image.
    ids : int64 array (n,)
    boxes : float64 array (n, 4)
        row_min, col_min, row_max, col_max, at the outer edges of pixels, inside the image.
    source : sequence of PlacedMask or None, or array (rows, columns)
        The mask of each object, where it has one; or the label image, which is read where a mask
        is needed.
    classes : tuple of str
    scores : float64 array (n,)
        NaN where there is none.
    """

    shape: tuple[int, int]
    ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    source: Any
    classes: tuple[str, ...]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)

    def mask(self, index: int) -> PlacedMask | None:
        """Return the mask of an object; None if only its box is known."""
        if isinstance(self.source, tuple):
            mask: PlacedMask | None = self.source[index]
            return mask
        top, left, bottom, right = (int(n) for n in np.round(self.boxes[index] + 0.5))
        pixels = np.asarray(self.source[top:bottom, left:right])
        return PlacedMask.of(pixels == self.ids[index], top, left)


def given_objects(
    source: Any, shape: tuple[int, int], *, image_name: str = "", components: bool = False
) -> Generator[Progress, None, GivenObjects]:
    """Find the objects in what another program made.

    Parameters
    ----------
    source : str, Path, array-like or sequence of Detection
        A file for `read_detections`; a label image (also as a file, or the path or URL of OME-Zarr
        labels) or a boolean mask of the image's shape; or boxes (n, 4).
    shape : (int, int)
        Rows and columns of the image.
    image_name : str
        File name of the image, to choose it in a COCO file with several.
    components : bool
        Take each connected part of a label image as an object, whatever its value. A boolean mask
        is always taken so.

    Yields
    ------
    Progress
        After every block of a label image.

    Raises
    ------
    PromptError
        If it is none of these, there is no object, or one lies outside the image.
    """
    if isinstance(source, (str, os.PathLike)):
        text = os.fspath(source)
        if not is_url(text) and Path(text).suffix.lower() in _LISTS:
            source = read_detections(text, shape, image_name)
        else:
            source = open_label_array(text)
    if isinstance(source, Sequence) and source and isinstance(source[0], Detection):
        size: tuple[int, ...] = (len(source), 4)
        found = list(source)
    else:
        source = _array(source)
        size = tuple(int(n) for n in source.shape)
        if size == tuple(shape):
            return (yield from _labelled(source, components))
        found = []
        if len(size) == 2 and size[1] == 4:
            boxes = np.asarray(source, np.float64)
            found = [Detection(n, tuple(box)) for n, box in enumerate(boxes, start=1)]
    if len(size) == 2 and size[1] == 4:
        if components:
            raise PromptError("components is for label images, not for single objects")
        return _listed(found, shape)
    raise PromptError(
        f"the objects have the shape {size}: give labels of the shape {tuple(shape)} "
        "of the image, boxes of the shape (objects, 4), or a file"
    )


def _array(source: Any) -> Any:
    if hasattr(source, "shape"):
        return source
    try:
        return np.asarray(source)
    except ValueError:  # rows of different lengths
        return np.zeros(0)


def _listed(found: Sequence[Detection], shape: tuple[int, int]) -> GivenObjects:
    repeated = first_repeated(each.id for each in found)
    if repeated is not None:
        raise PromptError(f"two objects have the id {repeated}")
    if not found:
        raise PromptError("there are no objects to refine")
    masks = tuple(_placed(each, shape) for each in found)
    boxes = [
        np.add(mask.window.box, _EDGES)
        if mask is not None and each.box is None
        else _inside(each, shape)
        for each, mask in zip(found, masks, strict=True)
    ]
    return GivenObjects(
        shape,
        np.array([each.id for each in found], np.int64),
        np.array(boxes, np.float64),
        masks,
        tuple(each.class_name for each in found),
        np.array([each.score for each in found], np.float64),
    )


def _placed(each: Detection, shape: tuple[int, int]) -> PlacedMask | None:
    if each.mask is None:
        return None
    mask = PlacedMask.of(each.mask.decode(), *each.corner)
    if mask.empty or mask.window.intersection(Window.full(shape)) != mask.window:
        raise PromptError(_outside(f"the mask of object {each.id}", shape))
    return mask


def _inside(each: Detection, shape: tuple[int, int]) -> NDArray[np.float64]:
    """The part of a box that is in the image; its centre has to be."""
    box = np.asarray(each.box, np.float64)
    low, high = np.full(2, -0.5), np.array(shape) - 0.5
    centre = (box[:2] + box[2:]) / 2
    if (centre < low).any() or (centre > high).any():
        where = ", ".join(f"{value:g}" for value in box)
        raise PromptError(_outside(f"the box of object {each.id}, ({where}),", shape))
    return np.clip(box, np.tile(low, 2), np.tile(high, 2))


def _outside(what: str, shape: tuple[int, int]) -> str:
    return (
        f"{what} lies outside the image, which has {shape[0]} rows and {shape[1]} columns. Are "
        "rows and columns exchanged, or is it for another image?"
    )


def _labelled(labels: Any, components: bool) -> Generator[Progress, None, GivenObjects]:
    kind = np.dtype(labels.dtype).kind
    if kind not in "uib":
        raise PromptError(f"labels are integers with 0 as background, not {labels.dtype}")
    if kind == "b" or components:
        yield Progress(0, 1, message="finding connected parts")
        parts = np.asarray(labels[...]) != 0
        labels = ndimage.label(parts, np.ones((3, 3), int))[0]
    rows, cols = (int(n) for n in labels.shape)
    corners = [(top, left) for top in range(0, rows, _BLOCK) for left in range(0, cols, _BLOCK)]
    found: dict[int, tuple[int, ...]] = {}
    for done, (top, left) in enumerate(corners):
        yield Progress(done, len(corners), message="reading the objects")
        block = np.asarray(labels[top : top + _BLOCK, left : left + _BLOCK])
        for number, here in _extents(block).items():
            if number < 0:
                raise PromptError(f"labels must not be negative; there is {number}")
            here = (top + here[0], left + here[1], top + here[2], left + here[3])
            old = found.get(number, here)
            first, last = map(min, old[:2], here[:2]), map(max, old[2:], here[2:])
            found[number] = (*first, *last)
    if not found:
        raise PromptError("the labels are empty: there are no objects to refine")
    if len(found) == 1:
        [(number, box)] = found.items()
        pixels = np.asarray(labels[box[0] : box[2], box[1] : box[3]]) == number
        if ndimage.label(pixels, np.ones((3, 3), int))[1] > 1:
            warnings.warn(
                "all labels have the same value: they are taken as one object. With components, "
                "each connected part is one",
                stacklevel=2,
            )
    ids = np.array(sorted(found), np.int64)
    boxes = np.array([found[int(i)] for i in ids], np.float64) - 0.5
    shape = (rows, cols)
    return GivenObjects(shape, ids, boxes, labels, ("",) * len(ids), np.full(len(ids), np.nan))


def _extents(labels: NDArray[Any]) -> dict[int, tuple[int, ...]]:
    """First row and column of each object, and those after its last."""
    rows, cols = np.nonzero(labels)
    if not len(rows):
        return {}
    values = labels[rows, cols]
    order = np.argsort(values, kind="stable")
    values = values[order]
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    sides = [
        edge.reduceat(places[order], starts) + after
        for edge, after in ((np.minimum, 0), (np.maximum, 1))
        for places in (rows, cols)
    ]
    corners = zip(*(side.tolist() for side in sides), strict=True)
    return dict(zip(values[starts].tolist(), corners, strict=True))
