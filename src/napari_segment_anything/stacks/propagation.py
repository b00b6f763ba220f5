"""From prompts on some planes to objects through the whole stack."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Model, Predictor
from ..errors import ParameterError, PromptError
from ..parameters import FOLLOWING, check_values
from ..progress import Progress, finish
from .axis_reach import AxisReach
from .decoder_following import DecoderFollower
from .dense_following import DenseFollower
from .embeddings import PlaneEmbeddings
from .memory_following import MemoryFollower, views_of
from .methods import choose_method
from .propagation_result import PropagationResult, PropagationView
from .propagation_run import PropagationRun
from .propagation_state import State, Task
from .rules import ObjectFollower, Rules
from .seeds import Seeds, SeedSegmenter, read_seeds, segment_seeds
from .spacing import Spacing, near_isotropic
from .stack_labels import StackLabels
from .volume import Volume

__all__ = ["DIRECTIONS", "PropagationResult", "PropagationView", "propagate", "propagate_steps"]

DIRECTIONS = {"both": (1, -1), "forward": (1,), "backward": (-1,)}


def propagate(
    volume: Any,
    prompts_by_slice: Any,
    model: Model,
    *,
    on_progress: Callable[[Progress], object] | None = None,
    **options: Any,
) -> PropagationResult:
    """Follow objects through a stack, from prompts or masks on one or more of its planes.

    With a model that has a dense head, an object's section on the next plane is computed from the
    instances found there, from brightness, and from two sections: the prompted one, moved by the
    optical flow of all planes between and reduced like that of a rounded body, and the one on the
    plane before. Other models are prompted with the box,
    innermost point and mask of the plane before. An object ends where its score or its overlap with
    the plane before is low, or its area changes abruptly.

    A model with a memory (SAM 2, EdgeTAM, SAM 3) remembers the object on the planes with prompts,
    on both sides, and on those just followed, and says itself whether the object is there; it may
    leave and return.

    Between two planes with prompts an object is followed from both; the two chains meet where they
    agree best. Objects have no influence on each other, except that a pixel belongs to one.

    Parameters
    ----------
    volume : array-like, pyramid, PlaneSource, ImageData, str or Path
        A stack: any array with shape, dtype and indexing, of which single planes are read; the
        levels of a pyramid; or a file.
    prompts_by_slice : mapping of int to Prompts, mapping, or label image
        Prompts by plane, in one of these forms: `Prompts`, whose objects are 1, 2, ...;
        {object: prompts}, where prompts are `Prompts` of one object, a mapping with "points",
        "labels", "box", or a bool mask; or a label image (rows, columns). Masks and labels are not
        decoded again. Coordinates are (row, column) in pixels of the plane.
    model : Model
        A loaded model.
    on_progress : callable, optional
        Called with every `Progress`; if it raises, the run is cancelled.
    **options
        Those of `propagate_steps`.

    Returns
    -------
    PropagationResult

    Raises
    ------
    ImageError, PromptError, ParameterError
        If volume, prompts or options cannot be used.
    FormatError, ResourceError
        If labels cannot be written.
    """
    return finish(propagate_steps(volume, prompts_by_slice, model, **options), on_progress)


def propagate_steps(
    volume: Any,
    prompts_by_slice: Any,
    model: Model,
    *,
    axis: int | str | None = None,
    at: Sequence[int] = (),
    objects: Iterable[int] | None = None,
    previous: PropagationResult | None = None,
    direction: str = "both",
    pred_iou_thresh: float = 0.15,
    overlap_thresh: float = 0.15,
    max_area_change: float = 6.0,
    stiffness: float = 12.0,
    likeness_thresh: float = 0.35,
    method: str = "auto",
    anisotropy: float | None = None,
    window_size: int | None = None,
    output: str | Path | None = None,
    label: str = "segment_anything",
    overwrite: bool = False,
    predictor: Predictor | None = None,
    axes: str | None = None,
    channel_axis: int | None = None,
    rgb: bool | None = None,
    channels: Sequence[int] | None = None,
    contrast_limits: Any = "auto",
) -> Generator[Progress, None, PropagationResult]:
    """Follow objects through a stack, step by step.

    `volume`, `prompts_by_slice` and `model` are those of `propagate`. Everything is checked before
    the first step.

    Parameters
    ----------
    axis : int or str, optional
        Axis of the volume to go along, by its number or letter; by default Z, else T, else the
        first that holds no channels.
    at : sequence of int
        Which stack of a volume with further axes: an index for each of these, in order.
    objects : iterable of int, optional
        Only these of the objects prompted for.
    previous : PropagationResult, optional
        Of the same volume, model and options. Only planes whose prompts differ, and those
        followed from them, are decoded again; "memory": objects whose prompts differ.
    direction : {"both", "forward", "backward"}
        In which direction objects are followed from the planes with prompts.
    pred_iou_thresh : float
        An object ends where its predicted IoU is lower; "dense": its score, which is 1 where
        brightness and instances support it fully, and 0 where they contradict it fully.
    overlap_thresh : float
        It ends where its mask has a lower IoU with that of the plane before.
    max_area_change : float
        It ends where its mask is more than this many times larger or smaller than that before.
    stiffness : float
        Weight of the outline on the plane before against the network, in logits per radius of the
        object; 0 uses the network's masks unchanged. "dense": weight of the prompted section and of
        the one before against brightness and instances; 12 is the usual one.
    likeness_thresh : float
        It ends where its likeness to itself on the plane with prompts is lower: 1 is the same, 0
        is background. This is the product of the predicted IoU, relative to that on the plane with
        prompts, and of the likeness of the image embedding inside and around the object. "dense":
        the probability that it is still there, by its brightness, compared with that of the
        prompted section, by the distance of the planes, and, in stacks of 16 planes or more at
        most 3 pixels apart, by what planes across the stack say of where it begins and ends. Where
        planes have too little in common for optical flow, it ends where its score is lower and no
        instance matches it.
    method : {"auto", "dense", "decoder"}
        "memory": by what the model remembers of the object, whole planes at a time; "dense": by
        the instances of the model's dense head on every plane, by brightness, and by the shape of
        the prompted section; "decoder": by prompts made from the plane before; "auto": the first of
        these that the model can do. With "memory" thresholds and `stiffness` have no effect, and
        may not be given.
    anisotropy : float, optional
        "dense": distance of two planes in pixels of a plane; by default that of the file, else one
        that suits cells and nuclei. The larger, the sooner objects end. Without effect along T.
    window_size : int, optional
        Side in pixels of the window that is encoded around an object on larger planes; by default
        the model's frame, or what shows the object at a size that suits the model. "memory":
        around all of its prompts, the same on all planes; by default the whole plane.
    output : str or Path, optional
        OME-Zarr store, new or existing, for labels larger than memory.
    label : str
        Name of the labels in the store.
    overwrite : bool
        Replace labels of that name.
    predictor : Predictor, optional
        Of the same model, whose cache of embeddings is used.
    axes, channel_axis, rgb, channels, contrast_limits
        As for `segment_stack`.

    Yields
    ------
    Progress
        After each plane in each direction; `partial` is a `PropagationView`.
    """
    check_values(
        FOLLOWING, {"direction": direction, "method": method, "window_size": window_size,
                    "anisotropy": anisotropy},
    )  # fmt: skip
    rules = Rules(pred_iou_thresh, overlap_thresh, max_area_change, stiffness, likeness_thresh)
    chosen = choose_method(model, method, anisotropy=anisotropy, **asdict(rules))
    opened = Volume.of(
        volume, axis, axes=axes, channel_axis=channel_axis, rgb=rgb, channels=channels,
        contrast_limits=contrast_limits,
    )  # fmt: skip
    if chosen == "memory":
        opened = replace(opened, mirrored=False)  # objects are not seen twice
    stack = opened.check_stack(at)
    seeds = read_seeds(prompts_by_slice, opened)
    if objects is not None:
        seeds = _only(seeds, objects)
    spacing = None
    if chosen == "dense":
        spacing = Spacing.of(opened, stack, anisotropy)
    side = model.image_size if window_size is None else int(window_size)
    signature: dict[str, Any] = {
        "volume": opened.source.signature(),
        "limits": opened.limits,
        "axis": opened.axis,
        "stack": stack,
        "model": model.fingerprint,
        "precision": model.precision,
        "method": chosen,
        "spacing": spacing,
        "rules": rules,
        "direction": direction,
        "window_size": window_size,
    }
    views = {}
    if chosen == "memory":
        views = views_of(seeds, model, opened.canvas, window_size)
    task = Task(
        opened, stack, seeds, rules, DIRECTIONS[direction], side, window_size is None, views,
        signature,
    )  # fmt: skip
    before = None if previous is None else previous._state
    if before is not None and before.task.signature != signature:
        raise ParameterError(
            "previous is of another volume, model or options; leave it out to begin again"
        )
    embeddings = (
        before.embeddings
        if before is not None and predictor is None
        else PlaneEmbeddings(opened, predictor or Predictor(model))
    )
    segment: SeedSegmenter = partial(
        segment_seeds, opened, stack, embeddings.predictor, window_size
    )
    follower: ObjectFollower = DecoderFollower(opened, embeddings.predictor)
    if chosen == "memory":
        memory = MemoryFollower(embeddings, stack, views)
        segment, follower = memory.segment, memory
    elif spacing is not None:
        reach = None
        if near_isotropic(opened, spacing):
            reach = AxisReach(opened, embeddings.predictor, stack, spacing.anisotropy)
        follower = DenseFollower(opened, model, stack, spacing, reach)
    labels = _labels(opened, stack, output, label, overwrite, before)
    return PropagationRun(task, segment, follower, embeddings, labels, before).progress()


def _only(seeds: Seeds, objects: Iterable[int]) -> Seeds:
    wanted = {int(number) for number in objects}
    known = {number for plane in seeds.values() for number in plane}
    if wanted - known:
        raise PromptError(f"there are no prompts for object {min(wanted - known)}")
    chosen = {
        plane: {number: seed for number, seed in found.items() if number in wanted}
        for plane, found in seeds.items()
    }
    return {plane: found for plane, found in chosen.items() if found}


def _labels(
    volume: Volume,
    stack: tuple[int, ...],
    output: str | Path | None,
    label: str,
    overwrite: bool,
    before: State | None,
) -> StackLabels:
    """Where labels go; with `previous` and an output, where they are already."""
    if before is not None and output is not None and before.labels.group is not None:
        return before.labels
    labels = StackLabels(volume, output, label, overwrite, stack)
    if before is not None:
        if output is None and isinstance(before.labels.array, np.ndarray):
            np.copyto(labels.array, before.labels.array)
        else:
            for plane in range(volume.count):
                labels.write(plane, stack, before.labels.read(plane, stack))
    return labels
