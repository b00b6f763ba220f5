"""Save networks to our own checkpoint files."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ..errors import CheckpointError, ParameterError, ResourceError
from ..network.instance_decoder import InstanceDecoder
from ..network.sam import Sam
from ..reading import require
from .configuration import config_to_json
from .reading import DECODER_PREFIX

_VERSION = "1"
# Norms, biases and positional frequencies have few values and stay in 32 bits.
_SMALL = 4096


def save_checkpoint(
    network: Sam,
    path: str | Path,
    metadata: Mapping[str, Any] | None = None,
    *,
    half: bool = False,
    instance_decoder: InstanceDecoder | None = None,
) -> Path:
    """Save a network as safetensors, with its configuration in the header.

    `load_checkpoint` returns the same network. The file is written completely or not at all.

    Parameters
    ----------
    network : Sam
        The network; tensors are stored unchanged.
    path : str or Path
        The file, ending in ``.safetensors``. Missing folders are created.
    metadata : mapping, optional
        Further values, to be stored as JSON: "licence", "card", "auto_mode", "everything" (mode
        -> default parameters) and so on.
    half : bool
        Store float tensors in 16 bits, except norms, biases and positional frequencies.
    instance_decoder : InstanceDecoder, optional
        An instance decoder to bundle.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ParameterError
        If the path does not end in ``.safetensors`` or the metadata is not JSON.
    CheckpointError
        If a value is not finite, or too large for 16 bits.
    ResourceError
        If the file cannot be written.
    """
    require(network, Sam, "the network", "give the network of a Checkpoint or a Model")
    require(path, (str, Path), "the path", "give a text or a Path")
    path = Path(path).expanduser()
    if path.suffix != ".safetensors":
        raise ParameterError(f"the file name must end in .safetensors: {path.name}")
    try:
        described = json.dumps(dict(metadata or {}), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"the metadata cannot be stored as JSON: {error}") from error
    header = {
        "format": "pt",
        "napari-segment-anything": _VERSION,
        "config": config_to_json(network.config),
        "metadata": described,
    }
    state = dict(network.state_dict())
    if instance_decoder is not None:
        header["instance_decoder"] = config_to_json(instance_decoder.config)
        parts = instance_decoder.state_dict().items()
        state.update({f"{DECODER_PREFIX}{name}": tensor for name, tensor in parts})
    tensors = {name: _stored(name, tensor, half) for name, tensor in state.items()}
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        mode = partial.stat().st_mode  # the umask's; safetensors makes files private
        safetensors.torch.save_file(tensors, partial, metadata=header)
        partial.chmod(mode)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        full = full or "No space left" in str(error)
        reason = "the disk is full" if full else str(error)
        raise ResourceError(f"cannot write {path}: {reason}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point():
        return tensor
    if tensor.numel() and not torch.isfinite(torch.stack(torch.aminmax(tensor))).all():
        raise CheckpointError(f"{name} has values that are not finite; nothing was saved")
    if not half or tensor.ndim < 2 or tensor.numel() <= _SMALL:
        return tensor
    halved = tensor.half()
    if not torch.isfinite(halved).all():
        raise CheckpointError(f"{name} has values too large for 16 bits; save it with half=False")
    return halved
