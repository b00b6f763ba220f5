"""The prompts of a stack: committed objects, or Points, Shapes and Labels layers."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...engine import Window
from ...errors import PromptError
from ...progress import Progress
from ...stacks import PropagationResult
from ..viewer.sources import fill, read_prompts
from ..viewer.targets import LayerTarget
from .stacks import Gather, PlaneSeeds, StackSource

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

    from ..viewer.plane_sessions import PlaneSessions

SAME_OBJECT = 0.2
"""A region with at least this IoU with an object of the previous result corrects that object."""


def gather_from(
    viewer: ViewerModel, stack: StackSource, planes: PlaneSessions, layer: Any
) -> Gather:
    """Return a function that reads prompts, from what the viewer holds now.

    Parameters
    ----------
    layer : Points, Shapes, Labels or None
        None: the objects that were committed with "Segment Anything".

    Raises
    ------
    PromptError
        If there are none, or they belong to another image.
    """
    from napari.layers import Labels

    if layer is None:
        return _of_session(stack, planes)
    if isinstance(layer, Labels):
        return _of_labels(viewer, stack, layer)
    return _of_prompts(stack, _drawn(viewer, stack, layer))


def _of_session(stack: StackSource, planes: PlaneSessions) -> Gather:
    on = planes.find()
    if planes.layers.image is not stack.image.layers[0] or on.axes != stack.image.axes:
        raise PromptError("the objects of Segment Anything belong to another image or other axes")
    objects = on.session.objects
    wanted: dict[int, list[int]] = {}
    for label, item in objects.items():
        rest = tuple(index for i, index in enumerate(item.plane) if i != stack.place)
        if rest == stack.at:
            wanted.setdefault(item.plane[stack.place], []).append(int(label))
    if not wanted:
        raise PromptError(
            "no object was committed on this stack; click one with Segment Anything and commit it"
        )
    target = on.target

    def gather(previous: PropagationResult | None) -> Generator[Progress, None, PlaneSeeds]:
        seeds: PlaneSeeds = {}
        for number, plane in enumerate(sorted(wanted)):
            yield Progress(number, len(wanted), message="reading objects")
            labels = target.read(stack.plane_at(plane), Window.full(stack.image.axes.rows_cols))
            found = {label: labels == label for label in wanted[plane]}
            seeds[plane] = _named(
                {label: mask for label, mask in found.items() if mask.any()}, plane, previous, stack
            )
        return {plane: found for plane, found in seeds.items() if found}

    return gather


def _of_labels(viewer: ViewerModel, stack: StackSource, layer: Labels) -> Gather:
    image = stack.image
    target = LayerTarget(viewer, image.layers[0], image.axes, layer, anywhere=True)

    def gather(previous: PropagationResult | None) -> Generator[Progress, None, PlaneSeeds]:
        seeds: PlaneSeeds = {}
        for plane in range(stack.count):
            yield Progress(plane, stack.count, message="reading labels")
            labels = target.read(stack.plane_at(plane), Window.full(stack.image.axes.rows_cols))
            found = {int(i): labels == i for i in np.unique(labels) if i}
            if found:
                seeds[plane] = found
        if not seeds:
            raise PromptError("the labels are empty on this stack")
        return seeds

    return gather


def _named(
    masks: dict[int, NDArray[np.bool_]],
    plane: int,
    previous: PropagationResult | None,
    stack: StackSource,
) -> dict[int, Any]:
    """Give regions the ids of the objects in the previous result that they correct."""
    if previous is None:
        return dict(masks)
    before = plane_of_result(previous.labels, stack, plane)
    found: dict[int, Any] = {}
    matches = []
    for label, mask in masks.items():
        ids, counts = np.unique(before[mask], return_counts=True)
        for other, count in zip(ids, counts, strict=True):
            iou = count / (mask.sum() + (before == other).sum() - count)
            if other and iou >= SAME_OBJECT:
                matches.append((float(iou), int(other), label))
    left = dict(masks)
    for _, other, label in sorted(matches, reverse=True):
        if label in left and other not in found:
            found[other] = left.pop(label)
    for label, mask in left.items():
        taken = label in found or label in previous.planes
        found[max([label, *found, *previous.planes]) + 1 if taken else label] = mask
    return found


def plane_of_result(labels: Any, stack: StackSource, plane: int) -> NDArray[Any]:
    """Return a plane (rows, columns) of the labels of a propagation."""
    kept = sorted((stack.axis, *stack.image.axes.displayed))
    index: list[Any] = [slice(None)] * 3
    index[kept.index(stack.axis)] = plane
    return np.asarray(labels[tuple(index)])


@dataclass(frozen=True, slots=True, eq=False)
class _StackPrompt:
    """A point, box or mask on a plane of the stack, and the id in its feature "object"."""

    plane: int
    kind: str
    value: Any
    positive: bool
    number: int

    @property
    def inside(self) -> tuple[float, float]:
        """A point in the object: (row, column)."""
        if self.kind == "point":
            return float(self.value[0]), float(self.value[1])
        if self.kind == "box":
            return (self.value[0] + self.value[2]) / 2, (self.value[1] + self.value[3]) / 2
        rows, cols = np.nonzero(self.value)
        middle = len(rows) // 2
        return float(rows[middle]), float(cols[middle])


def _drawn(viewer: ViewerModel, stack: StackSource, layer: Layer) -> list[_StackPrompt]:
    """Return the prompts that a Points or Shapes layer holds for the stack."""
    axes, found = stack.image.axes, []
    for item in read_prompts(viewer, layer, stack.image.layers[0], axes):
        plane = item.plane[stack.place]
        if stack.plane_at(plane) != item.plane or not 0 <= plane < stack.count:
            continue
        if item.kind == "box":
            box = tuple(map(float, item.at))
            found.append(_StackPrompt(plane, "box", box, True, item.number))
        elif item.kind == "region":
            mask, window = fill(item.at, axes.rows_cols)
            whole = np.zeros(axes.rows_cols, bool)
            whole[window.slices] = mask
            found.append(_StackPrompt(plane, "mask", whole, True, item.number))
        else:
            points = np.atleast_2d(item.at)
            found += [_StackPrompt(plane, "point", p, item.positive, item.number) for p in points]
    return found


def _of_prompts(stack: StackSource, prompts: list[_StackPrompt]) -> Gather:
    if not any(item.positive for item in prompts):
        raise PromptError("the layer has no point, box or polygon on this stack")

    def gather(previous: PropagationResult | None) -> Generator[Progress, None, PlaneSeeds]:
        yield Progress(0, 1, message="reading prompts")
        return _seeds_of(prompts, previous, stack)

    return gather


def _seeds_of(
    prompts: list[_StackPrompt], previous: PropagationResult | None, stack: StackSource
) -> PlaneSeeds:
    """Sort prompts into objects.

    A feature "object" says which one; else every positive prompt is an object of its own, or
    corrects the object of the previous result that it lies in. Negative points go to the nearest
    one.
    """
    before: dict[int, NDArray[Any]] = {}
    taken = {item.number for item in prompts} | {0}
    if previous is not None:
        taken |= set(previous.planes)
        for plane in {item.plane for item in prompts}:
            before[plane] = plane_of_result(previous.labels, stack, plane)
    named: list[tuple[_StackPrompt, int]] = []
    for item in prompts:
        if not item.positive:
            continue
        number = item.number
        if not number and item.plane in before:
            rows, cols = before[item.plane].shape
            row, col = (round(v) for v in item.inside)
            number = int(before[item.plane][min(max(row, 0), rows - 1), min(max(col, 0), cols - 1)])
        if not number:
            number = max(taken) + 1
        taken.add(number)
        named.append((item, number))
    seeds: PlaneSeeds = {}
    for item, number in named:
        _add(seeds.setdefault(item.plane, {}), number, item)
    for item in prompts:
        here = [(other, number) for other, number in named if other.plane == item.plane]
        if item.positive or not here:
            continue
        nearest = min(here, key=lambda pair: np.hypot(*np.subtract(pair[0].inside, item.value)))
        _add(seeds[item.plane], item.number or nearest[1], item)
    return seeds


def _add(objects: dict[int, Any], number: int, item: _StackPrompt) -> None:
    if item.kind == "mask":
        objects[number] = item.value
        return
    known = objects.setdefault(number, {})
    if not isinstance(known, dict):
        return  # a mask needs no other prompts
    if item.kind == "box":
        known["box"] = item.value
    else:
        known.setdefault("points", []).append([float(v) for v in item.value])
        known.setdefault("labels", []).append(int(item.positive))
