"""Sample images: real ones from scikit-image's wheel, and generated ones with ground truth.

Everything works offline. Stands alone: NumPy, SciPy and scikit-image only.
"""

from __future__ import annotations

from ..errors import ParameterError
from ..reading import require
from .generate import GENERATORS, generate, generator_names
from .real import bundled, bundled_names
from .sample import Sample

__all__ = ["Sample", "generate", "generator_names", "sample", "sample_names"]


def sample_names() -> tuple[str, ...]:
    """Names that `sample` takes: the real images, then the generated ones."""
    return bundled_names() + generator_names()


def sample(name: str) -> Sample:
    """Return a sample image, always the same pixels for the same name.

    Parameters
    ----------
    name : str
        One of `sample_names`; a leading "sample:" is allowed.

    Returns
    -------
    Sample
        The image, and its ground truth if it is a generated one.

    Raises
    ------
    ParameterError
        If there is no sample of that name.
    ImageError
        If the installed scikit-image lacks the image.
    """
    require(name, str, "the name of a sample", "sample_names() lists them")
    name = name.removeprefix("sample:")
    if name in bundled_names():
        return bundled(name)
    if name in GENERATORS:
        kind = GENERATORS[name]
        return generate(name, kind.shape, kind.seed, **kind.options)
    raise ParameterError(f"There is no sample '{name}'; choose one of {', '.join(sample_names())}.")
