"""SAM-HQ: SAM with finer masks, from features of an early block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .network import FamilyConfig, FamilyNetwork

FINE = "fine"
"""The head with the features that are added to the upscaled embedding."""


class SamHqNetwork(FamilyNetwork):
    """SAM-HQ (Ke et al. 2023).

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
        prompts, vision = module.prompt_encoder, module.config.vision_config
        side, frame = prompts.image_embedding_size[0], prompts.input_image_size
        if not frame == vision.image_size == side * vision.patch_size == int(frame):
            raise ValueError(f"an embedding of {side} x {side} for a frame of {frame} pixels")
        config = FamilyConfig(
            image_size=frame,
            embedding_size=side,
            multimask_outputs=int(module.mask_decoder.num_multimask_outputs),
            encoder_kind=kind,
            frame_fit="pad",
        )
        super().__init__(module, config, mean, deviation)

    def embed(self, normalised: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the image encoder on the padded frame, and what of the decoder needs no prompts."""
        side, decoder = self.config.image_size, self.parts.mask_decoder
        height, width = normalised.shape[-2:]
        frame = F.pad(normalised, (0, side - width, 0, side - height))
        seen = self.parts.vision_encoder(frame)
        embedding = seen.last_hidden_state
        fine = decoder.activation(decoder.encoder_norm(decoder.encoder_conv1(embedding)))
        fine = decoder.encoder_conv2(fine)
        early = seen.intermediate_embeddings[0].permute(0, 3, 1, 2).contiguous()
        early = decoder.activation(decoder.compress_vit_norm(decoder.compress_vit_conv1(early)))
        early = decoder.compress_vit_conv2(early)
        return embedding, {FINE: fine.float() + early.float()}

    def tokens(
        self, coords: Tensor | None, labels: Tensor | None, boxes: Tensor | None, count: int
    ) -> Tensor:
        """Encode points and boxes."""
        encoder = self.parts.prompt_encoder
        if coords is None and boxes is None:
            return encoder.not_a_point_embed.weight.new_zeros(count, 0, encoder.hidden_size)
        return encoder(coords, labels, boxes, None)[0][0]

    def candidates(
        self, cells: Tensor, position: Tensor, sparse: Tensor, heads: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return all masks, the fine one added to each, and their predicted IoU."""
        decoder = self.parts.mask_decoder
        own = [decoder.iou_token, decoder.mask_tokens, decoder.hq_token]
        tokens, seen = self.attend(own, cells, position, sparse)
        with self.decoding(cells):
            seen = seen.transpose(1, 2).unflatten(2, cells.shape[-2:])
            seen = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(seen)))
            seen = decoder.activation(decoder.upscale_conv2(seen))
            fine = decoder.activation(decoder.mask_norm(decoder.mask_conv1(seen)))
            fine = decoder.mask_conv2(fine) + heads[FINE]
        mlps = [*decoder.output_hypernetworks_mlps, decoder.hq_mask_mlp]
        *classifiers, last = (classify(tokens[:, 1 + i]) for i, classify in enumerate(mlps))
        logits = torch.stack(classifiers, dim=1) @ seen.float().flatten(2)
        logits = logits + last[:, None] @ fine.float().flatten(2)
        iou: Tensor = decoder.iou_prediction_head(tokens[:, 0])
        return logits.unflatten(2, seen.shape[-2:]), iou

    def chosen(
        self, logits: Tensor, iou: Tensor, multimask: bool, return_all: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the masks asked for; as published, those for ambiguous prompts by score."""
        if not (multimask or return_all):
            return logits[:, :1], iou[:, :1]
        score, order = iou[:, 1:].sort(dim=1, descending=True)
        masks = logits[:, 1:].gather(1, order[..., None, None].expand_as(logits[:, 1:]))
        if not return_all:
            return masks, score
        return torch.cat([logits[:, :1], masks], dim=1), torch.cat([iou[:, :1], score], dim=1)
