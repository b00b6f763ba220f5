"""Labels layers that objects are written to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...engine import Window
from ...errors import ParameterError
from ...session.target import ArrayTarget, LabelTarget, PyramidTarget
from .coordinates import between
from .images import ImageAxes, labels_placement, layer_shape, level_shapes
from .layer_list import keeping_selection

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

IN_MEMORY_BYTES = 1 << 30
"""Labels larger than this are kept compressed in chunks, not as one NumPy array."""
PAINTABLE_SIDE = 8192
"""Labels of planes up to this side are one array, which napari's brush can edit."""
_CHUNK = 512
_SMALLEST = 1024


class LayerTarget:
    """A Labels layer as the place where objects are written, plane by plane.

    Without a layer, one is created at the first write. The layer's current data is used each time,
    also after it was replaced; the layer is refreshed after every write.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    image : Image
    axes : ImageAxes
        Of the image, as displayed.
    layer : Labels, optional
        An existing layer, known by identity.
    dtype : dtype-like
        Of a new layer.
    on_made : callable, optional
        Called with a layer that was created here.
    anywhere : bool
        Whether the layer may lie elsewhere than on the image's pixels.
    wide : dtype-like, optional
        Type of the labels as they are read and written, if the layer's is smaller. The layer gets
        it with the first label that does not fit.

    Raises
    ------
    ParameterError
        If the layer cannot be a target.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        image: Image,
        axes: ImageAxes,
        layer: Labels | None = None,
        *,
        dtype: npt.DTypeLike = np.uint32,
        on_made: Callable[[Labels], None] | None = None,
        anywhere: bool = False,
        wide: npt.DTypeLike | None = None,
    ) -> None:
        self.layer: Labels | None = None
        """The layer, once there is one."""
        self.axes = axes
        self._viewer, self._image = viewer, image
        self._dtype = np.dtype(dtype)
        self._wide = None if wide is None else np.dtype(wide)
        self._on_made = on_made
        self._seen: Any = None
        self._inner: LabelTarget | None = None
        if layer is not None:
            self.bind(layer, anywhere)

    def bind(self, layer: Labels, anywhere: bool = False) -> None:
        """Use an existing layer."""
        inner = target_of(layer, self.axes)
        if not anywhere:
            check_alignment(self._viewer, layer, self._image, self.axes)
        self.layer, self._inner, self._seen = layer, inner, layer.data

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels' full resolution."""
        if self.layer is not None:
            return level_shapes(self.layer)[0]
        return _label_shape(self.axes.shape, self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels."""
        if self._wide is not None:
            return self._wide
        return self._dtype if self.layer is None else np.dtype(self.layer.dtype)

    def read(self, plane: Sequence[int], window: Window) -> np.ndarray:
        """Return the labels of a window of a plane: int (height, width)."""
        inner = self._now()
        if inner is None:
            return np.zeros(window.shape, self._dtype)
        found = inner.read(self._plane(plane), window)
        return found if self._wide is None else found.astype(self._wide, copy=False)

    def write(self, plane: Sequence[int], window: Window, values: npt.ArrayLike) -> None:
        """Write labels to a window of a plane, and show them.

        Raises
        ------
        ParameterError
            If the layer was removed from the viewer.
        """
        self.check()
        if self.layer is None:
            made = new_target(self._viewer, self._image, self.axes, dtype=self._dtype)
            self.bind(made, anywhere=True)
            if self._on_made is not None:
                self._on_made(made)
        values, layer = np.asarray(values), self.layer
        if layer is None:
            return
        if self._wide is not None and values.max(initial=0) > np.iinfo(layer.dtype).max:
            wider = [level.astype(self._wide) for level in _levels(layer)]
            layer.data = wider if layer.multiscale else wider[0]
        inner = self._now()
        if inner is not None:
            inner.write(self._plane(plane), window, values)
            layer.refresh(thumbnail=False, highlight=False, extent=False)

    def largest(self) -> int:
        """Return the largest label."""
        inner = self._now()
        return 0 if inner is None else inner.largest()

    def check(self) -> None:
        """Raise if the layer was removed from the viewer."""
        if self.layer is not None and self.layer not in self._viewer.layers:
            raise ParameterError(
                f"the labels {self.layer.name!r} were removed from the viewer; choose "
                "another target, or None for a new one"
            )

    def _plane(self, plane: Sequence[int]) -> tuple[int, ...]:
        """Return the plane's index in the labels; 0 on a channel axis."""
        index = dict(zip(self.axes.planes, plane, strict=True))
        shift = len(self.axes.shape) - len(self.shape)
        return tuple(
            index.get(axis, 0)
            for axis in range(shift, len(self.axes.shape))
            if axis not in self.axes.displayed
        )

    def _now(self) -> LabelTarget | None:
        if self.layer is not None and self.layer.data is not self._seen:
            self._inner, self._seen = target_of(self.layer, self.axes), self.layer.data
        return self._inner


def target_of(layer: Labels, axes: ImageAxes) -> LabelTarget:
    """Return a Labels layer's data as a place to write to.

    NumPy and zarr arrays are written in place; of multiscale labels every level is written.

    Raises
    ------
    ParameterError
        If it cannot be written to (dask, read-only, file formats without writing) or does not have
        the image's axes.
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
    levels = _levels(layer)
    displayed = (axes.displayed[0] - missing, axes.displayed[1] - missing)
    try:
        if layer.multiscale:
            return PyramidTarget(levels, displayed=displayed)
        return ArrayTarget(levels[0], displayed=displayed)
    except ParameterError as error:
        raise ParameterError(f"the layer {layer.name!r} cannot be the target: {error}") from error


def _levels(layer: Labels) -> list[Any]:
    return list(layer.data) if layer.multiscale else [layer.data]


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
        If they are placed elsewhere, so that objects would not appear where they were clicked.
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

    Small ones are NumPy arrays, large ones zarr arrays in memory, which allocate only what is
    written. For planes too large for napari's brush they are a pyramid, with the image's levels or,
    if it has none, with halved ones: otherwise napari would read and colour the whole plane after
    every commit.

    Parameters
    ----------
    dtype : dtype-like
        Of the labels; limits the number of objects.
    name : str, optional
        By default the image's name and "objects".
    """
    shapes = level_shapes(image) if image.multiscale else (layer_shape(image),)
    shapes = tuple(_label_shape(shape[: image.ndim], axes) for shape in shapes)
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
            **labels_placement(image, axes),
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
