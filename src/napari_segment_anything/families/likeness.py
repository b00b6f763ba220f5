"""CLIP and SigLIP: words and images as vectors that can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .folder import ModelFolder
from .loading import load_module
from .words import PixelReader, WordReader

LIKENESS_TYPES = {
    "clip": ("CLIPConfig", "CLIPModel"),
    "siglip": ("SiglipConfig", "SiglipModel"),
    "siglip2": ("Siglip2Config", "Siglip2Model"),
}
"""Names of transformers' classes by model_type."""


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """Compares images with words. Made by `load_likeness`.

    Parameters
    ----------
    module : torch.nn.Module
        Transformers' own model.
    name : str
        Its model_type.
    words : WordReader
    pixels : PixelReader
    device : torch.device
    """

    module: Any
    name: str
    words: WordReader
    pixels: PixelReader
    device: torch.device

    @property
    def mark(self) -> str:
        """Changes with the weights: a hash of their sums."""
        digest = hashlib.sha256()
        for name, weights in self.module.state_dict().items():
            digest.update(f"{name} {float(weights.double().sum()):.6e}".encode())
        return digest.hexdigest()[:32]

    def embed_words(self, texts: Sequence[str]) -> Tensor:
        """Embed texts: float32 (texts, channels), each of length 1."""
        tokens = self.words(texts, self.device)
        if self.name != "clip":  # trained on padding, without a mask
            tokens = {"input_ids": tokens["input_ids"]}
        with torch.inference_mode():
            return _unit(self.module.get_text_features(**tokens))

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Embed images: float32 (images, channels), each of length 1.

        Parameters
        ----------
        images : sequence of uint8 array (rows, columns, 3)
        """
        pixels = self.pixels(images, self.device)
        with torch.inference_mode():
            return _unit(self.module.get_image_features(**pixels))

    def probabilities(self, images: Tensor, texts: Tensor) -> Tensor:
        """How probable each text is for each image, if one of them is right: (images, texts).

        Parameters
        ----------
        images : Tensor (images, channels)
            Or the mean of the vectors of several views of each.
        texts : Tensor (texts, channels)
        """
        scale = self.module.logit_scale.exp()
        return (scale * images @ texts.T).softmax(dim=1)


def load_likeness(folder: str | Path | ModelFolder, device: torch.device | str = "cpu") -> Likeness:
    """Load CLIP, SigLIP or SigLIP 2 from a folder in the form of transformers.

    Parameters
    ----------
    folder : path or ModelFolder
        With weights, tokenizer and description of images.
    device : torch.device or str

    Raises
    ------
    CheckpointError
        If it is no such folder, or incomplete.
    """
    folder = ModelFolder.of(folder, LIKENESS_TYPES, "images and words are compared by")
    module: Any = load_module(folder, *LIKENESS_TYPES[folder.model_type])
    most = int(module.config.text_config.max_position_embeddings)
    words = WordReader.of(folder, most=most, padded=folder.model_type != "clip")
    where = torch.device(device)
    return Likeness(module.to(where), folder.model_type, words, PixelReader.of(folder), where)


def square_crop(
    image: NDArray[np.uint8],
    box: tuple[int, int, int, int],
    scale: float = 1.0,
    mask: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Cut a square around an object, as for the text prompts of the paper (appendix D.5).

    Parameters
    ----------
    image : uint8 array (rows, columns, 3)
    box : (row_min, col_min, row_max, col_max)
        Outermost pixels of the object.
    scale : float
        Side of the square, relative to the longer side of the box.
    mask : bool array (row_max - row_min + 1, col_max - col_min + 1), optional
        Of the object in its box; all else becomes black.

    Returns
    -------
    uint8 array (side, side, 3)
        Black where it reaches beyond the image.
    """
    row0, col0, row1, col1 = box
    height, width = row1 - row0 + 1, col1 - col0 + 1
    side = max(1, round(scale * max(height, width)))
    top, left = row0 - (side - height) // 2, col0 - (side - width) // 2
    out = np.zeros((side, side, 3), np.uint8)
    first = max(top, 0), max(left, 0)
    last = min(top + side, image.shape[0]), min(left + side, image.shape[1])
    inside = (slice(first[0] - top, last[0] - top), slice(first[1] - left, last[1] - left))
    out[inside] = image[first[0] : last[0], first[1] : last[1]]
    if mask is not None:
        whole = np.zeros((side + 2 * height, side + 2 * width), bool)  # scales below 1 cut it
        row, col = row0 - top + height, col0 - left + width
        whole[row : row + height, col : col + width] = mask
        out[~whole[height : height + side, width : width + side]] = 0
    return out


def _unit(found: Any) -> Tensor:
    vectors: Tensor = getattr(found, "pooler_output", found)
    return nn.functional.normalize(vectors.float(), dim=-1)
