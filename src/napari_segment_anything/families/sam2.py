"""SAM 2, EdgeTAM and SAM 3's tracker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..network import Ability
from ..network.layers import normalise
from ..network.mask_decoder import as_product, unfold_cells
from .network import FamilyConfig, FamilyNetwork

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
        sizes = [tuple(each) for each in parts.backbone_feature_sizes]
        side = int(parts.prompt_encoder.image_embedding_size[0])
        if sizes != [(scale * side, scale * side) for scale in (4, 2, 1)]:
            raise ValueError(f"features of the sizes {sizes} for an embedding of {side} x {side}")
        config = FamilyConfig(
            image_size=int(parts.prompt_encoder.input_image_size),
            embedding_size=side,
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

    @property
    def image_encoder(self) -> nn.Module:
        """The module that embeds images: in SAM 3 its detector's."""
        whole: Any = self.module
        encoder: nn.Module = (
            whole.detector_model.vision_encoder
            if hasattr(whole, "detector_model")
            else self.parts.vision_encoder
        )
        return encoder

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
        decoder, (height, width) = self.parts.mask_decoder, cells.shape[-2:]
        own = [decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens]
        tokens, seen = self.attend(own, cells, position, sparse)
        mlps = decoder.output_hypernetworks_mlps
        classifiers = torch.stack([mlp(tokens[:, 2 + i]) for i, mlp in enumerate(mlps)], dim=1)
        # pixels of a cell together, as the products give them
        finer = _by_cell(heads[HIGH], 1).to(seen.dtype)
        finest = _by_cell(heads[HIGHER], 2).to(seen.dtype)
        logits = []
        for each, classify in zip(seen, classifiers, strict=True):
            # one object at a time: its upscaled embedding is large
            x = as_product(each, decoder.upscale_conv1).add_(finer)
            x = F.gelu(normalise(x, decoder.upscale_layer_norm))
            x = F.gelu(as_product(x, decoder.upscale_conv2).add_(finest))
            logits.append((classify.to(x.dtype) @ x.flatten(0, -2).T).float())
        iou: Tensor = decoder.iou_prediction_head(tokens[:, 1])
        return unfold_cells(torch.stack(logits), height, width), iou

    def chosen(
        self, logits: Tensor, iou: Tensor, multimask: bool, return_all: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the masks asked for.

        As published, the mask for unambiguous prompts is replaced by the best of the others where
        it is not stable.
        """
        if multimask and not return_all:
            return logits[:, 1:], iou[:, 1:]
        decoder, count = self.parts.mask_decoder, len(logits)
        chosen = torch.zeros(count, dtype=torch.long, device=logits.device)
        if decoder.dynamic_multimask_via_stability:
            delta = decoder.dynamic_multimask_stability_delta
            inner, outer = ((logits[:, 0] > edge).sum((1, 2)) for edge in (delta, -delta))
            stability = torch.where(outer > 0, inner.float() / outer, 1.0)
            stable = stability >= decoder.dynamic_multimask_stability_thresh
            chosen = torch.where(stable, chosen, 1 + iou[:, 1:].argmax(1))
        each = torch.arange(count, device=logits.device)
        single, score = logits[each, chosen][:, None], iou[each, chosen][:, None]
        if not return_all:
            return single, score
        return torch.cat([single, logits[:, 1:]], dim=1), torch.cat([score, iou[:, 1:]], dim=1)


def _by_cell(maps: Tensor, steps: int) -> Tensor:
    """Reorder (1, C, 2^s h, 2^s w) to (h * w, 4, C), or (h * w, 4, 4, C) in two steps."""
    channels, rows, cols = maps.shape[1:]
    twos = (2,) * steps
    shaped = maps.reshape(channels, rows >> steps, *twos, cols >> steps, *twos)
    down = [2 + i for i in range(steps)]
    along = [3 + steps + i for i in range(steps)]
    order = [1, 2 + steps, *(axis for pair in zip(down, along, strict=True) for axis in pair), 0]
    return shaped.permute(order).reshape(-1, *(4,) * steps, channels)


def _parts(module: Any) -> Any:
    """Return the part of SAM 3 that is its tracker; other models are their own."""
    return getattr(module, "tracker_model", module)
