"""A tiny random SAM whose masks look like masks: around the prompts, of three sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from napari_segment_anything.engine import Model
from napari_segment_anything.network import Sam, SamConfig, ViTConfig

SIDE = 128
_built: dict[tuple[Any, ...], tuple[Sam, Tensor]] = {}


class BlobSam(Sam):
    """Random weights; their output is drawn towards blobs around the positive prompts."""

    radii = (5.0, 3.0, 6.0, 8.0)
    """Of the single mask, and of the three."""
    together = 0
    """Prompts that are closer than about this many pixels mean the same object; 0: none do."""

    def decode(
        self, embedding: Tensor, coords=None, labels=None, boxes=None, masks=None, **options
    ):
        logits, iou = super().decode(embedding, coords, labels, boxes, masks, **options)
        count, side = logits.shape[1], logits.shape[-1]
        if boxes is not None:
            centre = (boxes[:, :2] + boxes[:, 2:]).float() / 2
        else:
            weight = (labels == 1).float()[..., None]
            centre = (coords.float() * weight).sum(1) / weight.sum(1)
        if self.together:
            centre = torch.round(centre / self.together) * self.together
        centre = centre * side / self.config.image_size
        axis = torch.arange(side, dtype=torch.float32)
        dx = axis[None, None] - centre[:, 0, None, None]
        dy = axis[:, None] - centre[:, 1, None, None]
        radius = torch.tensor(self.radii[1:] if count == 3 else self.radii[:count])
        blobs = 2 * (radius[:, None, None] - torch.hypot(dx, dy)[:, None])
        return self.altered(blobs, dx, dy) + 4 * torch.tanh(logits), torch.sigmoid(6 * iou + 2)

    def altered(self, blobs: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
        """The blobs, given the distances from their centres."""
        return blobs


class IslandSam(BlobSam):
    """The last of three masks has an island; without it, the mask is a duplicate of the second."""

    radii = (6.3, 3.0, 6.3, 7.0)
    together = 24

    def altered(self, blobs: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
        if blobs.shape[1] == 3:
            blobs[:, 2] = torch.maximum(blobs[:, 2], 3 * (1.6 - torch.hypot(dx - 14, dy)))
        return blobs


def tiny_model(seed: int = 0, kind: type[BlobSam] = BlobSam, **metadata) -> Model:
    network = once(_network, seed, kind)
    return Model(network, "tiny", "vit", f"{seed:032x}", torch.device("cpu"), metadata=metadata)


def once(build: Callable[..., Sam], *given: Any) -> Sam:
    """Build a random network, or copy the one that was built with the same arguments before.

    Random numbers go on as after the building.
    """
    if (build, *given) not in _built:
        _built[build, *given] = build(*given), torch.get_rng_state()
    network, state = _built[build, *given]
    torch.set_rng_state(state)
    return _copied(network, {})


def _copied(module: Any, known: dict[int, Any]) -> Any:
    """Copy modules, their parameters and buffers, in a third of deepcopy's time."""
    if id(module) not in known:
        made = known[id(module)] = object.__new__(type(module))
        for name, value in vars(module).items():
            vars(made)[name] = value.copy() if isinstance(value, (dict, set)) else value
        for tensors in (made._parameters, made._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    alone = tensor.detach().clone()
                    tensors[name] = known.setdefault(
                        id(tensor),
                        Parameter(alone, tensor.requires_grad)
                        if isinstance(tensor, Parameter)
                        else alone,
                    )
        for name, child in made._modules.items():
            made._modules[name] = None if child is None else _copied(child, known)
    return known[id(module)]


def _network(seed: int, kind: type[BlobSam]) -> Sam:
    torch.manual_seed(seed)
    encoder = ViTConfig(width=16, depth=2, heads=2, global_blocks=(1,), image_size=SIDE, window=4)
    network = kind(SamConfig(encoder)).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
            else:
                parameter.add_(0.1 * noise)
    return network
