"""The image that all widgets of a viewer work on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psygnal import Signal

if TYPE_CHECKING:
    from napari.layers import Image


class ChosenImage:
    """The image, with its channels, that all widgets of a viewer work on."""

    changed = Signal()
    """Emitted when the layers or the channel axis have changed."""

    def __init__(self) -> None:
        self._layers: tuple[Image, ...] = ()
        self._channel_axis: int | None = None

    @property
    def layers(self) -> tuple[Image, ...]:
        """The image layer, followed by its further channels; empty if there is none."""
        return self._layers

    @property
    def channel_axis(self) -> int | None:
        """The axis of the image that holds channels, if one does."""
        return self._channel_axis

    def choose(self, layers: Sequence[Image], channel_axis: int | None = None) -> None:
        """Choose layers, or an axis of one layer, as the channels of the image.

        Parameters
        ----------
        layers : sequence of Image
            The image, followed by its further channels; empty for no image.
        channel_axis : int, optional
            The axis of a single layer that holds channels.
        """
        now = (tuple(layers), channel_axis)
        if now != (self._layers, self._channel_axis):
            self._layers, self._channel_axis = now
            self.changed.emit()
