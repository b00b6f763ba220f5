"""The policy by which prompts become masks, as plain values, recorded with its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .model import Model

RULES = 2
"""Version of the rules of `Segmenter`: which view it encodes, which mask it takes, what it removes.
Increment it with every change that may give other masks for the same prompts."""


def policy(model: Model) -> dict[str, Any]:
    """Return what masks depend on besides a model's weights and the chosen settings."""
    area = model.everything_defaults("grid").get("min_mask_region_area", 0)
    return {
        "rules": RULES,
        "focus": None if model.focus is None else asdict(model.focus),
        "prompted_parts_only": model.prompted_parts_only,
        "min_mask_region_area": float(area),
    }


def policy_difference(recorded: Mapping[str, Any] | None, model: Model) -> str | None:
    """Return in one line how a recorded policy differs from the present one; None if it does not.

    Parameters
    ----------
    recorded : mapping or None
        From `policy`; None if none was recorded.
    model : Model
        The model that was recorded, or another one with its weights.
    """
    if recorded is None:
        return "no decoding policy was recorded, as in earlier versions; masks may differ today"
    present = policy(model)
    differ = [
        f"{name} was {recorded.get(name)}, is {value}"
        for name, value in present.items()
        if recorded.get(name) != value
    ]
    if not differ:
        return None
    return f"masks were decoded under another policy ({'; '.join(differ)}) and may differ today"
