"""Which layers a session works with, found by identity and checked whenever they are used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...engine import Window
from ...errors import ImageError, ParameterError
from .images import ImageAxes, layers_of_image
from .targets import LayerTarget, check_alignment, new_target

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels


class TargetSlot:
    """The target Labels layer, which may still have to be made: at the first write, not before.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    image : Image
    axes : ImageAxes
        Of the image, as displayed.
    layer : Labels, optional
        An existing target; its pixels have to be the image's.
    dtype : dtype-like
        Of a new layer.
    on_made : callable, optional
        Called with a layer made here.

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
    ) -> None:
        self._viewer = viewer
        self._image = image
        self.axes = axes
        self._dtype = np.dtype(dtype)
        self._on_made = on_made
        self._target: LayerTarget | None = None
        if layer is not None:
            self.bind(layer)

    @property
    def layer(self) -> Labels | None:
        """The layer, once there is one."""
        return None if self._target is None else self._target.layer

    def bind(self, layer: Labels) -> None:
        """Write to this layer from now on."""
        target = LayerTarget(layer, self.axes)
        check_alignment(self._viewer, layer, self._image, self.axes)
        self._target = target

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels."""
        if self._target is not None:
            return self._target.shape
        shape = self.axes.shape
        return tuple(1 if axis == self.axes.channel else n for axis, n in enumerate(shape))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels."""
        return self._dtype if self._target is None else self._target.dtype

    def read(self, plane: Sequence[int], window: Window) -> np.ndarray:
        """Return the labels of a window of a plane: int (height, width)."""
        if self._target is None:
            return np.zeros(window.shape, self._dtype)
        return self._target.read(plane, window)

    def write(self, plane: Sequence[int], window: Window, values: npt.ArrayLike) -> None:
        """Write labels to a window of a plane.

        Raises
        ------
        ParameterError
            If the layer was removed from the viewer: what is written would not be seen.
        """
        self._made().write(plane, window, values)

    def largest(self) -> int:
        """Return the largest label."""
        return 0 if self._target is None else self._target.largest()

    def check(self) -> None:
        """Raise if the layer was removed from the viewer."""
        if self._target is not None and self._target.layer not in self._viewer.layers:
            raise ParameterError(
                f"the labels {self._target.layer.name!r} were removed from the viewer; choose "
                "another target, or None for a new one"
            )

    def _made(self) -> LayerTarget:
        self.check()
        if self._target is None:
            layer = new_target(self._viewer, self._image, self.axes, dtype=self._dtype)
            self._target = LayerTarget(layer, self.axes)
            if self._on_made is not None:
                self._on_made(layer)
        return self._target


def default_image(viewer: ViewerModel) -> Image:
    """Return the Image layer meant when none is named: the active one, else the topmost seen.

    Raises
    ------
    ImageError
        If the viewer has none.
    """
    from napari.layers import Image

    active = viewer.layers.selection.active
    if isinstance(active, Image):
        return active
    images = [layer for layer in viewer.layers if isinstance(layer, Image)]
    seen = [layer for layer in images if layer.visible] or images
    if not seen:
        raise ImageError("the viewer has no Image layer; open an image first")
    return seen[-1]


def readable_images(viewer: ViewerModel) -> list[Image]:
    """Return the Image layers that can be segmented, the topmost last."""
    from napari.layers import Image

    return [layer for layer in viewer.layers if isinstance(layer, Image) and layer.ndim >= 2]


def check_images(viewer: ViewerModel, layers: Sequence[Image]) -> None:
    """Check that an image's layers are still in the viewer.

    Raises
    ------
    ImageError
        If one was removed.
    """
    for layer in layers_of_image(layers):
        if layer not in viewer.layers:
            raise ImageError(
                f"the image {layer.name!r} was removed from the viewer; choose another one"
            )
