"""Read weights from training checkpoints of other frameworks.

Besides weights, such files contain the state of training, such as optimizers, loss functions and
data sets, as pickled references to classes of the framework. These are not needed and never run:
each reference is resolved to an inert class of ours, under torch's restricted unpickler, which on
its own allows only tensors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

# References found in training state. Files with any other reference are rejected.
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
    """Inert replacement for an object of a foreign class."""

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
    """Read a file whose foreign references are all of the kinds in training state.

    Parameters
    ----------
    path : Path
        A file in torch's zip format.

    Returns
    -------
    object
        Its content with `Inert` in place of foreign objects; None if the file has other
        references, or this version of torch cannot list them.
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
        # The error that led here describes the problem better.
        return None
