"""Words by CLIP or SigLIP, which rank the masks of everything mode, as in the SAM paper."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine import PlacedMask, PlaneSource, Predictor, Window
from ..errors import ParameterError
from ..families.likeness import Likeness, square_crop
from ..formats.rle import RLE
from ..parameters import FINDING
from ..progress import Progress
from .comparing import LEAST
from .finder import Sightings
from .own_features import plane_masks
from .pool import candidate_steps
from .query import Query
from .views import read_rgb

_BATCH = 32


@dataclass(frozen=True, slots=True)
class LikenessFinder:
    """Ranks masks by how like words the image is around them.

    A mask is compared in several square crops (SAM paper, appendix D.5): of its box, and expanded,
    with its surroundings and without. The likeness is the probability of the words, if either
    they or one of `against` is right.

    Parameters
    ----------
    model : Likeness
    frame : int
        Of the model that segments.
    mode : str
        Of everything mode.
    parameters : mapping
        Of everything mode.
    crop_scales : sequence of float
        Sides of the crops relative to the mask's box.
    background : {"both", "keep", "blank"}
        Whether crops show what surrounds the mask.
    against : sequence of str
        Words for what else there is.
    """

    model: Likeness
    frame: int
    mode: str = "auto"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    crop_scales: Sequence[float] = FINDING["crop_scales"].default
    background: str = FINDING["background"].default
    against: Sequence[str] = FINDING["against"].default
    takes: frozenset[str] = frozenset({"words"})
    threshold: float = 0.5
    elsewhere: bool = True

    def __post_init__(self) -> None:
        scales = np.asarray(self.crop_scales, object).reshape(-1)
        if not len(scales) or not all(
            isinstance(each, int | float) and 0.1 <= each <= 10 for each in scales.tolist()
        ):
            raise ParameterError(
                f"crop_scales are numbers from 0.1 to 10, such as (1, 1.5), not {self.crop_scales}"
            )
        if isinstance(self.against, str) or not all(isinstance(w, str) for w in self.against):
            raise ParameterError("against is a list of words, such as ['background', 'debris']")
        if not self.against:
            raise ParameterError("against needs words to compare with, such as ['background']")

    @property
    def name(self) -> str:
        """Kind of the model that compares."""
        return self.model.name

    def learn(
        self,
        query: Query,
        masks: Sequence[PlacedMask],
        source: PlaneSource,
        predictor: Predictor,
    ) -> Generator[Progress, None, Tensor]:
        """Embed the words, and what they are compared with."""
        yield Progress(0, 1, message="reading words")
        return self.model.embed_words([query.words, *self.against])

    def look(
        self, learned: Tensor, source: PlaneSource, predictor: Predictor, window: Window
    ) -> Generator[Progress, None, Sightings]:
        """Segment everything, and compare it with the words."""
        table, chosen = yield from candidate_steps(
            source, predictor, self.mode, window, **self.parameters
        )
        image = read_rgb(source, window)
        own = table.candidates
        alike = np.zeros(len(chosen), np.float32)
        views = len(self.crop_scales) * (2 if self.background == "both" else 1)
        step = max(1, _BATCH // views)
        for start in range(0, len(chosen), step):
            yield Progress(start, len(chosen), message=f"comparing with {self.name}")
            part = chosen[start : start + step]
            crops = [
                crop for i in part if (mask := own.masks[i]) is not None
                for crop in self._crops(image, mask)
            ]  # fmt: skip
            vectors = self.model.embed_images(crops).unflatten(0, (len(part), views)).mean(1)
            vectors = torch.nn.functional.normalize(vectors, dim=-1)
            alike[start : start + step] = self.model.probabilities(vectors, learned)[:, 0].cpu()
        good = np.flatnonzero(alike >= LEAST)
        masks = plane_masks(table, chosen, source.shape)
        kept = np.array(chosen, np.int64)[good]
        return Sightings(
            tuple(masks[i] for i in good),
            alike[good],
            own.predicted_iou[kept],
            own.stability_score[kept],
        )

    def _crops(self, image: NDArray[np.uint8], mask: RLE) -> list[NDArray[np.uint8]]:
        row0, col0, row1, col1 = mask.bounds
        box = row0, col0, row1 - 1, col1 - 1
        pixels = mask.decode_bounds()
        blanks = {"both": (None, pixels), "keep": (None,), "blank": (pixels,)}[self.background]
        return [
            square_crop(image, box, float(scale), blank)
            for scale in self.crop_scales
            for blank in blanks
        ]
