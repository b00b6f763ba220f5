"""Prompts as the mask decoder takes them: grouped by kind and number, (x, y) in the frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from .embedding import Embedding
from .prompt_input import PADDING
from .prompts import Prompts


def groups_of(prompts: Prompts) -> list[np.ndarray]:
    """Return indices of the objects that have the same kinds and numbers of prompts."""
    kind = prompts.point_counts * 8 + prompts.has_box * 4 + prompts.has_masks * 2 + prompts.has_text
    return [np.flatnonzero(kind == value) for value in np.unique(kind)]


def group_arrays(prompts: Prompts, which: np.ndarray) -> dict[str, np.ndarray]:
    """Return the prompts of the objects of one group, as `decoder_arguments` takes them.

    Parameters
    ----------
    prompts : Prompts
    which : int array (n,)
        Indices of the objects: one of `groups_of`.
    """
    first = which[0]
    arrays: dict[str, np.ndarray] = {}
    count = int(prompts.point_counts[first])
    if count:
        labels = prompts.labels[which]
        real = labels != PADDING
        arrays["points"] = prompts.points[which][real].reshape(len(which), count, 2)
        arrays["labels"] = labels[real].reshape(len(which), count)
    if prompts.has_box[first]:
        arrays["boxes"] = prompts.boxes[which]
    if prompts.masks is not None and prompts.has_masks[first]:
        arrays["masks"] = prompts.masks[which]
    if prompts.texts is not None and prompts.has_text[first]:
        arrays["texts"] = prompts.texts[which]
    return arrays


def decoder_arguments(
    embedding: Embedding, arrays: Mapping[str, np.ndarray], refines: bool
) -> dict[str, Tensor]:
    """Return the mask decoder's arguments, x before y, for n objects.

    Parameters
    ----------
    embedding : Embedding
        What they are decoded from.
    arrays : mapping of str to array
        Each optional: float32 "points" (n, k, 2) and "labels" (n, k), "boxes" (n, 4), "masks"
        (n, 4h, 4w), "texts" (n, channels).
    refines : bool
        Whether the model's refiner needs the boxes' outer edges as well.
    """
    arguments: dict[str, Tensor] = {}
    if "points" in arrays:
        frame = embedding.to_frame(arrays["points"])[..., ::-1].astype(np.float32)
        arguments["coords"] = torch.from_numpy(frame)
        arguments["labels"] = torch.from_numpy(arrays["labels"].astype(np.int32))
    if "boxes" in arrays:
        corners = arrays["boxes"].reshape(-1, 2, 2)
        frame = embedding.to_frame(corners)[..., ::-1].astype(np.float32)
        arguments["boxes"] = torch.from_numpy(frame).reshape(-1, 4)
        if refines:
            # of the outermost pixels' outer edges, as resizing takes them; -0.5 is the frame's
            outer = embedding.to_frame(corners + np.array([[0.0], [1.0]]))[..., ::-1] - 0.5
            arguments["edges"] = torch.from_numpy(outer.astype(np.float32)).reshape(-1, 4)
    if "masks" in arrays:
        arguments["masks"] = torch.from_numpy(arrays["masks"][:, None])
    if "texts" in arrays:
        arguments["texts"] = torch.from_numpy(arrays["texts"])
    return arguments
