"""SAM 2, EdgeTAM and SAM 3's tracker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..network import Ability
from .network import FamilyConfig, FamilyNetwork, attended, classified

HIGH, HIGHER = "high", "higher"
"""Heads with finer features for the mask decoder: of two and four times the embedding's side."""


class Sam2Network(FamilyNetwork):
    """SAM 2, EdgeTAM or SAM 3's tracker, for images or for video.

    Parameters
    ----------
    module : nn.Module
        Transformers' model.
    kind : str
        Its model_type.
    mean, deviation : tuple of float
        Of pixels in 0..255, by channel.
    """

    def __init__(
        self,
        module: Any,
        kind: str,
        mean: tuple[float, ...],
        deviation: tuple[float, ...],
    ) -> None:
        parts = _parts(module)
        config = FamilyConfig(
            image_size=int(parts.prompt_encoder.input_image_size),
            embedding_size=int(parts.backbone_feature_sizes[-1][0]),
            multimask_outputs=int(parts.mask_decoder.num_multimask_outputs),
            encoder_kind=kind,
            frame_fit="stretch",
        )
        super().__init__(module, config, mean, deviation)
        more: set[Ability] = {"memory"} if hasattr(parts, "memory_attention") else set()
        if hasattr(module, "detector_model"):
            more |= {"words", "examples"}
        self.abilities = type(self).abilities | more

    @property
    def parts(self) -> Any:
        """The model that has prompt encoder, mask decoder and memory: in SAM 3 a part of it."""
        return _parts(self.module)

    def features(self, normalised: Tensor) -> list[Tensor]:
        """Return the feature maps (h * w, B, channels), finest first, without memory."""
        module: Any = self.module
        if hasattr(module, "detector_model"):
            seen = module.detector_model.vision_encoder.backbone(normalised)
            return list(module.get_vision_features_for_tracker(seen)[0])
        return list(self.parts.get_image_features(normalised).fpn_hidden_states)

    def embed(self, normalised: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the image encoder."""
        maps = self.features(normalised)
        maps[-1] = maps[-1] + self.parts.no_memory_embedding
        # as published: a coarser map than these may follow, which is left out
        higher, high, embedding = (
            each.permute(1, 2, 0).reshape(len(normalised), -1, *size)
            for each, size in zip(maps, self.parts.backbone_feature_sizes, strict=False)
        )
        return embedding, {HIGH: high, HIGHER: higher}

    def tokens(
        self, coords: Tensor | None, labels: Tensor | None, boxes: Tensor | None, count: int
    ) -> Tensor:
        """Encode points and boxes; as published, without any a padding point stands for them."""
        encoder = self.parts.prompt_encoder
        if coords is None and boxes is None:
            coords = encoder.not_a_point_embed.weight.new_zeros(1, count, 1, 2)
            labels = torch.full((1, count, 1), -1, dtype=torch.int32, device=coords.device)
        return encoder(coords, labels, boxes, None)[0][0]

    def candidates(
        self, cells: Tensor, position: Tensor, sparse: Tensor, heads: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return all masks and their predicted IoU; see `FamilyNetwork`."""
        decoder = self.parts.mask_decoder
        own = [decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens]
        with self.decoding(cells):
            tokens, seen = attended(decoder, own, cells, position, sparse)
            seen = decoder.upscale_conv1(seen) + heads[HIGH]
            seen = decoder.activation(decoder.upscale_layer_norm(seen))
            seen = decoder.activation(decoder.upscale_conv2(seen) + heads[HIGHER])
        classifiers = [
            classify(tokens[:, 2 + index])
            for index, classify in enumerate(decoder.output_hypernetworks_mlps)
        ]
        return classified(classifiers, seen), decoder.iou_prediction_head(tokens[:, 1])

    def chosen(
        self, logits: Tensor, iou: Tensor, multimask: bool, return_all: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the masks asked for.

        As published, the mask for unambiguous prompts is replaced by the best of the others where
        it is not stable.
        """
        if multimask and not return_all:
            return logits[:, 1:], iou[:, 1:]
        decoder = self.parts.mask_decoder
        single, score = logits[:, :1], iou[:, :1]
        if decoder.dynamic_multimask_via_stability:
            found = decoder._dynamic_multimask_via_stability(logits[:, None], iou[:, None])
            single, score = (each[:, 0] for each in found)
        if not return_all:
            return single, score
        return torch.cat([single, logits[:, 1:]], dim=1), torch.cat([score, iou[:, 1:]], dim=1)


def _parts(module: Any) -> Any:
    """Return the part of SAM 3 that is its tracker; other models are their own."""
    return getattr(module, "tracker_model", module)
