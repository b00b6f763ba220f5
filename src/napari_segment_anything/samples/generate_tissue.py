"""Generated histology: a section stained with haematoxylin and eosin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ._field import Float, Truth, blur, drawn, fractal, illumination, pixels, to_uint8
from ._shapes import Blob, place, tidy, wobble

# Optical density of the two stains in red, green and blue.
_HAEMATOXYLIN = (0.62, 0.68, 0.36)
_EOSIN = (0.17, 0.72, 0.36)


@drawn(diameter=(10, 24), glands=(0, 0.4), cellularity=(0.05, 0.18), stain=(0.8, 1.25))
def tissue(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    diameter: float,
    glands: float,
    cellularity: float,
    stain: float,
) -> tuple[NDArray[np.uint8], Truth]:
    """Glands in fibrous stroma, stained with haematoxylin and eosin; nuclei are the objects.

    Parameters
    ----------
    diameter : float
        Typical diameter of a nucleus in pixels.
    glands : float
        Share of the field that glands cover.
    cellularity : float
        Share of the stroma that nuclei cover.
    stain : float
        Strength of the stain.

    Returns
    -------
    tuple of array
        uint8 RGB image (rows, columns, 3) and int32 labels (rows, columns).
    """
    fibres, flow = _fibres(shape, rng, diameter)
    eosin = 0.36 + 0.085 * fibres + 0.06 * fractal(shape, rng, scale=4 * diameter, slope=2)
    gaps = np.clip(fractal(shape, rng, scale=2 * diameter, slope=1.8) - 0.7 * fibres - 2.0, 0, 0.6)
    eosin = np.clip(eosin - 1.2 * gaps, 0.0, None)
    nuclei = _glands(shape, rng, diameter, glands, eosin)
    count = int(cellularity * shape[0] * shape[1] / (np.pi * diameter**2 / 4))
    radii = diameter / 2 * np.clip(rng.lognormal(0, 0.15, min(count, 4000)), 0.7, 1.5)
    centers, which = place(shape, radii, rng, spacing=1.0, clustering=0.3)
    for center, radius in zip(centers, radii[which], strict=True):
        row, column = int(center[0]), int(center[1])
        if eosin[row, column] < 0.1 or _taken(nuclei, row, column, radius):
            continue
        if rng.random() < 0.25:  # a lymphocyte: small, round, dark
            nuclei.append((Blob(tuple(center), (0.72 * radius, 0.68 * radius)), 1.35))
            continue
        long = float(np.sqrt(rng.uniform(1.3, 4.0)))
        blob = Blob(
            tuple(center),
            (0.9 * radius * long, 0.9 * radius / long),
            float(flow[row, column] + rng.normal(0, 0.25)),
            wobble(rng, 0.05),
        )
        nuclei.append((blob, float(rng.uniform(0.7, 1.15))))
    haematoxylin, labels = _stain_nuclei(shape, rng, nuclei, diameter)
    density = stain * (
        haematoxylin[..., None] * np.asarray(_tinted(_HAEMATOXYLIN, rng), np.float32)
        + (eosin * (1 - 0.55 * (haematoxylin > 0.3)))[..., None]
        * np.asarray(_tinted(_EOSIN, rng), np.float32)
    )
    density = ndimage.gaussian_filter(density, (0.7, 0.7, 0), mode="nearest")
    light = 0.95 * 10 ** (-0.9 * density) * illumination(shape, rng, 0.05)[..., None]
    light += 0.008 * rng.standard_normal(light.shape, dtype=np.float32)
    return to_uint8(light.astype(np.float32)), labels


def _tinted(stain: tuple[float, ...], rng: np.random.Generator) -> list[float]:
    return [float(np.clip(v + rng.normal(0, 0.025), 0.02, 1)) for v in stain]


def _fibres(
    shape: tuple[int, int], rng: np.random.Generator, diameter: float
) -> tuple[Float, Float]:
    """Wavy fibres, and the angle they run at."""
    spacing = (2.2, 0.35)
    straight = fractal(shape, rng, scale=diameter, slope=1.3, spacing=spacing)
    bend = fractal(shape, rng, scale=8 * diameter, slope=3.2) * np.float32(1.3 * diameter)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    turn = rng.uniform(-0.8, 0.8)
    across = rows * np.float32(np.cos(turn)) - columns * np.float32(np.sin(turn)) + bend
    along = columns * np.float32(np.cos(turn)) + rows * np.float32(np.sin(turn))
    fibres = ndimage.map_coordinates(straight, [across, along], order=1, mode="grid-wrap")
    slope_row, slope_column = np.gradient(across)
    return fibres, np.arctan2(-slope_column, slope_row).astype(np.float32)


def _glands(
    shape: tuple[int, int],
    rng: np.random.Generator,
    diameter: float,
    share: float,
    eosin: Float,
) -> list[tuple[Blob, float]]:
    """Draw glands with an empty lumen into the eosin stain; return the nuclei around them."""
    nuclei: list[tuple[Blob, float]] = []
    size = 4.2 * diameter
    count = int(np.ceil(share * shape[0] * shape[1] / (np.pi * size**2)))
    radii = size * np.clip(rng.lognormal(0, 0.25, count if share > 0 else 0), 0.6, 1.7)
    centers, which = place(shape, radii, rng, spacing=1.12)
    for center, radius in zip(centers, radii[which], strict=True):
        stretch = float(np.sqrt(rng.uniform(1, 1.8)))
        gland = Blob(
            tuple(center),
            (radius * stretch, radius / stretch),
            float(rng.uniform(0, np.pi)),
            wobble(rng, 0.09),
        )
        stamp = gland.stamp(shape)
        if stamp is None:
            continue
        window, distance = stamp
        inner = float(np.clip(1 - 2.3 * diameter / min(gland.radii), 0.16, 0.75))
        cells = np.clip((1 - distance) * 12, 0, 1)
        lumen = np.clip((inner - distance) * 14, 0, 1)
        patch = eosin[window]
        mucus = 0.30 + 0.12 * (patch - 0.36)
        patch += cells * (mucus - patch)
        patch += 0.14 * np.exp(-(((distance - 1.0) * radius / 2.2) ** 2))
        patch += lumen * (-0.02 - patch)
        nuclei.extend(_ring(gland, rng, diameter))
    return nuclei


def _ring(gland: Blob, rng: np.random.Generator, diameter: float) -> list[tuple[Blob, float]]:
    """Nuclei side by side near the base of a gland's cells, pointing at its middle."""
    nuclei: list[tuple[Blob, float]] = []
    theta = float(rng.uniform(0, 2 * np.pi))
    end = theta + 2 * np.pi
    mean = 0.5 * sum(gland.radii)
    while theta < end - 0.5 * diameter / mean:
        outward = np.array([np.cos(theta) * gland.radii[0], np.sin(theta) * gland.radii[1]])
        length = np.hypot(*outward)
        outline = 1.0
        if gland.wobble is not None:
            k = np.arange(2, len(gland.wobble) + 2)
            outline += float((gland.wobble[:, 0] * np.cos(k * theta + gland.wobble[:, 1])).sum())
        depth = (0.85 + rng.uniform(-0.12, 0.25)) * diameter
        at = outward * outline * (1 - depth / (length * outline))
        cosine, sine = np.cos(gland.angle), np.sin(gland.angle)
        column = gland.center[1] + at[0] * cosine - at[1] * sine
        row = gland.center[0] + at[0] * sine + at[1] * cosine
        angle = gland.angle + np.arctan2(outward[1], outward[0]) + rng.normal(0, 0.2)
        radii = (diameter * rng.uniform(0.55, 0.72), diameter * rng.uniform(0.36, 0.48))
        blob = Blob((float(row), float(column)), radii, float(angle), wobble(rng, 0.05))
        nuclei.append((blob, float(rng.uniform(0.85, 1.2))))
        step = 2.0 * radii[1] * rng.uniform(0.95, 1.3) / max(length * outline - depth, 4)
        theta += float(step)
    return nuclei


def _taken(nuclei: list[tuple[Blob, float]], row: int, column: int, radius: float) -> bool:
    near = 2.2 * radius
    return any(
        abs(blob.center[0] - row) < near and abs(blob.center[1] - column) < near
        for blob, _ in nuclei
    )


def _stain_nuclei(
    shape: tuple[int, int],
    rng: np.random.Generator,
    nuclei: list[tuple[Blob, float]],
    diameter: float,
) -> tuple[Float, Truth]:
    """Haematoxylin of the nuclei (dark rim, clumped chromatin, nucleoli), and their labels."""
    stain = np.full(shape, 0.05, np.float32)
    stain += 0.02 * np.clip(fractal(shape, rng, scale=diameter, slope=1.2), 0, None)
    clumps = fractal(shape, rng, scale=diameter / 4, slope=1.3)
    labels = np.zeros(shape, np.int32)
    for number, (blob, strength) in enumerate(nuclei, start=1):
        stamp = blob.stamp(shape)
        if stamp is None:
            continue
        window, distance = stamp
        inside = (distance < 1) & (labels[window] == 0)
        labels[window][inside] = number
        open_chromatin = float(rng.uniform(0.0, 0.35))
        body = 0.75 - open_chromatin * np.clip(1 - distance, 0, 1)
        body += 0.13 * clumps[window] + 0.18 * np.exp(-(((distance - 0.9) / 0.12) ** 2))
        if open_chromatin > 0.15:
            at = np.asarray(blob.center) + rng.normal(0, 0.2, 2) * min(blob.radii)
            spot = Blob((float(at[0]), float(at[1])), (0.2 * diameter, 0.2 * diameter))
            rows, columns = pixels(window)
            d = spot.distance(rows - np.float32(at[0]), columns - np.float32(at[1]))
            body += 0.35 * np.exp(-(d**2) * 2)
        stain[window][inside] = np.clip(strength * body, 0.25, 1.4)[inside]
    return blur(stain, 0.5), tidy(labels, min_size=int(max(12, diameter**2 / 12)))
