"""Where the prompts of a stack come from: committed objects, Points, Shapes, Labels; no Qt."""

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
from ..viewer.coordinates import between
from ..viewer.sources import fill, positives_of_shapes
from ..viewer.targets import LayerTarget
from ..viewer.working_layers import positives
from .stacks import Gather, Seeds, StackSource

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Points, Shapes

    from ..viewer_session import ViewerSession

SAME_OBJECT = 0.2
"""A region that has at least this IoU with an object followed before is that object, corrected."""


def gather_from(
    viewer: ViewerModel, stack: StackSource, session: ViewerSession, layer: Any
) -> Gather:
    """Settle where prompts come from, as the viewer has them now.

    Parameters
    ----------
    layer : Points, Shapes, Labels or None
        None: the objects that were committed with "Segment Anything".

    Raises
    ------
    PromptError
        If there are none, or they belong to another image.
    """
    from napari.layers import Labels, Points, Shapes

    if layer is None:
        return _of_session(stack, session)
    if isinstance(layer, Labels):
        return _of_labels(viewer, stack, layer)
    if isinstance(layer, Points):
        return _of_prompts(stack, _points(viewer, stack, layer))
    if isinstance(layer, Shapes):
        return _of_prompts(stack, _shapes(viewer, stack, layer))
    raise PromptError(f"prompts come from Points, Shapes or Labels, not {type(layer).__name__}")


def _of_session(stack: StackSource, session: ViewerSession) -> Gather:
    view = session.view
    if session.image is not stack.image.layers[0] or view.axes != stack.image.axes:
        raise PromptError("the objects of Segment Anything belong to another image or other axes")
    objects = view.session.objects
    wanted: dict[int, list[int]] = {}
    for label, item in objects.items():
        rest = tuple(index for i, index in enumerate(item.plane) if i != stack.place)
        if rest == stack.at:
            wanted.setdefault(item.plane[stack.place], []).append(int(label))
    if not wanted:
        raise PromptError(
            "no object was committed on this stack; click one with Segment Anything and commit it"
        )
    target = view.slot

    def gather(previous: PropagationResult | None) -> Generator[Progress, None, Seeds]:
        seeds: Seeds = {}
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
    target = LayerTarget(layer, stack.image.axes)

    def gather(previous: PropagationResult | None) -> Generator[Progress, None, Seeds]:
        seeds: Seeds = {}
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
    """Give regions the ids of objects followed before that they correct."""
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


@dataclass(slots=True)
class _Prompt:
    """A drawn prompt: its plane, what it is, and which object it says it belongs to."""

    plane: int
    kind: str
    value: Any
    positive: bool = True
    object: int = 0

    @property
    def inside(self) -> tuple[float, float]:
        """A place in the object."""
        if self.kind == "point":
            return float(self.value[0]), float(self.value[1])
        if self.kind == "box":
            return (self.value[0] + self.value[2]) / 2, (self.value[1] + self.value[3]) / 2
        rows, cols = np.nonzero(self.value)
        middle = len(rows) // 2
        return float(rows[middle]), float(cols[middle])


def _objects_of(layer: Any) -> list[int]:
    """Return the ids in a layer's feature "object", or zeros."""
    if "object" not in layer.features:
        return [0] * len(layer.data)
    return [int(value) if value == value and value is not None else 0
            for value in layer.features["object"]]  # fmt: skip


def _on_stack(stack: StackSource, position: np.ndarray) -> bool:
    plane = stack.image.axes.planes
    index = np.round(position[..., list(plane)])
    flat = index.reshape(-1, len(plane))
    inside = 0 <= flat[0][stack.place] < stack.count
    rest = [i for i in range(len(plane)) if i != stack.place]
    return bool(inside and (flat == flat[0]).all() and tuple(flat[0][rest]) == stack.at)


def _points(viewer: ViewerModel, stack: StackSource, layer: Points) -> list[_Prompt]:
    if not len(layer.data):
        return []
    axes = stack.image.axes
    places = between(viewer, layer, stack.image.layers[0], layer.data)
    rows = zip(places, positives(layer), _objects_of(layer), strict=True)
    return [
        _Prompt(
            round(float(at[stack.axis])), "point", at[list(axes.displayed)], bool(positive), number
        )
        for at, positive, number in rows
        if _on_stack(stack, at)
    ]


def _shapes(viewer: ViewerModel, stack: StackSource, layer: Shapes) -> list[_Prompt]:
    axes, found = stack.image.axes, []
    rows = zip(
        layer.data, layer.shape_type, positives_of_shapes(layer), _objects_of(layer), strict=True
    )
    for data, kind, positive, number in rows:
        at = between(viewer, layer, stack.image.layers[0], data)
        if not _on_stack(stack, at):
            continue
        plane, flat = round(float(at[0, stack.axis])), at[:, list(axes.displayed)]
        if kind in ("rectangle", "ellipse"):
            box = (*map(float, flat.min(0)), *map(float, flat.max(0)))
            found.append(_Prompt(plane, "box", box, True, number))
        elif kind == "polygon":
            mask, window = fill(flat, axes.rows_cols)
            whole = np.zeros(axes.rows_cols, bool)
            whole[window.slices] = mask
            found.append(_Prompt(plane, "mask", whole, True, number))
        else:
            found += [_Prompt(plane, "point", p, positive, number) for p in flat]
    return found


def _of_prompts(stack: StackSource, prompts: list[_Prompt]) -> Gather:
    if not any(item.positive for item in prompts):
        raise PromptError("the layer has no point, box or polygon on this stack")

    def gather(previous: PropagationResult | None) -> Generator[Progress, None, Seeds]:
        yield Progress(0, 1, message="reading prompts")
        return _seeds_of(prompts, previous, stack)

    return gather


def _seeds_of(
    prompts: list[_Prompt], previous: PropagationResult | None, stack: StackSource
) -> Seeds:
    """Sort prompts into objects.

    A feature "object" says which one; else every positive prompt is an object of its own, or
    corrects the object followed before that it lies in. Negative points go to the nearest one.
    """
    before: dict[int, NDArray[Any]] = {}
    taken = {item.object for item in prompts} | {0}
    if previous is not None:
        taken |= set(previous.planes)
        for plane in {item.plane for item in prompts}:
            before[plane] = plane_of_result(previous.labels, stack, plane)
    named: list[tuple[_Prompt, int]] = []
    for item in prompts:
        if not item.positive:
            continue
        number = item.object
        if not number and item.plane in before:
            rows, cols = before[item.plane].shape
            row, col = (round(v) for v in item.inside)
            number = int(before[item.plane][min(max(row, 0), rows - 1), min(max(col, 0), cols - 1)])
        if not number:
            number = max(taken) + 1
        taken.add(number)
        named.append((item, number))
    seeds: Seeds = {}
    for item, number in named:
        _add(seeds.setdefault(item.plane, {}), number, item)
    for item in prompts:
        here = [(other, number) for other, number in named if other.plane == item.plane]
        if item.positive or not here:
            continue
        nearest = min(here, key=lambda pair: np.hypot(*np.subtract(pair[0].inside, item.value)))
        _add(seeds[item.plane], item.object or nearest[1], item)
    return seeds


def _add(objects: dict[int, Any], number: int, item: _Prompt) -> None:
    if item.kind == "mask":
        objects[number] = item.value
        return
    known = objects.setdefault(number, {})
    if not isinstance(known, dict):
        return  # a region says it all
    if item.kind == "box":
        known["box"] = item.value
    else:
        known.setdefault("points", []).append([float(v) for v in item.value])
        known.setdefault("labels", []).append(int(item.positive))
