"""Memory of the video models of transformers: SAM 2, EdgeTAM and SAM 3's tracker.

An object is found on a plane from the planes that it was prompted for on, and from the planes just
before. Each call runs the model's own forward pass of one frame, on a session that holds only what
this pass reads, so that memory does not grow with the number of planes.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .sam2 import HIGH, HIGHER, Sam2Network

PROMPTED_PLANES = 8
"""An object is found from at most so many of the planes that it was prompted for on, the nearest:
time and memory of a plane do not grow with the number of prompts."""

_POINTER = "object_pointer"
_SPATIAL = ("maskmem_features", "maskmem_pos_enc")
_CORNERS = (2, 3)
"""Labels of a box's corners, given as points."""


@dataclass(frozen=True, slots=True, eq=False)
class PlaneMemory:
    """What is remembered of one object on one plane.

    Parameters
    ----------
    pointer : Tensor
        The object as one token.
    spatial : tuple of Tensor
        Its memory on a grid, and the positions of that; () on planes that are too far away for it.
    """

    pointer: Tensor
    spatial: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors, without the positions, which are the same on all planes."""
        return sum(t.nelement() * t.element_size() for t in (self.pointer, *self.spatial[:1]))

    def entry(self) -> dict[str, Tensor]:
        """Return it as a session keeps it."""
        return {_POINTER: self.pointer, **dict(zip(_SPATIAL, self.spatial, strict=False))}


@dataclass(frozen=True, slots=True, eq=False)
class RememberedMask:
    """The mask of an object on one plane, and what is to be remembered of it.

    Parameters
    ----------
    logits : Tensor (4h, 4w)
        Low-resolution logits of its mask, float32.
    presence : float
        Logit of the object being there; at or below 0 it is not, and its mask is empty.
    iou : float
        Predicted IoU of the mask.
    memory : PlaneMemory
    """

    logits: Tensor
    presence: float
    iou: float
    memory: PlaneMemory


class VideoMemory:
    """Follows single objects with a video model.

    It keeps nothing of objects or planes: what is remembered of an object is passed in, and objects
    have no influence on each other.

    Parameters
    ----------
    network : Sam2Network
        With a memory, in evaluation mode.
    planes : int
        Number of planes of the stack; on a short one fewer planes are remembered.
    """

    def __init__(self, network: Sam2Network, planes: int) -> None:
        import transformers

        self.network, self.parts = network, network.parts
        kind = type(self.parts).__name__.removesuffix("Model") + "InferenceSession"
        self._session = type(kind, (getattr(transformers, kind),), {"num_frames": planes})
        config = self.parts.config
        self.spatial_reach: int = config.num_maskmem - 1
        self.reach: int = max(
            self.spatial_reach, min(planes, config.max_object_pointers_in_encoder) - 1
        )
        # as the image encoder's, which is not always a part
        self._encode_positions = type(self.parts.memory_encoder.position_encoding)(
            self.parts.hidden_dim // 2, normalize=True
        )
        self._positions: Tensor | None = None
        self._said = threading.local()
        handle = self.parts.mask_decoder.register_forward_hook(_keep_iou(self._said))
        weakref.finalize(self, handle.remove)

    def maps(self, embedding: Tensor, heads: Mapping[str, Tensor]) -> list[Tensor]:
        """Return a plane's features as mask decoder and memory take them, the finest first.

        Parameters
        ----------
        embedding : Tensor (1, c, h, w)
            As the network encodes it.
        heads : mapping of str to Tensor
            Its finer features.
        """
        bare = embedding - self.parts.no_memory_embedding.reshape(1, -1, 1, 1)
        return [heads[HIGHER], heads[HIGH], bare]

    # -- on planes with prompts ------------------------------------------------------------------

    def from_prompts(
        self,
        maps: Sequence[Tensor],
        coords: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
    ) -> RememberedMask:
        """Segment an object by points, a box or both.

        Parameters
        ----------
        maps : sequence of Tensor (1, c, h, w)
            Features of the plane; see `maps`.
        coords, labels : Tensor, optional
            (1, n, 2) x and y in pixels of the frame, (1, n) 1 inside, 0 outside.
        boxes : Tensor, optional
            (1, 4) x_min, y_min, x_max, y_max in pixels of the frame.
        """
        places, kinds = [], []
        if boxes is not None:
            places.append(boxes.reshape(1, 2, 2))
            kinds.append(torch.tensor([_CORNERS], dtype=torch.int32))
        if coords is not None and labels is not None:
            places.append(coords)
            kinds.append(labels)
        session = self._begin(maps, 0)
        given = {"point_coords": torch.cat(places, 1), "point_labels": torch.cat(kinds, 1)}
        session.add_point_inputs(0, 0, {name: value[None] for name, value in given.items()})
        return self._prompted(session, maps)

    def from_mask(self, maps: Sequence[Tensor], mask: Tensor) -> RememberedMask:
        """Take a mask as it is.

        Parameters
        ----------
        maps : sequence of Tensor (1, c, h, w)
            As for `from_prompts`.
        mask : bool Tensor (side, side)
            In pixels of the frame.
        """
        session = self._begin(maps, 0)
        session.add_mask_inputs(0, 0, mask[None, None])
        return self._prompted(session, maps)

    # -- on other planes -------------------------------------------------------------------------

    def follow(
        self,
        maps: Sequence[Tensor],
        plane: int,
        step: int,
        prompted: Mapping[int, PlaneMemory],
        recent: Mapping[int, PlaneMemory],
    ) -> RememberedMask:
        """Find an object on a plane without prompts.

        Parameters
        ----------
        maps : sequence of Tensor (1, c, h, w)
            As for `from_prompts`.
        plane : int
        step : int
            +1 or -1: the direction in which planes are followed.
        prompted : mapping of int to PlaneMemory
            Of planes with prompts, on both sides.
        recent : mapping of int to PlaneMemory
            From `remember`, of planes that were followed in this direction.
        """
        session = self._begin(maps, plane)
        used = nearest(plane, prompted, PROMPTED_PLANES)
        outputs = session.output_dict_per_obj[0]
        outputs["cond_frame_outputs"] = {i: prompted[i].entry() for i in used}
        behind = {i: memory for i, memory in prompted.items() if (plane - i) * step > 0}
        outputs["non_cond_frame_outputs"] = {
            i: memory.entry()
            for i, memory in {**behind, **recent}.items()
            if i not in used and abs(plane - i) <= self.reach
        }
        return self._run(session, maps, plane, step, "non_cond_frame_outputs")

    def remember(
        self, recent: Mapping[int, PlaneMemory], plane: int, memory: PlaneMemory
    ) -> dict[int, PlaneMemory]:
        """Add a plane to what is remembered of an object, and forget what is not read any more.

        Parameters
        ----------
        recent : mapping of int to PlaneMemory
            Of planes that were followed before, in the same direction.
        plane : int
            The one just followed.
        memory : PlaneMemory
            Of it.
        """
        kept = {i: old for i, old in recent.items() if abs(plane - i) < self.reach}
        for i, old in kept.items():
            if abs(plane - i) >= self.spatial_reach and old.spatial:
                kept[i] = PlaneMemory(old.pointer, ())
        return {**kept, plane: memory}

    # -- one pass --------------------------------------------------------------------------------

    def _begin(self, maps: Sequence[Tensor], plane: int) -> Any:
        """Return a session of one object, and of one plane's features."""
        top = maps[-1]
        session = self._session(
            inference_device=top.device, inference_state_device=top.device, dtype=top.dtype
        )
        session.obj_id_to_idx(1)
        positions = self._encode_positions(top.shape, top.device, top.dtype)
        features = {"vision_feats": [*maps], "vision_pos_embeds": [positions]}
        for name, images in features.items():
            features[name] = [each.flatten(2).permute(2, 0, 1) for each in images]
        session.cache.cache_vision_features(plane, features)
        return session

    def _prompted(self, session: Any, maps: Sequence[Tensor]) -> RememberedMask:
        session.obj_with_new_inputs = [1]
        return self._run(session, maps, 0, 1, "cond_frame_outputs")

    def _run(
        self, session: Any, maps: Sequence[Tensor], plane: int, step: int, kind: str
    ) -> RememberedMask:
        with self.network.decoding(maps[-1]):
            found = self.parts(session, frame_idx=plane, reverse=step < 0)
        entry = session.output_dict_per_obj[0][kind][plane]
        memory, positions = (entry[name] for name in _SPATIAL)
        kept = self._positions
        if kept is None or kept.device != positions.device or not torch.equal(kept, positions):
            self._positions = kept = positions
        return RememberedMask(
            found.pred_masks[0, 0].float(),
            float(entry["object_score_logits"]),
            self._said.iou,
            PlaneMemory(entry[_POINTER], (memory, kept)),
        )


def nearest(plane: int, prompted: Iterable[int], most: int) -> list[int]:
    """Choose prompted planes as the models do: the last before, the first after, then the nearest.

    Parameters
    ----------
    plane : int
    prompted : iterable of int
    most : int
        How many at most; at least 2.

    Returns
    -------
    list of int
        Ascending.
    """
    rest = sorted(prompted)
    before = [i for i in rest if i < plane][-1:]
    after = [i for i in rest if i >= plane][:1]
    chosen = [*before, *after]
    others = sorted((i for i in rest if i not in chosen), key=lambda i: abs(i - plane))
    return sorted([*chosen, *others[: most - len(chosen)]])


def _keep_iou(said: threading.local) -> Callable[..., None]:
    """Return a hook of a mask decoder that keeps the predicted IoU of the mask which is taken."""

    def keep(_module: nn.Module, _inputs: Any, outputs: Any) -> None:
        said.iou = float(outputs[1].max())

    return keep
