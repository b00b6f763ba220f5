"""Copies of networks on other devices."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch

from .promptable import Promptable

P = TypeVar("P", bound=Promptable)


def copied(network: P, device: torch.device | str) -> P:
    """Copy a network to a device, tensor by tensor.

    Its own device, which may be full, never holds two of them.

    Parameters
    ----------
    network : Promptable
    device : torch.device
        On "meta" the copy has shapes and no numbers.
    """
    moved: dict[int, Any] = {}
    for parameter in network.parameters():
        data = parameter.detach().to(device)
        moved[id(parameter)] = torch.nn.Parameter(data, requires_grad=False)
    for buffer in network.buffers():
        moved[id(buffer)] = buffer.detach().to(device)
    return copy.deepcopy(network, moved)
