"""Generated fluorescence: filaments, and cells in two colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from ._field import Float, Truth, blur, drawn, fractal, illumination, photons, to_uint8, to_uint16
from ._shapes import place, tidy
from .generate_nuclei import nucleus


@drawn(
    width=(3, 8),
    count=lambda rng, shape: max(int(rng.uniform(10, 40) * shape[0] * shape[1] / 512**2), 2),
    stiffness=(60, 400),
    snr=(30, 400),
)
def filaments(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    width: float,
    count: int,
    stiffness: float,
    snr: float,
) -> tuple[NDArray[np.uint8], Truth]:
    """Fluorescent filaments in focus, over a blurred network below.

    Parameters
    ----------
    width : float
        Width in pixels.
    count : int
        Filaments begun; 10 to 40 on 512 x 512 pixels.
    stiffness : float
        Length in pixels over which a filament keeps its direction.
    snr : float
        Photons at a filament's middle.

    Returns
    -------
    tuple of array
        uint8 image and int32 labels, both (rows, columns). A filament ends where it meets
        another; those out of focus have no label.
    """
    seeds = np.zeros(shape, np.int32)
    signal = np.zeros(shape, np.float32)
    for number in range(1, count + 1):
        path = _path(shape, rng, stiffness)
        path = path[: _free(seeds, path, 1.3 * width)]
        if len(path) < 16 * width:
            continue
        rows, columns = np.round(path).astype(int).T
        seeds[rows, columns] = number
        knots = np.arange(0, len(path) + 20, 20)
        beads = 1 + 0.2 * np.interp(np.arange(len(path)), knots, rng.standard_normal(len(knots)))
        _draw(signal, path, rng.lognormal(0, 0.25) * np.clip(beads, 0.2, None))
    below = np.zeros(shape, np.float32)
    for _ in range(count):
        _draw(below, _path(shape, rng, stiffness), rng.uniform(0.3, 0.9))
    distance, nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    labels = np.where(distance <= width / 2, seeds[tuple(nearest)], 0)
    labels = tidy(labels, min_size=int(6 * width**2))
    sigma = width / 2.6
    light = blur(signal, sigma) * np.float32(sigma * 2.5 / 2)
    light += 0.5 * blur(below, 2.2 * width) * np.float32(width * 2.5)
    light += 0.06 + 0.02 * fractal(shape, rng, scale=60, slope=2)
    light *= illumination(shape, rng, 0.3)
    return to_uint8(photons(0.5 * light, rng, full=snr / 0.5, read=2.5)), labels


def _path(shape: tuple[int, int], rng: np.random.Generator, stiffness: float) -> Float:
    """Walk of half-pixel steps whose direction drifts, inside the image."""
    steps = int(rng.uniform(0.5, 2.2) * max(shape) * 2)
    angle = rng.uniform(0, 2 * np.pi)
    drift = rng.standard_normal(steps) * np.sqrt(1 / stiffness)
    direction = angle + ndimage.gaussian_filter1d(np.cumsum(drift), 12)
    start = rng.uniform(0, 1, 2) * shape
    path = start + 0.5 * np.cumsum(np.stack([np.sin(direction), np.cos(direction)], 1), axis=0)
    outside = np.any((path < 0) | (path > np.asarray(shape) - 1), axis=1)
    walk: Float = path[: int(np.argmax(outside))] if outside.any() else path
    return walk


def _free(seeds: Truth, path: Float, room: float) -> int:
    """Length of a path before it comes within `room` pixels of others, or of itself."""
    if not len(path):
        return 0
    stop = len(path)
    there = np.argwhere(seeds > 0)
    if len(there):
        near = cKDTree(there).query(path, distance_upper_bound=room)[0] <= room
        if near.any():
            stop = int(np.argmax(near))
    # Points that are close in space but far apart along the path are a crossing.
    pairs = cKDTree(path[:stop:4]).query_pairs(1.5 * room, output_type="ndarray")
    loops = pairs[np.abs(pairs[:, 1] - pairs[:, 0]) > 4 * room]
    if len(loops):
        stop = min(stop, 4 * int(loops.max(axis=1).min()) - 1)
    return stop


def _draw(image: Float, path: Float, brightness: NDArray[np.float64] | float) -> None:
    """Add a path to an image, spread over the four pixels around each of its points."""
    if not len(path):
        return
    corner = np.clip(np.floor(path).astype(int), 0, np.asarray(image.shape) - 2)
    part = path - corner
    for row in (0, 1):
        for column in (0, 1):
            share = np.abs(1 - row - part[:, 0]) * np.abs(1 - column - part[:, 1])
            np.add.at(image, (corner[:, 0] + row, corner[:, 1] + column), share * brightness)


@drawn(diameter=(40, 90), density=(0.25, 0.8), snr=(40, 500))
def stained_cells(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    diameter: float,
    density: float,
    snr: float,
) -> tuple[NDArray[np.uint16], Truth]:
    """Cells in two channels: nuclei, and the cytoplasm with its fibres around them.

    Parameters
    ----------
    diameter : float
        Typical diameter of a cell in pixels.
    density : float
        Share of the field that is covered.
    snr : float
        Photons of a typical cell.

    Returns
    -------
    tuple of array
        uint16 image (2, rows, columns), nuclei first, and int32 labels of whole cells
        (rows, columns).
    """
    count = max(int(1.25 * density * shape[0] * shape[1] / (np.pi * diameter**2 / 4)), 1)
    radii = diameter / 2 * np.clip(rng.lognormal(0, 0.18, min(count, 2500)), 0.6, 1.6)
    centers, which = place(shape, radii, rng, spacing=0.78, clustering=0.6)
    radii = radii[which]
    bend = np.float32(0.16 * diameter)
    rows = np.arange(shape[0], dtype=np.float32)[:, None]
    columns = np.arange(shape[1], dtype=np.float32)[None]
    warp = [bend * fractal(shape, rng, scale=1.2 * diameter, slope=3.4) for _ in range(2)]
    at = np.stack([rows + warp[0], columns + warp[1]], axis=-1).reshape(-1, 2)
    distance, index = cKDTree(centers).query(at, k=min(5, len(centers)))
    distance, index = distance.reshape(len(at), -1), index.reshape(len(at), -1)
    relative = distance / radii[index]
    order = np.argmin(relative, axis=1)
    nearest = relative[np.arange(len(at)), order].reshape(shape).astype(np.float32)
    owner = index[np.arange(len(at)), order].reshape(shape)
    labels = np.where(nearest < 1.12, owner + 1, 0)
    labels = tidy(labels, min_size=int(diameter**2 / 12))
    edge = ndimage.distance_transform_edt(labels > 0).astype(np.float32)
    tone = rng.lognormal(0, 0.3, len(centers)).astype(np.float32)[owner]
    fibres = fractal(shape, rng, scale=diameter / 6, slope=1.3)
    thickness = np.exp(-((nearest / 0.75) ** 2)) + 0.22
    cytoplasm = tone * thickness * np.clip(1 + 0.3 * fibres, 0.1, None)
    cytoplasm *= (labels > 0) * np.clip(edge / 3, 0, 1)
    nuclei = np.zeros(shape, np.float32)
    chromatin = fractal(shape, rng, scale=diameter / 10, slope=1.5)
    for center, radius in zip(centers, radii, strict=True):
        place_row, place_column = (int(v) for v in center)
        moved = center - [warp[0][place_row, place_column], warp[1][place_row, place_column]]
        stamp = nucleus(rng, moved, 0.42 * radius).stamp(shape)
        if stamp is None:
            continue
        window, ring = stamp
        body = np.sqrt(np.clip(1 - ring**2, 0, None)) ** 0.5
        body *= np.clip(1 + 0.2 * chromatin[window], 0.2, None)
        nuclei[window] = np.maximum(nuclei[window], np.float32(rng.lognormal(0, 0.25)) * body)
        cytoplasm[window] *= 1 - 0.45 * np.clip((1 - ring) * 6, 0, 1)
    nuclei *= labels > 0
    image = np.empty((2, *shape), np.uint16)
    for channel, (light, gain) in enumerate(((nuclei, 0.35), (cytoplasm, 0.4))):
        sharp = blur(light.astype(np.float32), 0.9)
        full = sharp + np.float32(0.08) * blur(sharp, diameter / 2) + np.float32(0.03)
        full *= np.float32(gain) * illumination(shape, rng, 0.3)
        image[channel] = to_uint16(photons(full, rng, full=snr / gain, read=2.5))
    return image, labels
