"""Objects followed from plane to plane by the memory of a video model.

An object is found from the planes that it was prompted for on, on both sides, and from those that
were followed just before; it may leave and return. The model sees the same part of all planes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..engine import (
    Embedding,
    EncodePlan,
    Model,
    PlacedMask,
    Prompts,
    View,
    Window,
    bounding_box,
    draw_masks,
)
from ..engine.backoff import run_in_batches
from ..engine.predictor import decoder_arguments, group_arrays
from ..families.memory import PlaneMemory, RememberedMask, VideoMemory
from ..families.sam2 import Sam2Network
from .embeddings import Place, PlaneEmbeddings
from .rules import Followed, Rules, Trail
from .seeds import Seed, Seeds

T = TypeVar("T")


class MemoryFollower:
    """Finds objects by a video model's memory of them.

    Parameters
    ----------
    embeddings : PlaneEmbeddings
        Of a volume without mirrored pixels around its planes.
    stack : tuple of int
        Which stack of the volume.
    views : mapping of int to View
        From `views_of`.
    """

    remembers = True
    looks_ahead = False

    def __init__(
        self, embeddings: PlaneEmbeddings, stack: tuple[int, ...], views: Mapping[int, View]
    ) -> None:
        self.volume, self.model = embeddings.volume, embeddings.predictor.model
        self._embeddings, self._stack, self._views = embeddings, stack, views
        self._memories: dict[torch.device, VideoMemory] = {}

    def segment(self, plane: int, seeds: Mapping[int, Seed]) -> list[tuple[PlacedMask, float]]:
        """Segment by prompts what will be remembered of a plane; see `SeedSegmenter`."""
        groups: dict[View, list[int]] = {}
        for number in seeds:
            groups.setdefault(self._views[number], []).append(number)
        done: dict[int, tuple[PlacedMask, float]] = {}
        for view, numbers in groups.items():
            embedding = self._embeddings.get(Place(plane, self._stack, view))
            found = self._prompted(embedding, [seeds[number] for number in numbers])
            drawn = zip(self._draw(found, embedding), (mask.iou for mask in found), strict=True)
            done.update(zip(numbers, drawn, strict=True))
        return [done[number] for number in seeds]

    def know(
        self,
        embedding: Embedding,
        place: Place,
        masks: Sequence[PlacedMask],
        seeds: Sequence[Seed],
    ) -> list[PlaneMemory]:
        """Remember objects as they were prompted for; see `ObjectFollower`."""
        return [mask.memory for mask in self._prompted(embedding, seeds)]

    def follow(
        self, embedding: Embedding, place: Place, trails: Sequence[Trail], rules: Rules
    ) -> list[Followed]:
        """Find objects on a plane; see `ObjectFollower`.

        An object's score is the predicted IoU. Whether it is there, the model says, and no rule.
        """

        def look(memory: VideoMemory, maps: list[Tensor], trail: Trail) -> RememberedMask:
            return memory.follow(maps, place.plane, trail.step, trail.prompted, trail.recent or {})

        found = self._each(embedding, trails, look)
        memory = self._memory(self.model.device)
        return [
            Followed(
                mask, seen.iou, recent=memory.remember(trail.recent or {}, place.plane, seen.memory)
            )
            for mask, seen, trail in zip(self._draw(found, embedding), found, trails, strict=True)
        ]

    def _prompted(self, embedding: Embedding, seeds: Sequence[Seed]) -> list[RememberedMask]:
        def look(memory: VideoMemory, maps: list[Tensor], seed: Seed) -> RememberedMask:
            if seed.mask is not None:
                return memory.from_mask(maps, _in_frame(seed.mask, embedding).to(maps[-1].device))
            arrays = group_arrays(cast("Prompts", seed.prompts), np.zeros(1, np.int64))
            return memory.from_prompts(maps, **decoder_arguments(embedding, arrays, False))

        return self._each(embedding, seeds, look)

    def _each(
        self,
        embedding: Embedding,
        items: Sequence[T],
        look: Callable[[VideoMemory, list[Tensor], T], RememberedMask],
    ) -> list[RememberedMask]:
        """Look at a plane for each item, on the CPU if memory runs out."""

        def work(part: slice, device: torch.device) -> list[RememberedMask]:
            memory = self._memory(device)
            heads = {name: head.to(device) for name, head in embedding.heads.items()}
            maps = memory.maps(embedding.features.to(device), heads)
            return [look(memory, maps, item) for item in items[part]]

        count = len(items)
        batches, _ = run_in_batches(work, count, count, self.model.devices, "memory of objects")
        return [mask for batch in batches for mask in batch]

    def _memory(self, device: torch.device) -> VideoMemory:
        if device not in self._memories:
            network = cast("Sam2Network", self.model.network_on(device))
            self._memories[device] = VideoMemory(network, self.volume.count)
        return self._memories[device]

    def _draw(self, found: Sequence[RememberedMask], embedding: Embedding) -> list[PlacedMask]:
        logits = torch.stack([mask.logits.cpu() for mask in found])
        return draw_masks(logits, embedding, self.model.mask_threshold)


def views_of(
    seeds: Seeds, model: Model, canvas: tuple[int, int], window_size: int | None
) -> dict[int, View]:
    """Choose the view of each object, the same on all planes: whole planes, or around its prompts.

    Parameters
    ----------
    seeds : Seeds
    model : Model
    canvas : (int, int)
        Rows and columns of a plane.
    window_size : int, optional
        Least side of a window around an object, in pixels; by default the whole plane.
    """
    extents: dict[int, list[NDArray[np.float64]]] = {}
    for plane in seeds.values():
        for number, seed in plane.items():
            extents.setdefault(number, []).append(np.array(seed.extent))
    if window_size is None:
        return dict.fromkeys(extents, View(Window.full(canvas)))
    plan = EncodePlan(canvas, model.image_size, window_size=window_size)
    return {number: plan.followed_view(bounding_box(*all)) for number, all in extents.items()}


def _in_frame(mask: PlacedMask, embedding: Embedding) -> Tensor:
    """Scale a mask to the frame, as published; one too small for that still has its best pixel."""
    side = embedding.image_size
    pixels = torch.from_numpy(mask.within(embedding.window)).float()[None, None]
    scaled = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)[0, 0]
    return scaled >= scaled.max().clamp(max=0.5)
