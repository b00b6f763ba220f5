"""Sample images: real ones from scikit-image's wheel, and generated ones with ground truth.

All work offline. The folder needs only NumPy, SciPy and scikit-image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ParameterError
from ..lazy import names_on_first_use
from ..reading import require
from .real import bundled, bundled_names
from .sample import Sample

if TYPE_CHECKING:
    from .generators import generate, generator_names
else:
    __getattr__, __dir__ = names_on_first_use(__name__, {"generators": "generate generator_names"})

__all__ = ["Sample", "generate", "generator_names", "sample", "sample_names"]


def sample_names() -> tuple[str, ...]:
    """Names that `sample` accepts: the real images, then the generated ones."""
    from .generators import generator_names

    return bundled_names() + generator_names()


def sample(name: str) -> Sample:
    """Return a sample image; a name always gives the same pixels.

    Parameters
    ----------
    name : str
        One of `sample_names`, optionally with the prefix "sample:".

    Returns
    -------
    Sample
        The image, and its ground truth if it is a generated one.

    Raises
    ------
    ParameterError
        If there is no sample of that name.
    ImageError
        If the image is missing in the installed scikit-image.
    """
    require(name, str, "the name of a sample", "sample_names() lists them")
    name = name.removeprefix("sample:")
    if name in bundled_names():
        return bundled(name)
    from .generators import GENERATORS, generate

    if name in GENERATORS:
        kind = GENERATORS[name]
        return generate(name, kind.shape, kind.seed, **kind.options)
    raise ParameterError(f"There is no sample '{name}'; choose one of {', '.join(sample_names())}.")
