"""The two-way transformer of a mask decoder from transformers, computed as that of SAM is here.

It is the same in SAM, SAM-HQ, SAM 2, EdgeTAM and SAM 3's tracker; `network.two_way_transformer`
computes it in another order, which is several times faster on a CPU.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from ..errors import CheckpointError
from ..network.blank import WithoutInitialisation
from ..network.two_way_transformer import TwoWayTransformer

_NAMES = (
    (r"\.o_proj\.", ".out_proj."),
    (r"\.mlp\.proj_in\.", ".mlp.lin1."),
    (r"\.mlp\.proj_out\.", ".mlp.lin2."),
    (r"\blayer_norm(\d|_final_attn)\.", r"norm\1."),
)


def shared_two_way(theirs: Any) -> TwoWayTransformer:
    """Return a two-way transformer that consists of another one's parameters.

    Parameters
    ----------
    theirs : nn.Module
        Of transformers. Its parameters are not copied: both have the same.

    Raises
    ------
    CheckpointError
        If it is of another shape than SAM's.
    """
    state = {_renamed(name): parameter for name, parameter in theirs.named_parameters()}
    hidden, width = state["layers.0.mlp.lin1.weight"].shape
    heads = theirs.layers[0].self_attn.num_attention_heads
    with torch.device("meta"), WithoutInitialisation():
        ours = TwoWayTransformer(len(theirs.layers), width, heads, hidden)
    shapes = {name: parameter.shape for name, parameter in ours.named_parameters()}
    if shapes != {name: parameter.shape for name, parameter in state.items()}:
        raise CheckpointError("its mask decoder is not built as SAM's, which is not supported")
    for name, parameter in state.items():
        path, _, last = name.rpartition(".")
        setattr(ours.get_submodule(path), last, parameter)
    for name, part in theirs.named_modules():
        if isinstance(part, nn.LayerNorm):
            ours.get_submodule(_renamed(f"{name}.")[:-1]).eps = part.eps  # type: ignore[assignment]
    return ours.eval()


def _renamed(name: str) -> str:
    for pattern, ours in _NAMES:
        name = re.sub(pattern, ours, name)
    return name
