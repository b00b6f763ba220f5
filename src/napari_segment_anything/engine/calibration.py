"""Quantise a model's image encoder to int8, layer by layer, as measured on images of the user.

Each linear layer is measured by itself, on the tokens that it sees in those images: how far its
output in int8 is from that in float32. Where single channels are much larger than others, factors
move part of their range from the tokens to the weights (Xiao et al. 2023, SmoothQuant), if that
brings the output closer. Layers that stay too far are left in floats.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints import Checkpoint, fingerprint
from ..errors import ParameterError
from ..network.copying import copied
from ..network.quantised import (
    Int8Linear,
    linear_layers,
    quantise_layers,
    quantised_layers,
)
from ..progress import Progress, finish
from .device import int8_fault
from .model import Model, unquantisable
from .predictor import Predictor

LARGEST_ERROR = 0.05
"""Relative error of a layer's output above which it stays in floats."""
_ROWS = 512
"""Tokens, of all images together, that a layer is measured on."""
_PARTS = 4
"""A layer may be called for a part of the image at a time."""
_STRENGTHS = (0.0, 0.5, 0.75)
"""How much of a channel's range moves to the weights; 0 for none, which is fastest."""
_WORTH = 0.8
"""Factors are taken if they reduce the error to this share."""


@dataclass(frozen=True, slots=True)
class LayerError:
    """How a linear layer takes to int8.

    Parameters
    ----------
    name : str
        Within the image encoder.
    error : float
        Of its output in int8, relative to its root mean square.
    plain_error : float
        The same without factors for its inputs.
    kept : bool
        Whether it stays in floats.
    """

    name: str
    error: float
    plain_error: float
    kept: bool

    @property
    def smoothed(self) -> bool:
        """Whether its inputs have factors."""
        return self.error < self.plain_error


@dataclass(frozen=True, slots=True)
class Quantized:
    """A model in int8.

    Parameters
    ----------
    checkpoint : Checkpoint
        Its image encoder has layers in int8; all else is as it was.
    layers : tuple of LayerError
        All linear layers of its encoder, in order.
    """

    checkpoint: Checkpoint
    layers: tuple[LayerError, ...]


def quantize_steps(
    model: Model, images: Sequence[Any], largest_error: float = LARGEST_ERROR
) -> Generator[Progress, None, Quantized]:
    """Quantise a copy of a model, step by step; see `quantize`."""
    if model.precision != "fp32":
        raise ParameterError(f"load the model in fp32 to quantise it, not in {model.precision}")
    encoder = model.network.image_encoder
    if quantised_layers(encoder):
        raise ParameterError(f"{model.name} is quantised already")
    fault = int8_fault(model.device) or unquantisable(model.network, model.name)
    if fault or not images:
        raise ParameterError(fault or "give a few images to calibrate on")
    layers = linear_layers(encoder)
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}
    total = len(images) + len(layers)
    rows, predictor = max(1, _ROWS // len(images)), Predictor(model)
    for number, image in enumerate(images):
        yield Progress(number, total, message="encoding images to calibrate on")
        with _Watching(layers, seen, rows):
            predictor.embed(image)
    chosen: dict[str, Tensor | None] = {}
    errors = []
    for number, (name, layer) in enumerate(layers.items()):
        yield Progress(len(images) + number, total, message="measuring layers")
        tokens = seen.pop(name)
        if not tokens:  # not part of the embedding, such as a classifier
            continue
        with torch.inference_mode():
            found, smooth = _measured(name, layer, torch.cat(tokens))
        if found.error > largest_error:
            found = replace(found, kept=True)
        else:
            chosen[name] = smooth
        errors.append(found)
    if not chosen:
        raise ParameterError(f"no linear layer of {model.name} stays within {largest_error:g}")
    network = copied(model.network, "cpu")
    quantise_layers(network.image_encoder, chosen)
    kept = [each.name for each in errors if each.kept]
    metadata = {**model.metadata, "int8": {"of": model.fingerprint, "kept in floats": kept}}
    checkpoint = Checkpoint(
        network,
        f"{model.name}_int8",
        model.architecture,
        fingerprint(network.state_dict()),
        metadata,
        copy.deepcopy(model.instance_decoder),
    )
    return Quantized(checkpoint, tuple(errors))


def quantize(
    model: Model, images: Sequence[Any], largest_error: float = LARGEST_ERROR
) -> Quantized:
    """Quantise a copy of a model to int8, calibrated on images.

    Parameters
    ----------
    model : Model
        On the CPU, in fp32.
    images : sequence of array-likes
        A few images like those it will see, as for `Predictor.embed`; each is encoded once.
    largest_error : float
        Layers whose output changes more than this, relative to its root mean square, stay in
        floats.

    Returns
    -------
    Quantized
        `Model.from_checkpoint` runs its checkpoint, `save_checkpoint` writes its network.

    Raises
    ------
    ParameterError
        If there are no images, or int8 is not for this model or this processor.

    Examples
    --------
    >>> model = nsa.load_model("vit_b", precision="fp32")                        # doctest: +SKIP
    >>> made = nsa.quantize(model, images).checkpoint                            # doctest: +SKIP
    >>> nsa.save_checkpoint(made.network, "int8.safetensors", made.metadata)     # doctest: +SKIP
    """
    return finish(quantize_steps(model, images, largest_error))


class _Watching:
    """Keeps some of the tokens that layers see while it is entered."""

    def __init__(
        self, layers: dict[str, nn.Linear], seen: dict[str, list[Tensor]], rows: int
    ) -> None:
        self._layers, self._seen, self._rows = layers, seen, rows
        self._hooks: list[Any] = []

    def __enter__(self) -> None:
        left = dict.fromkeys(self._layers, self._rows)
        for name, layer in self._layers.items():

            def keep(_: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                rows = inputs[0].flatten(0, -2)
                step = max(1, len(rows) * _PARTS // self._rows)
                some = rows[step // 2 :: step][: left[name]]
                left[name] -= len(some)
                self._seen[name].append(some.float().clone())

            self._hooks.append(layer.register_forward_pre_hook(keep))

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()


def _measured(name: str, layer: nn.Linear, tokens: Tensor) -> tuple[LayerError, Tensor | None]:
    """Return the error of a layer on tokens (n, inputs), and the best factors for its inputs."""
    exact = F.linear(tokens, layer.weight)
    size = exact.square().mean().sqrt().clamp_min(1e-12)
    ranges = tokens.abs().amax(0).clamp_min(1e-5)
    weights = layer.weight.abs().amax(0).clamp_min(1e-5)
    best: tuple[float, Tensor | None] = (float("inf"), None)
    plain = 0.0
    for strength in _STRENGTHS:
        smooth = None
        if strength:
            smooth = weights.pow(1 - strength) / ranges.pow(strength)
            smooth = smooth / smooth.log().mean().exp()
        made = Int8Linear.of(layer, smooth)
        made.bias = None
        error = float((made(tokens) - exact).square().mean().sqrt() / size)
        if smooth is None:
            plain = error
            best = (error, None)
        elif error < best[0] and error < _WORTH * plain:
            best = (error, smooth)
    return LayerError(name, best[0], plain, kept=False), best[1]
