"""The Segment Anything model: image encoder, prompt encoder, mask decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import EncoderConfig, EncoderOutput
from .layers import cast_products
from .mask_decoder import MaskDecoder
from .micro import MICRO_CELL, MicroEncoder
from .prompt_encoder import PromptEncoder
from .promptable import Ability, FrameFit
from .refiner import MaskRefiner
from .tiny_vit import TinyViTConfig
from .vit import ViTConfig

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True)
class SamConfig:
    """Shape of a SAM.

    Parameters
    ----------
    encoder : EncoderConfig
        The image encoder's shape, which also fixes frame and embedding size.
    mask_channels : int
        Channels of the mask prompt's convolutions, 16 as published.
    multimask_outputs : int
        Masks for ambiguous prompts, 3 as published.
    refiner_width : int
        Width of the `MaskRefiner` after the mask decoder; 0 for none, as published. It needs an
        encoder with a ``"dense"`` head on the grid of the logits.
    frame_fit : {"pad", "stretch"}
        How a window becomes the frame; "stretch" for MedSAM.
    text_width : int
        Channels of the vectors that text prompts are; 0 for a model without, as published.
    pixel_mean, pixel_std : tuple of float
        By which pixels in 0..255 are normalised, by channel.
    """

    encoder: EncoderConfig
    mask_channels: int = 16
    multimask_outputs: int = 3
    refiner_width: int = 0
    frame_fit: FrameFit = "pad"
    pixel_mean: tuple[float, float, float] = PIXEL_MEAN
    pixel_std: tuple[float, float, float] = PIXEL_STD
    text_width: int = 0

    @property
    def image_size(self) -> int:
        """Side of the square frame, in pixels."""
        return self.encoder.image_size

    @property
    def embedding_size(self) -> int:
        """Side of the image embedding."""
        return self.encoder.embedding_size

    @property
    def encoder_kind(self) -> str:
        """Name of the kind of image encoder."""
        return self.encoder.kind


VIT_B = SamConfig(ViTConfig())
VIT_L = SamConfig(ViTConfig(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)))
VIT_H = SamConfig(ViTConfig(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)))
VIT_T = SamConfig(TinyViTConfig())


class Sam(nn.Module):
    """Segment Anything (Kirillov et al. 2023) with the published state-dict keys.

    Parameters
    ----------
    config : SamConfig
        Its shape. Weights are random until a state dict is loaded.
    """

    mask_threshold: float = 0.0
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = config.encoder.build()
        self.prompt_encoder = PromptEncoder(
            256, config.image_size, config.embedding_size, config.mask_channels, config.text_width
        )
        self.mask_decoder = MaskDecoder(256, config.multimask_outputs)
        self.mask_refiner = (
            MaskRefiner(config.refiner_width, config.multimask_outputs + 1)
            if config.refiner_width
            else None
        )
        for name in ("pixel_mean", "pixel_std"):
            tensor = torch.tensor(getattr(config, name)).reshape(1, 3, 1, 1)
            self.register_buffer(name, tensor, persistent=False)

    @property
    def abilities(self) -> frozenset[Ability]:
        """What it can do; images for training are padded to the frame, never stretched."""
        able: frozenset[Ability] = frozenset({"prompt", "everything"})
        return able | {"train"} if self.config.frame_fit == "pad" else able

    def set_precision(self, dtype: torch.dtype, decoder: torch.dtype | None = None) -> None:
        """Cast what is safe to `dtype`: products, but no norm, position or residual.

        Casting is lossy; load the weights anew to get float32 back exactly.

        Parameters
        ----------
        dtype : torch.dtype
            Of the image encoder.
        decoder : torch.dtype, optional
            Of the mask decoder, the encoder's by default.
        """
        cast_products(self.image_encoder, dtype)
        self.mask_decoder.set_precision(dtype if decoder is None else decoder)

    def preprocess(self, pixels: Tensor) -> Tensor:
        """Normalise (B, 3, h, w) RGB in 0..255 and pad it to the frame with zeros."""
        side = self.config.image_size
        height, width = pixels.shape[-2:]
        if height > side or width > side:
            raise ValueError(f"{height} x {width} pixels do not fit a frame of {side}")
        normalised = (pixels - self.pixel_mean) / self.pixel_std
        return F.pad(normalised, (0, side - width, 0, side - height))

    def encode(self, pixels: Tensor) -> EncoderOutput:
        """Embed images.

        Parameters
        ----------
        pixels : Tensor
            (B, 3, h, w), RGB in 0..255, resized so that the longer side is
            `config.image_size`; neither normalised nor padded.

        Returns
        -------
        EncoderOutput
            Embedding (B, 256, h, w) of the padded frame, and the encoder's other heads.
        """
        return self.image_encoder(self.preprocess(pixels))

    def dense_maps(self, pixels: Tensor, *, square: bool = True) -> Tensor:
        """Compute the dense head alone, of a network whose image encoder is a `MicroEncoder`.

        Parameters
        ----------
        pixels : Tensor
            (B, 3, h, w), RGB in 0..255.
        square : bool
            Pad to the frame, as `encode` does; otherwise `pixels` may have any size, and only whole
            cells of the encoder are made of it.

        Returns
        -------
        Tensor
            (B, 6, h/2, w/2) of the padded pixels, float32.
        """
        if not isinstance(self.image_encoder, MicroEncoder):
            raise TypeError("this network's image encoder has no dense head")
        if square:
            return self.image_encoder.dense_maps(self.preprocess(pixels))
        missing = (-pixels.shape[-1] % MICRO_CELL, -pixels.shape[-2] % MICRO_CELL)
        normalised = (pixels - self.pixel_mean) / self.pixel_std
        return self.image_encoder.dense_maps(F.pad(normalised, (0, missing[0], 0, missing[1])))

    def decode(
        self,
        embedding: Tensor,
        coords: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        *,
        texts: Tensor | None = None,
        heads: Mapping[str, Tensor] | None = None,
        edges: Tensor | None = None,
        multimask: bool = True,
        return_all: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Masks for prompts on one embedded image.

        Parameters
        ----------
        embedding : Tensor
            (1, 256, h, w).
        coords, labels : Tensor, optional
            (objects, n, 2) x and y in frame pixels, (objects, n) 1 foreground,
            0 background, -1 no point.
        boxes : Tensor, optional
            (objects, 4), x_min, y_min, x_max, y_max in frame pixels.
        masks : Tensor, optional
            (objects, 1, 4h, 4w) low-resolution logits of an earlier mask.
        texts : Tensor, optional
            (objects, text_width) vectors of words, or of images of such objects.
        heads : mapping of str to Tensor, optional
            The encoder's further maps. A model with a refiner needs ``"dense"``, (1, 6, 4h, 4w).
        edges : Tensor, optional
            The boxes for the refiner, where their outer edges are known better than by the
            published mapping of coordinates.
        multimask : bool
            Three masks for ambiguous prompts, or the one for unambiguous prompts.
        return_all : bool
            All four, the unambiguous one first.

        Returns
        -------
        logits : Tensor
            (objects, candidates, 4h, 4w), float32; a mask is where they exceed
            `mask_threshold`.
        iou : Tensor
            (objects, candidates), predicted IoU, float32.

        Raises
        ------
        ValueError
            If there is a refiner and no dense head.
        """
        maps = (heads or {}).get("dense")
        if self.mask_refiner is not None and maps is None:
            raise ValueError("this model refines its masks: give the encoder's heads")
        sparse, dense = self.prompt_encoder(coords, labels, boxes, masks, texts)
        height, width = embedding.shape[-2:]
        position = self.prompt_encoder.image_encoding(height, width)
        if return_all:
            wanted = slice(None)
        else:
            wanted = slice(1, None) if multimask else slice(0, 1)
        logits, iou = self.mask_decoder(embedding, position, sparse, dense, wanted)
        if self.mask_refiner is not None and maps is not None:
            edges = boxes if edges is None else edges
            logits, iou = self.mask_refiner(logits, iou, maps, coords, labels, edges, wanted)
        return logits, iou
