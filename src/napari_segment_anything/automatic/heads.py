"""Which modes a model can do, and its dense maps."""

from __future__ import annotations

import difflib

import numpy as np
import torch
from numpy.typing import NDArray

from ..engine import Embedding, Model
from ..errors import ParameterError
from ..network.micro import DENSE_STRIDE, MicroConfig
from ..parameters import MODES
from ..reading import require


def dense_head(model: Model) -> str:
    """Tell the kind of dense maps a model gives.

    Returns
    -------
    str
        "dense": the embedded default's, with boxes; "distances": those of an instance decoder;
        "" none.
    """
    if isinstance(model.network.config.encoder, MicroConfig):
        return "dense"
    return "distances" if model.instance_decoder is not None else ""


def available_modes(model: Model) -> tuple[str, ...]:
    """Everything modes a model can do.

    Returns
    -------
    tuple of str
        "grid" always; "proposals" and "instances" if its encoder has a dense head;
        "instances" if it has an instance decoder.
    """
    modes = {"dense": MODES, "distances": ("grid", "instances"), "": ("grid",)}
    return modes[dense_head(model)]


def choose_mode(model: Model, mode: str = "auto") -> str:
    """Settle "auto" and refuse modes a model cannot do.

    Raises
    ------
    ParameterError
        Naming the modes it can do.
    """
    require(model, Model, "the model", "load one with load_model(name)")
    available = available_modes(model)
    if mode == "auto":
        mode = model.auto_mode
    if mode not in MODES:
        near = difflib.get_close_matches(str(mode), MODES, 1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise ParameterError(f"mode is one of auto, {', '.join(MODES)}; got {mode!r}{hint}")
    if mode not in available:
        raise ParameterError(
            f"Model '{model.name}' cannot do mode '{mode}', which needs a dense head; "
            f"it can do {', '.join(available)}."
        )
    return mode


def dense_maps(model: Model, embedding: Embedding) -> tuple[NDArray[np.float32], int]:
    """Give the dense maps of an encoded image, without the frame's padding.

    Parameters
    ----------
    model : Model
        With a dense head.
    embedding : Embedding
        Made by it.

    Returns
    -------
    maps : float32 array (channels, h, w)
        See `dense_head` for their kind.
    stride : int
        Frame pixels per cell.
    """
    if dense_head(model) == "dense":
        maps, stride = embedding.heads["dense"], DENSE_STRIDE
    elif model.instance_decoder is not None:
        with torch.inference_mode():
            maps = model.instance_decoder(embedding.features.to(model.device))
        stride = embedding.image_size // maps.shape[-1]
    else:
        raise ParameterError(f"Model '{model.name}' has no dense head.")
    rows, cols = (-(-extent // stride) for extent in embedding.frame_shape)
    return maps[0, :, :rows, :cols].float().cpu().numpy(), stride
