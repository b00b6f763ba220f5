"""Prompts as the mask decoder takes them: grouped by kind and number, (x, y) in the frame."""

from __future__ import annotations

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


def decoder_arguments(
    embedding: Embedding, prompts: Prompts, which: np.ndarray, refines: bool
) -> dict[str, Tensor]:
    """Return the mask decoder's arguments, x before y, for objects of one group.

    Parameters
    ----------
    embedding : Embedding
        What they are decoded from.
    prompts : Prompts
    which : int array (n,)
        Indices of the objects: one of `groups_of`.
    refines : bool
        Whether the model's refiner needs the boxes' outer edges as well.
    """
    first = which[0]
    arguments: dict[str, Tensor] = {}
    count = int(prompts.point_counts[first])
    if count:
        labels = prompts.labels[which]
        real = labels != PADDING
        points = prompts.points[which][real].reshape(len(which), count, 2)
        frame = embedding.to_frame(points)[..., ::-1].astype(np.float32)
        arguments["coords"] = torch.from_numpy(frame)
        labels = labels[real].reshape(len(which), count).astype(np.int32)
        arguments["labels"] = torch.from_numpy(labels)
    if prompts.has_box[first]:
        corners = prompts.boxes[which].reshape(len(which), 2, 2)
        frame = embedding.to_frame(corners)[..., ::-1].astype(np.float32)
        arguments["boxes"] = torch.from_numpy(frame).reshape(len(which), 4)
        if refines:
            # of the outermost pixels' outer edges, as resizing takes them; -0.5 is the frame's
            outer = embedding.to_frame(corners + np.array([[0.0], [1.0]]))[..., ::-1] - 0.5
            edges = torch.from_numpy(outer.astype(np.float32))
            arguments["edges"] = edges.reshape(len(which), 4)
    if prompts.masks is not None and prompts.has_masks[first]:
        arguments["masks"] = torch.from_numpy(prompts.masks[which][:, None])
    if prompts.texts is not None and prompts.has_text[first]:
        arguments["texts"] = torch.from_numpy(prompts.texts[which])
    return arguments
