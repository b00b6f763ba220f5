"""Generated labelled images of objects that are rare in the public sets.

Rods, budding cells, filaments, blobs of very different sizes, disks and polygons on textured
backgrounds, with gradients, in phase contrast, brightfield or fluorescence; empty fields. They are
fast to generate; variety matters more than realism.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .data import LabelledImage, labelled_image

_KINDS = ("rods", "yeast", "filaments", "blobs", "disks", "polygons", "empty")
_SHARES = (0.22, 0.16, 0.08, 0.22, 0.16, 0.11, 0.05)


def generate(count: int, seed: int) -> list[LabelledImage]:
    """Generate labelled images.

    Parameters
    ----------
    count : int
        Number of images.
    seed : int
        Determines the images.
    """
    return [_one(np.random.default_rng((seed, 77, i)), i) for i in range(count)]


def _one(rng: np.random.Generator, number: int) -> LabelledImage:
    side = int(rng.integers(256, 420))
    kind = str(rng.choice(_KINDS, p=np.array(_SHARES)))
    labels = _draw(rng, side, kind)
    image = _render(rng, labels, kind)
    return labelled_image(f"generated/{number:04d}-{kind}", "generated", image, labels)


def nested(count: int, seed: int) -> list[LabelledImage]:
    """Generate images of objects with a part inside, both labelled, so that a click is ambiguous.

    Cells with nuclei: the labels are the cells, the other level the nuclei. Fibres with sheaths:
    the labels are the inner part, the other level fibre and sheath together.

    Parameters
    ----------
    count : int
        Number of images.
    seed : int
        Determines the images.
    """
    return [_nested(np.random.default_rng((seed, 78, i)), i) for i in range(count)]


def _nested(rng: np.random.Generator, number: int) -> LabelledImage:
    side = int(rng.integers(256, 420))
    sheathed = rng.random() < 0.5
    outer = _draw(rng, side, str(rng.choice(("blobs", "disks"))), (34, 130))
    inner = _inside(rng, outer, sheathed)
    contrast = rng.uniform(0.12, 0.4, 2) * rng.choice((-1, 1), 2)
    if sheathed:
        contrast[1] = -contrast[0] * rng.uniform(0.5, 1.0)
    tone = 1 + rng.normal(0, 0.12, outer.max() + 1)
    image = rng.uniform(0.3, 0.7) + rng.uniform(0, 0.06) * noise_field(
        rng, side, rng.uniform(0.8, 6)
    )
    image = image + contrast[0] * (outer > 0) * tone[outer]
    image = image + contrast[1] * (inner > 0) * tone[inner]
    if rng.random() < 0.5:
        image = image + (outer > 0) * rng.uniform(0, 0.1) * noise_field(rng, side, 2.0)
    image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.4))
    image = image + rng.normal(size=image.shape) * rng.uniform(0.005, 0.07)
    gray = np.clip((image - image.min()) / max(float(np.ptp(image)), 1e-6), 0, 1)
    labels, other = (inner, outer) if sheathed else (outer, inner)
    name = f"nested/{number:04d}-{'sheaths' if sheathed else 'cells'}"
    return labelled_image(name, "nested", (gray * 60000).astype(np.uint16), labels, other)


def _inside(
    rng: np.random.Generator, outer: NDArray[np.int32], sheathed: bool
) -> NDArray[np.int32]:
    """A part inside each object, with the object's id."""
    inner = np.zeros_like(outer)
    for number, where in enumerate(ndimage.find_objects(outer), start=1):
        if where is None:
            continue
        mask = np.pad(outer[where] == number, 1)
        depth = ndimage.distance_transform_edt(mask)
        if sheathed:
            part = depth > rng.uniform(0.2, 0.5) * depth.max()
        else:
            deep = np.argwhere(depth > 0.7 * depth.max())
            row, col = deep[rng.integers(len(deep))]
            reach = depth[row, col] * rng.uniform(0.5, 0.85)
            rows, cols = np.ogrid[: mask.shape[0], : mask.shape[1]]
            part = np.hypot(rows - row, (cols - col) * rng.uniform(0.8, 1.25)) < reach
        inner[where][(part & mask)[1:-1, 1:-1]] = number
    return inner


def _draw(
    rng: np.random.Generator, side: int, kind: str, sizes: tuple[float, float] | None = None
) -> NDArray[np.int32]:
    labels = np.zeros((side, side), np.int32)
    if kind == "empty":
        return labels
    low, high = sizes or (7, 22 if kind == "rods" else 90)
    size = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    fill = rng.uniform(0.08, 0.55)
    count = int(np.clip(fill * side * side / (size * size), 1, 160))
    clumped = rng.random() < 0.6
    centres = rng.uniform(0, side, (count, 2))
    if clumped:
        seeds = rng.uniform(0.1 * side, 0.9 * side, (max(1, count // 12), 2))
        spread = size * rng.uniform(0.8, 3.0)
        centres = seeds[rng.integers(len(seeds), size=count)] + rng.normal(0, spread, (count, 2))
    angle0, jitter = rng.uniform(0, np.pi), rng.uniform(0, 1.6)
    overlap = rng.random() < 0.3
    for number, (r, c) in enumerate(centres, start=1):
        own = size * np.exp(rng.normal(0, 0.22))
        angle = angle0 + rng.normal(0, jitter)
        mask, origin = _shape(rng, kind, own, angle)
        _stamp(labels, mask, (int(r) - origin, int(c) - origin), number, overlap)
    return labels


def _shape(
    rng: np.random.Generator, kind: str, size: float, angle: float
) -> tuple[NDArray[np.bool_], int]:
    reach = int(size * (2.6 if kind in ("rods", "filaments") else 1.0)) + 3
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    u = x * np.cos(angle) + y * np.sin(angle)
    v = -x * np.sin(angle) + y * np.cos(angle)
    if kind == "rods":
        half, radius = size * rng.uniform(0.5, 1.4), size * rng.uniform(0.32, 0.5)
        v = v - rng.normal(0, 0.12) * u * u / max(half, 1)
        return np.hypot(np.maximum(np.abs(u) - half, 0), v) < max(radius, 1.8), reach
    if kind == "filaments":
        bend = rng.normal(0, 0.25)
        v = v - bend * size * np.sin(u / size * rng.uniform(0.6, 1.6))
        return (np.abs(u) < size * 2.3) & (np.abs(v) < max(size * 0.09, 1.6)), reach
    radius = size / 2
    if kind == "yeast":
        mask = np.hypot(u / rng.uniform(1, 1.25), v) < radius
        return mask, reach
    if kind == "disks":
        return np.hypot(u, v) < radius, reach
    if kind == "polygons":
        mask = np.ones_like(u, dtype=bool)
        corners = int(rng.integers(3, 8))
        for k in range(corners):
            a = 2 * np.pi * (k + rng.uniform(-0.25, 0.25)) / corners
            mask &= u * np.cos(a) + v * np.sin(a) < radius * rng.uniform(0.7, 1.1)
        return mask, reach
    theta = np.arctan2(v, u * rng.uniform(0.55, 1.0))
    wave = 1.0 + sum(
        rng.normal(0, 0.16 / k) * np.cos(k * theta + rng.uniform(0, 6.3)) for k in range(2, 6)
    )
    return np.hypot(u * rng.uniform(0.6, 1.0), v) < radius * wave, reach


def _stamp(
    labels: NDArray[np.int32],
    mask: NDArray[np.bool_],
    corner: tuple[int, int],
    number: int,
    overlap: bool,
) -> None:
    r0, c0 = max(corner[0], 0), max(corner[1], 0)
    r1 = min(corner[0] + mask.shape[0], labels.shape[0])
    c1 = min(corner[1] + mask.shape[1], labels.shape[1])
    if r1 <= r0 or c1 <= c0:
        return
    part = mask[r0 - corner[0] : r1 - corner[0], c0 - corner[1] : c1 - corner[1]]
    view = labels[r0:r1, c0:c1]
    free = part & (view == 0)
    if not part.any() or (not overlap and free.sum() < 0.75 * part.sum()):
        return
    if free.sum() < 0.4 * part.sum():
        return
    parts, count = ndimage.label(free)
    if count > 1:
        free = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    view[free] = number


def noise_field(rng: np.random.Generator, side: int, sigma: float) -> NDArray[np.float32]:
    """Smooth noise with mean 0 and standard deviation 1.

    Parameters
    ----------
    rng : Generator
    side : int
        Of the square array.
    sigma : float
        Of the Gaussian filter, in pixels.
    """
    field = ndimage.gaussian_filter(rng.normal(size=(side, side)).astype(np.float32), sigma)
    return field / max(float(field.std()), 1e-6)


def _render(rng: np.random.Generator, labels: NDArray[np.int32], kind: str) -> NDArray:
    side = labels.shape[0]
    inside = labels > 0
    edge = ndimage.grey_erosion(labels, 3) != ndimage.grey_dilation(labels, 3)
    tone = rng.normal(0, rng.uniform(0, 0.18), labels.max() + 1)
    contrast = rng.uniform(0.15, 0.7) * (1 if rng.random() < 0.6 else -1)
    base = rng.uniform(0.15, 0.6)
    texture = rng.uniform(0, 0.08) * noise_field(rng, side, rng.uniform(0.8, 6))
    image = base + texture
    body = contrast * (1 + tone[labels])
    if rng.random() < 0.5:
        body = body * (1 + rng.uniform(0, 0.35) * noise_field(rng, side, rng.uniform(1, 5)))
    look = rng.random()
    if look < 0.6 or kind == "filaments":
        image = image + np.where(inside, body, 0)
    else:
        image = image + np.where(inside, body * rng.uniform(-0.15, 0.35), 0)
        rim = ndimage.gaussian_filter(edge.astype(np.float32), rng.uniform(0.5, 1.3))
        image = image + contrast * 1.4 * rim
    if rng.random() < 0.35:
        halo = ndimage.gaussian_filter(inside.astype(np.float32), rng.uniform(2, 5)) - inside
        image = image - rng.uniform(0.2, 0.8) * contrast * np.clip(halo, 0, 1)
    if rng.random() < 0.15:
        height = ndimage.gaussian_filter(inside * 1.0, rng.uniform(1, 2.5))
        image = image + 0.8 * (np.roll(height, 2, 0) - np.roll(height, -2, 0))
    for _ in range(int(rng.integers(0, 4))):
        image[rng.integers(side), :] += rng.normal(0, 0.05)
    if rng.random() < 0.5:
        image = (
            image + rng.uniform(0, 0.25) * noise_field(rng, side, side / rng.uniform(2, 5)) * 0.5
        )
    image = ndimage.gaussian_filter(image, rng.uniform(0, 1.4))
    image = image + rng.normal(size=image.shape) * rng.uniform(0.005, 0.09)
    gray = np.clip(image, -0.5, 1.6)
    gray = (gray - gray.min()) / max(float(np.ptp(gray)), 1e-6)
    if rng.random() < 0.2:
        tint = rng.uniform(0.4, 1.0, 3)
        return np.clip(gray[..., None] * tint * 255, 0, 255).astype(np.uint8)
    return (gray * 60000).astype(np.uint16)
