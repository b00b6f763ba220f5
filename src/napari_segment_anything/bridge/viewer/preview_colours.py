"""Colours of masks in progress: a translucent fill, a solid outline, a colour for each object."""

from __future__ import annotations

from typing import Any

import numpy as np

_COLOURS = (
    (0.0, 0.9, 1.0),
    (1.0, 0.75, 0.1),
    (1.0, 0.4, 0.8),
    (0.6, 1.0, 0.3),
    (0.65, 0.55, 1.0),
    (1.0, 0.55, 0.35),
)
_FILL, _EDGE = 0.35, 1.0


def dtype_for(count: int) -> np.dtype[Any]:
    """Return the type of what `with_edges` gives, for a number of objects."""
    return np.dtype(np.uint8 if count < 120 else np.uint16)


def with_edges(labels: np.ndarray) -> np.ndarray:
    """Return 2k - 1 inside object k and 2k on its outline."""
    dtype = dtype_for(int(labels.max(initial=0)))
    values = labels.astype(dtype)
    edge = np.zeros(labels.shape, bool)
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:-1] |= labels[1:] != labels[:-1]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    inside = labels != 0
    return np.where(inside, 2 * values - 1 + (edge & inside), 0).astype(dtype)


def colormap(count: int) -> Any:
    """Return napari's colormap for what `with_edges` gives, for a number of objects."""
    from napari.utils.colormaps import DirectLabelColormap

    colours: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for number in range(count):
        colour = _COLOURS[number % len(_COLOURS)]
        colours[2 * number + 1] = (*colour, _FILL)
        colours[2 * number + 2] = (*colour, _EDGE)
    return DirectLabelColormap(color_dict=colours)
