"""The model card of a trained model: what it is, its training data and its measures."""

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
    encoder: Mapping[str, Any] | None = None,
) -> str:
    """Write a model card in Markdown.

    Parameters
    ----------
    config : TrainingConfig
        With all values settled.
    name : str
        Name of the model.
    base : mapping
        "name", "fingerprint" and "licence" of the model it started from; empty from scratch.
    data : list of dict
        From `TrainingImages.describe`.
    before, after : mapping of str to float
        Quick validation before training and of the final weights; empty without held-out images.
    steps : mapping of str to int
        Steps taken by each stage.
    encoder : mapping, optional
        As `base`, of the model that the image encoder is from, if that is another one.
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
            f"(weights {str(base.get('fingerprint', ''))[:16]}). Trained parts: {what}."
        )
    if encoder:
        lines.append(
            f"Its image encoder started as that of `{encoder['name']}` "
            f"(weights {str(encoder['fingerprint'])[:16]})."
        )
    if config.prompt:
        lines.append(
            f"It takes words as prompts, which CLIP embeds (`{config.clip}`), and was trained with "
            f"pictures of objects of at least {config.text_side} pixels."
        )
    lines += ["", f"- licence: {config.licence or base.get('licence') or 'not stated'}"]
    lines.append(f"- seed: {config.seed}")
    for stage in config.stages:
        values = {**summary(stage), "steps": steps.get(stage.name, stage.steps)}
        facts = ", ".join(f"{k.replace('_', ' ')} {_plain(v)}" for k, v in values.items())
        lines.append(f"- {facts}")
    lines += [
        "",
        "## Data",
        "",
        "| set | training images | objects | held-out images |",
        "|---|---|---|---|",
    ]
    for title in dict.fromkeys(item["set"] for item in data):
        own = [item for item in data if item["set"] == title]
        train = [item for item in own if item["part"] == "train"]
        objects = sum(item["objects"] for item in train)
        lines.append(f"| {title} | {len(train)} | {objects} | {len(own) - len(train)} |")
    lines += ["", "The hashes of all images are in the file's header, under `training`."]
    if after:
        lines += ["", "## Quick validation on held-out images", ""]
        lines += ["| measure | before | after |", "|---|---|---|"]
        for key in _SHOWN:
            if key in after:
                was = f"{before[key]:.3f}" if key in before else ""
                lines.append(f"| {_MEANING[key]} | {was} | {after[key]:.3f} |")
        lines += [
            "",
            "Measured on the logits' grid; `napari-sam evaluate` uses full resolution.",
        ]
    else:
        lines += ["", "No images were held out, so the model was not validated."]
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "/".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
