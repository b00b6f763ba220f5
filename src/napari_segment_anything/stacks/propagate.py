"""From prompts on some planes to objects through the whole stack."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import Model, Predictor
from ..errors import ParameterError, PromptError
from ..progress import Progress, finish
from .chains import EDGE, MET, Chain, ChainKey, Link, join
from .embeddings import Place, PlaneEmbeddings
from .follow import (
    LIKENESS_THRESH,
    MAX_AREA_CHANGE,
    OVERLAP_THRESH,
    PRED_IOU_THRESH,
    STIFFNESS,
    Rules,
    follow,
    remember,
)
from .likeness import Reference
from .masks import PlaneMask, compose
from .seeds import Seed, Seeds, decode_seeds, read_seeds
from .sink import Sink
from .volume import Volume
from .windows import window_for

DIRECTIONS = {"both": (1, -1), "forward": (1,), "backward": (-1,)}


@dataclass(frozen=True, slots=True)
class PropagationView:
    """What a propagation has so far.

    Parameters
    ----------
    labels : array
        As in the result; planes fill as they are done.
    plane : int
        The one that was done last.
    objects : int
        Objects that are still followed.
    """

    labels: Any
    plane: int
    objects: int


@dataclass(frozen=True, slots=True, eq=False)
class PropagationResult:
    """Objects followed through a stack.

    Parameters
    ----------
    labels : array
        Ids of objects with the axes of the volume, without channels: NumPy, or Zarr with
        `output`.
    scores : dict of int to (dict of int to float)
        For each object and plane the predicted IoU; 1 where its mask was given.
    planes : dict of int to tuple of int
        Planes that each object is on, ascending.
    prompted : dict of int to tuple of int
        Planes that it was prompted for on.
    ends : dict of int to (dict of int to str)
        For each object, the first plane it was not found on in either direction, and why:
        "score", "overlap", "area", "likeness" or "empty". None where it reaches the stack's end.
    decoded : tuple of int
        Planes on which something was decoded in this call: all for a first run, those touched
        for an edit.
    changed : tuple of int
        Planes whose labels are not those of the run before.
    path : str or None
        Where the label image is, with `output`.
    """

    labels: Any
    scores: dict[int, dict[int, float]]
    planes: dict[int, tuple[int, ...]]
    prompted: dict[int, tuple[int, ...]]
    ends: dict[int, dict[int, str]]
    decoded: tuple[int, ...]
    changed: tuple[int, ...]
    path: str | None = None
    _state: _State | None = field(default=None, repr=False)

    def mask(self, number: int, plane: int) -> NDArray[np.bool_]:
        """Return an object's whole mask on a plane, also where another one has the pixels.

        Raises
        ------
        PromptError
            If there is no such object.
        """
        if self._state is None or number not in self._state.objects:
            raise PromptError(f"there is no object {number}; there are {sorted(self.planes)}")
        shape = self._state.volume.plane_shape
        found = self._state.objects[number].get(plane)
        if found is None:
            return np.zeros(shape, bool)
        return found[0].within(0, 0, *shape)

    @property
    def table(self) -> dict[str, NDArray[Any]]:
        """Columns, a row per object.

        label, first, last, extent (planes), area (voxels), score (mean predicted IoU), worst (the
        plane with the lowest), parent (0).
        """
        numbers = sorted(self.planes)
        objects = {} if self._state is None else self._state.objects
        areas = [sum(mask.area for mask, _ in objects.get(i, {}).values()) for i in numbers]
        first = np.array([self.planes[i][0] for i in numbers], np.int64)
        last = np.array([self.planes[i][-1] for i in numbers], np.int64)
        means = [float(np.mean(list(self.scores[i].values()))) for i in numbers]
        worst = [min(self.scores[i], key=lambda plane: self.scores[i][plane]) for i in numbers]
        return {
            "label": np.array(numbers, np.int64),
            "first": first,
            "last": last,
            "extent": last - first + 1,
            "area": np.array(areas, np.int64),
            "score": np.array(means, np.float64),
            "worst": np.array(worst, np.int64),
            "parent": np.zeros(len(numbers), np.int64),
        }


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """What the next run needs to do only what was edited."""

    signature: dict[str, Any]
    volume: Volume
    rules: Rules
    steps: tuple[int, ...]
    side: int
    seeds: Seeds
    masks: dict[tuple[int, int], tuple[PlaneMask, float]]
    references: dict[tuple[int, int], Reference]
    chains: dict[ChainKey, Chain]
    objects: dict[int, dict[int, tuple[PlaneMask, float]]]
    embeddings: PlaneEmbeddings
    sink: Sink


def propagate(
    volume: Any,
    prompts_by_slice: Any,
    model: Model,
    *,
    on_progress: Callable[[Progress], object] | None = None,
    **options: Any,
) -> PropagationResult:
    """Follow objects through a stack, from prompts or masks on one or more of its planes.

    On each next plane the network is prompted with an object's box, innermost point and mask
    from the plane before. An object ends where the network's score or its overlap with the plane
    before is low, or its area changes at once. Between two planes with prompts it is followed
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
    pred_iou_thresh: float = PRED_IOU_THRESH,
    overlap_thresh: float = OVERLAP_THRESH,
    max_area_change: float = MAX_AREA_CHANGE,
    stiffness: float = STIFFNESS,
    likeness_thresh: float = LIKENESS_THRESH,
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
        An object ends where its predicted IoU is lower.
    overlap_thresh : float
        It ends where the network's mask has a lower IoU with that of the plane before.
    max_area_change : float
        It ends where the network's mask is so many times larger or smaller than that before.
    stiffness : float
        How much the outline on the plane before counts against the network, in logits per
        radius of the object; 0 takes the network's masks as they are.
    likeness_thresh : float
        It ends where it looks less like it does where it was prompted for: 1 is the same, 0 is
        background. It is the product of the predicted IoU, relative to that on the plane with
        prompts, and of the likeness of the image embedding inside and around the object.
    window_size : int, optional
        Side in pixels of what is encoded around an object on planes larger than that; by default
        the model's frame.
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
    if direction not in DIRECTIONS:
        raise ParameterError(f"direction is 'both', 'forward' or 'backward', not {direction!r}")
    if window_size is not None and window_size < 1:
        raise ParameterError(f"window_size is at least 1 pixel, not {window_size}")
    rules = Rules(pred_iou_thresh, overlap_thresh, max_area_change, stiffness, likeness_thresh)
    opened = Volume.of(
        volume, axis, axes=axes, channel_axis=channel_axis, rgb=rgb, channels=channels,
        contrast_limits=contrast_limits,
    )  # fmt: skip
    stack = opened.check_stack(at)
    seeds = read_seeds(prompts_by_slice, opened)
    if objects is not None:
        seeds = _only(seeds, objects)
    signature = {
        "volume": opened.source.signature(),
        "limits": opened.limits,
        "axis": opened.axis,
        "stack": stack,
        "model": model.fingerprint,
        "precision": model.precision,
    }
    side = model.image_size if window_size is None else int(window_size)
    before = None if previous is None else previous._state
    steps = DIRECTIONS[direction]
    if before is not None:
        same = (before.signature, before.rules, before.steps, before.side)
        if same != (signature, rules, steps, side):
            raise ParameterError(
                "previous is of another volume, model or options; leave it out to begin anew"
            )
    keep = before is not None and predictor is None
    embeddings = (
        before.embeddings
        if before is not None and keep
        else PlaneEmbeddings(opened, predictor or Predictor(model))
    )
    sink = _sink(opened, stack, output, label, overwrite, before)
    return _Run(
        opened, stack, seeds, rules, steps, side, embeddings, sink, before, signature
    ).steps_through()


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


def _sink(
    volume: Volume,
    stack: tuple[int, ...],
    output: str | Path | None,
    label: str,
    overwrite: bool,
    before: _State | None,
) -> Sink:
    """Where labels go; with `previous` and an output, where they are already."""
    if before is not None and output is not None and before.sink.group is not None:
        return before.sink
    sink = Sink(volume, output, label, overwrite, stack)
    if before is not None:
        if output is None and isinstance(before.sink.array, np.ndarray):
            np.copyto(sink.array, before.sink.array)
        else:
            for plane in range(volume.count):
                sink.write(plane, stack, before.sink.read(plane, stack))
    return sink


class _Run:
    """One call of `propagate`."""

    def __init__(
        self,
        volume: Volume,
        stack: tuple[int, ...],
        seeds: Seeds,
        rules: Rules,
        steps: tuple[int, ...],
        side: int,
        embeddings: PlaneEmbeddings,
        sink: Sink,
        before: _State | None,
        signature: dict[str, Any],
    ) -> None:
        self.volume, self.stack, self.seeds, self.rules = volume, stack, seeds, rules
        self.steps, self.side, self.embeddings, self.sink = steps, side, embeddings, sink
        self.before, self.signature = before, signature
        self.masks: dict[tuple[int, int], tuple[PlaneMask, float]] = {}
        self.references: dict[tuple[int, int], Reference] = {}
        self.chains: dict[ChainKey, Chain] = {}
        self.decoded: set[int] = set()
        self.done = 0

    def steps_through(self) -> Generator[Progress, None, PropagationResult]:
        try:
            yield from self._decode_seeds()
            self._plan()
            yield from self._remember()
            for step in self.steps:
                yield from self._sweep(step)
            return (yield from self._finish())
        finally:
            self.embeddings.close()

    # -- planes with prompts ---------------------------------------------------------------------

    def _decode_seeds(self) -> Generator[Progress, None, None]:
        for plane, seeds in self.seeds.items():
            groups: dict[Place, list[int]] = {}
            for number, seed in seeds.items():
                kept = self._kept_seed(plane, number, seed)
                if kept is not None:
                    self.masks[plane, number] = kept
                else:
                    groups.setdefault(self._place(plane, seed.box), []).append(number)
            for place, numbers in groups.items():
                yield self._progress(plane, len(numbers), "encoding")
                embedding = self.embeddings.get(place)
                found = decode_seeds(
                    self.volume, self.embeddings.predictor, embedding, [seeds[i] for i in numbers]
                )
                self.decoded.add(plane)
                for number, (mask, score) in zip(numbers, found, strict=True):
                    if mask is None:
                        raise PromptError(
                            f"the prompts of object {number} on plane {plane} gave no mask; add a "
                            "point or draw a box"
                        )
                    self.masks[plane, number] = (mask, score)

    def _kept_seed(self, plane: int, number: int, seed: Seed) -> tuple[PlaneMask, float] | None:
        if seed.mask is not None:
            return seed.mask, 1.0
        if self.before is not None:
            old = self.before.seeds.get(plane, {}).get(number)
            if old is not None and old.key == seed.key:
                return self.before.masks[plane, number]
        return None

    def _place(self, plane: int, box: Sequence[float]) -> Place:
        margin = self.volume.margin
        rows, cols = self.volume.canvas
        high = (rows - 1, cols - 1, rows - 1, cols - 1)
        moved = [min(max(v + margin, 0), top) for v, top in zip(box, high, strict=True)]
        return Place(plane, self.stack, window_for(moved, (rows, cols), self.side))

    def _remember(self) -> Generator[Progress, None, None]:
        """Look at the seeds of all chains that are to be followed."""
        groups: dict[Place, list[tuple[int, int]]] = {}
        for key, chain in self.chains.items():
            place = (key.seed, key.number)
            if chain.end or place in self.references or self._next(key, chain) == chain.limit:
                continue
            mask = self.masks[place][0]
            old = self.before
            if old is not None and place in old.references and old.masks[place][0] == mask:
                self.references[place] = old.references[place]
                continue
            members = groups.setdefault(self._place(key.seed, mask.box), [])
            if place not in members:
                members.append(place)
        for where, places in groups.items():
            yield self._progress(where.plane, len(places), "encoding")
            embedding = self.embeddings.get(where)
            masks = [self.masks[place][0] for place in places]
            found = remember(self.volume, self.embeddings.predictor, embedding, masks)
            self.references.update(zip(places, found, strict=True))

    # -- from plane to plane ---------------------------------------------------------------------

    def _plan(self) -> None:
        """Chains to follow, with what earlier ones have of them already."""
        places: dict[int, list[int]] = {}
        for plane, number in self.masks:
            places.setdefault(number, []).append(plane)
        for number, planes in places.items():
            planes.sort()
            ends = {1: [*planes[1:], self.volume.count], -1: [-1, *planes[:-1]]}
            for step in self.steps:
                for plane, limit in zip(planes, ends[step], strict=True):
                    key = ChainKey(number, plane, step)
                    self.chains[key] = self._chain(key, limit)

    def _chain(self, key: ChainKey, limit: int) -> Chain:
        start = self.masks[key.seed, key.number][0]
        old = None if self.before is None else self.before.chains.get(key)
        if old is None or old.start != start:
            return Chain(start, limit)
        return old.cut(limit, key.step)

    def _sweep(self, step: int) -> Generator[Progress, None, None]:
        """Follow all chains of one direction, all objects of a plane at once."""
        waiting = {key: chain for key, chain in self.chains.items() if key.step == step}
        todo = {key: self._next(key, chain) for key, chain in waiting.items() if not chain.end}
        for key in list(todo):
            if todo[key] == waiting[key].limit:
                self._stop(waiting[key])
                del todo[key]
        while todo:
            plane = min(todo.values(), key=lambda p: p * step)
            now = [key for key, at in todo.items() if at == plane]
            groups: dict[Place, list[ChainKey]] = {}
            for key in now:
                groups.setdefault(self._place(plane, waiting[key].last.box), []).append(key)
            after = plane + step
            coming = [place._replace(plane=after) for place in groups]
            inside = 0 <= after < self.volume.count
            self.embeddings.expect([*groups, *(coming if inside else [])])
            for place, keys in groups.items():
                embedding = self.embeddings.get(place)
                last = [waiting[key].last for key in keys]
                known = [self.references[key.seed, key.number] for key in keys]
                found = follow(
                    self.volume, self.embeddings.predictor, embedding, last, self.rules, known
                )
                for key, new in zip(keys, found, strict=True):
                    chain = waiting[key]
                    if new.mask is None:
                        chain.end, chain.at_end = new.end, new.score
                        del todo[key]
                        continue
                    chain.links.append(Link(plane, new.mask, new.score))
                    self._rejoin(key, chain)
                    todo[key] = self._next(key, chain)
                    if chain.end or todo[key] == chain.limit:
                        self._stop(chain)
                        del todo[key]
            self.decoded.add(plane)
            self.done += 1
            self._show(plane, [(key.number, waiting[key].last) for key in now if key in todo])
            yield self._progress(plane, len(todo), "forward" if step > 0 else "backward")

    def _next(self, key: ChainKey, chain: Chain) -> int:
        return (chain.links[-1].plane if chain.links else key.seed) + key.step

    def _stop(self, chain: Chain) -> None:
        if not chain.end:
            chain.end = EDGE if chain.limit in (-1, self.volume.count) else MET

    def _rejoin(self, key: ChainKey, chain: Chain) -> None:
        """Take over the rest of an earlier chain, once this one has come upon it."""
        old = None if self.before is None else self.before.chains.get(key)
        if old is None or old.start == chain.start:
            return
        newest = chain.links[-1]
        places = [i for i, link in enumerate(old.links) if link.plane == newest.plane]
        if not places or old.links[places[0]].mask != newest.mask:
            return
        rest = old.cut(chain.limit, key.step)
        chain.links += rest.links[places[0] + 1 :]
        chain.end, chain.at_end = rest.end, rest.at_end

    def _show(self, plane: int, found: list[tuple[int, PlaneMask]]) -> None:
        """Let a viewer see what there is, before it is settled who has which pixel."""
        if not found:
            return
        labels = np.array(self.sink.read(plane, self.stack))
        for number, mask in found:
            free = labels[mask.slices]
            free[mask.pixels & (free == 0)] = number
        self.sink.write(plane, self.stack, labels)

    def _progress(self, plane: int, objects: int, message: str) -> Progress:
        total = max(self._total(), self.done + 1)
        view = PropagationView(self.sink.array, plane, objects)
        return Progress(self.done, total, view, f"{message}, plane {plane}")

    def _total(self) -> int:
        """Planes to go through, in both directions, if no object ends before."""
        total = self.done
        for step in self.steps:
            open_chains = [
                (self._next(key, chain), chain.limit)
                for key, chain in self.chains.items()
                if key.step == step and not chain.end
            ]
            if open_chains:
                starts = [start * step for start, _ in open_chains]
                ends = [limit * step for _, limit in open_chains]
                total += max(0, max(ends) - min(starts))
        return total

    # -- labels ----------------------------------------------------------------------------------

    def _finish(self) -> Generator[Progress, None, PropagationResult]:
        numbers = sorted({number for _, number in self.masks})
        objects = {}
        for number in numbers:
            seeds = {plane: found for (plane, i), found in self.masks.items() if i == number}
            forward, backward = (
                {key.seed: c for key, c in self.chains.items() if key[::2] == (number, step)}
                for step in (1, -1)
            )
            objects[number] = join(seeds, forward, backward)
        changed = self._changed(objects)
        on_plane: dict[int, list[tuple[int, PlaneMask, bool]]] = {plane: [] for plane in changed}
        for number, found in objects.items():
            for plane, (mask, _) in found.items():
                if plane in on_plane:
                    on_plane[plane].append((number, mask, (plane, number) in self.masks))
        for plane, found_there in on_plane.items():
            labels = compose(found_there, self.volume.plane_shape)
            self.sink.write(plane, self.stack, labels)
        if self.sink.group is not None:
            yield from self.sink.group.build_pyramid()
        scores = {
            number: {plane: score for plane, (_, score) in found.items()}
            for number, found in objects.items()
        }
        state = _State(
            self.signature, self.volume, self.rules, self.steps, self.side, self.seeds,
            self.masks, self.references, self.chains, objects, self.embeddings, self.sink,
        )  # fmt: skip
        return PropagationResult(
            labels=self.sink.array,
            scores=scores,
            planes={number: tuple(found) for number, found in objects.items()},
            prompted={
                number: tuple(sorted(plane for plane, i in self.masks if i == number))
                for number in numbers
            },
            ends=self._ends(objects),
            decoded=tuple(sorted(self.decoded)),
            changed=changed,
            path=None if self.sink.group is None else str(self.sink.group.path),
            _state=state,
        )

    def _changed(self, objects: dict[int, dict[int, tuple[PlaneMask, float]]]) -> tuple[int, ...]:
        """Planes whose labels have to be painted: all with an object, or those that differ."""
        before = {} if self.before is None else self.before.objects
        planes = set(self.decoded)
        for number in objects.keys() | before.keys():
            new, old = objects.get(number, {}), before.get(number, {})
            for plane in new.keys() | old.keys():
                mine, was = new.get(plane), old.get(plane)
                same = mine is not None and was is not None and mine[0] == was[0]
                prompted = (plane, number) in self.masks
                if not same or prompted != self._was_prompted(plane, number):
                    planes.add(plane)
        return tuple(sorted(planes))

    def _was_prompted(self, plane: int, number: int) -> bool:
        return self.before is not None and (plane, number) in self.before.masks

    def _ends(
        self, objects: dict[int, dict[int, tuple[PlaneMask, float]]]
    ) -> dict[int, dict[int, str]]:
        ends: dict[int, dict[int, str]] = {number: {} for number in objects}
        for key, chain in self.chains.items():
            if chain.end in (EDGE, MET, ""):
                continue
            plane = self._next(key, chain)
            if plane not in objects[key.number]:
                ends[key.number][plane] = chain.end
        return ends
