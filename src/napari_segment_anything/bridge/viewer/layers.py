"""The layers that a session works with. They are known by identity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import ImageError
from .images import layers_of_image

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer


class SessionLayers:
    """The image of a session, and the Labels layer that its objects go to.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    new_pixels : callable
        Called when the image's data were replaced.
    """

    def __init__(self, viewer: ViewerModel, new_pixels: Callable[[], object]) -> None:
        self.viewer = viewer
        self.images: tuple[Image, ...] = ()
        """The image layer, or the layers that are its channels; empty before the first prompt."""
        self.target: Labels | None = None
        """None until it is created."""
        self._new_pixels = new_pixels

    @property
    def image(self) -> Image | None:
        """The (first) image layer in use."""
        return self.images[0] if self.images else None

    def choose(self, images: tuple[Image, ...]) -> None:
        """Use an image, and listen to its data."""
        for layer in self.images:
            layer.events.data.disconnect(self._on_data)
        self.images = images
        for layer in images:
            layer.events.data.connect(self._on_data)

    def _on_data(self, event: Any = None) -> None:
        self._new_pixels()

    def present(self) -> tuple[Image, ...]:
        """Return the image in use, or the default one.

        Raises
        ------
        ImageError
            If there is none, or it was removed from the viewer.
        """
        if not self.images:
            return (default_image(self.viewer),)
        for layer in self.images:
            if layer not in self.viewer.layers:
                raise _removed(layer)
        return self.images

    def holds(self, layer: Layer | None) -> bool:
        """Whether a layer is the image or the target; without an image, any Image layer."""
        from napari.layers import Image

        if not self.images and isinstance(layer, Image):
            return True
        return layer is not None and (layer in self.images or layer is self.target)


def default_image(viewer: ViewerModel) -> Image:
    """Return the default Image layer: the active one, otherwise the topmost visible one.

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
            raise _removed(layer)


def _removed(layer: Image) -> ImageError:
    return ImageError(f"the image {layer.name!r} was removed from the viewer; choose another one")
