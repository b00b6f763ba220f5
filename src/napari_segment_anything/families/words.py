"""Tokens of words and pixels of images as a model's own folder says, without torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import CheckpointError, ParameterError
from ..reading import one_line
from .folder import ModelFolder
from .loading import quiet, transformers_for

_TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, slots=True, eq=False)
class WordReader:
    """Turns words into tokens.

    Parameters
    ----------
    tokenizer : object
        Of transformers.
    length : int, optional
        Tokens that every text is padded to; by default as many as the longest has.
    most : int
        Tokens that the model reads at most.
    """

    tokenizer: Any
    length: int | None
    most: int

    @classmethod
    def of(cls, folder: ModelFolder, *, most: int, padded: bool) -> WordReader:
        """Load a folder's tokenizer.

        Parameters
        ----------
        folder : ModelFolder
        most : int
            Tokens that the model reads.
        padded : bool
            Whether every text is padded to that length.

        Raises
        ------
        CheckpointError
            If the folder has no tokenizer, or a damaged one.
        """
        made = _loaded(folder, "AutoTokenizer", "tokenizer", _TOKENIZERS)
        return cls(made, most if padded else None, most)

    def __call__(self, texts: Sequence[str], device: torch.device) -> dict[str, Tensor]:
        """Return token ids and attention mask, (texts, tokens) int64.

        Parameters
        ----------
        texts : sequence of str
        device : torch.device

        Raises
        ------
        ParameterError
            If a text is longer than the model reads.
        """
        padding = "longest" if self.length is None else "max_length"
        tokens = self.tokenizer(
            list(texts), padding=padding, max_length=self.length, return_tensors="pt"
        )
        ids = tokens["input_ids"]
        if ids.shape[1] > self.most:
            raise ParameterError(
                f"the words have {ids.shape[1]} tokens; the model reads {self.most}: use fewer"
            )
        return {name: each.to(device) for name, each in tokens.items()}


@dataclass(frozen=True, slots=True, eq=False)
class PixelReader:
    """Turns images into what a network takes, by a folder's own description."""

    processor: Any

    @classmethod
    def of(cls, folder: ModelFolder) -> PixelReader:
        """Load a folder's description of images.

        Raises
        ------
        CheckpointError
            If the folder has none, or a damaged one.
        """
        kind = "AutoImageProcessor"
        return cls(_loaded(folder, kind, "description of images", _PROCESSORS, backend="pil"))

    def __call__(
        self, images: Sequence[NDArray[np.uint8]], device: torch.device
    ) -> dict[str, Tensor]:
        """Return pixels, and what else the network takes of images.

        Parameters
        ----------
        images : sequence of uint8 array (rows, columns, 3)
        device : torch.device
        """
        values = self.processor(
            images=list(images), return_tensors="pt", input_data_format="channels_last"
        )
        return {name: each.to(device) for name, each in values.items()}


def _loaded(
    folder: ModelFolder, kind: str, what: str, files: tuple[str, ...], **options: Any
) -> Any:
    # without these files transformers makes up an empty tokenizer
    if not any((folder.path / file).is_file() for file in files):
        raise CheckpointError(f"{folder.path} has no {what}: {files[0]} is missing")
    library = transformers_for(f"{folder.path} ({folder.model_type})")
    with quiet():
        try:
            return getattr(library, kind).from_pretrained(
                folder.path, local_files_only=True, trust_remote_code=False, **options
            )
        except Exception as error:  # whatever damaged files make of transformers
            raise CheckpointError(
                f"the {what} in {folder.path} cannot be read: {one_line(error)}"
            ) from error
