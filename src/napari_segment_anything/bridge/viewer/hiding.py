"""Hide labels of a layer, while all others keep their colours."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ParameterError

if TYPE_CHECKING:
    from napari.layers import Labels

MOST = 65535
"""Maximum number of labels in a layer with hidden ones, as each gets a colour of its own."""


class HiddenLabels:
    """Hides labels of a layer through its colormap; the labels are not changed."""

    def __init__(self) -> None:
        self._layer: Labels | None = None
        self._colours: Any = None

    def show(self, layer: Labels | None, hidden: Collection[int], largest: int) -> None:
        """Hide these labels, and no others.

        Parameters
        ----------
        layer : Labels or None
        hidden : collection of int
        largest : int
            The largest label there is.

        Raises
        ------
        ParameterError
            If there are too many labels.
        """
        from napari.utils.colormaps import DirectLabelColormap

        if self._layer is not None and (layer is not self._layer or not hidden):
            self._layer.colormap = self._colours
            self._layer = None
        if layer is None or not hidden:
            return
        if largest > MOST:
            raise ParameterError(f"labels can be hidden up to number {MOST}, these reach {largest}")
        if self._layer is None:
            self._layer, self._colours = layer, layer.colormap
        labels = np.arange(1, largest + 1)
        clear = np.zeros(4, np.float32)
        colours: dict[int | None, Any] = {None: clear, 0: clear}
        colours.update(zip(labels.tolist(), self._colours.map(labels), strict=True))
        for label in hidden:
            colours[label] = clear
        layer.colormap = DirectLabelColormap(color_dict=colours)
