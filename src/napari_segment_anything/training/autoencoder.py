"""A masked autoencoder around the image encoder of a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ParameterError
from ..network.micro import MicroEncoder
from ..network.vit import ViTEncoder
from . import masked_micro, masked_vit
from .augment import AugmentConfig, augment
from .crops import Crops
from .geometry import mixed_precision
from .masking import MaskingConfig, draw_masks, reconstruction_loss
from .validation import normalise


class MaskedAutoencoder(nn.Module):
    """Image encoder and decoder, whose output is the loss of a batch.

    Parameters
    ----------
    image_encoder : ViTEncoder or MicroEncoder
        To pre-train, in place.
    masking : MaskingConfig
        Settled by `settled_masking`.
    """

    def __init__(self, image_encoder: ViTEncoder | MicroEncoder, masking: MaskingConfig) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.masking = masking
        self.decoder: nn.Module
        if isinstance(image_encoder, ViTEncoder):
            self.decoder = masked_vit.PatchDecoder(
                image_encoder.config, masking.width, masking.depth
            )
        else:
            self.decoder = masked_micro.MapDecoder(image_encoder.config, masking.width)

    def forward(
        self, pixels: Tensor, valid: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Mask, encode, reconstruct and compare.

        Parameters
        ----------
        pixels : Tensor
            (batch, 3, S, S), normalised; S a multiple of the patch side.
        valid : Tensor
            (batch, 1, S, S) bool, False in the padding.
        generator : torch.Generator, optional
            Source of randomness, on the device.

        Returns
        -------
        Tensor
            The loss, a scalar.
        """
        batch, _, height, width = pixels.shape
        patch, device = self.masking.patch, pixels.device
        grid = (height // patch, width // patch)
        masks = draw_masks(batch, grid, self.masking.share, generator, device)
        encoder: Any = self.image_encoder
        if isinstance(encoder, ViTEncoder):
            free = encoder.config.embedding_size - max(grid) + 1
            origin = torch.randint(free, (batch, 2), generator=generator, device=device)
            hidden: Any = masked_vit.encode_visible(encoder, pixels, masks, origin)
        else:
            hidden = masked_micro.encode_visible(encoder, pixels, masks)
        return reconstruction_loss(self.decoder(hidden, masks), pixels, masks.visible, valid)


def settled_masking(masking: MaskingConfig, encoder: Any, name: str) -> MaskingConfig:
    """Fill in what a configuration leaves to the encoder.

    Parameters
    ----------
    masking : MaskingConfig
    encoder : nn.Module
        Image encoder of the model.
    name : str
        The model's, for the message.

    Raises
    ------
    ParameterError
        If such an encoder cannot be pre-trained, or not with such patches.
    """
    if isinstance(encoder, ViTEncoder):
        own = encoder.config.patch_size
        if masking.patch not in (0, own):
            raise ParameterError(f"patches of {name} have {own} pixels; leave masking.patch out")
        share, patch, width = 0.75, own, 256
    elif isinstance(encoder, MicroEncoder):
        share, patch, width = 0.6, 32, 64
    else:
        raise ParameterError(
            f"{name} cannot be pre-trained by masking: that needs a ViT, or the encoder of the "
            "embedded model"
        )
    return replace(
        masking,
        share=masking.share or share,
        patch=masking.patch or patch,
        width=masking.width or width,
    )


class MaskedLoss:
    """Computes the loss of a batch of crops and its gradients, for `StageTrainer`.

    Parameters
    ----------
    changes : AugmentConfig
        Changes of pixel values.
    """

    def __init__(self, changes: AugmentConfig) -> None:
        self.changes = changes

    def __call__(
        self, network: nn.Module, crops: Crops, generator: torch.Generator
    ) -> dict[str, float]:
        """Propagate the gradients of a batch.

        Parameters
        ----------
        network : MaskedAutoencoder
        crops : Crops
            On the device.
        generator : torch.Generator
            Source of randomness, on the device.
        """
        loss = crops_loss(network, crops, self.changes, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        return {"reconstruction": float(loss.detach())}


def crops_loss(
    network: Any, crops: Crops, changes: AugmentConfig, generator: torch.Generator
) -> Tensor:
    """Loss of a batch of crops.

    Parameters
    ----------
    network : MaskedAutoencoder
    crops : Crops
    changes : AugmentConfig
        Changes of pixel values.
    generator : torch.Generator
        Source of randomness.
    """
    pixels = normalise(augment(crops.images, changes, generator), crops.valid)
    with mixed_precision(pixels.device, network.image_encoder):
        loss: Tensor = network(pixels, crops.valid, generator)
    return loss
