"""Linear layers in int8: a scale for each output channel of the weights and for each token.

Only linear layers are quantised. What attention makes of their outputs stays in a float type:
keys of SAM have two modes (Lv et al. 2024, PTQ4SAM), which eight bits would have to span.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_SMALLEST = 32
"""Layers with fewer inputs or outputs gain nothing."""
_LARGEST = 127.0


class Int8Linear(nn.Module):
    """A linear layer with weights in int8, for CPUs; tokens are quantised when it is called.

    Computes ``(x * smooth) @ (weight * scale).T + bias``, where each row of ``x * smooth`` is
    rounded to 127 steps of its largest magnitude.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    bias, smooth : bool
        Whether it has a bias, and a factor for each input channel.

    Attributes
    ----------
    dtype : torch.dtype
        Of the products around it, such as attention's.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None
    smooth: Tensor | None

    def __init__(
        self, inputs: int, outputs: int, *, bias: bool = True, smooth: bool = False
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        self.dtype = torch.float32
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(outputs))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)
        self.register_buffer("smooth", torch.ones(inputs) if smooth else None)
        self._packed: tuple[Tensor, Tensor, Tensor] | None = None

    @classmethod
    def of(cls, layer: nn.Linear, smooth: Tensor | None = None) -> Int8Linear:
        """Round the weights of a layer.

        Parameters
        ----------
        layer : nn.Linear
            In float32.
        smooth : Tensor, optional
            (inputs,), positive: inputs are multiplied by it, weights divided.
        """
        has_bias, has_smooth = layer.bias is not None, smooth is not None
        made = cls(layer.in_features, layer.out_features, bias=has_bias, smooth=has_smooth)
        weight = layer.weight.detach().float()
        if smooth is not None:
            made.smooth = smooth.detach().float().clone()
            weight = weight / made.smooth
        made.scale = weight.abs().amax(1).clamp_min(1e-12) / _LARGEST
        made.weight = torch.round(weight / made.scale[:, None]).to(torch.int8)
        if has_bias:
            made.bias = layer.bias.detach().float().clone()
        return made

    def restored(self) -> nn.Linear:
        """Return a float32 layer with the rounded weights."""
        layer = nn.Linear(self.in_features, self.out_features, self.bias is not None)
        weight = self.weight.float() * self.scale[:, None]
        layer.weight = nn.Parameter(weight if self.smooth is None else weight * self.smooth)
        if self.bias is not None:
            layer.bias = nn.Parameter(self.bias.clone())
        return layer.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) of any float dtype to (..., outputs): float32, or autocast's type."""
        rows = x.reshape(-1, self.in_features).float()
        if self.smooth is not None:
            rows = rows * self.smooth
        scratch = rows.abs()
        step = scratch.amax(-1, keepdim=True).clamp_min_(1e-30).div_(_LARGEST)
        whole = torch.div(rows, step, out=scratch).round_().to(torch.int8)
        # the kernel takes unsigned bytes: 128 is added by flipping the sign bit
        bytes_ = whole.view(torch.uint8).bitwise_xor_(128)
        packed, zeros, bias = self._kernel()
        out = torch.ops.onednn.qlinear_pointwise(
            bytes_, 1.0, 128, packed, self.scale, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        torch.addcmul(bias, out, step, out=out)
        if torch.is_autocast_enabled("cpu"):
            out = out.to(torch.get_autocast_dtype("cpu"))
        return out.reshape(*x.shape[:-1], self.out_features)

    def _kernel(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights in the kernel's layout, zero points, and the bias; made on first use."""
        if self._packed is None:
            packed = torch.ops.onednn.qlinear_prepack(self.weight, None)
            zeros = torch.zeros(self.out_features, dtype=torch.long)
            bias = torch.zeros(self.out_features) if self.bias is None else self.bias
            self._packed = (packed, zeros, bias)
        return self._packed

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}


def linear_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers that can be quantised, by name."""
    return {
        name: part
        for name, part in network.named_modules()
        # a subclass may be read in other ways than by calling it
        if type(part) is nn.Linear and min(part.in_features, part.out_features) >= _SMALLEST
    }


def quantise_layers(network: nn.Module, smooth: Mapping[str, Tensor | None]) -> None:
    """Replace linear layers below a module by `Int8Linear`.

    Parameters
    ----------
    network : nn.Module
        Changed in place.
    smooth : mapping of str to Tensor or None
        The layers to replace, by name, and the factors of their inputs.
    """
    for name, factors in smooth.items():
        layer: Any = network.get_submodule(name)
        _replace(network, name, Int8Linear.of(layer, factors))


def quantised_layers(network: nn.Module) -> dict[str, Int8Linear]:
    """Return the layers that are quantised, by name."""
    return {name: m for name, m in network.named_modules() if isinstance(m, Int8Linear)}


def restore_layers(network: nn.Module) -> None:
    """Replace every `Int8Linear` below a module by a float layer with the same rounded weights."""
    for name, layer in quantised_layers(network).items():
        _replace(network, name, layer.restored())


def shape_as_stored(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Replace the encoder's linear layers that are stored in int8, so that they can be filled.

    Parameters
    ----------
    network : nn.Module
        A `Sam`, changed in place.
    state : mapping of str to Tensor
        Of a network that may have been quantised.
    """
    for name, layer in linear_layers(network).items():
        stored = name.startswith("image_encoder.") and f"{name}.scale" in state
        weight = state.get(f"{name}.weight")
        if stored and weight is not None and weight.dtype == torch.int8:
            smooth = f"{name}.smooth" in state
            bias = layer.bias is not None
            made = Int8Linear(layer.in_features, layer.out_features, bias=bias, smooth=smooth)
            _replace(network, name, made.to(layer.weight.device).eval())


def _replace(network: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, layer)
