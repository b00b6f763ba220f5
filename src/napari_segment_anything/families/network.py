"""What networks of other families have in common: the engine's calls to transformers' modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..network import Ability, EncoderOutput, FrameFit
from ..network.two_way_transformer import ImageCells
from .two_way import shared_two_way

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
    text_width: int = 0


class FamilyNetwork(nn.Module):
    """A promptable network that consists of transformers' modules.

    Parameters
    ----------
    module : nn.Module
        Transformers' model. No weights are kept besides.
    config : FamilyConfig
    mean, deviation : tuple of float
        Of pixels in 0..255, by channel.
    """

    mask_threshold: float = 0.0
    abilities: frozenset[Ability] = frozenset({"prompt", "everything"})
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        module: Any,
        config: FamilyConfig,
        mean: tuple[float, ...],
        deviation: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.module, self.config = module, config
        self.two_way = shared_two_way(self.parts.mask_decoder.transformer)
        self._dtypes = (torch.float32, torch.float32)
        for name, value in (("pixel_mean", mean), ("pixel_std", deviation)):
            tensor = torch.tensor(value).reshape(1, 3, 1, 1)
            self.register_buffer(name, tensor, persistent=False)

    @property
    def parts(self) -> Any:
        """The model that has prompt encoder and mask decoder."""
        return self.module

    @property
    def image_encoder(self) -> nn.Module:
        """The module that embeds images."""
        encoder: nn.Module = self.parts.vision_encoder
        return encoder

    def decoding(self, cells: Tensor) -> AbstractContextManager[object]:
        """Compute products over cells in the decoder's precision."""
        return _products(cells.device, self._dtypes[1])

    def attend(
        self, own: Sequence[nn.Embedding], cells: Tensor, position: Tensor, sparse: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Let the mask decoder's tokens and the cells attend to each other.

        Parameters
        ----------
        own : sequence of nn.Embedding
            The decoder's own tokens, in their order.
        cells, position, sparse : Tensor
            As for `candidates`.

        Returns
        -------
        tokens : Tensor
            (objects, tokens, C), the decoder's own first, float32.
        cells : Tensor
            (objects, h * w, C), in the decoder's precision.
        """
        tokens = torch.cat([each.weight for each in own]).expand(len(sparse), -1, -1)
        flat, places = (
            each.flatten(2).transpose(1, 2).to(self._dtypes[1]).contiguous()
            for each in (cells, position)
        )
        image = ImageCells(flat, flat + places)
        found: tuple[Tensor, Tensor] = self.two_way(
            image, places, torch.cat([tokens, sparse], dim=1)
        )
        return found

    def set_precision(self, dtype: torch.dtype, decoder: torch.dtype | None = None) -> None:
        """Compute products in 16 bits; weights, norms, positions and tokens stay in float32.

        Parameters
        ----------
        dtype : torch.dtype
            Of the image encoder.
        decoder : torch.dtype, optional
            Of the mask decoder, the encoder's by default.
        """
        self._dtypes = (dtype, dtype if decoder is None else decoder)

    def encode(self, pixels: Tensor) -> EncoderOutput:
        """Embed images (B, 3, h, w), RGB in 0..255, fitted to the frame but not padded."""
        normalised = (pixels - self.pixel_mean) / self.pixel_std
        with _products(pixels.device, self._dtypes[0]):
            embedding, heads = self.embed(normalised)
        # contiguous, as from a cache: in 16 bits, sums depend on the layout in memory
        heads = {name: head.float().contiguous() for name, head in heads.items()}
        return EncoderOutput(embedding.float().contiguous(), heads)

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
        """Masks for prompts on one embedded image; see `Promptable.decode`."""
        sparse = self.tokens(
            None if coords is None else coords[None],
            None if labels is None else labels[None],
            None if boxes is None else boxes[None],
            1 if masks is None else len(masks),
        )
        encoder = self.parts.prompt_encoder
        if masks is None:
            dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        else:
            dense = encoder.mask_embed(masks)
        position = self.parts.get_image_wide_positional_embeddings()
        on_cpu = embedding.device.type == "cpu"
        step = _OBJECTS_PER_PASS if on_cpu else max(1, len(sparse))
        found = []
        for start in range(0, len(sparse), step):
            part = slice(start, start + step)
            cells = embedding + (dense[part] if len(dense) > 1 else dense)
            logits, iou = self.candidates(cells, position, sparse[part], heads)
            found.append(self.chosen(logits, iou, multimask, return_all))
        logits, iou = (torch.cat(each) for each in zip(*found, strict=True))
        return logits, iou

    # -- what families do differently ------------------------------------------------------------

    def embed(self, normalised: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the image encoder; return embedding and heads."""
        raise NotImplementedError

    def tokens(
        self, coords: Tensor | None, labels: Tensor | None, boxes: Tensor | None, count: int
    ) -> Tensor:
        """Encode points and boxes, with an axis for images in front; of `count` objects if none."""
        raise NotImplementedError

    def candidates(
        self, cells: Tensor, position: Tensor, sparse: Tensor, heads: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return all masks and their predicted IoU, the mask for unambiguous prompts first.

        Parameters
        ----------
        cells : Tensor
            (objects or 1, C, h, w), embedding and mask prompts.
        position : Tensor
            (1, C, h, w), positional encoding.
        sparse : Tensor
            (objects, tokens, C).
        heads : mapping of str to Tensor
            From `embed`.
        """
        raise NotImplementedError

    def chosen(
        self, logits: Tensor, iou: Tensor, multimask: bool, return_all: bool
    ) -> tuple[Tensor, Tensor]:
        """Return those of the candidates that are asked for."""
        raise NotImplementedError


def _products(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
