"""What the embedded model's image encoder gives, computed once for equal pixels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
import xxhash
from torch import Tensor

from napari_segment_anything.network import EncoderOutput, Sam
from napari_segment_anything.network.micro import MicroEncoder

MOST = 100
_kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()


@contextmanager
def remembered_encodings() -> Iterator[None]:
    """Let a network that was given the same pixels before give the same tensors again.

    Weights and pixels are compared as a whole: what a test compares is computed wherever it asks
    for anything else.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("encode", "dense_maps"):
            patch.setattr(Sam, name, _remembering(getattr(Sam, name)))
        yield


def _remembering(compute: Callable[..., Any]) -> Callable[..., Any]:
    def remembered(network: Sam, pixels: Tensor, **options: Any) -> Any:
        if not torch.is_inference_mode_enabled() or not isinstance(
            network.image_encoder, MicroEncoder
        ):
            return compute(network, pixels, **options)
        key = (
            compute.__name__, *options.items(), torch.get_num_threads(), network.training,
            *_digest(network.state_dict()), *_digest({"pixels": pixels}),
        )  # fmt: skip
        found = _kept.pop(key, None)
        if found is None:
            found = compute(network, pixels, **options)
        _kept[key] = found
        while len(_kept) > MOST:
            _kept.popitem(last=False)
        return _copied(found)

    return remembered


def _digest(tensors: dict[str, Tensor]) -> tuple[Any, ...]:
    state, kinds = xxhash.xxh3_128(), []
    for name, tensor in tensors.items():
        kinds.append((name, tensor.dtype, tensor.shape))
        state.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy())
    return hash(tuple(kinds)), state.digest()


def _copied(found: Any) -> Any:
    if isinstance(found, EncoderOutput):
        heads = {name: tensor.clone() for name, tensor in found.heads.items()}
        return replace(found, embedding=found.embedding.clone(), heads=heads)
    return found.clone()
