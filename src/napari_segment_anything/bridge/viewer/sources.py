"""The user's own Points, Shapes and Labels layers as prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine import Window
from ...engine.windows import PlacedMask
from ...errors import PromptError
from .coordinates import between
from .images import ImageAxes
from .working_layers import positives

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer


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


@dataclass(frozen=True, slots=True, eq=False)
class LayerPrompt:
    """A point or a shape of a layer, in (row, column) coordinates of the plane it lies on.

    Parameters
    ----------
    plane : tuple of int
    kind : {"point", "box", "line", "region"}
    at : float array (2,), (4,) or (k, 2)
        The point, (row_min, col_min, row_max, col_max), or vertices.
    positive : bool
        Whether it lies inside the object.
    number : int
        The id in its feature "object", else 0.
    index : int
        Its place in the layer.
    """

    plane: tuple[int, ...]
    kind: str
    at: np.ndarray
    positive: bool
    number: int
    index: int


def read_prompts(
    viewer: ViewerModel, layer: Layer, image: Image, axes: ImageAxes
) -> list[LayerPrompt]:
    """Read the prompts that a Points or Shapes layer holds for an image.

    Points with "negative" in a feature named label are negative. Rectangles and ellipses are
    boxes, lines and paths scribbles, polygons regions; shapes that span planes are left out. A
    layer with fewer axes than the image is taken to lie on the plane that is shown.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    layer : Points or Shapes
    image : Image
    axes : ImageAxes
        Of the image.

    Raises
    ------
    PromptError
        If the layer is of another kind.
    """
    from napari.layers import Points, Shapes

    if not isinstance(layer, (Points, Shapes)):
        raise PromptError(
            f"prompts come from a Points or Shapes layer, not from {type(layer).__name__}; a "
            "region of a Labels layer is taken with refine()"
        )
    if isinstance(layer, Points):
        positions: Any = between(viewer, layer, image, layer.data)[:, None]
        kinds = ["point"] * len(positions)
    else:
        positions = [between(viewer, layer, image, data) for data in layer.data]
        kinds = layer.shape_type
    rows = zip(positions, kinds, positives(layer), _numbers(layer), strict=True)
    found = []
    for index, (position, kind, positive, number) in enumerate(rows):
        planes = np.round(position[:, list(axes.planes)]).astype(int)
        if (planes != planes[0]).any():
            continue
        at, what = position[:, list(axes.displayed)], "line"
        if kind == "point":
            at, what = at[0], "point"
        elif kind in ("rectangle", "ellipse"):
            at, what = np.concatenate([at.min(0), at.max(0)]), "box"
        elif kind == "polygon":
            what = "region"
        found.append(
            LayerPrompt(tuple(planes[0].tolist()), what, at, bool(positive), number, index)
        )
    return found


def _numbers(layer: Any) -> list[int]:
    if "object" not in layer.features:
        return [0] * len(layer.data)
    values = layer.features["object"]
    return [int(value) if value is not None and value == value else 0 for value in values]


def prompts_of(
    viewer: ViewerModel, layer: Layer, image: Image, axes: ImageAxes, plane: Sequence[int]
) -> PlanePrompts:
    """Return those of `read_prompts` that lie on a plane."""
    found = PlanePrompts()
    for item in read_prompts(viewer, layer, image, axes):
        if item.plane != tuple(plane):
            continue
        if item.kind == "point":
            found.points.append((float(item.at[0]), float(item.at[1])))
            found.positive.append(item.positive)
        elif item.kind == "box":
            low_row, low_col, high_row, high_col = map(float, item.at)
            found.boxes.append((low_row, low_col, high_row, high_col))
        elif item.kind == "region":
            found.regions.append(item.at)
        else:
            found.lines.append((item.at, item.positive))
    return found


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
    mask = labels_on(viewer, layer, image, axes, plane) == label
    if near is not None and mask.any():
        from skimage.measure import label as connected

        parts = connected(mask)
        row = int(np.clip(round(near[0]), 0, rows - 1))
        col = int(np.clip(round(near[1]), 0, cols - 1))
        if parts[row, col]:
            mask = parts == parts[row, col]
    if not mask.any():
        raise PromptError(f"label {label} of {layer.name!r} does not occur on this plane")
    placed = PlacedMask.of(mask)
    return placed.mask, placed.window


def labels_on(
    viewer: ViewerModel, layer: Labels, image: Image, axes: ImageAxes, plane: Sequence[int]
) -> np.ndarray:
    """Return the labels of a layer at each pixel of a plane of the image: int (rows, columns)."""
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
