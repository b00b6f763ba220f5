"""SAM 2 and its relatives behind the interface of a promptable network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..network import Ability, EncoderOutput, FrameFit

HIGH, HIGHER = "high", "higher"
"""Heads with finer features for the mask decoder: of two and four times the embedding's side."""
_OBJECTS_PER_PASS = 4
"""On a CPU: upscaled features of more objects leave its cache."""


@dataclass(frozen=True, slots=True)
class FamilyConfig:
    """Shape of a network of another family; see `PromptableConfig`."""

    image_size: int
    embedding_size: int
    multimask_outputs: int
    encoder_kind: str
    frame_fit: FrameFit
    refiner_width: int = 0


class Sam2Network(nn.Module):
    """SAM 2, EdgeTAM or SAM 3's tracker: transformers' modules, and how the engine calls them.

    Parameters
    ----------
    module : nn.Module
        Transformers' model, for images or for video.
    kind : str
        Its model_type.
    mean, deviation : tuple of float
        Of pixels in 0..255, by channel.
    """

    mask_threshold: float = 0.0
    pixels = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    """Mean and deviation where a folder does not say, of pixels in 0..1."""
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        module: nn.Module,
        kind: str,
        mean: tuple[float, ...],
        deviation: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.module = module
        parts = self.parts
        prompts, sizes = parts.prompt_encoder, parts.backbone_feature_sizes
        self.config = FamilyConfig(
            image_size=int(prompts.input_image_size),
            embedding_size=int(sizes[-1][0]),
            multimask_outputs=int(parts.mask_decoder.num_multimask_outputs),
            encoder_kind=kind,
            frame_fit="stretch",
        )
        self._dtypes = (torch.float32, torch.float32)
        for name, value in (("pixel_mean", mean), ("pixel_std", deviation)):
            tensor = torch.tensor(value).reshape(1, 3, 1, 1)
            self.register_buffer(name, tensor, persistent=False)

    @property
    def parts(self) -> Any:
        """The model that has prompt encoder, mask decoder and memory."""
        return self.module

    @property
    def abilities(self) -> frozenset[Ability]:
        """What it can do: also "memory" if it is a model for video."""
        memory: frozenset[Ability] = frozenset({"memory"})
        both: frozenset[Ability] = frozenset({"prompt", "everything"})
        return both | memory if hasattr(self.parts, "memory_attention") else both

    def set_precision(self, dtype: torch.dtype, decoder: torch.dtype | None = None) -> None:
        """Compute products in 16 bits; weights, norms, positions and residuals stay in float32.

        Parameters
        ----------
        dtype : torch.dtype
            Of the image encoder.
        decoder : torch.dtype, optional
            Of the mask decoder, the encoder's by default.
        """
        self._dtypes = (dtype, dtype if decoder is None else decoder)

    def decoding(self, cells: Tensor) -> torch.autocast:
        """Compute products over cells in the decoder's precision."""
        return _products(cells.device, self._dtypes[1])

    def encode(self, pixels: Tensor) -> EncoderOutput:
        """Embed images (B, 3, S, S), RGB in 0..255."""
        normalised = (pixels - self.pixel_mean) / self.pixel_std
        with _products(pixels.device, self._dtypes[0]):
            maps = self.features(normalised)
        maps[-1] = maps[-1] + self.parts.no_memory_embedding
        higher, high, embedding = (
            each.permute(1, 2, 0).reshape(len(pixels), -1, *size).float()
            for each, size in zip(maps, self.parts.backbone_feature_sizes, strict=True)
        )
        return EncoderOutput(embedding, {HIGH: high, HIGHER: higher})

    def features(self, normalised: Tensor) -> list[Tensor]:
        """Return the feature maps (h * w, B, channels), finest first, without memory."""
        return list(self.parts.get_image_features(normalised).fpn_hidden_states)

    def decode(
        self,
        embedding: Tensor,
        coords: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        *,
        heads: Mapping[str, Tensor],
        multimask: bool = True,
        return_all: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Masks for prompts on one embedded image; see `Promptable.decode`.

        As published, the mask for unambiguous prompts is replaced by the best of the others where
        it is not stable.
        """
        sparse, dense = self._prompts(coords, labels, boxes, masks)
        position = self.parts.get_image_wide_positional_embeddings()
        step = _OBJECTS_PER_PASS if embedding.device.type == "cpu" else max(1, len(sparse))
        found = []
        for start in range(0, len(sparse), step):
            part = slice(start, start + step)
            cells = embedding + (dense[part] if len(dense) > 1 else dense)
            found.append(self._decode(cells, position, sparse[part], heads))
        logits, iou = (torch.cat(each) for each in zip(*found, strict=True))
        if multimask and not return_all:
            return logits[:, 1:], iou[:, 1:]
        single = logits[:, :1], iou[:, :1]
        decoder = self.parts.mask_decoder
        if decoder.dynamic_multimask_via_stability:
            single = tuple(
                each[:, 0]
                for each in decoder._dynamic_multimask_via_stability(logits[:, None], iou[:, None])
            )
        if not return_all:
            return single
        return torch.cat([single[0], logits[:, 1:]], 1), torch.cat([single[1], iou[:, 1:]], 1)

    def _prompts(
        self,
        coords: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None,
        masks: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Encode prompts: (objects, tokens, C), and (objects or 1, C, h or 1, w or 1)."""
        encoder = self.parts.prompt_encoder
        if coords is None and boxes is None:
            # as published: a padding point
            count = 1 if masks is None else len(masks)
            coords = encoder.not_a_point_embed.weight.new_zeros(count, 1, 2)
            labels = torch.full((count, 1), -1, dtype=torch.int32, device=coords.device)
        sparse, dense = encoder(
            None if coords is None else coords[None],
            None if labels is None else labels[None],
            None if boxes is None else boxes[None],
            masks,
        )
        if masks is None:
            dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        return sparse[0], dense

    def _decode(
        self, cells: Tensor, position: Tensor, sparse: Tensor, heads: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """All masks of some objects: logits (objects, candidates, 4h, 4w) and IoU."""
        decoder, count = self.parts.mask_decoder, len(sparse)
        own = [decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens]
        tokens = torch.cat([each.weight for each in own]).expand(count, -1, -1)
        tokens = torch.cat([tokens, sparse], dim=1)[:, None]
        cells = cells.expand(count, -1, -1, -1)
        with self.decoding(cells):
            tokens, seen = decoder.transformer(
                point_embeddings=tokens,
                image_embeddings=cells,
                image_positional_embeddings=position,
                attention_similarity=None,
            )
            seen = seen[:, 0].transpose(1, 2).unflatten(2, cells.shape[-2:])
            seen = decoder.upscale_conv1(seen) + heads[HIGH]
            seen = decoder.activation(decoder.upscale_layer_norm(seen))
            seen = decoder.activation(decoder.upscale_conv2(seen) + heads[HIGHER])
        tokens = tokens[:, 0].float()
        iou = decoder.iou_prediction_head(tokens[:, 1])
        classifiers = torch.stack(
            [
                classify(tokens[:, 2 + index])
                for index, classify in enumerate(decoder.output_hypernetworks_mlps)
            ],
            dim=1,
        )
        logits = classifiers @ seen.float().flatten(2)
        return logits.unflatten(2, seen.shape[-2:]), iou


def _products(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Compute matrix products and convolutions in a type."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
