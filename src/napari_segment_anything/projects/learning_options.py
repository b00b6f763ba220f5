"""How long a model learns from a project, and what of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

DENSE_OPTIONS: Mapping[str, Any] = {"warmup": 10, "objects": 3, "rounds": 2, "assume": 0.5}
"""Stage options for models with a dense head, besides those of `training.presets`.

Suggestions come from the dense head, so the decoder gets half of a step's time, not two thirds.
"""
_STEPS = (70, 300)


def options_for(
    network: Any, train: Literal["whole", "decoder", "lora"] | None = None
) -> tuple[Literal["whole", "decoder", "lora"], dict[str, Any]]:
    """What of a network is trained, and the options of the training stage.

    Parameters
    ----------
    network : Sam
    train : {"whole", "decoder", "lora"}, optional
        By default "whole" for a network with a dense head, "decoder" for others.
    """
    from ..training.geometry import has_dense_head

    dense = has_dense_head(network)
    chosen: Literal["whole", "decoder", "lora"] = train or ("whole" if dense else "decoder")
    options = dict(DENSE_OPTIONS) if dense else {}
    if chosen == "decoder":
        options.pop("assume", None)  # only a dense head that learns can
    return chosen, options


def default_steps(objects: int) -> int:
    """Training steps for a number of annotated objects."""
    least, most = _STEPS
    return min(least + objects, most)
