"""Colours of some labels of a layer, while all others keep theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ParameterError

if TYPE_CHECKING:
    from napari.layers import Labels

MOST = 65535
"""Maximum number of labels in a layer of which some have other colours: each then needs its own."""
CLEAR = np.zeros(4, np.float32)
"""The colour of a hidden label."""


class LabelColours:
    """Gives labels of a layer other colours through its colormap; the labels are not changed."""

    def __init__(self) -> None:
        self._layer: Labels | None = None
        self._colours: Any = None

    def show(self, layer: Labels | None, colours: Mapping[int, Any], largest: int) -> None:
        """Give these labels their colours, and all others napari's.

        Parameters
        ----------
        layer : Labels or None
        colours : mapping of int to colour
            As napari takes them; `CLEAR` hides a label.
        largest : int
            The largest label there is.

        Raises
        ------
        ParameterError
            If there are too many labels.
        """
        from napari.utils.colormaps import DirectLabelColormap

        if self._layer is not None and (layer is not self._layer or not colours):
            self._layer.colormap = self._colours
            self._layer = None
        if layer is None or not colours:
            return
        if largest > MOST:
            raise ParameterError(
                f"labels can be hidden, or coloured by class, up to number {MOST}; these reach "
                f"{largest}"
            )
        if self._layer is None:
            self._layer, self._colours = layer, layer.colormap
        labels = np.arange(1, largest + 1)
        found: dict[int | None, Any] = {None: CLEAR, 0: CLEAR}
        found.update(zip(labels.tolist(), self._colours.map(labels), strict=True))
        found.update(colours.items())
        layer.colormap = DirectLabelColormap(color_dict=found)
