"""From prompts on some planes to objects through the whole stack."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..automatic.heads import dense_head
from ..engine import Model, Predictor
from ..errors import ParameterError, PromptError
from ..parameters import FOLLOWING, check_values
from ..progress import Progress, finish
from .decoder_following import DecoderFollower
from .dense_following import DenseFollower
from .embeddings import PlaneEmbeddings
from .propagation_result import PropagationResult, PropagationView
from .propagation_run import PropagationRun
from .propagation_state import State, Task
from .rules import Follower, Rules
from .seeds import Seeds, read_seeds
from .spacing import Spacing
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

    With a model that has a dense head, an object's section on the next plane is made up of the
    instances found there, of brightness, and of the sections prompted for and on the plane before;
    a rounded body becomes smaller away from the first. With other models the network is prompted
    with box, innermost point and mask from the plane before. An object ends where its score or
    its overlap with the plane before is low, or its area changes at once. Between two planes
    with prompts it is followed
    from both; the two meet where they agree best, else in the middle.

    Parameters
    ----------
    volume : array-like, pyramid, PlaneSource, ImageData, str or Path
        A stack: any array with shape, dtype and indexing, of which single planes are read; the
        levels of a pyramid; a file.
    prompts_by_slice : mapping of int to Prompts, mapping, or label image
        What is known, by plane. `Prompts`: its objects are 1, 2, ...; {object: prompts}, where
        prompts are `Prompts` of one object, a mapping with "points", "labels", "box", or a
        bool mask; or a label image (rows, columns). Masks and labels are taken as they are.
        Coordinates are those of the plane.
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

    `volume`, `prompts_by_slice` and `model` are those of `propagate`. All are checked at once.

    Parameters
    ----------
    axis : int or str, optional
        Axis of the volume to go along, by its number or letter; by default Z, else T, else the
        first that holds no channels.
    at : sequence of int
        Of a volume with further axes, which stack: an index for each, in order.
    objects : iterable of int, optional
        Only these of the objects prompted for.
    previous : PropagationResult, optional
        Of the same volume, model and options: what its prompts have in common with these is
        taken over, and only planes that an edit touches are decoded again.
    direction : {"both", "forward", "backward"}
        Where to follow objects to, from the planes with prompts.
    pred_iou_thresh : float
        An object ends where its predicted IoU is lower; "dense": its score, 1 where all that is
        seen speaks for it and 0 where all speaks against it.
    overlap_thresh : float
        It ends where its mask has a lower IoU with that of the plane before.
    max_area_change : float
        It ends where its mask is so many times larger or smaller than that before.
    stiffness : float
        How much the outline on the plane before counts against the network, in logits per
        radius of the object; 0 takes the network's masks as they are. "dense": how much the
        sections prompted for and before count against what is seen; 12 is as usual.
    likeness_thresh : float
        It ends where it looks less like it does where it was prompted for: 1 is the same, 0 is
        background. "dense": where its score is lower and no instance matches it. Else it is the
        product of the predicted IoU, relative to that on the plane with
        prompts, and of the likeness of the image embedding inside and around the object.
    method : {"auto", "dense", "decoder"}
        "dense": by the instances that the model's dense head finds on every plane, by brightness,
        and by the shape of the section that was prompted for; "decoder": prompted with the
        section on the plane before; "auto": "dense" where the model has a dense head.
    anisotropy : float, optional
        "dense": distance of two planes in pixels of a plane; by default what the file says, else
        that at which objects are as long as they usually are. The larger, the sooner objects
        end. Of no effect along T.
    window_size : int, optional
        Side in pixels of what is encoded around an object on planes larger than that; by default
        the model's frame, or what shows the object at a size that the model says it needs.
    output : str or Path, optional
        OME-Zarr store, new or existing, for labels larger than memory.
    label : str
        Name of the labels in the store.
    overwrite : bool
        Replace labels of that name.
    predictor : Predictor, optional
        Of the same model, to use its cache of embeddings.
    axes, channel_axis, rgb, channels, contrast_limits
        How the volume is to be understood, as for `segment_stack`.

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
    opened = Volume.of(
        volume, axis, axes=axes, channel_axis=channel_axis, rgb=rgb, channels=channels,
        contrast_limits=contrast_limits,
    )  # fmt: skip
    stack = opened.check_stack(at)
    seeds = read_seeds(prompts_by_slice, opened)
    if objects is not None:
        seeds = _only(seeds, objects)
    spacing = None
    if _choose(method, model, anisotropy) == "dense":
        spacing = Spacing.of(opened, stack, anisotropy)
    side = model.image_size if window_size is None else int(window_size)
    signature: dict[str, Any] = {
        "volume": opened.source.signature(),
        "limits": opened.limits,
        "axis": opened.axis,
        "stack": stack,
        "model": model.fingerprint,
        "precision": model.precision,
        "spacing": spacing,
        "rules": rules,
        "direction": direction,
        "window_size": window_size,
    }
    task = Task(
        opened, stack, seeds, rules, DIRECTIONS[direction], side, window_size is None, signature
    )
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
    follower: Follower = (
        DecoderFollower(opened, embeddings.predictor)
        if spacing is None
        else DenseFollower(opened, model, stack, spacing)
    )
    labels = _labels(opened, stack, output, label, overwrite, before)
    return PropagationRun(task, follower, embeddings, labels, before).progress()


def _choose(method: str, model: Model, anisotropy: float | None) -> str:
    """Settle "auto", and refuse what a model cannot do."""
    able = bool(dense_head(model))
    if method == "dense" and not able:
        raise ParameterError(
            f"model '{model.name}' has no dense head; follow objects with method='decoder'"
        )
    chosen = "dense" if method == "auto" and able else "decoder" if method == "auto" else method
    if chosen == "decoder" and anisotropy is not None:
        raise ParameterError("anisotropy is for method='dense' only")
    return chosen


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
