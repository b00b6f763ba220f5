"""The model card of a trained model: what it is, what it was trained on, how good it became."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .config import SCRATCH, TrainingConfig
from .presets import summary

_SHOWN = ("ap50", "ap70", "ap80", "point", "point_best", "box", "iou_error", "iou_correlation")
_MEANING = {
    "ap50": "AP at IoU .5, from the dense head",
    "ap70": "AP at IoU .7, from the dense head",
    "ap80": "AP at IoU .8, from the dense head",
    "point": "one click, mask of the best predicted IoU",
    "point_best": "one click, best of three masks",
    "box": "box",
    "iou_error": "mean error of the predicted IoU",
    "iou_correlation": "correlation of predicted and true IoU",
}


def write_card(
    config: TrainingConfig,
    name: str,
    base: Mapping[str, Any],
    data: list[dict[str, Any]],
    before: Mapping[str, float],
    after: Mapping[str, float],
    steps: Mapping[str, int],
) -> str:
    """Markdown of a model card.

    Parameters
    ----------
    config : TrainingConfig
        Settled.
    name : str
        The model's.
    base : mapping
        "name", "fingerprint" and "licence" of what it started from; empty from scratch.
    data : list of dict
        From `TrainingImages.describe`.
    before, after : mapping of str to float
        Quick validation before training and of the weights kept; empty without held out images.
    steps : mapping of str to int
        Steps that each stage took.
    """
    lines = [f"# {name}", ""]
    if config.model == SCRATCH:
        lines.append("Trained from scratch with segment-anything-napari.")
    else:
        what = {
            "whole": "all weights",
            "decoder": "prompt encoder and mask decoder; the image encoder is unchanged",
            "lora": f"prompt encoder and mask decoder, and the image encoder by low-rank additions "
            f"(rank {config.lora.rank}, alpha {config.lora.alpha:g}), which are merged",
        }[config.train]
        lines.append(
            f"Fine-tuned with segment-anything-napari from `{base.get('name')}` "
            f"(weights {str(base.get('fingerprint', ''))[:16]}). Trained were {what}."
        )
    lines += ["", f"- licence: {config.licence or base.get('licence') or 'not stated'}"]
    lines.append(f"- seed: {config.seed}")
    for stage in config.stages:
        values = {**summary(stage), "steps": steps.get(stage.name, stage.steps)}
        facts = ", ".join(f"{k.replace('_', ' ')} {_plain(v)}" for k, v in values.items())
        lines.append(f"- {facts}")
    lines += ["", "## Data", "", "| set | trained on | objects | held out |", "|---|---|---|---|"]
    for title in dict.fromkeys(item["set"] for item in data):
        own = [item for item in data if item["set"] == title]
        train = [item for item in own if item["part"] == "train"]
        objects = sum(item["objects"] for item in train)
        lines.append(f"| {title} | {len(train)} | {objects} | {len(own) - len(train)} |")
    lines += ["", "Hashes of all images are in the file's header, under `training`."]
    if after:
        lines += ["", "## Held out images, quick validation", ""]
        lines += ["| measure | before | after |", "|---|---|---|"]
        for key in _SHOWN:
            if key in after:
                was = f"{before[key]:.3f}" if key in before else ""
                lines.append(f"| {_MEANING[key]} | {was} | {after[key]:.3f} |")
        lines += ["", "Measured on the grid of the logits; `napari-sam evaluate` does so in full."]
    else:
        lines += ["", "No images were held out: how good it is has to be measured elsewhere."]
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "/".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
