"""A loaded model: a network on a device, in a precision."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import CheckpointError, ParameterError
from ..network import Ability, EncoderOutput, FrameFit, Promptable, Sam
from ..network.copying import copied
from ..network.instance_decoder import InstanceDecoder
from ..network.quantised import (
    linear_layers,
    quantise_layers,
    quantised_layers,
    restore_layers,
)
from .device import choose_device, choose_precision, encoder_work, int8_fault, precision_name
from .encode_plan import Focus
from .text import text_vectors

if TYPE_CHECKING:
    from ..checkpoints import Checkpoint


@dataclass(frozen=True, eq=False)
class Model:
    """A network ready to run. Holds no state of any image; threads may share it.

    Made by `load_model`, or `Model.from_checkpoint`.

    Parameters
    ----------
    network : Promptable
        In evaluation mode, on `device`.
    name, architecture : str
        E.g. "vit_b".
    fingerprint : str
        Hash of the weights.
    device : torch.device
        Where it runs.
    precision : str
        Of matrix products: "fp32", "bf16" or "fp16"; "fp32+bf16" where image encoder and mask
        decoder differ; "int8+bf16" where the encoder's linear layers are in int8, and all else in
        bf16.
    precision_reason : str
        Why this precision.
    metadata : mapping
        Of the checkpoint: licence, card, default parameters for everything mode.
    instance_decoder : InstanceDecoder, optional
        Its decoder for instances, on `device`, always in float32.
    source, instance_decoder_source : str, optional
        Names, paths or URLs by which another process can load it, if known.
    """

    network: Promptable
    name: str
    architecture: str
    fingerprint: str
    device: torch.device
    precision: str = "fp32"
    precision_reason: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    instance_decoder: InstanceDecoder | None = None
    source: str | None = None
    instance_decoder_source: str | None = None
    _copies: dict[str, Promptable] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.architecture} on {self.device}, {self.precision}>"

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        device: str | torch.device = "auto",
        precision: str = "auto",
    ) -> Model:
        """Put a loaded checkpoint on a device; its networks are moved and cast in place.

        Raises
        ------
        CheckpointError
            If its image encoder was pre-trained and the other parts do not know it yet.
        """
        from ..checkpoints import PRETRAINED

        if checkpoint.metadata.get(PRETRAINED):
            raise CheckpointError(
                f"{checkpoint.name} is the result of a pre-training: its other parts do not know "
                "its image encoder yet. Fine-tune it with `napari-sam train`, as 'model' or as "
                "'encoder_weights'"
            )
        where = choose_device(device)
        network = checkpoint.network.to(where).eval().requires_grad_(False)
        work = encoder_work(network.config.encoder_kind)
        stored = bool(quantised_layers(network.image_encoder))
        fits = stored and precision == "auto" and not int8_fault(where)
        encoder, reason = choose_precision("int8" if fits else precision, where, work)
        dtype, other = choose_precision("int8" if fits else precision, where, "decoder")
        if fits:
            reason = other = "as the checkpoint is quantised"
        elif stored and encoder != torch.int8:
            restore_layers(network.image_encoder)
            reason = f"{reason}, with the weights rounded to int8"
        if encoder == torch.int8:
            if not stored:
                _quantise(network, checkpoint.name)
            network.set_precision(dtype)
        else:
            network.set_precision(encoder, dtype)
        if other != reason:
            reason = f"encoder: {reason}; decoder: {other}"
        decoder = checkpoint.instance_decoder
        if decoder is not None:
            decoder = decoder.to(where).eval().requires_grad_(False)
        return cls(
            network,
            checkpoint.name,
            checkpoint.architecture,
            checkpoint.fingerprint,
            where,
            precision_name(encoder, dtype),
            reason,
            dict(checkpoint.metadata),
            decoder,
        )

    @cached_property
    def encoder_precision(self) -> str:
        """The part of `precision` that embeddings depend on: in int8 all of it."""
        first = self.precision.partition("+")[0]
        return self.precision if first == "int8" else first

    @cached_property
    def image_size(self) -> int:
        """Frame side in pixels."""
        return self.network.config.image_size

    @cached_property
    def frame_fit(self) -> FrameFit:
        """How a window becomes the frame."""
        return self.network.config.frame_fit

    @cached_property
    def abilities(self) -> frozenset[Ability]:
        """What it can do."""
        return self.network.abilities

    @cached_property
    def mask_threshold(self) -> float:
        """A mask is where logits exceed this."""
        return float(self.network.mask_threshold)

    @property
    def auto_mode(self) -> str:
        """The everything mode that mode="auto" takes with this model."""
        return str(self.metadata.get("auto_mode", "grid"))

    def everything_defaults(self, mode: str) -> dict[str, Any]:
        """Default parameters of this model for an everything mode; empty if it has none."""
        return dict(self.metadata.get("everything", {}).get(mode, {}))

    @cached_property
    def refines(self) -> bool:
        """Whether masks are refined by the maps of the dense head."""
        return self.network.config.refiner_width > 0

    @cached_property
    def text_width(self) -> int:
        """Channels of the vectors of text prompts; 0 if it takes none."""
        return self.network.config.text_width

    def text_vectors(self, words: Sequence[str]) -> np.ndarray:
        """Return what words are as prompts of this model, by the CLIP it was trained with.

        Parameters
        ----------
        words : sequence of str

        Returns
        -------
        float32 array (words, channels)

        Raises
        ------
        PromptError
            If the model has no text prompts, or words are none.
        CheckpointError
            If its CLIP is not there, or is another one.
        """
        return text_vectors(self, words)

    @cached_property
    def has_dense_maps(self) -> bool:
        """Whether its image encoder has a dense head of its own (see `network.micro`)."""
        return self.network.config.encoder_kind == "micro"

    @cached_property
    def prompted_parts_only(self) -> bool:
        """Whether the model asks for masks to be reduced to their `prompted_parts`."""
        return bool(self.metadata.get("prompted_parts_only", False))

    @cached_property
    def focus(self) -> Focus | None:
        """Sizes at which it segments prompted objects well; None if unknown."""
        sizes = self.metadata.get("focus")
        return None if sizes is None else Focus(**sizes)

    @cached_property
    def devices(self) -> list[torch.device]:
        """Where it can run: its own device, then the CPU."""
        cpu = torch.device("cpu")
        return [self.device] if self.device.type == "cpu" else [self.device, cpu]

    def network_on(self, device: torch.device) -> Promptable:
        """Return the network, or for the CPU a copy of it, made when first needed."""
        if device == self.device:
            return self.network
        with self._lock:
            if str(device) not in self._copies:
                network = copied(self.network, device)
                if "fp16" in self.precision:
                    network.set_precision(torch.float32)
                self._copies[str(device)] = network
            return self._copies[str(device)]

    def encode(self, pixels: Tensor, device: torch.device | None = None) -> EncoderOutput:
        """Embed a frame.

        Parameters
        ----------
        pixels : float32 tensor (B, 3, h, w)
            RGB in 0..255, its long side `image_size`.
        device : torch.device, optional
            Another place to run than `self.device`.
        """
        where = device or self.device
        with torch.inference_mode():
            return self.network_on(where).encode(pixels.to(where))

    def dense_maps(
        self, pixels: Tensor, device: torch.device | None = None, *, square: bool = True
    ) -> Tensor:
        """Compute only the dense head of a model that `has_dense_maps`; see `Sam.dense_maps`."""
        where = device or self.device
        network = self.network_on(where)
        if not isinstance(network, Sam):
            raise ParameterError(f"model '{self.name}' has no dense head")
        with torch.inference_mode():
            return network.dense_maps(pixels.to(where), square=square)

    def decode(
        self, embedding: Tensor, *, device: torch.device | None = None, **arguments: Any
    ) -> tuple[Tensor, Tensor]:
        """Run the decoder once, on prompts of equal shape; see `Promptable.decode`."""
        where = device or self.device
        for name, value in arguments.items():
            if isinstance(value, Tensor):
                arguments[name] = value.to(where)
            elif isinstance(value, Mapping):
                arguments[name] = {head: tensor.to(where) for head, tensor in value.items()}
        with torch.inference_mode():
            return self.network_on(where).decode(embedding.to(where), **arguments)

    def describe(self) -> dict[str, str]:
        """Return what it is and how it runs, as text."""
        return {
            "name": self.name,
            "architecture": self.architecture,
            "fingerprint": self.fingerprint[:16],
            "device": str(self.device),
            "precision": f"{self.precision} ({self.precision_reason})",
            "frame": f"{self.image_size} px",
            "everything mode": self.auto_mode,
            "licence": str(self.metadata.get("licence", "unknown")),
        }


def load_model(
    source: str | Path = "default",
    device: str | torch.device = "auto",
    precision: str = "auto",
    **options: Any,
) -> Model:
    """Load a model by name, path or URL.

    Parameters
    ----------
    source : str or Path
        "default", another name from `catalogue`, the path or URL of a checkpoint, a folder in the
        form of transformers, or the ``"owner/name"`` of a model on the Hugging Face Hub.
    device : str or torch.device
        "auto" takes CUDA, MPS or the CPU, in this order.
    precision : str
        "auto", "fp32", "bf16", "fp16", "int8", or one for encoder and decoder each, such as
        "fp32+bf16"; see `choose_precision`. "int8" rounds the linear layers of the image encoder
        when they are loaded; `quantize` calibrates them on images first.
    **options
        For `load_checkpoint`, such as `instance_decoder`.

    Raises
    ------
    CheckpointError, DownloadError
        If the checkpoint cannot be obtained or read.
    ParameterError
        If the device or the precision is not available, or the model is not for it.
    """
    from ..checkpoints import load_checkpoint

    where = choose_device(device)
    choose_precision(precision, where)  # raises for a wrong one before anything is loaded
    model = Model.from_checkpoint(load_checkpoint(source, **options), where, precision)
    decoder = options.get("instance_decoder")
    return replace(
        model,
        source=_portable(source),
        instance_decoder_source=None if decoder is None else _portable(decoder),
    )


def _quantise(network: Promptable, name: str) -> None:
    """Quantise an image encoder without calibration: all its linear layers."""
    if fault := unquantisable(network, name):
        raise ParameterError(fault)
    quantise_layers(network.image_encoder, dict.fromkeys(linear_layers(network.image_encoder)))


def unquantisable(network: Promptable, name: str) -> str:
    """Return why int8 is not for a network; "" if it is."""
    kind = network.config.encoder_kind
    if encoder_work(kind) == "linear" and linear_layers(network.image_encoder):
        return ""
    return (
        f"the image encoder of {name} consists of convolutions, and int8 is for linear layers: "
        "it would gain nothing. Take auto"
    )


def _portable(source: str | Path) -> str:
    """Return a name, URL or path that means the same in another folder."""
    path = Path(source).expanduser()
    return str(path.absolute()) if path.exists() else str(source)
