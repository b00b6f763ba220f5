"""Encode crops for training; keep the embeddings of fixed crops while the encoder is frozen."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .augment import AugmentConfig, augment
from .config import StageConfig
from .cropping import CropSampler
from .crops import Crops, EncodedCrops
from .geometry import Geometry, has_dense_head, mixed_precision
from .validation import normalise

_KEPT_BYTES = 2 << 30


class CropEncoder:
    """Augments crops, places them in the frame and encodes them.

    Parameters
    ----------
    network : nn.Module
        Has an `image_encoder`.
    stage : StageConfig
        Whether a mask refiner is trained.
    changes : AugmentConfig
        Changes of pixel values.
    device : torch.device
        Where.
    """

    def __init__(
        self, network: nn.Module, stage: StageConfig, changes: AugmentConfig, device: torch.device
    ) -> None:
        self.network, self.changes, self.device = network, changes, device
        self.refines = stage.refiner_learning_rate > 0

    def __call__(self, crops: Crops, generator: torch.Generator, learns: bool) -> EncodedCrops:
        """Augment, place and encode a batch.

        Parameters
        ----------
        crops : Crops
            The batch, on the device.
        generator : torch.Generator
            Source of randomness, on the device.
        learns : bool
            Whether gradients are kept.
        """
        encoder: Any = self.network.image_encoder
        pixels = normalise(augment(crops.images, self.changes, generator), crops.valid)
        origin = self._origins(crops, generator)
        with (
            torch.set_grad_enabled(learns),
            mixed_precision(self.device, encoder),
            parametrize.cached(),
        ):
            output = encoder(pixels, origin) if has_dense_head(self.network) else encoder(pixels)
        maps = output.heads["dense"].detach() if self.refines else None
        return EncodedCrops(output.embedding, maps, crops, origin, output.heads)

    def _origins(self, crops: Crops, generator: torch.Generator) -> Tensor:
        """Random position of each crop in the frame: (batch, 2), multiples of a cell."""
        geometry = Geometry.of(self.network.image_encoder)
        cell = 4 * geometry.stride
        free = max(geometry.frame - crops.side, 0) // cell + 1
        shape = (len(crops.labels), 2)
        return torch.randint(free, shape, generator=generator, device=self.device).float() * cell


class KeptEmbeddings:
    """Embeddings of a few fixed crops of each image, encoded once and kept on the CPU.

    Parameters
    ----------
    encode : CropEncoder
        Of a frozen image encoder.
    sampler : CropSampler
        Where the crops come from.
    stage : StageConfig
        How many, and how they are cut.
    seed : int
        Seed of their augmentation and positions.
    pixels : bool
        Whether the crops' pixels are kept as well.
    """

    def __init__(
        self,
        encode: CropEncoder,
        sampler: CropSampler,
        stage: StageConfig,
        seed: int,
        pixels: bool = False,
    ) -> None:
        self.encode, self.sampler, self.stage, self.seed = encode, sampler, stage, seed
        self.pixels = pixels
        self._held: OrderedDict[tuple[str, int, int], EncodedCrops] = OrderedDict()

    def batch(self, step: int) -> EncodedCrops:
        """The batch of one step, on the encoder's device."""
        stage, device = self.stage, self.encode.device
        keys = self.sampler.fixed_keys(step, stage.batch_size, stage.views)
        held = [self._encoded(key) for key in keys]
        maps = [each.maps.to(device).float() for each in held if each.maps is not None]
        return EncodedCrops(
            torch.cat([each.embedding.to(device).float() for each in held]),
            torch.cat(maps) if maps else None,
            Crops.join([each.crops for each in held]).to(device),
            torch.cat([each.origin for each in held]).to(device),
            {},
        )

    def _encoded(self, key: tuple[str, int, int]) -> EncodedCrops:
        """One fixed crop; its floats in half precision."""
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        crops = self.sampler.fixed(key, self.stage.crop).to(self.encode.device)
        generator = torch.Generator(self.encode.device)
        seed = (self.seed * 1_000_003 + key[1]) * 1009 + key[2]
        generator.manual_seed(seed * 31 + self.sampler.names.index(key[0]))
        torch.manual_seed(generator.initial_seed())  # a step must not depend on what is cached
        fresh = self.encode(crops, generator, learns=False)
        held = EncodedCrops(
            fresh.embedding.half().cpu(),
            None if fresh.maps is None else fresh.maps.half().cpu(),
            (crops if self.pixels else crops.without_images()).to(torch.device("cpu")),
            fresh.origin.cpu(),
            {},
        )
        self._held[key] = held
        size = held.embedding.nbytes + (0 if held.maps is None else held.maps.nbytes)
        while len(self._held) * size > _KEPT_BYTES:
            self._held.popitem(last=False)
        return held
