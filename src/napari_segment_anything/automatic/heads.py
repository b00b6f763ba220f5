"""Which modes a model supports, and its dense maps."""

from __future__ import annotations

import difflib

import numpy as np
import torch
from numpy.typing import NDArray

from ..engine import Embedding, Model
from ..errors import ParameterError
from ..network.micro import DENSE_STRIDE
from ..parameters import MODES
from ..reading import require


def dense_head(model: Model) -> str:
    """Tell which kind of dense maps a model computes.

    Returns
    -------
    str
        "dense" for the embedded default model's, with boxes; "distances" for those of an
        instance decoder; "" for none.
    """
    if model.has_dense_maps:
        return "dense"
    return "distances" if model.instance_decoder is not None else ""


def available_modes(model: Model) -> tuple[str, ...]:
    """Modes of everything mode that a model supports.

    Returns
    -------
    tuple of str
        "grid" always; "proposals" and "instances" if its encoder has a dense head;
        "instances" if it has an instance decoder.
    """
    modes = {"dense": MODES, "distances": ("grid", "instances"), "": ("grid",)}
    return modes[dense_head(model)]


def choose_mode(model: Model, mode: str = "auto") -> str:
    """Resolve "auto", and check that the model supports the mode.

    Parameters
    ----------
    model : Model
    mode : str
        "auto", or one of `MODES`.

    Raises
    ------
    ParameterError
        If the mode is unknown or not supported; the message names those that are.
    """
    require(model, Model, "the model", "load one with load_model(name)")
    available = available_modes(model)
    if mode == "auto":
        mode = model.auto_mode
    if mode not in MODES:
        near = difflib.get_close_matches(str(mode), MODES, 1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise ParameterError(f"mode must be one of auto, {', '.join(MODES)}; got {mode!r}{hint}")
    if mode not in available:
        raise ParameterError(
            f"Model '{model.name}' does not support mode '{mode}', which needs a dense head; "
            f"choose {' or '.join(available)}."
        )
    return mode


def dense_maps(model: Model, embedding: Embedding) -> tuple[NDArray[np.float32], int]:
    """Return the dense maps of an encoded image, without the padding of the frame.

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

    Raises
    ------
    ParameterError
        If the model has no dense head.
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
