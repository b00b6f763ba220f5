"""Generated fluorescence: nuclei in two and three dimensions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._field import Float, Truth, blur, drawn, fractal, illumination, photons, to_uint16
from ._shapes import Blob, place, tidy, wobble


@drawn(
    diameter=(10, 60),
    density=(0.03, 0.35),
    clustering=(0, 0.7),
    defocus=(0.02, 0.12),
    snr=lambda rng, shape: float(np.exp(rng.uniform(np.log(30), np.log(1000)))),
)
def fluorescent_nuclei(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    diameter: float,
    density: float,
    clustering: float,
    defocus: float,
    snr: float,
) -> tuple[NDArray[np.uint16], Truth]:
    """Stained nuclei in a widefield microscope.

    Parameters
    ----------
    diameter : float
        Typical diameter in pixels.
    density : float
        Share of the field that is covered.
    clustering : float
        Share of nuclei that touch another.
    defocus : float
        Strongest blur relative to the diameter.
    snr : float
        Photons of a typical nucleus.

    Returns
    -------
    tuple of array
        uint16 image and int32 labels, both (rows, columns). Haze from far out of focus has no
        label.
    """
    count = max(int(density * shape[0] * shape[1] / (np.pi * diameter**2 / 4)), 1)
    radii = diameter / 2 * np.clip(rng.lognormal(0, 0.18, min(count, 4000)), 0.5, 1.8)
    centers, which = place(shape, radii, rng, spacing=0.92, clustering=clustering)
    chromatin = fractal(shape, rng, scale=diameter / 5, slope=1.6)
    planes = np.zeros((3, *shape), np.float32)
    labels = np.zeros(shape, np.int32)
    depth = np.zeros(shape, np.float32)
    for number, (center, radius) in enumerate(zip(centers, radii[which], strict=True), start=1):
        blob = nucleus(rng, center, radius)
        stamp = blob.stamp(shape)
        if stamp is None:
            continue
        window, distance = stamp
        focus = int(rng.choice(3, p=[0.6, 0.28, 0.12]))
        brightness = float(rng.lognormal(0, 0.3)) * (1.0 - 0.12 * focus)
        if rng.random() < 0.04:
            brightness *= 2.2
        body = _body(distance, blob, chromatin[window], rng)
        planes[focus][window] += brightness * body
        inside = (distance < 1) & (body > depth[window])
        labels[window][inside] = number
        depth[window][inside] = body[inside]
    base = max(0.6, 0.012 * diameter)
    signal = sum(
        blur(plane, base + defocus * diameter * step)
        for plane, step in zip(planes, (0.0, 0.45, 1.0), strict=True)
    )
    total = planes.sum(axis=0)
    haze = 0.10 * blur(total, 0.9 * diameter) + 0.03
    haze *= 1 + 0.25 * fractal(shape, rng, scale=diameter * 3, slope=2)
    light = (signal + np.clip(haze, 0, None)) * illumination(shape, rng, 0.35)
    image = photons(0.35 * light, rng, full=snr / 0.35, read=rng.uniform(1.5, 5))
    return to_uint16(image), tidy(labels, min_size=int(max(12, diameter**2 / 25)))


def nucleus(rng: np.random.Generator, center: NDArray[np.float64], radius: float) -> Blob:
    """Outline of a nucleus of random stretch and direction."""
    stretch = float(np.sqrt(rng.uniform(1.0, 1.7)))
    return Blob(
        (float(center[0]), float(center[1])),
        (radius * stretch, radius / stretch),
        float(rng.uniform(0, np.pi)),
        wobble(rng, 0.045),
    )


def _body(distance: Float, blob: Blob, chromatin: Float, rng: np.random.Generator) -> Float:
    """Brightness of a nucleus: a flat dome with chromatin texture and dark nucleoli."""
    dome = np.sqrt(np.clip(1 - distance**2, 0, None)) ** 0.5
    texture = 1 + rng.uniform(0.08, 0.22) * chromatin
    rows = np.arange(distance.shape[0], dtype=np.float32)[:, None]
    columns = np.arange(distance.shape[1], dtype=np.float32)[None]
    middle = (distance.shape[0] / 2, distance.shape[1] / 2)
    for _ in range(int(rng.integers(0, 4))):
        row, column = middle + rng.normal(0, 0.3 * min(blob.radii), 2)
        width = min(blob.radii) * rng.uniform(0.12, 0.22)
        square = ((rows - row) ** 2 + (columns - column) ** 2) / np.float32(2 * width**2)
        texture -= np.float32(rng.uniform(0.2, 0.5)) * np.exp(-square)
    body: Float = dome * np.clip(texture, 0.15, None)
    return body


@drawn(diameter=(22, 34), density=(0.06, 0.16), snr=(60, 400))
def nuclei_volume(
    shape: tuple[int, int, int],
    rng: np.random.Generator,
    *,
    diameter: float,
    density: float,
    anisotropy: float = 4.0,
    snr: float,
) -> tuple[NDArray[np.uint16], Truth]:
    """Stack of nuclei whose planes are further apart than pixels.

    Parameters
    ----------
    diameter : float
        Typical diameter in pixels.
    density : float
        Share of the volume that is filled.
    anisotropy : float
        Distance of planes in pixels.
    snr : float
        Photons of a typical nucleus in the uppermost plane.

    Returns
    -------
    tuple of array
        uint16 stack and int32 labels, both (planes, rows, columns).
    """
    box = (shape[0] * anisotropy, shape[1], shape[2])
    count = max(int(density * float(np.prod(box)) / (np.pi / 6 * diameter**3)), 1)
    radii = diameter / 2 * np.clip(rng.lognormal(0, 0.14, min(count, 2000)), 0.6, 1.5)
    centers, which = place(box, radii, rng, spacing=0.95, clustering=0.5)
    spacing = (anisotropy, 1.0, 1.0)
    chromatin = fractal(shape, rng, scale=diameter / 4, slope=1.4, spacing=spacing)
    signal = np.zeros(shape, np.float32)
    labels = np.zeros(shape, np.int32)
    nearest = np.full(shape, 2.0, np.float32)
    for number, (center, radius) in enumerate(zip(centers, radii[which], strict=True), start=1):
        window, distance = _ellipsoid(shape, center, radius, anisotropy, rng)
        body = np.sqrt(np.clip(1 - distance**2, 0, None)) ** 0.4
        body *= np.clip(1 + 0.18 * chromatin[window], 0.2, None)
        signal[window] += np.float32(rng.lognormal(0, 0.25)) * body
        inside = (distance < 1) & (distance < nearest[window])
        labels[window][inside] = number
        nearest[window][inside] = distance[inside]
    sharp = blur(signal, (1.6 * 2.2 / anisotropy, 0.9, 0.9))
    haze = 0.12 * blur(signal, (2.5, diameter / 3, diameter / 3)) + 0.03
    fade = np.exp(-np.linspace(0, 0.8, shape[0], dtype=np.float32))[:, None, None]
    light = (sharp + haze) * fade * illumination(shape[1:], rng, 0.2)
    image = photons(0.4 * light, rng, full=snr / 0.4, read=2.5)
    return to_uint16(image), tidy(labels, min_size=60)


def _ellipsoid(
    shape: tuple[int, int, int],
    center: NDArray[np.float64],
    radius: float,
    anisotropy: float,
    rng: np.random.Generator,
) -> tuple[tuple[slice, ...], Float]:
    radii = radius * np.array([0.9, rng.uniform(0.85, 1.2), rng.uniform(0.85, 1.1)])
    turn = rng.uniform(0, np.pi)
    amplitude, phase = rng.uniform(0.0, 0.1), rng.uniform(0, 2 * np.pi)
    position = center / (anisotropy, 1, 1)
    reach = np.array([radii[0] / anisotropy, *(1.3 * radii[1:].max(),) * 2]) + 1
    window = tuple(
        slice(max(int(p - r), 0), min(int(p + r) + 2, n))
        for p, r, n in zip(position, reach, shape, strict=True)
    )
    z, y, x = (
        np.arange(w.start, w.stop, dtype=np.float32) - np.float32(p)
        for w, p in zip(window, position, strict=True)
    )
    z = z[:, None, None] * np.float32(anisotropy / radii[0])
    y, x = y[None, :, None], x[None, None, :]
    along = (x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn))) / np.float32(radii[1])
    across = (y * np.float32(np.cos(turn)) - x * np.float32(np.sin(turn))) / np.float32(radii[2])
    outline = 1 + np.float32(amplitude) * np.cos(3 * np.arctan2(across, along) + np.float32(phase))
    return window, np.sqrt(z**2 + ((along**2 + across**2) / outline**2))
