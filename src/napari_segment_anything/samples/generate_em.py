"""Generated electron microscopy: cells bounded by dark membranes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from ._field import Float, Truth, blur, drawn, fractal, illumination, pixels, to_uint8
from ._shapes import Blob, place, tidy, wobble


@drawn(diameter=(25, 90), membrane=(2.5, 5), noise=(0.02, 0.08), contrast=(0.35, 0.6))
def em_membranes(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    diameter: float,
    membrane: float,
    noise: float,
    contrast: float,
) -> tuple[NDArray[np.uint8], Truth]:
    """Neural tissue in a section: tightly packed profiles with membranes and organelles.

    Parameters
    ----------
    diameter : float
        Typical diameter of a profile in pixels.
    membrane : float
        Thickness of a membrane in pixels.
    noise : float
        Standard deviation of the noise relative to the grey range.
    contrast : float
        Darkness of membranes.

    Returns
    -------
    tuple of array
        uint8 image and int32 labels, both (rows, columns); membranes are background.
    """
    region, edge = _profiles(shape, rng, diameter)
    thickness = membrane * (1 + 0.25 * fractal(shape, rng, scale=diameter, slope=2))
    depth = edge / np.clip(thickness / 2, 0.6, None)
    labels = np.where(edge > 0.75 * np.clip(thickness / 2, 0.6, None), region, 0)
    labels = tidy(labels, min_size=int(max(12, diameter**2 / 30)))
    tone = rng.normal(0, 0.04, int(region.max()) + 1).astype(np.float32)
    image = 0.74 + tone[region]
    image += 0.030 * fractal(shape, rng, scale=8, slope=0.8)
    # Microtubules and ribosomes: small dark grains, more of them in some profiles.
    grains = np.clip(fractal(shape, rng, scale=3.5, slope=1.2) - 1.3, 0, None)
    image -= grains * np.clip(0.10 + 2.0 * tone[region], 0.02, 0.3)
    organelles = np.zeros(shape, np.float32)
    _mitochondria(organelles, labels, edge, rng, diameter)
    _vesicles(organelles, labels, edge, rng, diameter)
    image += organelles
    wall = np.exp(-(depth**2) * 0.8)
    wall *= 1 + 0.15 * fractal(shape, rng, scale=diameter / 2, slope=1.5)
    image -= np.float32(contrast) * np.clip(wall, 0, 1.2)
    image = blur(image.astype(np.float32), 0.8) * illumination(shape, rng, 0.1)
    grain = rng.standard_normal(shape, dtype=np.float32)
    image += np.float32(noise) * (0.6 * grain + 0.6 * blur(grain, 0.6))
    return to_uint8(image), labels


def _profiles(
    shape: tuple[int, int], rng: np.random.Generator, diameter: float
) -> tuple[Truth, Float]:
    """Cut the plane into warped cells: number of the cell, and distance from its border."""
    margin = int(2 * diameter)
    box = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    count = int(1.9 * box[0] * box[1] / diameter**2)
    radii = np.clip(diameter / 2 * rng.lognormal(-0.25, 0.5, min(count, 6000)), 6, 1.6 * diameter)
    radii = -np.sort(-radii)
    centers, which = place(box, radii, rng, spacing=0.8, tries=12)
    radii = radii[which]
    rows = np.arange(shape[0], dtype=np.float32)[:, None] + margin
    columns = np.arange(shape[1], dtype=np.float32)[None] + margin
    bend = np.float32(0.16 * diameter)
    warp = [bend * fractal(shape, rng, scale=diameter, slope=3.6) for _ in range(2)]
    at = np.stack([rows + warp[0], columns + warp[1]], axis=-1).reshape(-1, 2)
    # Large cells reach further: compare distances less the radius, among the nearest few.
    distance, index = cKDTree(centers).query(at, k=min(6, len(centers)))
    order = np.argmin(distance - radii[index], axis=1)
    region = (index[np.arange(len(at)), order] + 1).reshape(shape).astype(np.int32)
    border = np.zeros(shape, bool)
    border[:-1] |= region[:-1] != region[1:]
    border[:, :-1] |= region[:, :-1] != region[:, 1:]
    edge = ndimage.distance_transform_edt(~border).astype(np.float32) if border.any() else None
    return region, np.full(shape, diameter, np.float32) if edge is None else edge


def _mitochondria(
    image: Float, labels: Truth, edge: Float, rng: np.random.Generator, diameter: float
) -> None:
    """Draw dark, double-walled mitochondria with cristae where profiles are wide enough."""
    size = np.clip(0.16 * diameter, 4, 14)
    for row, column in _inside(labels, edge, 1.35 * size, rng, 0.5):
        blob = Blob(
            (row, column),
            (size * rng.uniform(1.0, 1.5), size * rng.uniform(0.7, 0.95)),
            float(rng.uniform(0, np.pi)),
            wobble(rng, 0.06),
        )
        stamp = blob.stamp(image.shape)
        if stamp is None:
            continue
        window, distance = stamp
        rows, columns = pixels(window)
        turn = blob.angle + np.pi / 2 + rng.normal(0, 0.4)
        across = rows * np.float32(np.sin(turn)) + columns * np.float32(np.cos(turn))
        cristae = 0.5 + 0.5 * np.sin(across * np.float32(2 * np.pi / max(0.45 * size, 3)))
        inner = np.clip((1 - distance) * size / 2, 0, 1)
        wall = np.exp(-(((distance - 0.95) * size / 1.3) ** 2))
        same = labels[window] == labels[int(row), int(column)]
        image[window] -= same * (inner * (0.18 + 0.12 * cristae) + 0.26 * wall)


def _vesicles(
    image: Float, labels: Truth, edge: Float, rng: np.random.Generator, diameter: float
) -> None:
    """Draw clusters of small rings, as at synapses."""
    size = float(np.clip(0.045 * diameter, 1.8, 4.0))
    for row, column in _inside(labels, edge, 4 * size, rng, 0.35):
        room = float(edge[int(row), int(column)])
        for _ in range(int(rng.integers(4, 24))):
            at = np.asarray((row, column)) + rng.normal(0, 0.45, 2) * room
            stamp = Blob((float(at[0]), float(at[1])), (size, size)).stamp(image.shape, 1.6)
            if stamp is None:
                continue
            window, distance = stamp
            same = labels[window] == labels[int(row), int(column)]
            ring = np.exp(-(((distance - 0.9) * size / 0.9) ** 2))
            image[window] -= same * (0.20 * ring - 0.05 * (distance < 0.7))


def _inside(
    labels: Truth, edge: Float, room: float, rng: np.random.Generator, share: float
) -> list[tuple[float, float]]:
    """Random places at least `room` from a border, about one in `share` of the wide cells."""
    wide = np.flatnonzero((edge > room) & (labels > 0))
    if not len(wide):
        return []
    cells = len(np.unique(labels.flat[wide]))
    count = max(int(share * cells * rng.uniform(0.6, 1.8)), 1)
    chosen = rng.choice(wide, min(count, len(wide)), replace=False)
    rows, columns = np.divmod(chosen, labels.shape[1])
    return [(float(r), float(c)) for r, c in zip(rows, columns, strict=True)]
