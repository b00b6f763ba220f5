"""Real images that are included in scikit-image's wheel; nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ImageError
from .sample import Sample

_NO_RIGHTS = "No known copyright restrictions"


@dataclass(frozen=True, slots=True)
class _Picture:
    file: str
    description: str
    licence: str
    source: str
    scale: float = 1.0
    unit: str | None = None


_PICTURES = {
    "coins": _Picture(
        "coins.png",
        "Greek coins from Pompeii on an uneven grey background",
        _NO_RIGHTS,
        "Brooklyn Museum Collection, via scikit-image",
    ),
    "cell": _Picture(
        "cell.png",
        "Quantitative phase image of one cell floating in saline",
        "CC0",
        "Müller et al. 2018, doi:10.1364/OE.26.010729, via scikit-image",
        0.107,
        "micrometer",
    ),
    "ihc": _Picture(
        "ihc.png",
        "Colonic glands, FHL2 by immunohistochemistry (DAB) with haematoxylin",
        _NO_RIGHTS,
        "Center for Microscopy and Molecular Imaging (CMMI), via scikit-image",
    ),
    "retina": _Picture(
        "retina.jpg",
        "Fundus photograph of a human retina",
        "CC0",
        "Häggström 2014, doi:10.15347/wjm/2014.008, via scikit-image",
    ),
    "microaneurysms": _Picture(
        "microaneurysms.png",
        "Detail of a retina with small lesions, green channel",
        "CC0",
        "High-Resolution Fundus database, Budai et al. 2013, doi:10.1155/2013/154860, "
        "via scikit-image",
    ),
    "hubble": _Picture(
        "hubble_deep_field.jpg",
        "Galaxies of the Hubble eXtreme Deep Field",
        "Public domain (NASA)",
        "NASA, ESA, HubbleSite 2012/37, via scikit-image",
    ),
    "gravel": _Picture(
        "gravel.png",
        "Gravel from above: grains of many sizes, all touching",
        "CC0",
        "CC0Textures Gravel04, via scikit-image",
    ),
    "brick": _Picture(
        "brick.png",
        "A brick wall: objects in rows with mortar between",
        "CC0",
        "CC0Textures Bricks25, via scikit-image",
    ),
    "coffee": _Picture(
        "coffee.png",
        "A cup of coffee with saucer and spoon: parts within a whole",
        "CC0",
        "Rachel Michetti, via scikit-image",
    ),
    "cat": _Picture(
        "chelsea.png", "Chelsea the cat", "CC0", "Stéfan van der Walt, via scikit-image"
    ),
    "astronaut": _Picture(
        "astronaut.png",
        "Portrait of the astronaut Eileen Collins",
        "Public domain (NASA)",
        "NASA Great Images, via scikit-image",
    ),
    "camera": _Picture(
        "camera.png", "Man with a camera on a lawn", "CC0", "Lav Varshney, via scikit-image"
    ),
}


def bundled_names() -> tuple[str, ...]:
    """Names of the real images."""
    return tuple(_PICTURES)


def bundled(name: str) -> Sample:
    """Read one of the real images.

    Raises
    ------
    ImageError
        If the file is missing in the installed scikit-image.
    """
    import skimage.data
    from PIL import Image

    picture = _PICTURES[name]
    path = Path(skimage.data.__file__).parent / picture.file
    if not path.exists():
        raise ImageError(
            f"Sample '{name}' is missing: the installed scikit-image does not include "
            f"{picture.file}. Reinstall scikit-image from PyPI."
        )
    with Image.open(path) as file:
        image = np.array(file)
    rgb = image.ndim == 3
    units = (picture.unit, picture.unit)
    return Sample(
        name=name,
        image=image,
        axes="YXS" if rgb else "YX",
        channel_axis=None,
        rgb=rgb,
        scale=(picture.scale, picture.scale, 1.0) if rgb else (picture.scale, picture.scale),
        units=(*units, None) if rgb else units,
        labels=None,
        description=picture.description,
        licence=picture.licence,
        source=picture.source,
    )
