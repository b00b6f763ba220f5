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


def combine(network: str, instance_decoder: str | None) -> str:
    """Combine the fingerprints of a SAM and of its instance decoder.

    Parameters
    ----------
    network : str
        Fingerprint of the SAM.
    instance_decoder : str or None
        Fingerprint of the instance decoder, if there is one.
    """
    if instance_decoder is None:
        return network
    return hashlib.sha256(f"{network}+{instance_decoder}".encode()).hexdigest()
