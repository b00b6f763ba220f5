"""Words or examples by a detector, whose boxes prompt the model that segments."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..automatic.nms import box_nms
from ..engine import PlacedMask, PlaneSource, Predictor, Prompts, Segmenter, Views, Window
from ..engine.ask import Ask
from ..families.detectors import Boxes, Detector
from ..progress import Progress
from .comparing import LEAST
from .finder import Sightings, plane_rle
from .query import Query
from .views import WHOLE, read_rgb

_SAME = 0.7


@dataclass(frozen=True, slots=True)
class DetectorFinder:
    """Prompts a model with the boxes of a detector.

    Parameters
    ----------
    detector : Detector
    """

    detector: Detector
    elsewhere: bool = True

    @property
    def name(self) -> str:
        """The detector's."""
        return self.detector.name

    @property
    def takes(self) -> frozenset[str]:
        """What the detector understands."""
        return self.detector.takes

    @property
    def threshold(self) -> float:
        """Score from which on the detector's boxes are probably right."""
        return self.detector.threshold

    @property
    def frame(self) -> int:
        """The detector's."""
        return self.detector.frame

    def learn(
        self,
        query: Query,
        masks: Sequence[PlacedMask],
        source: PlaneSource,
        predictor: Predictor,
    ) -> Generator[Progress, None, list[Any]]:
        """Read the words, and the examples each in a view around it."""
        wanted = [self.detector.read_words(query.words)] if query.words else []
        for done, box in enumerate(query.boxes):
            yield Progress(done, len(query.boxes), message="reading examples")
            window = self._around(box, source.shape)
            here = box - [window.row, window.col] * 2
            wanted.append(self.detector.read_boxes(read_rgb(source, window), here[None]))
        return wanted

    def look(
        self, learned: list[Any], source: PlaneSource, predictor: Predictor, window: Window
    ) -> Generator[Progress, None, Sightings]:
        """Find boxes, and segment what is in them."""
        yield Progress(0, 1, message="finding boxes")
        found = self._boxes(learned, source, window)
        asks = Ask.each(Prompts.from_boxes(found.boxes)) if len(found.boxes) else []
        steps = Segmenter(predictor).steps(Views(predictor, source), asks)
        segmented = (yield from steps) or []
        good = [i for i, each in enumerate(segmented) if not each.mask.empty]
        return Sightings(
            tuple(plane_rle(segmented[i].mask, source.shape) for i in good),
            found.scores[good],
            np.array([segmented[i].score for i in good], np.float32),
            np.full(len(good), np.nan, np.float32),
        )

    def _boxes(self, wanted: list[Any], source: PlaneSource, window: Window) -> Boxes:
        """Boxes in pixels of the plane, of which no two are nearly the same, the best first."""
        image = read_rgb(source, window)
        found = [self.detector.detect(image, each).above(LEAST) for each in wanted]
        boxes = np.concatenate([each.boxes for each in found]).astype(np.float64)
        scores = np.concatenate([each.scores for each in found])
        first = np.array([window.row, window.col] * 2)
        last = np.array([window.row + window.height, window.col + window.width] * 2) - 1
        boxes = np.clip(boxes + first, first, last)
        real = np.flatnonzero((boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1))
        best = real[box_nms(boxes[real], scores[real], _SAME)]
        return Boxes(boxes[best].astype(np.float32), scores[best])

    def _around(self, box: NDArray[np.float64], shape: tuple[int, int]) -> Window:
        """Return a window of the detector's frame around a box, or all of a small plane."""
        if max(shape) <= WHOLE * self.frame:
            return Window.full(shape)
        side = max(self.frame, int(np.ceil((box[2:] - box[:2]).max())) + 1)
        low = np.clip((box[:2] + box[2:] - side) / 2, 0, None).astype(int)
        low = np.minimum(low, np.maximum(np.array(shape) - side, 0))
        size = np.minimum(side, shape - low)
        return Window(low[0], low[1], size[0], size[1])
