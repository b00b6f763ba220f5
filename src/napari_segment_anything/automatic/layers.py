"""The layers of an image that "instances" looks at: how large it is shown, in how many passes.

Layer 0 is the image as it fits the model's frame. Layers above show it as large as layers of crops
do (SAM paper, appendix B), those below reduced by a half each. The dense maps of a convolutional
encoder can be computed in frames of any size: a reduced layer takes a small frame, and a larger one
few and large ones, which overlap by less than published crops.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..engine import Window
from .filtering import layer_evidence, mask_evidence
from .grid import crops

# Chosen on training images; times were measured on a CPU. All in frame pixels.
_PASS = 560
_SINGLE = 784  # up to here one pass is as fast as several, which have to overlap
_OVERLAP = 112
_MIRRORED = 32
# Objects below these sizes gain from being shown larger, above the last from being shown smaller.
_TINY, _SMALL, _LARGE = 12.0, 32.0, 48.0
_LITTLE = 1.0  # evidence: less than one good mask of a common size gives


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, as it is encoded.

    Parameters
    ----------
    number : int
        0 for the image in the model's frame, above 0 for larger ones, below for reduced ones.
    windows : tuple of Window
        Parts of the image that are encoded separately, all of one shape.
    side : int or None
        Frame pixels along the longer side of a window; None for the model's own frame.
    mirrored : int
        Frame pixels by which the image is continued by its mirror image.
    """

    number: int
    windows: tuple[Window, ...]
    side: int | None
    mirrored: int = 0


def plan_layer(number: int, shape: tuple[int, int], image_size: int, overlap_ratio: float) -> Layer:
    """Plan how a layer is encoded.

    Parameters
    ----------
    number : int
        Which layer.
    shape : tuple of int
        (rows, columns) of the image.
    image_size : int
        Side of the model's frame, pixels.
    overlap_ratio : float
        Overlap of the crops that the layer is as large as; see `grid.crops`.
    """
    whole = Window.full(shape)
    if number == 0:
        return Layer(0, (whole,), None)
    if number < 0:
        return Layer(number, (whole,), max(1, round(image_size * 2.0**number)), _MIRRORED)
    crop = next(crop for crop in crops(shape, number, overlap_ratio) if crop.layer == number)
    scale = image_size / max(crop.height, crop.width)
    rows, cols = (_cover(length, scale) for length in shape)
    windows = tuple(Window(row, col, rows[1], cols[1]) for col in cols[0] for row in rows[0])
    return Layer(number, windows, max(1, round(scale * max(windows[0].shape))))


@dataclass(frozen=True, slots=True)
class LayerFound:
    """What a layer says about an image.

    Parameters
    ----------
    evidence : float
        See `filtering.layer_evidence`.
    small, typical, large : float
        Side of an object in frame pixels, by evidence: a tenth of it is in smaller ones, half,
        nine tenths.
    """

    evidence: float
    small: float = 0.0
    typical: float = 0.0
    large: float = 0.0

    @classmethod
    def of(
        cls, area: NDArray[np.integer], score: NDArray[np.floating], layer: Layer, image_size: int
    ) -> LayerFound:
        """Summarise the masks of a layer.

        Parameters
        ----------
        area, score : array (n,)
            Pixels of the image, and predicted IoU, of its masks.
        layer : Layer
        image_size : int
            Side of the model's frame.
        """
        share = mask_evidence(area, score)
        if not share.sum():
            return cls(0.0)
        shown = (layer.side or image_size) / max(layer.windows[0].shape)
        order = np.argsort(area)
        grown = np.cumsum(share[order])
        at = np.searchsorted(grown, grown[-1] * np.array([0.1, 0.5, 0.9]))
        side = np.sqrt(area[order]) * shown
        return cls(layer_evidence(area, score, layer.number), *side[at].tolist())


def next_layer(found: Mapping[int, LayerFound], lowest: int, highest: int) -> int | None:
    """Choose the layer to look at next: a neighbour of the best one so far.

    The evidence for layers has one peak as a rule, so what lies beyond a worse layer is left out.
    So is a larger layer where objects are large enough as it is, and a reduced one where none is
    large.

    Parameters
    ----------
    found : mapping of int to LayerFound
        The layers looked at so far.
    lowest, highest : int
        The first and the last layer there is.

    Returns
    -------
    int or None
        None if no further layer is promising.
    """
    best = max(found, key=lambda number: (found[number].evidence, -abs(number)))
    here = found[best]
    near = []
    if here.large >= _LARGE:
        near.append(best - 1)
    if here.typical < _SMALL or here.small < _TINY:
        near.append(best + 1)
    if here.evidence < _LITTLE:  # hardly anything was found: objects may be of quite another size
        near += sorted(range(lowest, highest + 1), key=abs)
    for number in near:
        if lowest <= number <= highest and number not in found:
            return number
    return None


def _cover(length: int, scale: float) -> tuple[list[int], int]:
    """Where windows start along one axis, and how long each is."""
    shown = length * scale
    count = 1 if shown <= _SINGLE else math.ceil((shown - _OVERLAP) / (_PASS - _OVERLAP))
    side = min(length, math.ceil((shown + (count - 1) * _OVERLAP) / count / scale))
    return [round(i * (length - side) / max(count - 1, 1)) for i in range(count)], side
