"""Generated transmitted light: cells in phase contrast, bacteria, and yeast in DIC."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from ._field import (
    Float,
    Truth,
    blur,
    drawn,
    fractal,
    illumination,
    interference_contrast,
    phase_contrast,
    photons,
    pixels,
    to_uint8,
)
from ._shapes import Blob, place, tidy, wobble


@drawn(
    diameter=(35, 80),
    density=(0.08, 0.45),
    stretch=(1.1, 2.6),
    rounded=(0, 0.15),
    halo=(0.05, 0.14),
)
def phase_cells(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    diameter: float,
    density: float,
    stretch: float,
    rounded: float,
    halo: float,
) -> tuple[NDArray[np.uint8], Truth]:
    """Adherent cells in phase contrast, with halos, granules and a few rounded, bright cells.

    Parameters
    ----------
    diameter : float
        Typical diameter in pixels.
    density : float
        Share of the field that is covered.
    stretch : float
        Typical ratio of length to width.
    rounded : float
        Share of cells that are rounded up.
    halo : float
        Width of the halo relative to the diameter.

    Returns
    -------
    tuple of array
        uint8 image and int32 labels of whole cells, both (rows, columns).
    """
    count = max(int(density * shape[0] * shape[1] / (np.pi * diameter**2 / 4)), 1)
    radii = diameter / 2 * np.clip(rng.lognormal(0, 0.2, min(count, 1500)), 0.6, 1.7)
    centers, which = place(shape, radii, rng, spacing=0.95, clustering=0.35)
    bend = 0.09 * diameter
    warp = (
        bend * fractal(shape, rng, scale=diameter, slope=3.4),
        bend * fractal(shape, rng, scale=diameter, slope=3.4),
    )
    grain = fractal(shape, rng, scale=diameter / 14, slope=0.9)
    folds = fractal(shape, rng, scale=diameter / 3, slope=1.6)
    phase = np.zeros(shape, np.float32)
    glow = np.zeros(shape, np.float32)
    labels = np.zeros(shape, np.int32)
    for number, (center, radius) in enumerate(zip(centers, radii[which], strict=True), start=1):
        if rng.random() < rounded:
            blob = Blob(tuple(center), (0.5 * radius, 0.47 * radius), rng.uniform(0, np.pi))
            stamp = blob.stamp(shape)
        else:
            blob = _adherent(rng, center, radius, stretch)
            stamp = blob.stamp(shape, 1.2, warp)
        if stamp is None:
            continue
        window, distance = stamp
        inside = (distance < 1) & (labels[window] == 0)
        labels[window][inside] = number
        if blob.wobble is None:
            # A ball of cell works as a lens: bright inside a dark rim.
            body: Float = 0.9 * np.sqrt(np.clip(1 - distance**2, 0, None))
            lens = np.exp(-((distance / 0.72) ** 6)) * (1 + 0.12 * folds[window])
            glow[window][inside] = (rng.uniform(1.0, 1.6) * lens)[inside]
        else:
            body = _spread(distance, window, blob, grain, folds, rng)
        phase[window][inside] = body[inside]
    labels = tidy(labels, min_size=int(diameter**2 / 12))
    phase = np.where(labels > 0, phase, 0)
    debris = 0.5 * (fractal(shape, rng, scale=4, slope=1.2) > 4.0)
    phase = blur((phase + debris).astype(np.float32), 0.9)
    image = phase_contrast(phase, ring=0.48, halo=max(halo * diameter, 2.5))
    image += blur(glow, 1.0)
    texture = 1 + 0.012 * fractal(shape, rng, scale=diameter, slope=1.0)
    light = image * texture * illumination(shape, rng, 0.18)
    gain = np.float32(rng.uniform(0.36, 0.46))
    return to_uint8(photons(gain * light, rng, full=rng.uniform(1500, 6000), read=12)), labels


def _adherent(
    rng: np.random.Generator, center: NDArray[np.float64], radius: float, stretch: float
) -> Blob:
    """Outline of a cell that holds on to the dish: a body with two to five pointed arms."""
    long = float(np.sqrt(np.clip(0.75 * stretch * rng.lognormal(0, 0.2), 1, 3)))
    count = int(rng.choice([0, 2, 3, 4, 5], p=[0.1, 0.36, 0.3, 0.16, 0.08]))
    direction = np.pi * (2 * np.arange(count) / max(count, 1) - 1) + rng.normal(0, 0.3, count)
    direction = (direction + np.pi) % (2 * np.pi) - np.pi
    length = rng.uniform(0.15, 0.55, count) * stretch
    arms = np.stack([direction, length, rng.uniform(0.14, 0.32, count)], axis=1)
    size = 0.78 * radius
    return Blob(
        (float(center[0]), float(center[1])),
        (size * long, size / long),
        float(rng.uniform(0, np.pi)),
        wobble(rng, 0.1),
        arms.astype(np.float32),
    )


def _spread(
    distance: Float,
    window: tuple[slice, slice],
    blob: Blob,
    grain: Float,
    folds: Float,
    rng: np.random.Generator,
) -> Float:
    """Optical path of a flat cell: thin rim, thick middle, nucleus with nucleoli, granules."""
    thickness = np.clip(1 - distance**2, 0, None)
    body = 0.12 * np.minimum(thickness * 6, 1) + 0.30 * thickness
    rows, columns = pixels(window)
    row, column = np.asarray(blob.center) + rng.normal(0, 0.12, 2) * min(blob.radii)
    size = np.float32(0.45 * min(blob.radii))
    nucleus = np.sqrt((rows - row) ** 2 + (columns - column) ** 2) / size
    around = np.exp(-(((nucleus - 1.3) / 0.9) ** 2))
    body += 0.07 * grain[window] * (0.25 + 0.9 * around) * np.minimum(thickness * 4, 1)
    body += 0.04 * folds[window] * np.minimum(thickness * 4, 1)
    core = np.clip((1 - nucleus) * 4, 0, 1)
    body += core * (0.05 - 0.06 * grain[window])
    for _ in range(int(rng.integers(1, 4))):
        at = rng.normal(0, 0.35, 2) * size
        square = (rows - row - at[0]) ** 2 + (columns - column - at[1]) ** 2
        body += core * 0.22 * np.exp(-square / np.float32(2 * (0.16 * size) ** 2))
    lumps: Float = np.asarray(body, np.float32)
    return lumps


@drawn(
    width=(6, 14),
    length=(2.2, 5),
    density=(0.04, 0.3),
    contrast=lambda rng, shape: str(rng.choice(["phase", "fluorescence"])),
)
def bacteria(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    width: float,
    length: float,
    density: float,
    contrast: str,
) -> tuple[NDArray[np.uint8], Truth]:
    """Rod-shaped bacteria in small colonies.

    Parameters
    ----------
    width : float
        Width of a rod in pixels.
    length : float
        Typical length relative to the width.
    density : float
        Share of the field that is covered.
    contrast : {"phase", "fluorescence"}
        Kind of microscope.

    Returns
    -------
    tuple of array
        uint8 image and int32 labels, both (rows, columns).
    """
    if contrast not in ("phase", "fluorescence"):
        raise ParameterError(f"contrast is 'phase' or 'fluorescence'; got '{contrast}'.")
    labels, profile, brightness = _rods(shape, rng, width, length, density)
    labels = tidy(labels, min_size=int(width**2 / 3))
    profile = np.where(labels > 0, profile, 0).astype(np.float32)
    if contrast == "fluorescence":
        grain = np.clip(1 + 0.15 * fractal(shape, rng, scale=width, slope=1), 0.2, None)
        signal = blur((profile * grain * brightness).astype(np.float32), 0.12 * width)
        light = signal + 0.12 * blur(signal, 2 * width) + 0.04
        light *= illumination(shape, rng, 0.25)
        noisy = photons(0.42 * light, rng, full=rng.uniform(120, 900), read=3)
        return to_uint8(noisy), labels
    debris = 0.3 * (fractal(shape, rng, scale=3, slope=1.2) > 4.2)
    phase = blur((0.62 * profile * (0.85 + 0.15 * brightness) + debris).astype(np.float32), 0.7)
    image = phase_contrast(phase, ring=0.75, halo=1.1 * width)
    light = image * (1 + 0.015 * fractal(shape, rng, scale=width * 3, slope=1.0))
    light *= illumination(shape, rng, 0.12)
    return to_uint8(photons(0.55 * light, rng, full=rng.uniform(800, 4000), read=8)), labels


def _rods(
    shape: tuple[int, int], rng: np.random.Generator, width: float, length: float, density: float
) -> tuple[Truth, Float, Float]:
    """Place rods next to and behind one another: labels, thickness, and a brightness for each."""
    labels = np.zeros(shape, np.int32)
    profile = np.zeros(shape, np.float32)
    brightness = np.zeros(shape, np.float32)
    rods: list[tuple[NDArray[np.float64], float, float]] = []
    area = length * width**2
    count = max(int(density * shape[0] * shape[1] / area), 1)
    colony = float(rng.uniform(0.75, 0.97))
    for _ in range(min(count, 2500)):
        for _ in range(8):
            half = 0.5 * width * max(length * rng.lognormal(0, 0.22) - 1, 0.4)
            if rods and rng.random() < colony:
                center, angle, other = rods[int(rng.integers(max(len(rods) - 60, 0), len(rods)))]
                angle = angle + rng.normal(0, 0.13)
                along = np.array([np.sin(angle), np.cos(angle)])
                across = np.array([along[1], -along[0]])
                if rng.random() < 0.72:
                    side = rng.choice([-1, 1]) * width * rng.uniform(1.0, 1.12)
                    center = center + side * across + rng.normal(0, 0.35) * half * along
                else:
                    ahead = rng.choice([-1, 1]) * (half + other + width * rng.uniform(1, 1.15))
                    center = center + ahead * along
            else:
                center, angle = rng.uniform(0, shape), rng.uniform(0, np.pi)
            laid = _rod(shape, center, angle, half, width / 2, rng.normal(0, 0.012))
            if laid is None:
                continue
            window, distance = laid
            inside = distance < 1
            taken = np.count_nonzero(labels[window][inside])
            if not inside.any() or taken > 0.06 * np.count_nonzero(inside):
                continue
            inside &= labels[window] == 0
            rods.append((center, angle, half))
            labels[window][inside] = len(rods)
            profile[window][inside] = np.sqrt(1 - distance[inside] ** 2) ** 0.7
            brightness[window][inside] = rng.lognormal(0, 0.25)
            break
    return labels, profile, brightness


def _rod(
    shape: tuple[int, int],
    center: NDArray[np.float64],
    angle: float,
    half: float,
    radius: float,
    bend: float,
) -> tuple[tuple[slice, slice], Float] | None:
    reach = half + radius + 1
    low = np.maximum((center - reach).astype(int), 0)
    high = np.minimum((center + reach).astype(int) + 2, shape)
    if np.any(low >= high):
        return None
    window = (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])))
    rows = np.arange(low[0], high[0], dtype=np.float32)[:, None] - np.float32(center[0])
    columns = np.arange(low[1], high[1], dtype=np.float32)[None] - np.float32(center[1])
    along = columns * np.float32(np.cos(angle)) + rows * np.float32(np.sin(angle))
    across = rows * np.float32(np.cos(angle)) - columns * np.float32(np.sin(angle))
    across += np.float32(bend) * (along**2 / np.float32(2 * radius) - np.float32(half / 2))
    beyond = np.clip(np.abs(along) - np.float32(half), 0, None)
    return window, np.sqrt(beyond**2 + across**2) / np.float32(radius)


@drawn(diameter=(22, 60), density=(0.06, 0.4), budding=(0.2, 0.6), angle=(0, 2 * np.pi))
def yeast(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    diameter: float,
    density: float,
    budding: float,
    angle: float,
) -> tuple[NDArray[np.uint8], Truth]:
    """Budding yeast as differential interference contrast shows it: a relief lit from one side.

    Parameters
    ----------
    diameter : float
        Typical diameter in pixels.
    density : float
        Share of the field that is covered.
    budding : float
        Share of cells with a bud, which has a label of its own.
    angle : float
        Direction of the light in radians from the column axis.

    Returns
    -------
    tuple of array
        uint8 image and int32 labels, both (rows, columns).
    """
    count = max(int(density * shape[0] * shape[1] / (np.pi * diameter**2 / 4)), 1)
    radii = diameter / 2 * np.clip(rng.lognormal(0, 0.12, min(count, 2000)), 0.7, 1.4)
    centers, which = place(shape, radii, rng, spacing=1.0, clustering=0.75)
    cells: list[Blob] = []
    for center, radius in zip(centers, radii[which], strict=True):
        long = float(np.sqrt(rng.uniform(1.0, 1.3)))
        turn = float(rng.uniform(0, np.pi))
        cells.append(Blob(tuple(center), (0.97 * radius * long, 0.97 * radius / long), turn))
    for mother in [c for c in cells if rng.random() < budding]:
        size = 0.5 * sum(mother.radii) * rng.uniform(0.35, 0.75)
        away = rng.uniform(0, 2 * np.pi)
        step = (0.5 * sum(mother.radii) + 0.82 * size) * np.array([np.sin(away), np.cos(away)])
        bud = np.asarray(mother.center) + step
        apart = [np.hypot(*(bud - c.center)) > size + 0.8 * min(c.radii) for c in cells]
        if sum(apart) >= len(cells) - 1:
            cells.append(Blob(tuple(bud), (1.06 * size, 0.94 * size), float(away)))
    labels = np.zeros(shape, np.int32)
    nearest = np.full(shape, 1.0, np.float32)
    phase = np.zeros(shape, np.float32)
    grain = fractal(shape, rng, scale=diameter / 7, slope=1.4)
    for number, cell in enumerate(cells, start=1):
        stamp = cell.stamp(shape)
        if stamp is None:
            continue
        window, distance = stamp
        inside = distance < nearest[window]
        labels[window][inside] = number
        nearest[window][inside] = distance[inside]
        thickness = np.sqrt(np.clip(1 - distance**2, 0, None))
        body = thickness * 2.0 + 0.16 * grain[window] * thickness
        body += 0.5 * np.exp(-(((distance - 0.92) / 0.06) ** 2))
        _vacuoles(body, cell, window, rng)
        phase[window][inside] = body[inside]
    labels = tidy(labels, min_size=int(diameter**2 / 20))
    scale = np.float32(diameter / 40)
    phase = blur(phase * scale, 0.7)
    shear = 1.6
    image = interference_contrast(phase, angle=angle, shear=shear, bias=0.9)
    image = 0.5 * image + 0.5
    light = image * (1 + 0.01 * fractal(shape, rng, scale=diameter, slope=1.0))
    light *= illumination(shape, rng, 0.15)
    return to_uint8(photons(0.42 * light, rng, full=rng.uniform(1500, 6000), read=8)), labels


def _vacuoles(
    body: Float, cell: Blob, window: tuple[slice, slice], rng: np.random.Generator
) -> None:
    """Hollow out one to three vacuoles, and add a dense granule or two."""
    rows, columns = pixels(window)
    radius = min(cell.radii)
    for size, depth in [
        *((rng.uniform(0.25, 0.45), -0.75) for _ in range(int(rng.integers(0, 3)))),
        *((rng.uniform(0.06, 0.1), 0.5) for _ in range(int(rng.integers(0, 4)))),
    ]:
        row, column = np.asarray(cell.center) + rng.uniform(-0.45, 0.45, 2) * radius
        distance = np.hypot(rows - row, columns - column) / np.float32(size * radius)
        body += np.float32(depth) * np.sqrt(np.clip(1 - distance**2, 0, None))
