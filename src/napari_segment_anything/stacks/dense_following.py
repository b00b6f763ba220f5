"""From an object's section on one plane to the next by dense instances, brightness and shape.

Nothing is decoded: the dense head finds the instances of a whole plane. Four terms are added for
each pixel, as distances from an outline: the instance on this plane, brightness relative to that of
the prompted section, the section on the plane before, and the prompted section, moved by optical
flow (`motion`) and reduced like that of a rounded body at this distance (`rounded_body`); how far
that body goes on is seen on planes across the stack (`axis_reach`). Between two planes with prompts
nothing is reduced, and one section turns into the other. In time-lapses nothing is reduced either;
where planes have too little in common for optical flow, the prompted section is put where the one
on the plane before is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..automatic.generate import read_instances
from ..automatic.heads import dense_head
from ..automatic.parameters import resolve
from ..engine import Embedding, EmbeddingStore, Model, PlacedMask, Window
from ..parameters import FOLLOWING
from .axis_reach import AxisReach
from .embeddings import Place
from .masks import centre, overlapping_parts, radius_of, signed_distance, surroundings
from .motion import Brightness, MovedSection, Shifts
from .rounded_body import RoundedBody
from .rules import Followed, Rules, Trail
from .seeds import Seed
from .spacing import Spacing
from .volume import Volume

_CLIP = 0.6
"""Distances count up to this part of the object's radius."""
_PRESENT = (0.4, 2.24, -1.24, -1.38)
"""Log odds that an object is still there: constant, correlation of its brightness with that of the
prompted section, change of its mean in standard deviations, `RoundedBody.distance`.
Fitted to objects of six stacks; with one of them left out in turn, the area under the ROC curve is
.91 (the stacks of benchmarks/stacks.py)."""
_PRESENT_ACROSS = (2.6, -0.51, -2.48, 0.72, 0.93)
"""The same, with `RoundedBody.margins` in place of the correlation, where these are seen. Fitted to
objects of four stacks; with one left out in turn, the area under the curve is .86 to .95."""
_SURE = 0.3
_LEAST_MATCH = 0.25
_GOOD_MATCH = 0.5
_LEAST_AREA = 0.1
_RING = 0.6
_RIM = 0.35
_BLUR = 1.5
_KEPT_BYTES = 128 << 20
_BRIGHT_BYTES = 64 << 20
_SHIFT_BYTES = 64 << 20


class _Weights(NamedTuple):
    """Weights of four terms, where that of the prompted section is `Spacing.rigidity`.

    They are of the instance, of brightness, and of the section on the plane before; and the share
    of a rounded body's reduction.
    """

    instance: float
    brightness: float
    last: float
    rounding: float


_MOVED = _Weights(0.7, 0.1, 0.3, 0.7)
"""Where optical flow moves and reduces the prompted section."""
_SEEN_ACROSS = _Weights(0.7, 0.1, 0.8, 0.8)
"""Where it is also known how far the object reaches."""
_COPIED = _Weights(1.0, 0.5, 0.3, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """The prompted section of an object, and what was measured on it.

    Parameters
    ----------
    plane : int
    mask : PlacedMask
    offset : float
        Pixels by which its outline lies outside that of the dense head's instance.
    agreement : float
        IoU of the two, after that shift.
    level, slope : float
        Brightness between inside and outside, and the increase of the log odds of being inside
        with brightness.
    contrast : float
        0 to 1: how well brightness alone separates its rim from its surroundings.
    moved : MovedSection or None
        The section on other planes; None where planes have too little in common to tell.
    body : RoundedBody
        How it goes on.
    """

    plane: int
    mask: PlacedMask
    offset: float
    agreement: float
    level: float
    slope: float
    contrast: float
    moved: MovedSection | None
    body: RoundedBody


@dataclass(frozen=True, slots=True)
class _Crop:
    """A rectangle of the plane, and what was found in it."""

    row: int
    col: int
    labels: NDArray[np.int32]
    bright: NDArray[np.float32]

    @property
    def window(self) -> Window:
        return Window(self.row, self.col, *self.labels.shape)

    def mask(self, mask: PlacedMask, down: int = 0, right: int = 0) -> NDArray[np.bool_]:
        return mask.crop(self.row - down, self.col - right, *self.labels.shape)


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A view of a plane: instances on their grid, areas of these in pixels, brightness."""

    embedding: Embedding
    labels: NDArray[np.int32]
    areas: NDArray[np.floating]
    bright: NDArray[np.float32]
    margin: int

    @property
    def nbytes(self) -> int:
        """Bytes of embedding and maps."""
        return self.embedding.nbytes + self.labels.nbytes + self.bright.nbytes

    def crop(self, mask: PlacedMask, reach: int) -> _Crop:
        """Cut out what lies within `reach` of a mask's box."""
        embedding, window = self.embedding, self.embedding.window
        near = surroundings(mask, reach, embedding, self.margin)
        pixels, cells = [], []
        for axis, part in enumerate(near.slices):
            places = np.arange(part.start, part.stop) + self.margin
            places -= (window.row, window.col)[axis]
            count = self.labels.shape[axis]
            cell = (places + 0.5) * embedding.scale[axis] * count / embedding.frame_shape[axis]
            cells.append(np.minimum(cell.astype(np.intp), count - 1))
            pixels.append(places)
        labels, bright = self.labels[np.ix_(*cells)], self.bright[np.ix_(*pixels)]
        return _Crop(near.row, near.col, labels, bright)


class DenseFollower:
    """Finds objects' sections on the planes of one stack.

    Parameters
    ----------
    volume : Volume
    model : Model
        With a dense head.
    stack : tuple of int
        Which stack of the volume.
    spacing : Spacing
        How far apart its planes are.
    reach : AxisReach, optional
        Looks across the stack at how far prompted objects reach.
    """

    remembers = False
    looks_ahead = True

    def __init__(
        self,
        volume: Volume,
        model: Model,
        stack: tuple[int, ...],
        spacing: Spacing,
        reach: AxisReach | None = None,
    ) -> None:
        self.volume, self.model, self.stack, self.spacing = volume, model, stack, spacing
        defaults = model.everything_defaults("instances")
        self._values = resolve("instances", {}, defaults, dense_head(model))
        self.reach = reach
        self._kept = EmbeddingStore[Place, _Read](_KEPT_BYTES)
        self._shifts = Shifts(_SHIFT_BYTES)
        self._bright_kept = EmbeddingStore[tuple[Window, int], NDArray[np.float32]](_BRIGHT_BYTES)

    def know(
        self,
        embedding: Embedding,
        place: Place,
        masks: Sequence[PlacedMask],
        seeds: Sequence[Seed],
    ) -> Iterator[Known]:
        """Look at sections that were prompted for, one by one; see `ObjectFollower`."""
        read = self._view(embedding, place)
        return (self._know(read, place.plane, mask) for mask in masks)

    def follow(
        self, embedding: Embedding, place: Place, trails: Sequence[Trail], rules: Rules
    ) -> list[Followed]:
        """Find objects on a plane; see `ObjectFollower`.

        The score of a section is 1 where brightness and dense head support it fully, and 0 where
        they contradict it fully.
        """
        read = self._view(embedding, place)
        return [self._follow(read, place.plane, t, rules) for t in trails]

    # -- a plane ---------------------------------------------------------------------------------

    def _view(self, embedding: Embedding, place: Place) -> _Read:
        return self._kept.get(place, lambda: self._read(embedding, place))

    def _read(self, embedding: Embedding, place: Place) -> _Read:
        labels = read_instances(self.model, embedding, self._values)[0].labels
        window = embedding.window
        cell = window.height * window.width / labels.size
        areas = np.bincount(labels.ravel()) * cell
        bright = self._bright(embedding.window, place.plane)
        return _Read(embedding, labels, areas, bright, self.volume.margin)

    def _bright(self, window: Window, plane: int) -> NDArray[np.float32]:
        """Brightness, smoothed; in a volume over the neighbouring planes, too."""
        return self._bright_kept.get((window, plane), lambda: self._smoothed(window, plane))

    def _smoothed(self, window: Window, plane: int) -> NDArray[np.float32]:
        weights = {0: 1.0} if self.spacing.timed else {-1: 0.25, 0: 0.5, 1: 0.25}
        total, sums = 0.0, np.zeros(window.shape, np.float32)
        for step, weight in weights.items():
            if 0 <= plane + step < self.volume.count:
                sums += weight * self.volume.brightness(plane + step, self.stack, window)
                total += weight
        smooth: NDArray[np.float32] = ndimage.gaussian_filter(sums / total, _BLUR)
        return smooth

    def _on_plane(self, window: Window, plane: int) -> Brightness:
        """Brightness in that part of a window which lies on the plane itself."""
        margin, shape = self.volume.margin, self.volume.plane_shape
        spans = [
            (max(start - margin, 0), min(start + side - margin, whole))
            for start, side, whole in zip(
                (window.row, window.col), window.shape, shape, strict=True
            )
        ]
        (top, bottom), (left, right) = spans
        skipped = (top + margin - window.row, left + margin - window.col)
        part = Window(top, left, bottom - top, right - left)
        values = self._bright(window, plane)
        return Brightness(
            values[skipped[0] : skipped[0] + part.height, skipped[1] : skipped[1] + part.width],
            part,
        )

    # -- an object -------------------------------------------------------------------------------

    def _know(self, read: _Read, plane: int, mask: PlacedMask) -> Known:
        radius = radius_of(mask)
        steady = self.spacing.steady
        shape = self.volume.plane_shape
        section = MovedSection(plane, mask, shape, self._shifts) if steady else None
        extent = None if self.reach is None else self.reach.extent(plane, mask)
        body = RoundedBody.of(plane, mask, self.spacing, extent, read.areas[1:])
        crop = read.crop(mask, max(3, int(np.ceil(_RING * radius))) + 2)
        inside = crop.mask(mask)
        depth = signed_distance(inside)
        instance, agreement = _match(read, crop, inside)
        offset = 0.0
        if instance is not None:
            away = signed_distance(instance)
            rivals = _rivals(crop, instance)
            for moved in np.arange(-0.3 * radius, 0.5 * radius, 0.5):
                agreed = _iou((away + moved > 0) & (away > rivals), inside)
                if agreed > agreement + 0.01:
                    agreement, offset = agreed, float(moved)
        core = inside & (depth > min(1.0, depth.max() - 0.5))
        ring = (depth < -0.5) & (depth > -max(3.0, _RING * radius))
        free = ring & (crop.labels == 0)
        ring = free if free.sum() >= 0.3 * ring.sum() else ring
        if not ring.any():
            return Known(plane, mask, offset, agreement, 0.0, 0.0, 0.0, section, body)
        within, around = crop.bright[core], crop.bright[ring]
        level = float(within.mean() + around.mean()) / 2
        difference = float(within.mean() - around.mean())
        spread = float(within.var() + around.var()) / 2 + 1e-12
        slope = difference / spread
        rim = crop.bright[inside & (depth <= max(1.0, _RIM * radius))]
        contrast = (slope * (rim - level) > 0).mean() + (slope * (around - level) <= 0).mean() - 1
        return Known(
            plane,
            mask,
            offset,
            agreement,
            level,
            slope,
            max(float(contrast), 0.0),
            section,
            body,
        )

    def _follow(self, read: _Read, plane: int, trail: Trail, rules: Rules) -> Followed:
        last, known, ahead = trail.last, trail.known, trail.ahead
        radius = radius_of(last)
        most = _CLIP * radius
        reach = max(2.0, most)
        crop = read.crop(last, int(np.ceil(reach)) + 2)
        before = crop.mask(last)
        outline = signed_distance(before)
        instance, match = _match(read, crop, before)
        around = partial(self._on_plane, read.embedding.window)
        weights = _COPIED
        if known.moved is not None:
            weights = _MOVED if known.body.extent is None else _SEEN_ACROSS
        origins = _origins(known, plane, crop, around)
        if ahead is None:
            depth = _depth(known, origins, crop, centre(last))
            depth -= weights.rounding * known.body.lost(plane)
        else:  # between two planes with prompts, one section turns into the other
            share = (plane - known.plane) / (ahead.plane - known.plane)
            middle = (1 - share) * centre(known.mask) + share * centre(ahead.mask)
            theirs = _origins(ahead, plane, crop, around)
            depth = (1 - share) * _depth(known, origins, crop, middle)
            depth += share * _depth(ahead, theirs, crop, middle)
        stiff = rules.stiffness / FOLLOWING["stiffness"].default
        shape = stiff * weights.last * np.clip(outline, -most, most)
        shape += stiff * self.spacing.rigidity * np.clip(depth, -2 * known.body.radius, most)
        evidence = np.full(before.shape, 0.0)
        weight = weights.brightness * known.contrast
        evidence += weight * np.clip(known.slope * (crop.bright - known.level) / 2, -1, 1)
        if instance is not None and match >= _LEAST_MATCH:
            away = signed_distance(instance)
            away = np.minimum(away + known.offset, away - _rivals(crop, instance))
            trust = weights.instance * (_SURE + known.agreement)
            evidence += trust * np.clip(away / most, -1, 1)
            weight += trust
        inside = (shape + most * evidence > 0) & (outline > -reach)
        new = PlacedMask.of(ndimage.binary_fill_holes(inside), crop.row, crop.col)
        new = overlapping_parts(new, last)
        if new.empty:
            return Followed(None, 0.0, "empty")
        support = evidence[crop.mask(new)].mean() / max(weight, 0.05)
        score = float(np.clip((1 + support) / 2, 0, 1))
        end = _end(new, last, known, score, rules)
        if not end and ahead is None:
            if origins is None:
                alike = match >= _GOOD_MATCH or score >= rules.likeness_thresh
            else:
                carried = around(known.plane).at(origins)
                odds = _presence(new, plane, crop, carried, known.body)
                alike = odds >= rules.likeness_thresh
            end = "" if alike else "likeness"
        return Followed(None if end else new, score, end)


def _end(new: PlacedMask, last: PlacedMask, known: Known, score: float, rules: Rules) -> str:
    """Why a section is not the object's: "area", "overlap" or "score"; "" if it may be."""
    change = new.area / last.area
    if new.area < max(2, _LEAST_AREA * known.mask.area):
        return "area"
    if max(change, 1 / change) > rules.max_area_change:
        return "area"
    if new.iou(last) < rules.overlap_thresh:
        return "overlap"
    return "score" if score < rules.pred_iou_thresh else ""


def _origins(
    known: Known, plane: int, crop: _Crop, around: Callable[[int], Brightness]
) -> NDArray[np.float64] | None:
    """Where a crop's pixels come from on the plane with prompts; None if nothing tells."""
    return None if known.moved is None else known.moved.origins(plane, crop.window, around)


def _depth(
    known: Known, origins: NDArray[np.float64] | None, crop: _Crop, middle: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Signed distance from the outline of a prompted section that is moved to a crop.

    Where nothing tells how it moves, its centre is put on `middle`, row and column.
    """
    if known.moved is not None and origins is not None:
        return known.moved.depth(origins)
    down, right = (round(float(move)) for move in middle - centre(known.mask))
    return signed_distance(crop.mask(known.mask, down, right))


def _presence(
    new: PlacedMask, plane: int, crop: _Crop, carried: NDArray[np.float32], body: RoundedBody
) -> float:
    """How probable it is that an object is on a plane: 0 to 1.

    Parameters
    ----------
    new : PlacedMask
        Its section, if it is there.
    plane : int
    crop : _Crop
    carried : float32 array (height, width)
        Brightness on the plane with prompts where the pixels of the crop come from.
    body : RoundedBody
    """
    inside, here = crop.mask(new), crop.bright
    near = ndimage.binary_dilation(inside, iterations=2)
    spread = float(carried[near].std())
    change = abs(float(here[inside].mean() - carried[inside].mean())) / max(spread, 1e-9)
    terms = (min(change, 3.0), min(body.distance(plane), 2.0))
    if body.extent is None:
        first, second = here[near] - here[near].mean(), carried[near] - carried[near].mean()
        alike = float((first * second).mean()) / max(float(first.std()) * spread, 1e-9)
        odds = np.dot(_PRESENT, (1.0, alike, *terms))
    else:
        odds = np.dot(_PRESENT_ACROSS, (1.0, *terms, *body.margins(plane, new)))
    return float(1 / (1 + np.exp(-odds)))


def _match(
    read: _Read, crop: _Crop, mask: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_] | None, float]:
    """The instance most like a mask, or the union of those that lie in it; and its IoU."""
    numbers, shared = np.unique(crop.labels[mask], return_counts=True)
    numbers, shared = numbers[numbers > 0], shared[numbers > 0]
    if not len(numbers):
        return None, 0.0
    area = np.count_nonzero(mask)
    areas = np.maximum(read.areas[numbers], shared)
    ious = shared / (areas + area - shared)
    best = int(ious.argmax())
    parts = shared > 0.6 * areas
    if parts.sum() > 1:
        together = shared[parts].sum() / (areas[parts].sum() + area - shared[parts].sum())
        if together > ious[best]:
            return np.isin(crop.labels, numbers[parts]), float(together)
    return crop.labels == numbers[best], float(ious[best])


def _rivals(crop: _Crop, instance: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Signed distance from other instances' outlines."""
    others = (crop.labels > 0) & ~instance
    if not others.any():
        return np.full(others.shape, -np.inf)
    return signed_distance(others)


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return int(np.count_nonzero(a & b)) / max(int(np.count_nonzero(a | b)), 1)
