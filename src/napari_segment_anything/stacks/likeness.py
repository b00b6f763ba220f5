"""How much an object resembles itself on the plane with prompts, by its image embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..engine import Embedding, PlacedMask
from .masks import surroundings
from .volume import Volume

_RING = 0.7
_LEAST_RING = 3
_MOST = 1.2


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Mean embedding inside a mask, and around it.

    Parameters
    ----------
    inside, around : float32 array (channels,)
    """

    inside: NDArray[np.float32]
    around: NDArray[np.float32]

    @classmethod
    def of(cls, volume: Volume, embedding: Embedding, mask: PlacedMask) -> Look:
        """Look at a mask of a plane.

        Parameters
        ----------
        volume : Volume
        embedding : Embedding
            Of the plane, or of a window that holds the mask.
        mask : PlacedMask
            In pixels of the plane.
        """
        reach = max(_LEAST_RING, round(_RING * float(np.sqrt(mask.area / np.pi))))
        margin, window = volume.margin, embedding.window
        near = surroundings(mask, reach, embedding, margin)
        height, width = embedding.features.shape[-2:]
        stride = embedding.image_size / height
        inside = mask.within(near)
        cells = []
        for axis, part in enumerate(near.slices):
            origin = (window.row, window.col)[axis] - margin
            place = (
                (np.arange(part.start, part.stop) + 0.5 - origin) * embedding.scale[axis] / stride
            )
            cells.append(np.clip(place.astype(np.int64), 0, (height, width)[axis] - 1))
        index = cells[0][:, None] * width + cells[1]
        features = embedding.features[0].flatten(1)
        return cls(
            _mean(features, index[inside]),
            _mean(features, index[~inside]) if not inside.all() else _mean(features, None),
        )


def _mean(features: torch.Tensor, index: NDArray[np.int64] | None) -> NDArray[np.float32]:
    if index is None:
        chosen = features.mean(1)
    else:
        places, counts = np.unique(index, return_counts=True)
        weights = torch.from_numpy((counts / counts.sum()).astype(np.float32)).to(features.device)
        chosen = features[:, torch.from_numpy(places).to(features.device)].float() @ weights
    values: NDArray[np.float32] = chosen.float().cpu().numpy()
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """An object on the plane with its prompts.

    Parameters
    ----------
    look : Look
    score : float
        Predicted IoU of its own mask, prompted with itself.
    """

    look: Look
    score: float

    def likeness(self, look: Look, score: float) -> float:
        """Return how much an object is like this one: 1 for the same, 0 for background.

        This is the product of two factors: the quotient of the scores, and the position of the
        object's embedding on the line from that of the surroundings (0) to that of this object (1),
        averaged over this object's surroundings and its own.

        Parameters
        ----------
        look : Look
            The object on another plane.
        score : float
            Its predicted IoU there.
        """
        contrast = self.look.inside - self.look.around
        square = max(float(contrast @ contrast), 1e-12)
        here = float((look.inside - self.look.around) @ contrast) / square
        there = float((look.inside - look.around) @ contrast) / square
        place = (min(max(here, 0.0), _MOST) + min(max(there, 0.0), _MOST)) / 2
        return place * min(score / max(self.score, 0.05), _MOST)
