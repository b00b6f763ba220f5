"""Generated fluorescence: a time-lapse of nuclei that divide."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ._field import Float, Truth, blur, drawn, fractal, illumination, photons, to_uint16
from ._shapes import Blob, place, tidy_stack, wobble
from .generate_nuclei import nucleus


@dataclass(slots=True)
class _Cell:
    """A nucleus of the time-lapse between two of its frames."""

    track: int
    blob: Blob
    velocity: NDArray[np.float64]
    age: int
    cycle: int
    brightness: float
    texture: int


@drawn(diameter=(18, 30), cycle=(14, 24), speed=(0.6, 2.0), snr=(60, 300))
def dividing_nuclei(
    shape: tuple[int, int, int],
    rng: np.random.Generator,
    *,
    diameter: float,
    count: int | None = None,
    cycle: float,
    speed: float,
    snr: float,
) -> tuple[NDArray[np.uint16], Truth, dict[int, list[int]]]:
    """Time-lapse of nuclei that move, push one another, and divide.

    Parameters
    ----------
    diameter : float
        Typical diameter in pixels.
    count : int, optional
        Nuclei in the first frame; about an eighth of the field by default.
    cycle : float
        Frames from division to division.
    speed : float
        Pixels a frame.
    snr : float
        Photons of a typical nucleus.

    Returns
    -------
    tuple of (array, array, dict)
        uint16 movie, int32 track ids, both (frames, rows, columns), and each daughter's parent as
        {daughter: [parent]}. A track ends when its nucleus divides or leaves the field.
    """
    if count is None:
        count = max(int(0.12 * shape[1] * shape[2] / (np.pi * diameter**2 / 4)), 2)
    radii = diameter / 2 * np.clip(rng.lognormal(0, 0.1, count), 0.75, 1.3)
    centers, which = place(shape[1:], radii, rng, spacing=1.15, clustering=0.2)
    cells = []
    for track, (center, radius) in enumerate(zip(centers, radii[which], strict=True), start=1):
        own_cycle = max(int(rng.normal(cycle, 0.15 * cycle)), 6)
        age = int(rng.integers(0, own_cycle))
        cells.append(
            _Cell(
                track, nucleus(rng, center, radius), rng.normal(0, speed, 2), age, own_cycle,
                float(rng.lognormal(0, 0.2)), int(rng.integers(0, 2**31)),
            )
        )  # fmt: skip
    chromatin = fractal((256, 256), rng, scale=diameter / 5, slope=1.6)
    lamp = illumination(shape[1:], rng, 0.25)
    lineage: dict[int, list[int]] = {}
    image = np.zeros(shape, np.uint16)
    labels = np.zeros(shape, np.int32)
    newest = len(cells)
    for t in range(shape[0]):
        frame, labels[t] = _frame(cells, shape[1:], chromatin)
        light = blur(frame, 0.8)
        light += np.float32(0.1) * blur(frame, 0.8 * diameter) + np.float32(0.03)
        bleach = np.float32(np.exp(-0.012 * t))
        light *= 0.35 * bleach * lamp
        image[t] = to_uint16(photons(light, rng, full=snr / 0.35, read=2.5))
        cells, newest = _step(cells, newest, lineage, rng, speed, cycle)
    labels = tidy_stack(labels, min_size=int(diameter**2 / 25))
    return (image, *_number(labels, lineage))


def _frame(cells: list[_Cell], shape: tuple[int, ...], chromatin: Float) -> tuple[Float, Truth]:
    frame = np.zeros(shape, np.float32)
    labels = np.zeros(shape, np.int32)
    nearest = np.full(shape, 2.0, np.float32)
    for cell in cells:
        blob, brightness = _appearance(cell)
        stamp = blob.stamp(shape)
        if stamp is None:
            continue
        window, distance = stamp
        # The texture moves with its nucleus.
        rng = np.random.default_rng(cell.texture)
        origin = rng.integers(0, 256, 2) - np.round(blob.center).astype(int)
        rows = np.arange(window[0].start, window[0].stop) + origin[0]
        columns = np.arange(window[1].start, window[1].stop) + origin[1]
        grain = chromatin[np.ix_(rows % 256, columns % 256)]
        dome = np.sqrt(np.clip(1 - distance**2, 0, None)) ** 0.5
        frame[window] += np.float32(brightness) * dome * np.clip(1 + 0.18 * grain, 0.2, None)
        inside = (distance < 1) & (distance < nearest[window])
        labels[window][inside] = cell.track
        nearest[window][inside] = distance[inside]
    return frame, labels


def _appearance(cell: _Cell) -> tuple[Blob, float]:
    """Outline and brightness by age: grows, rounds up, and condenses to a bright plate."""
    left, blob = cell.cycle - cell.age, cell.blob
    growth = 0.82 + 0.25 * min(cell.age / cell.cycle, 1)
    shrink = {1: (1.0, 0.42, 2.4), 2: (0.85, 0.7, 1.8), 3: (0.95, 0.95, 1.2)}.get(left)
    if shrink is not None:
        size = float(np.sqrt(blob.radii[0] * blob.radii[1]))
        radii = (size * shrink[0], size * shrink[1])
        return replace(blob, radii=radii), cell.brightness * shrink[2]
    if cell.age == 0:
        return replace(blob, radii=(blob.radii[0] * 0.8, blob.radii[1] * 0.55)), (
            cell.brightness * 1.7
        )
    return replace(blob, radii=(blob.radii[0] * growth, blob.radii[1] * growth)), cell.brightness


def _step(
    cells: list[_Cell],
    newest: int,
    lineage: dict[int, list[int]],
    rng: np.random.Generator,
    speed: float,
    cycle: float,
) -> tuple[list[_Cell], int]:
    """Advance by one frame."""
    after: list[_Cell] = []
    for cell in cells:
        cell.age += 1
        if cell.age < cell.cycle:
            cell.velocity = 0.75 * cell.velocity + rng.normal(0, 0.6 * speed, 2)
            calm = 0.3 if cell.cycle - cell.age <= 3 else 1.0
            cell.blob = replace(
                cell.blob,
                center=tuple(np.asarray(cell.blob.center) + calm * cell.velocity),
                angle=cell.blob.angle + float(rng.normal(0, 0.08)),
            )
            after.append(cell)
            continue
        size = float(np.sqrt(cell.blob.radii[0] * cell.blob.radii[1]))
        # The plate's long axis is perpendicular to the direction in which the daughters separate.
        apart = np.array([np.cos(cell.blob.angle), -np.sin(cell.blob.angle)])
        for side in (-1, 1):
            newest += 1
            lineage[newest] = [cell.track]
            center = np.asarray(cell.blob.center) + side * 0.62 * size * apart
            stretch = float(np.sqrt(rng.uniform(1.05, 1.5)))
            blob = Blob(
                (float(center[0]), float(center[1])), (size * stretch, size / stretch),
                cell.blob.angle, wobble(rng, 0.04),
            )  # fmt: skip
            own_cycle = max(int(rng.normal(cycle, 0.15 * cycle)), 6)
            after.append(
                _Cell(
                    newest, blob, side * 1.2 * speed * apart, 0, own_cycle,
                    cell.brightness, int(rng.integers(0, 2**31)),
                )
            )  # fmt: skip
    _push(after)
    return after, newest


def _push(cells: list[_Cell]) -> None:
    """Move overlapping nuclei apart."""
    if len(cells) < 2:
        return
    centers = np.array([c.blob.center for c in cells])
    radii = np.array([np.sqrt(c.blob.radii[0] * c.blob.radii[1]) for c in cells])
    young = np.array([c.age == 0 for c in cells])
    for _ in range(3):
        offset = centers[:, None] - centers[None]
        distance = np.linalg.norm(offset, axis=2) + np.eye(len(cells)) * 1e9
        overlap = np.clip(0.98 * (radii[:, None] + radii) - distance, 0, None)
        overlap[young[:, None] & young] = 0
        centers += 0.35 * (overlap[..., None] * offset / distance[..., None]).sum(axis=1)
    for cell, center in zip(cells, centers, strict=True):
        cell.blob = replace(cell.blob, center=(float(center[0]), float(center[1])))


def _number(
    labels: NDArray[np.int32], lineage: dict[int, list[int]]
) -> tuple[NDArray[np.int32], dict[int, list[int]]]:
    """Renumber visible tracks 1, 2, ..., and keep the lineage between them."""
    ids = np.unique(labels)
    ids = ids[ids > 0]
    table = np.zeros(int(labels.max()) + 1, np.int32)
    table[ids] = np.arange(1, len(ids) + 1)
    number = {int(i): int(table[i]) for i in ids}
    frames = {i: np.flatnonzero((labels == i).any(axis=(1, 2))) for i in number}
    # A daughter that enters the field later has no visible parent.
    seen = {
        number[child]: [number[parent]]
        for child, (parent,) in lineage.items()
        if child in number and parent in number and frames[child][0] == frames[parent][-1] + 1
    }
    return table[labels], seen
