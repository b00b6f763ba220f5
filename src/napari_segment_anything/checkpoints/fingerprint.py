"""Fingerprints: hashes of weights that do not depend on the file format."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """Hash a state dict.

    Parameters
    ----------
    state : mapping of str to Tensor
        Weights by name. The hash depends on names, shapes, dtypes and values, and not on order,
        file format or memory layout. The same weights in 16 and in 32 bits differ, as their
        masks do.

    Returns
    -------
    str
        SHA-256 as 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        shape = ",".join(str(n) for n in tensor.shape)
        digest.update(f"{name}|{str(tensor.dtype).removeprefix('torch.')}|{shape}|".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def combine(network: str, further: str | None) -> str:
    """Combine the fingerprint of a network with what else its masks depend on.

    Parameters
    ----------
    network : str
        Fingerprint of the network.
    further : str or None
        Fingerprint of its instance decoder, or how it takes images; None for neither.
    """
    if further is None:
        return network
    return hashlib.sha256(f"{network}+{further}".encode()).hexdigest()
