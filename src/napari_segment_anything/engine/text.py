"""Words as prompts: vectors of the CLIP that a model was trained with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CheckpointError, PromptError

if TYPE_CHECKING:
    from ..families.likeness import Likeness
    from .model import Model

KEY = "text_prompt"
"""Of a model's metadata: the name or folder of its CLIP, and a mark of its weights."""


def text_vectors(model: Model, words: Sequence[str]) -> np.ndarray:
    """Embed words for a model; see `Model.text_vectors`.

    Parameters
    ----------
    model : Model
    words : sequence of str
    """
    if not model.text_width:
        raise PromptError(
            f"{model.name} takes no words as prompts: it was not trained with them. Give points, "
            "boxes or masks; or find what words mean with `find`; or train a model with "
            "prompt = 'clip'"
        )
    texts = [text.strip() for text in words]
    if not texts or not all(texts):
        raise PromptError("the words of a text prompt are missing")
    known: dict[str, Any] = model.metadata.get(KEY, {})
    source = known.get("clip")
    if not source:
        raise CheckpointError(f"{model.name} does not say which CLIP its text prompts are from")
    clip = load_clip(str(source))
    if clip.mark != known.get("mark"):
        raise CheckpointError(
            f"the text prompts of {model.name} were trained with another CLIP than {source} is now"
        )
    return clip.embed_words(texts).cpu().numpy()


@lru_cache(maxsize=2)
def load_clip(source: str, device: str = "cpu") -> Likeness:
    """Load a CLIP by name or folder; the latest two are kept.

    Parameters
    ----------
    source : str
        As for `locate`: a folder, a name of the catalogue, or one of the Hugging Face Hub.
    device : str
        Where it runs.
    """
    from ..checkpoints.obtaining import locate
    from ..families.likeness import load_likeness

    return load_likeness(locate(source), device)
