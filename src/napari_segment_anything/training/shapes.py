"""Generated images of shapes that are rare in the public sets.

Packed cells without gaps, long and crossing worms, branching cells, objects that differ from the
background only in texture, grains of many sizes, and stained tissue. As in `generated`, variety
matters more than realism.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from .data import LabelledImage, labelled_image
from .generated import noise_field

Drawn = tuple[NDArray, NDArray[np.int32]]


def shapes(count: int, seed: int) -> list[LabelledImage]:
    """Generate labelled images, of each kind in turn.

    Parameters
    ----------
    count : int
        Number of images.
    seed : int
        Determines the images.
    """
    images = []
    for number in range(count):
        rng = np.random.default_rng((seed, 79, number))
        kind = list(_KINDS)[number % len(_KINDS)]
        image, labels = _KINDS[kind](rng, int(rng.integers(256, 400)))
        images.append(labelled_image(f"shapes/{number:04d}-{kind}", "shapes", image, labels))
    return images


def _packed(rng: np.random.Generator, side: int) -> Drawn:
    """Cells without gaps: an epithelium, a plant tissue, a section of neurites."""
    cell = float(np.exp(rng.uniform(np.log(12), np.log(70))))
    labels = _tessellation(rng, side, cell, rng.uniform(0, 1), rng.uniform(0, 0.35) * cell)
    line = ndimage.gaussian_filter(_edges(labels).astype(np.float32), rng.uniform(0.5, 1.6))
    line /= max(float(line.max()), 1e-6)
    sign = 1 if rng.random() < 0.6 else -1
    tone = rng.normal(0, rng.uniform(0, 0.25), labels.max() + 1)
    image = tone[labels] + sign * rng.uniform(0.4, 1.2) * line
    image = image + rng.uniform(0, 0.15) * noise_field(rng, side, rng.uniform(1, 5))
    if rng.random() < 0.4:  # vesicles
        spots = ndimage.gaussian_filter(
            (rng.random((side, side)) < 0.01).astype(np.float32), rng.uniform(0.7, 2)
        )
        image = image + sign * rng.uniform(0.2, 0.7) * spots / max(float(spots.max()), 1e-6)
    gone = rng.random(labels.max() + 1) < rng.uniform(0, 0.15)
    if rng.random() < 0.5:  # gaps without cells
        image = np.where(gone[labels], float(rng.normal(0, 0.2)), image)
        labels = np.where(gone[labels], 0, labels)
    if rng.random() < 0.5:  # unlabelled membranes
        labels = np.where(_edges(labels), 0, labels)
    return _gray(rng, image), labels.astype(np.int32)


def _worms(rng: np.random.Generator, side: int) -> Drawn:
    """Long bent objects that touch and cross; later ones lie on top."""
    labels = np.zeros((side, side), np.int32)
    image = np.zeros((side, side), np.float32)
    width = rng.uniform(1.6, 9)
    contrast = rng.uniform(0.4, 1.0) * rng.choice((-1, 1))
    taper, hollow = rng.random() < 0.6, rng.random() < 0.4
    for number in range(1, int(rng.integers(3, 26)) + 1):
        steps = int(rng.uniform(8, 32) * width)
        turn = ndimage.gaussian_filter1d(rng.normal(0, 1, steps), rng.uniform(4, 14))
        angle = rng.uniform(0, 2 * np.pi) + np.cumsum(turn) * rng.uniform(0.05, 0.5) / width
        line = rng.uniform(0, side, 2) + np.cumsum(
            np.column_stack([np.sin(angle), np.cos(angle)]), 0
        )
        own = width * np.exp(rng.normal(0, 0.15))
        along = np.linspace(0, np.pi, steps)
        radius = own / 2 * (np.sin(along) ** 0.4 if taper else np.ones(steps))
        mask, depth = _stroke(side, line, np.maximum(radius, 0.8))
        shade = (1 - depth if hollow else 0.6 + 0.4 * depth) * contrast
        labels[mask] = number
        image = np.where(mask, shade * np.exp(rng.normal(0, 0.15)), image)
    return _gray(rng, image + rng.uniform(0, 0.1) * noise_field(rng, side, 3)), labels


def _branching(rng: np.random.Generator, side: int) -> Drawn:
    """Bodies with branches, such as neurons, glia and hyphae."""
    labels = np.zeros((side, side), np.int32)
    image = np.zeros((side, side), np.float32)
    contrast = rng.uniform(0.4, 1.0) * rng.choice((-1, 1))
    for number in range(1, int(rng.integers(1, 8)) + 1):
        body = float(np.exp(rng.uniform(np.log(3), np.log(22))))
        centre = rng.uniform(0.1 * side, 0.9 * side, 2)
        mask, depth = _stroke(side, centre[None], np.array([body]))
        thick = max(body * 0.35, 1.2)
        angles = rng.uniform(0, 2 * np.pi, int(rng.integers(1, 7)))
        tips = [(centre, angle, thick, 0) for angle in angles]
        while tips:
            start, angle, radius, order = tips.pop()
            steps = int(rng.uniform(1.5, 6) * body + 8)
            turn = ndimage.gaussian_filter1d(rng.normal(0, 1, steps), 5)
            angles = angle + np.cumsum(turn) * 0.12
            line = start + np.cumsum(np.column_stack([np.sin(angles), np.cos(angles)]), 0)
            radii = np.linspace(radius, max(radius * 0.55, 0.8), steps)
            branch, deep = _stroke(side, line, radii)
            depth = np.where(branch, np.maximum(depth * mask, deep), depth * mask)
            mask = mask | branch
            if order < 3 and rng.random() < 0.65:
                for _ in range(int(rng.integers(1, 3))):
                    bend = rng.uniform(0.3, 0.9) * rng.choice((-1, 1))
                    tips.append((line[-1], angles[-1] + bend, radii[-1], order + 1))
        labels[mask] = number
        image = np.where(mask, contrast * (0.45 + 0.55 * depth), image)
    image = image + rng.uniform(0.02, 0.2) * noise_field(rng, side, rng.uniform(1, 6))
    return _gray(rng, image), labels


def _textured(rng: np.random.Generator, side: int) -> Drawn:
    """Objects that differ from the background and from each other in texture."""
    cell = float(np.exp(rng.uniform(np.log(25), np.log(110))))
    labels = _tessellation(rng, side, cell, rng.uniform(0.2, 1), rng.uniform(0.1, 0.4) * cell)
    labels = _eroded(labels, rng.uniform(0.5, 0.2 * cell))
    image = _texture(rng, side)
    number_of = rng.integers(1, 4, labels.max() + 1)
    for kind in range(1, 4):
        image = np.where((number_of[labels] == kind) & (labels > 0), _texture(rng, side), image)
    image = image + rng.uniform(0, 0.4) * ndimage.gaussian_filter(_edges(labels) * 1.0, 1.0)
    return _gray(rng, image), labels


def _grains(rng: np.random.Generator, side: int) -> Drawn:
    """Packed grains of very different sizes, lit from one side: gravel, powder."""
    labels = _tessellation(rng, side, rng.uniform(9, 34), 1.0, rng.uniform(0, 5), sizes=0.6)
    labels = _rounded(_eroded(labels, rng.uniform(0.3, 2.0)), rng.uniform(0.5, 4))
    depth = ndimage.distance_transform_edt(labels > 0)
    height = ndimage.gaussian_filter(np.minimum(depth, rng.uniform(2, 12)), rng.uniform(0.6, 2))
    angle = rng.uniform(0, 2 * np.pi)
    down, right = np.gradient(height)
    light = np.sin(angle) * down + np.cos(angle) * right
    tone = rng.normal(0, rng.uniform(0.1, 0.35), labels.max() + 1)
    speckle = rng.uniform(0, 0.25) * noise_field(rng, side, rng.uniform(0.6, 3))
    image = np.where(labels > 0, tone[labels] + 0.4 * light + speckle, -rng.uniform(0.2, 0.9))
    if rng.random() < 0.4:
        return _gray(rng, image), labels
    gray = _gray(rng, image) / 60000.0
    tint = rng.uniform(-0.12, 0.12, (labels.max() + 1, 3))
    colour = gray[..., None] * rng.uniform(0.7, 1.0, 3) + tint[labels] * (labels > 0)[..., None]
    return (np.clip(colour, 0, 1) * 255).astype(np.uint8), labels


def _tissue(rng: np.random.Generator, side: int) -> Drawn:
    """Stained nuclei on a fibrous background, in optical density."""
    size = float(np.exp(rng.uniform(np.log(8), np.log(34))))
    labels = _tessellation(rng, side, size * rng.uniform(1.05, 2.4), 1.0, 0.15 * size)
    shrink = rng.uniform(0.02, 0.25) * size
    labels = _rounded(_eroded(labels, shrink), rng.uniform(0.12, 0.3) * size)
    gone = rng.random(labels.max() + 1) < rng.uniform(0, 0.6)
    labels = np.where(gone[labels], 0, labels)
    inside = ndimage.gaussian_filter((labels > 0).astype(np.float32), rng.uniform(0.4, 1.2))
    chromatin = noise_field(rng, side, rng.uniform(0.8, 2.2))
    tone = np.exp(rng.normal(0, 0.3, labels.max() + 1))
    rim = ndimage.gaussian_filter(_edges(labels) * 1.0, 0.8)
    blue = inside * rng.uniform(0.35, 1.0) * tone[labels] * (1 + rng.uniform(0, 0.4) * chromatin)
    blue = blue + rng.uniform(0, 0.5) * rim * inside + rng.uniform(0, 0.15)
    stretch = rng.uniform(1, 8, 2)
    fibres = ndimage.gaussian_filter(rng.normal(size=(side, side)), stretch)
    fibres = fibres / max(float(fibres.std()), 1e-6)
    pink = np.clip(rng.uniform(0.15, 0.6) * (1 + 0.5 * fibres), 0, None)
    if rng.random() < 0.5:  # lumen and gaps
        gaps = noise_field(rng, side, rng.uniform(8, 25)) > rng.uniform(1.0, 2.2)
        pink = np.where(gaps & (labels == 0), 0.03, pink)
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]]) + rng.normal(0, 0.06, (2, 3))
    density = blue[..., None] * stains[0] + pink[..., None] * stains[1]
    density = ndimage.gaussian_filter(density, (rng.uniform(0.2, 1.1),) * 2 + (0,))
    image = 245 * np.exp(-density * rng.uniform(0.8, 1.8))
    image = image + rng.normal(0, rng.uniform(0.5, 6), image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), labels.astype(np.int32)


_KINDS: dict[str, Callable[[np.random.Generator, int], Drawn]] = {
    "packed": _packed,
    "worms": _worms,
    "branching": _branching,
    "textured": _textured,
    "grains": _grains,
    "tissue": _tissue,
}


def _tessellation(
    rng: np.random.Generator,
    side: int,
    cell: float,
    jitter: float,
    wave: float,
    sizes: float = 0.0,
) -> NDArray[np.int32]:
    """Voronoi cells about `cell` pixels wide, their borders bent by `wave` pixels."""
    reach = int(side / cell) + 3
    grid = np.stack(np.meshgrid(np.arange(-1, reach), np.arange(-1, reach)), -1).reshape(-1, 2)
    seeds = (grid + rng.uniform(-0.5, 0.5, grid.shape) * jitter) * cell
    if sizes:  # some cells take their neighbours' places
        radius = cell * np.exp(rng.normal(0, sizes, len(seeds))) * 0.5
        order, kept = np.argsort(-radius), np.ones(len(seeds), bool)
        tree = cKDTree(seeds)
        for i in order:
            if kept[i]:
                near = [j for j in tree.query_ball_point(seeds[i], radius[i]) if j != i]
                kept[near] = False
        seeds = seeds[kept]
    rows, cols = np.mgrid[:side, :side].astype(np.float32)
    cells = np.stack([rows, cols], -1)
    for axis in range(2):
        field = noise_field(rng, side, max(cell / rng.uniform(1.5, 4), 1.0))
        cells[..., axis] += wave * 0.5 * field
    stretch = np.exp(rng.uniform(-0.5, 0.5))
    turn = rng.uniform(0, np.pi)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = side / 2
    points = (cells.reshape(-1, 2) - middle) @ (matrix * [stretch, 1 / stretch]) + middle
    _, nearest = cKDTree(seeds).query(points)
    number = np.unique(nearest, return_inverse=True)[1].reshape(side, side)
    return _whole_parts((number + 1).astype(np.int32))


def _whole_parts(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Keep the largest connected part of each label."""
    out = np.zeros_like(labels)
    for number, where in enumerate(ndimage.find_objects(labels), start=1):
        if where is None:
            continue
        parts, count = ndimage.label(labels[where] == number)
        if count:
            out[where][parts == 1 + np.bincount(parts.ravel())[1:].argmax()] = number
    return out


def _eroded(labels: NDArray[np.int32], depth: float) -> NDArray[np.int32]:
    """Erode labels by `depth` pixels; objects that vanish are dropped."""
    inner = ndimage.distance_transform_edt(~_edges(labels))
    return _whole_parts(np.where(inner > depth, labels, 0).astype(np.int32))


def _rounded(labels: NDArray[np.int32], radius: float) -> NDArray[np.int32]:
    """Open labels with a disk; objects that vanish are dropped."""
    core = _eroded(labels, radius)
    distance, nearest = ndimage.distance_transform_edt(core == 0, return_indices=True)
    grown = core[tuple(nearest)]
    return np.where((distance <= radius) & (grown == labels), labels, 0).astype(np.int32)


def _edges(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    out: NDArray[np.bool_] = ndimage.grey_erosion(labels, 3) != ndimage.grey_dilation(labels, 3)
    return out


def _stroke(
    side: int, line: NDArray[np.float64], radii: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Draw a line with a round brush: its mask, and depth from 0 at the edge to 1 in the middle."""
    depth = np.zeros((side, side), np.float32)
    reach = float(radii.max()) + 1
    low = np.clip(np.floor(line.min(0) - reach), 0, side).astype(int)
    high = np.clip(np.ceil(line.max(0) + reach) + 1, 0, side).astype(int)
    if (high <= low).any():
        return depth > 0, depth
    rows, cols = np.mgrid[low[0] : high[0], low[1] : high[1]]
    points = np.stack([rows, cols], -1).reshape(-1, 2)
    distance, nearest = cKDTree(line).query(points, distance_upper_bound=reach)
    radius = radii[np.minimum(nearest, len(line) - 1)]
    share = np.clip(1 - distance / radius, 0, 1).astype(np.float32)
    depth[low[0] : high[0], low[1] : high[1]] = share.reshape(rows.shape)
    return depth > 0, depth


def _texture(rng: np.random.Generator, side: int) -> NDArray:
    fine = ndimage.gaussian_filter(rng.normal(size=(side, side)), rng.uniform(0.5, 5, 2))
    return rng.normal(0, 0.15) + rng.uniform(0.1, 0.5) * fine / max(float(fine.std()), 1e-6)


def _gray(rng: np.random.Generator, image: NDArray) -> NDArray[np.uint16]:
    """Add uneven illumination, blur and noise, and scale to 16 bits."""
    side = image.shape[0]
    if rng.random() < 0.5:
        image = image + rng.uniform(0, 0.4) * noise_field(rng, side, side / rng.uniform(2, 5))
    image = ndimage.gaussian_filter(image, rng.uniform(0, 1.3))
    image = image + rng.normal(size=image.shape) * rng.uniform(0.005, 0.15)
    low, high = np.percentile(image, (0.1, 99.9))
    return (np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 60000).astype(np.uint16)
