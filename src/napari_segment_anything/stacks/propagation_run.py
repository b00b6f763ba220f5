"""One run of propagation: planes with prompts, chains from them, labels."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from ..engine import EncodePlan, PlacedMask
from ..errors import PromptError
from ..progress import Progress
from .chains import ABSENT, EDGE, MET, Chain, ChainKey, Link, join
from .embeddings import Place, PlaneEmbeddings
from .masks import compose
from .propagation_result import PropagationResult, PropagationView
from .propagation_state import Followings, State, Task
from .rules import ObjectFollower, Trail
from .seeds import Seed, SeedSegmenter
from .stack_labels import StackLabels


class PropagationRun:
    """One call of `propagate`.

    Parameters
    ----------
    task : Task
    segment : SeedSegmenter
    follower : ObjectFollower
        Finds objects on the next plane.
    embeddings : PlaneEmbeddings
    labels : StackLabels
        Where results go.
    before : State, optional
        Of an earlier run of the same task, with other seeds.
    """

    def __init__(
        self,
        task: Task,
        segment: SeedSegmenter,
        follower: ObjectFollower,
        embeddings: PlaneEmbeddings,
        labels: StackLabels,
        before: State | None,
    ) -> None:
        self.task, self.volume, self.stack = task, task.volume, task.stack
        self.segment, self.follower = segment, follower
        self.embeddings, self.labels, self.before = embeddings, labels, before
        size = None if task.focused else task.side
        model = embeddings.predictor.model
        self.plan = EncodePlan(task.volume.canvas, model.image_size, model.focus, size)
        self.masks: dict[tuple[int, int], tuple[PlacedMask, float]] = {}
        self.references: dict[tuple[int, int], Any] = {}
        self.chains: dict[ChainKey, Chain] = {}
        self.decoded: set[int] = set()
        self.done = 0

    def progress(self) -> Generator[Progress, None, PropagationResult]:
        """Yield `Progress`, and return the result."""
        try:
            yield from self._decode_seeds()
            self._plan()
            yield from self._remember()
            for step in self.task.steps:
                yield from self._sweep(step)
            return (yield from self._finish())
        finally:
            self.embeddings.close()

    # -- planes with prompts ---------------------------------------------------------------------

    def _decode_seeds(self) -> Generator[Progress, None, None]:
        for plane, seeds in self.task.seeds.items():
            fresh = []
            for number, seed in seeds.items():
                kept = self._kept_seed(plane, number, seed)
                if kept is None:
                    fresh.append(number)
                else:
                    self.masks[plane, number] = kept
            if not fresh:
                continue
            yield self._progress(plane, len(fresh), "encoding")
            found = self.segment(plane, {number: seeds[number] for number in fresh})
            self.decoded.add(plane)
            for number, (mask, score) in zip(fresh, found, strict=True):
                if mask.empty:
                    raise PromptError(
                        f"the prompts of object {number} on plane {plane} gave no mask; add a "
                        "point or draw a box"
                    )
                self.masks[plane, number] = (mask, score)

    def _kept_seed(self, plane: int, number: int, seed: Seed) -> tuple[PlacedMask, float] | None:
        if seed.mask is not None:
            return seed.mask, 1.0
        if self.before is not None and self._same_seed(plane, number):
            return self.before.masks[plane, number]
        return None

    def _same_seed(self, plane: int, number: int) -> bool:
        """Whether an earlier run had the same prompts, or lack of them, in the same view."""
        if self.before is None:
            return False
        tasks = (self.task, self.before.task)
        new, old = (task.seeds.get(plane, {}).get(number) for task in tasks)
        first, second = (task.views.get(number) for task in tasks)
        return (new and new.key) == (old and old.key) and first == second

    def _edited(self) -> set[int]:
        """Objects whose prompts are not those of the earlier run."""
        if self.before is None:
            return set()
        both = (self.task.seeds, self.before.task.seeds)
        given = {(plane, number) for seeds in both for plane in seeds for number in seeds[plane]}
        return {number for plane, number in given if not self._same_seed(plane, number)}

    def _place(
        self,
        plane: int,
        number: int,
        box: Sequence[float],
        seed: tuple[int, int] | None = None,
    ) -> Place:
        """What to encode for an object: a function of its box, and of where it was prompted for."""
        fixed = self.task.views.get(number)
        if fixed is not None:
            return Place(plane, self.stack, fixed)
        prompted = None if seed is None else self._on_canvas(self.masks[seed][0].window.box)
        view = self.plan.followed_view(self._on_canvas(box), prompted)
        return Place(plane, self.stack, view)

    def _on_canvas(self, box: Sequence[float]) -> list[float]:
        """Move a box of the plane to the plane with its margin, and clip it to that."""
        last = np.tile(self.volume.canvas, 2) - 1
        moved: list[float] = np.clip(np.add(box, self.volume.margin), 0, last).tolist()
        return moved

    def _remember(self) -> Generator[Progress, None, None]:
        """Describe the seeds of all chains that are to be followed."""
        groups: dict[Place, list[tuple[int, int]]] = {}
        for seed in self._needed():
            mask, old = self.masks[seed][0], self.before
            same = old is not None and seed in old.references and self._same_seed(*seed)
            if old is not None and same and old.masks[seed][0] == mask:
                self.references[seed] = old.references[seed]
                continue
            groups.setdefault(self._place(*seed, mask.window.box), []).append(seed)
        for where, places in groups.items():
            yield self._progress(where.plane, len(places), "encoding")
            embedding = self.embeddings.get(where)
            masks = [self.masks[place][0] for place in places]
            seeds = [self.task.seeds[plane][number] for plane, number in places]
            found = self.follower.know(embedding, where, masks, seeds)
            for number, (place, known) in enumerate(zip(places, found, strict=True), 1):
                self.references[place] = known
                yield self._progress(where.plane, len(places) - number, "encoding")

    def _needed(self) -> list[tuple[int, int]]:
        """Return the seeds that chains which are to be followed need, by plane and object."""
        needed: dict[tuple[int, int], None] = {}
        for key, chain in self.chains.items():
            if chain.end or self._next(key, chain) == chain.limit:
                continue
            if self.follower.remembers:
                needed |= {seed: None for seed in self.masks if seed[1] == key.number}
            else:
                needed[key.seed, key.number] = None
                if chain.ahead is not None:
                    needed[chain.limit, key.number] = None
        return list(needed)

    # -- from plane to plane ---------------------------------------------------------------------

    def _plan(self) -> None:
        """Make the chains to follow, with the parts that an earlier run has found."""
        anew = self._edited() if self.follower.remembers else set()
        places: dict[int, list[int]] = {}
        for plane, number in self.masks:
            places.setdefault(number, []).append(plane)
        for number, planes in places.items():
            planes.sort()
            ends = {1: [*planes[1:], self.volume.count], -1: [-1, *planes[:-1]]}
            for step in self.task.steps:
                for plane, limit in zip(planes, ends[step], strict=True):
                    key = ChainKey(number, plane, step)
                    self.chains[key] = self._chain(key, limit, number in anew)

    def _chain(self, key: ChainKey, limit: int, anew: bool) -> Chain:
        start = self.masks[key.seed, key.number][0]
        ahead = None
        if self.follower.looks_ahead and (limit, key.number) in self.masks:
            ahead = self.masks[limit, key.number][0]
        old = None if self.before is None else self.before.chains.get(key)
        if old is None or old.start != start or anew or not old.leads_to(limit, ahead):
            return Chain(start, limit, ahead=ahead)
        return old.cut(limit, key.step)

    def _sweep(self, step: int) -> Generator[Progress, None, None]:
        """Follow all chains of one direction, all objects of a plane at once."""
        waiting = {key: chain for key, chain in self.chains.items() if key.step == step}
        todo = {key: self._next(key, chain) for key, chain in waiting.items() if not chain.end}
        recent: dict[int, Any] = {}
        prompted: dict[int, dict[int, Any]] = {}
        for (plane, number), known in self.references.items():
            prompted.setdefault(number, {})[plane] = known
        for key in list(todo):
            if todo[key] == waiting[key].limit:
                self._stop(waiting[key])
                del todo[key]
        while todo:
            plane = min(todo.values(), key=lambda p: p * step)
            now = [key for key, at in todo.items() if at == plane]
            groups: dict[Place, list[ChainKey]] = {}
            for key in now:
                seed = (key.seed, key.number)
                box = waiting[key].last.window.box
                place = self._place(plane, key.number, box, seed)
                groups.setdefault(place, []).append(key)
            after = plane + step
            coming = [place._replace(plane=after) for place in groups]
            inside = 0 <= after < self.volume.count
            self.embeddings.expect([*groups, *(coming if inside else [])])
            for place, keys in groups.items():
                embedding = self.embeddings.get(place)
                trails = [
                    Trail(step, waiting[i].last, i.seed, prompted[i.number], recent.get(i.number))
                    for i in keys
                ]
                found = self.follower.follow(embedding, place, trails, self.task.rules)
                for key, new in zip(keys, found, strict=True):
                    chain = waiting[key]
                    recent[key.number] = new.recent
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
        """Take over the rest of an earlier chain once this one has the same mask."""
        old = None if self.before is None else self.before.chains.get(key)
        if old is None or old.start == chain.start or self.follower.remembers:
            return
        if not old.leads_to(chain.limit, chain.ahead):
            return
        newest = chain.links[-1]
        places = [i for i, link in enumerate(old.links) if link.plane == newest.plane]
        if not places or old.links[places[0]].mask != newest.mask:
            return
        rest = old.cut(chain.limit, key.step)
        chain.links += rest.links[places[0] + 1 :]
        chain.end, chain.at_end = rest.end, rest.at_end

    def _show(self, plane: int, found: list[tuple[int, PlacedMask]]) -> None:
        """Write objects to the labels before overlaps are resolved, for viewers."""
        if not found:
            return
        labels = np.array(self.labels.read(plane, self.stack))
        for number, mask in found:
            mask.paste(labels, number, free_only=True)
        self.labels.write(plane, self.stack, labels)

    def _progress(self, plane: int, objects: int, message: str) -> Progress:
        total = max(self._total(), self.done + 1)
        view = PropagationView(self.labels.array, plane, objects)
        return Progress(self.done, total, view, f"{message}, plane {plane}")

    def _total(self) -> int:
        """Planes to go through in both directions if no object ends earlier."""
        total = self.done
        for step in self.task.steps:
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
        on_plane: dict[int, list[tuple[int, PlacedMask, bool]]] = {plane: [] for plane in changed}
        for number, found in objects.items():
            for plane, (mask, _) in found.items():
                if plane in on_plane:
                    on_plane[plane].append((number, mask, (plane, number) in self.masks))
        for plane, found_there in on_plane.items():
            labels = compose(found_there, self.volume.plane_shape)
            self.labels.write(plane, self.stack, labels)
        if self.labels.group is not None:
            yield from self.labels.group.build_pyramid()
        scores = {
            number: {plane: score for plane, (_, score) in found.items()}
            for number, found in objects.items()
        }
        state = State(
            self.task, self.masks, self.references, self.chains, objects, self.embeddings,
            self.labels,
        )  # fmt: skip
        return PropagationResult(
            labels=self.labels.array,
            scores=scores,
            planes={number: tuple(found) for number, found in objects.items()},
            prompted={
                number: tuple(sorted(plane for plane, i in self.masks if i == number))
                for number in numbers
            },
            ends=self._ends(objects),
            decoded=tuple(sorted(self.decoded)),
            changed=changed,
            path=self.labels.path,
            _state=state,
        )

    def _changed(self, objects: Followings) -> tuple[int, ...]:
        """Planes whose labels have to be drawn: all with an object, or those that differ."""
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

    def _ends(self, objects: Followings) -> dict[int, dict[int, str]]:
        ends: dict[int, dict[int, str]] = {number: {} for number in objects}
        for key, chain in self.chains.items():
            plane, why = chain.absent_from, ABSENT
            if plane is None:
                if chain.end in (EDGE, MET, ""):
                    continue
                plane, why = self._next(key, chain), chain.end
            if plane not in objects[key.number]:
                ends[key.number][plane] = why
        return ends
