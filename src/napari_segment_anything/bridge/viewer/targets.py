"""Labels layers that objects are written to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...engine import Window
from ...errors import ParameterError
from ...session.target import ArrayTarget, LabelTarget, PyramidTarget
from .coordinates import between, placement
from .images import ImageAxes, layer_shape, level_shapes
from .selection import keeping_selection

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

IN_MEMORY_BYTES = 1 << 30
"""Labels above this are kept compressed, chunk by chunk, instead of as one NumPy array."""
PAINTABLE_SIDE = 8192
"""A plane up to this side gets one array, which napari's brush can edit, even under a pyramid."""
_CHUNK = 512
_SMALLEST = 1024


class LayerTarget:
    """A Labels layer as the place where objects are written, plane by plane.

    It looks at the layer's data each time, so that data assigned to the layer later are the ones
    written to; the layer is shown anew after every write.

    Parameters
    ----------
    layer : Labels
        Bound by object: its name does not matter.
    axes : ImageAxes
        Of the image the labels belong to.

    Raises
    ------
    ParameterError
        If the layer is no Labels layer, cannot be written to, or does not have the image's grid.
    """

    def __init__(self, layer: Labels, axes: ImageAxes) -> None:
        self.layer = layer
        self.axes = axes
        self._seen: Any = None
        self._inner: LabelTarget | None = None
        self._inner_now()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels' full resolution."""
        return level_shapes(self.layer)[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels."""
        return np.dtype(self.layer.dtype)

    def read(self, plane: Sequence[int], window: Window) -> np.ndarray:
        """Return the labels of a window of a plane: int (height, width)."""
        return self._inner_now().read(self._plane(plane), window)

    def write(self, plane: Sequence[int], window: Window, values: npt.ArrayLike) -> None:
        """Write labels to a window of a plane, and show them."""
        self._inner_now().write(self._plane(plane), window, np.asarray(values))
        self.layer.refresh(thumbnail=False, highlight=False, extent=False)

    def largest(self) -> int:
        """Return the largest label."""
        return self._inner_now().largest()

    def _plane(self, plane: Sequence[int]) -> tuple[int, ...]:
        """Return the plane's index in the labels: 0 on the channel axis that they keep."""
        index = dict(zip(self.axes.planes, plane, strict=True))
        shift = len(self.axes.shape) - self.layer.ndim
        return tuple(
            index.get(axis, 0)
            for axis in range(shift, len(self.axes.shape))
            if axis not in self.axes.displayed
        )

    def _inner_now(self) -> LabelTarget:
        data = self.layer.data
        if self._inner is None or data is not self._seen:
            self._inner = target_of(self.layer, self.axes)
            self._seen = data
        return self._inner


def target_of(layer: Labels, axes: ImageAxes) -> LabelTarget:
    """Return a Labels layer's data as a place to write to.

    NumPy and zarr arrays are written in place; of multiscale labels every level is.

    Raises
    ------
    ParameterError
        If it cannot be written to (dask, read-only, file formats without writing) or has not the
        image's axes. The message says what to do.
    """
    from napari.layers import Labels

    if not isinstance(layer, Labels):
        raise ParameterError(f"choose a Labels layer as target, not {type(layer).__name__}")
    shape = layer_shape(layer)
    missing = len(axes.shape) - len(shape)
    fits = missing == 0 or (missing == 1 and axes.channel == 0)
    for axis, size in enumerate(shape, start=missing):
        fits = fits and (size == axes.shape[axis] or (axis == axes.channel and size == 1))
    if not fits:
        raise ParameterError(
            f"the labels {layer.name!r} have the shape {shape}, the image has {axes.shape}; "
            "choose labels of the image's own grid, or a new layer"
        )
    levels = list(layer.data) if layer.multiscale else [layer.data]
    displayed = (axes.displayed[0] - missing, axes.displayed[1] - missing)
    try:
        if layer.multiscale:
            return PyramidTarget(levels, displayed=displayed)
        return ArrayTarget(levels[0], displayed=displayed)
    except ParameterError as error:
        raise ParameterError(f"the layer {layer.name!r} cannot be the target: {error}") from error


def check_alignment(
    viewer: ViewerModel, labels: Labels, image: Image, axes: ImageAxes, tolerance: float = 0.25
) -> None:
    """Check that labels lie on the image's pixels.

    Parameters
    ----------
    tolerance : float
        In pixels, at the corners.

    Raises
    ------
    ParameterError
        If they are placed elsewhere, so that objects would appear beside where they were clicked.
    """
    rows, cols = axes.rows_cols
    plane = [n // 2 for n in axes.plane_shape]
    corners = axes.position(plane, [[0, 0], [0, cols - 1], [rows - 1, 0], [rows - 1, cols - 1]])
    shift = image.ndim - labels.ndim
    there = between(viewer, image, labels, corners)
    seen = [axis for axis in range(shift, image.ndim) if axis != axes.channel]
    away = np.abs(there[:, [a - shift for a in seen]] - corners[:, seen])
    if away.max() > tolerance:
        raise ParameterError(
            f"the labels {labels.name!r} do not lie on the pixels of {image.name!r}: scale, "
            "translate or units differ. Give them the image's, or choose a new layer"
        )


def new_target(
    viewer: ViewerModel,
    image: Image,
    axes: ImageAxes,
    *,
    dtype: npt.DTypeLike = np.uint32,
    name: str | None = None,
) -> Labels:
    """Add an empty Labels layer on the image's grid.

    Small ones are NumPy arrays. Large ones are zarr arrays in memory, which take room for what is
    written only. On planes too large for napari's brush they are a pyramid, with the image's levels
    or, if it has none, with halved ones: napari would otherwise read and colour all of the plane
    after every commit.

    Parameters
    ----------
    dtype : dtype-like
        Of the labels: decides how many objects there can be.
    name : str, optional
        By default the image's name and "objects".
    """
    shapes = level_shapes(image) if image.multiscale else (layer_shape(image),)
    shapes = tuple(_label_shape(shape[: image.ndim], axes) for shape in shapes)
    thick = {} if axes.channel is None else {axes.channel: axes.shape[axes.channel]}
    keywords = placement(image, thick=thick)
    paintable = max(axes.rows_cols) <= PAINTABLE_SIDE
    if paintable:
        shapes = shapes[:1]
    elif len(shapes) == 1:
        shapes = _halved(shapes[0], axes.displayed)
    levels = [_empty(shape, np.dtype(dtype)) for shape in shapes]
    with keeping_selection(viewer):
        layer = viewer.add_labels(
            levels if len(levels) > 1 else levels[0],
            multiscale=len(levels) > 1,
            name=name or f"{image.name} objects",
            **keywords,
        )
        layer.editable = len(levels) == 1
        viewer.layers.move(viewer.layers.index(layer), viewer.layers.index(image) + 1)
    return layer


def _label_shape(shape: tuple[int, ...], axes: ImageAxes) -> tuple[int, ...]:
    if axes.channel is None:
        return shape
    return tuple(1 if axis == axes.channel else size for axis, size in enumerate(shape))


def _halved(shape: tuple[int, ...], displayed: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
    """Return shapes of a pyramid, each with half the rows and columns of the one before."""
    shapes = [shape]
    while max(shapes[-1][axis] for axis in displayed) > _SMALLEST:
        last = shapes[-1]
        shapes.append(tuple(-(-n // 2) if i in displayed else n for i, n in enumerate(last)))
    return tuple(shapes)


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    if int(np.prod(shape, dtype=np.int64)) * dtype.itemsize <= IN_MEMORY_BYTES:
        return np.zeros(shape, dtype)
    import zarr

    chunks = tuple(
        min(size, _CHUNK) if axis >= len(shape) - 2 else 1 for axis, size in enumerate(shape)
    )
    return zarr.create_array(
        zarr.storage.MemoryStore(), shape=shape, chunks=chunks, dtype=dtype, fill_value=0
    )
