"""Tiny models of each kind, beside transformers' own pipelines for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from napari_segment_anything.families.repvit import with_repvit
from tests.families.pipeline import HALVES, Pipeline, load
from tests.families.tiny import tiny_edgetam, tiny_sam2, tiny_sam3, tiny_sam_hq


class Case(NamedTuple):
    write: Callable[[Path], Path]
    pipeline: Callable[[Path], Pipeline]


def _edgetam(folder: Path) -> Pipeline:
    import transformers

    config = with_repvit(json.loads((folder / "config.json").read_text()))
    module = load(folder, "EdgeTamModel", config=transformers.EdgeTamConfig.from_dict(config))
    return Pipeline(module)


def _tracker(folder: Path) -> Pipeline:
    video = load(folder, "Sam3TrackerVideoModel")
    return Pipeline(load(folder, "Sam3TrackerModel"), HALVES, embed=video.get_image_embeddings)


def _sam3(folder: Path) -> Pipeline:
    """Transformers' tracker, with the weights of its whole model.

    `Sam3TrackerModel.from_pretrained` (transformers 5.23) does not find them in such a folder.
    """
    import transformers

    whole = load(folder, "Sam3VideoModel")
    tracker, config = whole.tracker_model, whole.config.tracker_config
    module = transformers.Sam3TrackerModel(
        transformers.Sam3TrackerConfig(
            vision_config=config.vision_config,
            prompt_encoder_config=config.prompt_encoder_config.to_dict(),
            mask_decoder_config=config.mask_decoder_config.to_dict(),
        )
    )
    missing, _ = module.load_state_dict(tracker.state_dict(), strict=False)
    assert all(name.startswith("vision_encoder.") for name in missing)

    def embed(pixels: torch.Tensor) -> list[torch.Tensor]:
        seen = whole.detector_model.get_vision_features(pixels)
        maps, _ = whole.get_vision_features_for_tracker(seen)
        maps[-1] = maps[-1] + tracker.no_memory_embedding
        sizes = tracker.backbone_feature_sizes
        return [m.permute(1, 2, 0).view(1, -1, *s) for m, s in zip(maps, sizes, strict=True)]

    return Pipeline(module.eval(), HALVES, embed=embed)


def _sam_hq(folder: Path) -> Pipeline:
    """Transformers' SAM-HQ, with one line of its mask decoder put right.

    In 5.23 the decoder drops the cells that its transformer returns, and upscales the embedding as
    it was, rows and columns exchanged. The authors' code upscales what the transformer returns.
    """
    module = load(folder, "SamHQModel")
    decoder, attended = module.mask_decoder, []
    decoder.transformer.register_forward_hook(lambda _, __, output: attended.append(output[1]))

    def instead(_: torch.nn.Module, given: tuple[torch.Tensor]) -> torch.Tensor:
        cells = attended.pop()
        return cells.transpose(2, 3).reshape(given[0].shape)

    decoder.upscale_conv1.register_forward_pre_hook(instead)
    return Pipeline(module, pads=True)


CASES = {
    "edgetam": Case(lambda folder: tiny_edgetam(folder, video=False), _edgetam),
    "edgetam_video": Case(tiny_edgetam, _edgetam),
    "sam2": Case(
        lambda folder: tiny_sam2(folder, video=False), lambda f: Pipeline(load(f, "Sam2Model"))
    ),
    "sam2_video": Case(tiny_sam2, lambda folder: Pipeline(load(folder, "Sam2Model"))),
    "sam3_tracker": Case(
        lambda folder: tiny_sam3(folder, kind="sam3_tracker"),
        lambda folder: Pipeline(load(folder, "Sam3TrackerModel"), HALVES),
    ),
    "sam3_tracker_video": Case(
        lambda folder: tiny_sam3(folder, kind="sam3_tracker_video"), _tracker
    ),
    "sam3_video": Case(tiny_sam3, _sam3),
    "sam_hq": Case(tiny_sam_hq, _sam_hq),
}
