"""Text prompts in training: CLIP's image embeddings of objects (SAM paper, appendix D.5).

CLIP embeds images and words into one space. A model that is trained with the embedding of an
object's picture as its prompt is given the embedding of words instead when it is used.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engine.text import KEY, load_clip
from ..errors import ParameterError
from ..families.likeness import Likeness, square_crop
from ..network.sam import Sam
from .crops import EncodedCrops
from .prompted_objects import PER, PromptedObjects, unit

_SCALES = (1.0, 2.0)
_ALONE = 0.5
_INITIAL = 0.02


class TextPrompts:
    """Makes the text prompts of objects, from their pixels.

    Parameters
    ----------
    clip : Likeness
    side : int
        Least width and height of an object's box, in pixels of the crop.
    """

    def __init__(self, clip: Likeness, side: int) -> None:
        self.clip, self.side = clip, side

    def able(self, objects: PromptedObjects) -> Tensor:
        """Return which objects are large enough: bool (n,)."""
        return (objects.box[:, 2:] - objects.box[:, :2] >= self.side).all(1)

    def __call__(
        self, encoded: EncodedCrops, objects: PromptedObjects, generator: torch.Generator
    ) -> Tensor:
        """Embed pictures of objects: float32 (n, channels), each of length 1.

        A picture is a square of one to two times the object's longer side; in half of them all
        else is black.

        Parameters
        ----------
        encoded : EncodedCrops
            With the pixels of the crops.
        objects : PromptedObjects
        generator : torch.Generator
        """
        crops, device = encoded.crops, encoded.embedding.device
        pictures = []
        for index, image in enumerate(objects.image.tolist()):
            pixels = crops.images[image].permute(1, 2, 0).cpu().numpy()
            grid = objects.target[index].cpu().numpy() > 0.5
            mask = grid.repeat(crops.stride, 0).repeat(crops.stride, 1)
            first = (objects.corner[index] * PER * crops.stride).tolist()
            rows, cols = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
            box = (
                int(rows[0] + first[0]), int(cols[0] + first[1]),
                int(rows[-1] + first[0]), int(cols[-1] + first[1]),
            )  # fmt: skip
            inside = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
            low, high = _SCALES
            scale = low + (high - low) * unit(generator, device)
            alone = inside if unit(generator, device) < _ALONE else None
            pictures.append(square_crop(pixels, box, scale, alone))
        return self.clip.embed_images(pictures).to(device).clone()


def load_texts(clip: str, side: int, device: torch.device) -> TextPrompts:
    """Load the CLIP of a run.

    Parameters
    ----------
    clip : str
        Name or folder.
    side : int
        As for `TextPrompts`.
    device : torch.device
    """
    return TextPrompts(load_clip(clip, str(device)), side)


def with_text_prompts(network: Sam, texts: TextPrompts, name: str) -> Sam:
    """Return the network with a projection for text prompts; a new one changes little at first.

    Parameters
    ----------
    network : Sam
    texts : TextPrompts
    name : str
        Of its model, for the message.

    Raises
    ------
    ParameterError
        If it has text prompts of another CLIP.
    """
    width = int(texts.clip.embed_words(["object"]).shape[1])
    if network.config.text_width:
        if network.config.text_width != width:
            raise ParameterError(
                f"{name} has text prompts of {network.config.text_width} channels; this CLIP has "
                f"{width}: use the CLIP it was trained with"
            )
        return network
    made = Sam(replace(network.config, text_width=width))
    state = {**made.state_dict(), **network.state_dict()}
    weight = state["prompt_encoder.text_projection.weight"]
    state["prompt_encoder.text_projection.weight"] = _INITIAL * torch.randn_like(weight)
    made.load_state_dict(state)
    return made


def text_metadata(clip: str, texts: TextPrompts) -> dict[str, Any]:
    """Return what a model's metadata say about its text prompts.

    Parameters
    ----------
    clip : str
        Name or folder, as in the configuration.
    texts : TextPrompts
    """
    return {KEY: {"clip": clip, "mark": texts.clip.mark}}
