"""The generators by name, with the size and seed of their samples."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ParameterError
from . import (
    generate_divisions,
    generate_em,
    generate_fluorescence,
    generate_nuclei,
    generate_tissue,
    generate_transmitted,
)
from .sample import Sample

MIN_SIDE = 32


@dataclass(frozen=True, slots=True)
class Generator:
    """One kind of generated image.

    Parameters
    ----------
    function : callable
        ``function(shape, rng, **options) -> (image, labels[, lineage])``.
    axes : str
        Axes of the image; `shape` is the size along T, Z, Y and X.
    shape : tuple of int
        Shape of the sample.
    scale : tuple of float
        Pixel size along T, Z, Y, X of the sample, in `unit` (T in minutes).
    description : str
        What it shows.
    seed : int
        Seed of the sample.
    options : mapping
        Options of the sample; `generate` draws those that are not given.
    """

    function: Callable[..., tuple[Any, ...]]
    axes: str
    shape: tuple[int, ...]
    scale: tuple[float, ...]
    description: str
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


GENERATORS: dict[str, Generator] = {
    "nuclei": Generator(
        generate_nuclei.fluorescent_nuclei,
        "YX",
        (512, 512),
        (0.325, 0.325),
        "Generated: fluorescent nuclei, some touching, some out of focus",
        3,
        {"diameter": 34, "density": 0.22, "clustering": 0.45, "defocus": 0.07, "snr": 220},
    ),
    "cells_phase": Generator(
        generate_transmitted.phase_cells,
        "YX",
        (512, 512),
        (0.65, 0.65),
        "Generated: adherent cells in phase contrast, with halos and rounded cells",
        2,
        {"diameter": 60, "density": 0.3, "stretch": 1.8, "rounded": 0.08, "halo": 0.09},
    ),
    "cells_2ch": Generator(
        generate_fluorescence.stained_cells,
        "CYX",
        (512, 512),
        (0.325, 0.325),
        "Generated: cells in two channels, nuclei and cytoplasm; whole cells are the objects",
        2,
        {"diameter": 64, "density": 0.6, "snr": 200},
    ),
    "bacteria": Generator(
        generate_transmitted.bacteria,
        "YX",
        (512, 512),
        (0.065, 0.065),
        "Generated: rod-shaped bacteria in micro-colonies, phase contrast",
        1,
        {"width": 10, "length": 3.6, "density": 0.2, "contrast": "phase"},
    ),
    "yeast": Generator(
        generate_transmitted.yeast,
        "YX",
        (512, 512),
        (0.13, 0.13),
        "Generated: budding yeast in differential interference contrast",
        1,
        {"diameter": 42, "density": 0.3, "budding": 0.4, "angle": 0.8},
    ),
    "em_membranes": Generator(
        generate_em.em_membranes,
        "YX",
        (512, 512),
        (0.004, 0.004),
        "Generated: electron microscopy of packed cell profiles; membranes are background",
        2,
        {"diameter": 60, "membrane": 3.5, "noise": 0.05, "contrast": 0.5},
    ),
    "tissue": Generator(
        generate_tissue.tissue,
        "YXS",
        (512, 512),
        (0.5, 0.5),
        "Generated: histology, haematoxylin and eosin; nuclei are the objects",
        2,
        {"diameter": 15, "glands": 0.3, "cellularity": 0.12, "stain": 1.0},
    ),
    "filaments": Generator(
        generate_fluorescence.filaments,
        "YX",
        (512, 512),
        (0.1, 0.1),
        "Generated: fluorescent filaments over a blurred network",
        2,
        {"width": 4, "count": 28, "stiffness": 200, "snr": 120},
    ),
    "nuclei_3d": Generator(
        generate_nuclei.nuclei_volume,
        "ZYX",
        (24, 256, 256),
        (2.0, 0.5, 0.5),
        "Generated: a stack of fluorescent nuclei, planes four times as far apart as pixels",
        1,
        {"diameter": 28, "density": 0.12, "snr": 200},
    ),
    "divisions": Generator(
        generate_divisions.dividing_nuclei,
        "TYX",
        (16, 256, 256),
        (10.0, 0.65, 0.65),
        "Generated: time-lapse of nuclei that move and divide, with tracks and lineage",
        1,
        {"diameter": 22, "cycle": 16, "speed": 1.2, "snr": 180},
    ),
}


def generator_names() -> tuple[str, ...]:
    """Names of the kinds of image that can be generated."""
    return tuple(GENERATORS)


def generate(
    name: str, shape: Sequence[int] | None = None, seed: int = 0, **options: Any
) -> Sample:
    """Generate an image with its ground truth.

    Parameters
    ----------
    name : str
        One of `generator_names`.
    shape : sequence of int, optional
        Size along T, Z, Y, X, as far as the kind has them; by default that of the sample.
    seed : int
        The same name, shape, seed and options give the same pixels. Seeds also change size,
        density, contrast and noise.
    **options
        Options of the generator to set, such as ``diameter=30``.

    Returns
    -------
    Sample
        The image with labels, axes and pixel size.

    Raises
    ------
    ParameterError
        If the name or an option is unknown, or the shape does not match the kind.
    """
    if name not in GENERATORS:
        raise ParameterError(
            f"There is no generator '{name}'; choose one of {', '.join(GENERATORS)}."
        )
    kind = GENERATORS[name]
    size = tuple(int(n) for n in (kind.shape if shape is None else shape))
    if len(size) != len(kind.shape) or min(size) < 1 or min(size[-2:]) < MIN_SIDE:
        grid = "".join(a for a in kind.axes if a in "TZYX")
        raise ParameterError(
            f"'{name}' takes a shape of {len(kind.shape)} sizes ({grid}), "
            f"rows and columns at least {MIN_SIDE}; got {size}."
        )
    known = list(inspect.signature(kind.function).parameters)[2:]  # after shape and rng
    for option in options:
        if option not in known:
            raise ParameterError(f"'{name}' has no option '{option}'; it has {', '.join(known)}.")
    image, labels, *rest = kind.function(size, np.random.default_rng(seed), **options)
    spatial = iter(kind.scale)
    scale = tuple(next(spatial) if a in "TZYX" else 1.0 for a in kind.axes)
    unit = {"T": "minute", "Z": "micrometer", "Y": "micrometer", "X": "micrometer"}
    return Sample(
        name=name,
        image=image,
        axes=kind.axes,
        channel_axis=kind.axes.index("C") if "C" in kind.axes else None,
        rgb="S" in kind.axes,
        scale=scale,
        units=tuple(unit.get(a) for a in kind.axes),
        labels=labels,
        description=kind.description,
        licence="CC0",
        source=f"Generated by segment-anything-napari, seed {seed}",
        lineage=rest[0] if rest else None,
    )
