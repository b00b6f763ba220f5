"""The user's own Points, Shapes and Labels layers as prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine import Window
from ...errors import PromptError
from .coordinates import between
from .images import ImageAxes
from .working_layers import positives

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer, Points, Shapes


@dataclass(slots=True)
class PlanePrompts:
    """Prompts that lie on one plane, in its (row, column) coordinates.

    Parameters
    ----------
    points : list of (row, column)
    positive : list of bool
        One for each point.
    boxes : list of (row_min, col_min, row_max, col_max)
    lines : list of (float array (k, 2), bool)
        Scribbles, and whether each lies inside the object.
    regions : list of float array (k, 2)
        Outlines, to be filled.
    """

    points: list[tuple[float, float]] = field(default_factory=list)
    positive: list[bool] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    lines: list[tuple[np.ndarray, bool]] = field(default_factory=list)
    regions: list[np.ndarray] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.points) + len(self.boxes) + len(self.lines) + len(self.regions)


def prompts_of(
    viewer: ViewerModel,
    layer: Layer,
    image: Image,
    axes: ImageAxes,
    plane: Sequence[int],
) -> PlanePrompts:
    """Read the prompts that a Points or Shapes layer holds for a plane of an image.

    Points with "negative" in a feature named label are negative. Rectangles and ellipses are
    boxes, lines and paths scribbles, polygons regions. A layer with fewer axes than the image is
    taken to lie on the plane that is shown.

    Raises
    ------
    PromptError
        If the layer is of another kind.
    """
    from napari.layers import Points, Shapes

    if isinstance(layer, Points):
        return _points(viewer, layer, image, axes, plane)
    if isinstance(layer, Shapes):
        return _shapes(viewer, layer, image, axes, plane)
    raise PromptError(
        f"prompts come from a Points or Shapes layer, not from {type(layer).__name__}; a region of "
        "a Labels layer is taken with refine()"
    )


def _points(
    viewer: ViewerModel, layer: Points, image: Image, axes: ImageAxes, plane: Sequence[int]
) -> PlanePrompts:
    found = PlanePrompts()
    if not len(layer.data):
        return found
    position = between(viewer, layer, image, layer.data)
    here = on_plane(position, axes, plane)
    for at, positive, wanted in zip(position, positives(layer), here, strict=True):
        if wanted:
            found.points.append(row_col(at, axes))
            found.positive.append(bool(positive))
    return found


def _shapes(
    viewer: ViewerModel, layer: Shapes, image: Image, axes: ImageAxes, plane: Sequence[int]
) -> PlanePrompts:
    found = PlanePrompts()
    positive = positives_of_shapes(layer)
    for data, kind, inside in zip(layer.data, layer.shape_type, positive, strict=True):
        position = between(viewer, layer, image, data)
        if not on_plane(position, axes, plane).all():
            continue
        flat = position[:, list(axes.displayed)]
        if kind in ("rectangle", "ellipse"):
            low, high = flat.min(0), flat.max(0)
            found.boxes.append((float(low[0]), float(low[1]), float(high[0]), float(high[1])))
        elif kind == "polygon":
            found.regions.append(flat)
        else:
            found.lines.append((flat, inside))
    return found


def positives_of_shapes(layer: Shapes) -> list[bool]:
    """Return which shapes lie inside the object; see `positives`."""
    if "label" not in layer.features:
        return [True] * len(layer.data)
    return [bool(value) for value in positives(layer)]


def on_plane(position: np.ndarray, axes: ImageAxes, plane: Sequence[int]) -> np.ndarray:
    """Return which layer coordinates (n, ndim) lie on a plane: bool (n,)."""
    here = np.ones(len(position), bool)
    for axis, index in zip(axes.planes, plane, strict=True):
        here &= np.round(position[:, axis]) == index
    return here


def row_col(position: np.ndarray, axes: ImageAxes) -> tuple[float, float]:
    """Return the (row, column) of layer coordinates (ndim,)."""
    return float(position[axes.displayed[0]]), float(position[axes.displayed[1]])


def fill(outline: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, Window]:
    """Return the pixels inside an outline.

    Parameters
    ----------
    outline : float array (k, 2)
        (row, column), closed by itself.
    shape : (int, int)
        Rows and columns of the image.

    Returns
    -------
    mask : bool array (height, width)
    window : Window
        Where the mask lies: the outline's bounds inside the image.

    Raises
    ------
    PromptError
        If no pixel of the image is inside.
    """
    from skimage.draw import polygon2mask

    outline = np.asarray(outline, np.float64)
    low = np.clip(np.floor(outline.min(0)), 0, None).astype(int)
    high = np.minimum(np.ceil(outline.max(0)).astype(int) + 1, shape)
    if len(outline) < 3 or (high <= low).any():
        raise PromptError("the outline holds no pixel of the image; draw around something")
    window = Window(low[0], low[1], high[0] - low[0], high[1] - low[1])
    mask = polygon2mask(window.shape, outline - low)
    if not mask.any():
        raise PromptError("the outline holds no pixel of the image; draw around something")
    return mask, window


def region_of(
    viewer: ViewerModel,
    layer: Labels,
    image: Image,
    axes: ImageAxes,
    plane: Sequence[int],
    label: int,
    near: Any = None,
) -> tuple[np.ndarray, Window]:
    """Return the pixels of a label on a plane of the image.

    Labels on another grid are sampled at the image's pixels.

    Parameters
    ----------
    label : int
        Above 0.
    near : (row, column), optional
        Take only the connected part that this lies in.

    Returns
    -------
    mask : bool array (height, width)
    window : Window
        The bounds of the region.

    Raises
    ------
    PromptError
        If the label is not there.
    """
    rows, cols = axes.rows_cols
    mask = _sampled(viewer, layer, image, axes, plane) == label
    if near is not None and mask.any():
        from skimage.measure import label as connected

        parts = connected(mask)
        row = int(np.clip(round(near[0]), 0, rows - 1))
        col = int(np.clip(round(near[1]), 0, cols - 1))
        if parts[row, col]:
            mask = parts == parts[row, col]
    if not mask.any():
        raise PromptError(f"label {label} of {layer.name!r} does not occur on this plane")
    in_rows, in_cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = Window(
        int(in_rows[0]),
        int(in_cols[0]),
        int(in_rows[-1] - in_rows[0] + 1),
        int(in_cols[-1] - in_cols[0] + 1),
    )
    return mask[window.slices], window


def _sampled(
    viewer: ViewerModel, layer: Labels, image: Image, axes: ImageAxes, plane: Sequence[int]
) -> np.ndarray:
    """Return the labels at each pixel of a plane: int (rows, columns)."""
    data = layer.data[0] if layer.multiscale else layer.data
    shape = tuple(int(n) for n in data.shape)
    rows, cols = axes.rows_cols
    corners = axes.position(plane, [[0, 0], [1, 0], [0, 1]])
    there = between(viewer, image, layer, corners)
    origin, down, right = there[0], there[1] - there[0], there[2] - there[0]
    grid = (slice(None), None), (None, slice(None))
    index = []
    for axis in range(layer.ndim):
        at = origin[axis] + down[axis] * np.arange(rows)[grid[0]]
        index.append(np.round(at + right[axis] * np.arange(cols)[grid[1]]).astype(np.int64))
    inside = np.logical_and.reduce(
        [(i >= 0) & (i < n) for i, n in zip(index, shape, strict=True)], axis=0
    )
    result = np.zeros((rows, cols), np.int64)
    if inside.any():
        low = [int(i[inside].min()) for i in index]
        high = [int(i[inside].max()) + 1 for i in index]
        part = np.asarray(data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))])
        result[inside] = part[tuple(i[inside] - a for i, a in zip(index, low, strict=True))]
    return result
