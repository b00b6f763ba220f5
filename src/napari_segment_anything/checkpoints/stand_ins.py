"""Weights out of the files that training frameworks write for themselves.

Such a file holds, beside the weights, what is needed to go on training: optimizers, loss
functions, data sets, as pickled references to the framework's own classes. None of that
is wanted here and none of it is run: every such reference is resolved to an inert class
of ours, still under torch's restricted unpickler, which by itself allows tensors alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

# References that training state is full of. A file that refers to anything else is refused.
_TRAINING = (
    "albumentations.",
    "argparse.Namespace",
    "builtins.range",
    "builtins.slice",
    "functools.partial",
    "imageio.",
    "kornia.",
    "micro_sam.",
    "mobile_sam.",
    "numpy.",
    "omegaconf.",
    "pathlib.",
    "segment_anything.",
    "skimage.",
    "torch.amp.",
    "torch.cuda.amp.",
    "torch.nn.",
    "torch.optim.",
    "torch.utils.data.",
    "torch_em.",
    "torchvision.transforms.",
)


class Inert:
    """What stands where an object of somebody else's class was. It does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        """Take any arguments and ignore them."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take any arguments and ignore them."""

    def __setstate__(self, state: Any) -> None:
        """Ignore the object's state."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore an entry, where the object was a kind of dictionary."""

    def append(self, value: Any) -> None:
        """Ignore an element, where the object was a kind of list."""

    def extend(self, values: Any) -> None:
        """Ignore elements, where the object was a kind of list."""


def read_training_state(path: Path) -> Any:
    """Read a file whose every foreign reference is one that training state is full of.

    Parameters
    ----------
    path : Path
        A file that torch saved in its zip format.

    Returns
    -------
    object
        Its content with `Inert` in place of foreign objects, or None where the file
        refers to anything else, or this torch cannot tell.
    """
    references = getattr(torch.serialization, "get_unsafe_globals_in_checkpoint", None)
    if references is None:
        return None
    try:
        names = references(str(path))
        if not all(name.startswith(_TRAINING) for name in names):
            return None
        stand_ins: list[Any] = [(Inert, name) for name in names]
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:
        # Whatever else is the matter, the refusal that led here says it better.
        return None
