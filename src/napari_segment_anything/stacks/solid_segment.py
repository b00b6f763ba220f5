"""Objects of a volume in 3-D, part by part, as sections of its planes with one id each."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import expand_labels

from ..automatic.dense import BoxDecoding
from ..automatic.parameters import pick
from ..engine import Predictor
from ..progress import Progress, mapped
from .solid_maps import Sight, count_slabs, resampled, solid_maps
from .solid_objects import SolidObjects, group_cells
from .solid_parts import Part, choose_scale, limits_of, plan_parts, read_part
from .stack_labels import StackLabels
from .volume import Volume

_SEEN_TWICE = 0.5
_TOLERANCE = 2.0


@dataclass(slots=True, eq=False)
class SolidRun:
    """Segments the stacks of a volume in 3-D.

    Parameters
    ----------
    volume : Volume
    predictor : Predictor
        Of a model with the "dense" head.
    values : mapping
        Parameters of mode "instances", as resolved.
    given : mapping
        Those among them that the caller gave.
    anisotropy : float
        Distance of planes in pixels of a plane.
    labels : StackLabels
        Written to.
    """

    volume: Volume
    predictor: Predictor
    values: Mapping[str, Any]
    given: Mapping[str, Any]
    anisotropy: float
    labels: StackLabels
    scores: dict[int, float] = field(default_factory=dict)
    failed: dict[tuple[int, tuple[int, ...]], str] = field(default_factory=dict)

    def steps(self) -> Generator[Progress, None, None]:
        """Segment part after part.

        Afterwards `scores` has the score of every id, and `failed` the planes (number, stack) that
        could not be read.

        Yields
        ------
        Progress
            After each encoded plane, and while cells are grouped; `partial` is the plane and the
            stack that it belongs to.
        """
        volume, labels = self.volume, self.labels
        first = (0, volume.stacks[0])
        yield Progress(0, 1, first, "looking at the size of objects")
        scale, limits = labels.noted("scale"), labels.noted("limits_3d")
        if scale is None:
            scale = choose_scale(volume, volume.stacks[0], self.predictor, self.given)
            limits = limits_of(volume, volume.stacks[0])
            labels.note(scale=scale, limits_3d=limits)
        sight = Sight(self.anisotropy, float(scale))
        shape = (volume.count, *volume.plane_shape)
        work = [(stack, part) for stack in volume.stacks for part in plan_parts(shape, sight)]
        sizes = [count_slabs(part.shape, sight) for _, part in work]
        done, total = 0, sum(sizes)
        for number, (stack, part) in enumerate(work):
            kept = labels.part_scores(number)
            if kept is None:
                for encoded, message in self._part(number, stack, part, sight, limits):
                    at = min(done + encoded, total)
                    yield Progress(at, total, (part.core[0].start, stack), message)
            else:
                self.scores |= kept
            done += sizes[number]
            yield Progress(done, total, (part.core[0].stop - 1, stack), "segmenting")

    def _part(
        self,
        number: int,
        stack: tuple[int, ...],
        part: Part,
        sight: Sight,
        limits: Sequence[Sequence[float]],
    ) -> Generator[tuple[int, str], None, None]:
        """Segment a part; yields the planes encoded, and what is being done."""
        pixels = read_part(self.volume, stack, part, sight)
        encoded = count(1)
        maps = yield from mapped(
            solid_maps(self.predictor, pixels.values, pixels.sight, limits),
            lambda _: (next(encoded), "segmenting"),
        )
        every = count_slabs(pixels.values.shape[:3], pixels.sight)
        found = yield from mapped(
            group_cells(maps, pick(BoxDecoding, self.values)),
            lambda _: (every, "grouping cells into objects"),
        )
        drawn = draw(found, part.shape)
        scores = self._paste(drawn, found, stack, part)
        self.scores |= scores
        if pixels.failed:  # tried again when the run is resumed
            self.failed |= {(plane, stack): why for plane, why in pixels.failed.items()}
        else:
            self.labels.keep_part(number, scores)

    def _paste(
        self, drawn: NDArray[np.int32], found: SolidObjects, stack: tuple[int, ...], part: Part
    ) -> dict[int, float]:
        """Add a part's own objects to the labels, and return the scores of their new ids."""
        region = self.labels.read_part(stack, part.box)
        # of a run that was killed after it had written this part and before it was noted as done
        region[~np.isin(region, [0, *self.scores])] = 0
        last = max(self.scores, default=0)
        cells = np.array(found.labels.shape)
        voxels = np.array(part.shape)
        start = np.array([c.start - b.start for c, b in zip(part.core, part.box, strict=True)])
        stop = np.array([c.stop - b.start for c, b in zip(part.core, part.box, strict=True)])
        pitch = voxels / cells
        low = np.where(start > 0, start - _TOLERANCE * pitch, -np.inf)
        high = np.where(stop < voxels, stop + _TOLERANCE * pitch, np.inf)
        scores: dict[int, float] = {}
        for index, where in enumerate(ndimage.find_objects(drawn)):
            if where is None or found.scores[index] < self.values["pred_iou_thresh"]:
                continue
            middle = (found.middles[index] + 0.5) * pitch
            if (middle < low).any() or (middle >= high).any():
                continue
            mask = drawn[where] == index + 1
            if not self._large_enough(mask):
                continue
            free = mask & (region[where] == 0)
            if free.sum() <= _SEEN_TWICE * mask.sum():
                continue
            last += 1
            region[where][free] = last
            scores[last] = float(found.scores[index])
        if scores:
            self.labels.write_part(stack, part.box, region)
        return scores

    def _large_enough(self, mask: NDArray[np.bool_]) -> bool:
        area = int(mask.sum((1, 2)).max())
        most = self.values.get("max_area")
        return area >= self.values["min_area"] and (most is None or area <= most)


def draw(found: SolidObjects, shape: tuple[int, int, int]) -> NDArray[np.int32]:
    """Draw objects of cells in voxels: outlines follow the foreground between cells.

    Parameters
    ----------
    found : SolidObjects
    shape : tuple of int
        Planes, rows, columns.
    """
    cells = found.labels.shape
    places = [
        np.clip(((np.arange(n) + 0.5) * k / n).astype(int), 0, k - 1)
        for n, k in zip(shape, cells, strict=True)
    ]
    labels = expand_labels(found.labels, 1)[np.ix_(*places)]
    foreground = found.foreground
    for axis, size in enumerate(shape):
        foreground = resampled(foreground, axis, size)
    out: NDArray[np.int32] = np.where(foreground > np.append(2, found.levels)[labels], labels, 0)
    return out
