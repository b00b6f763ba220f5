"""What objects look like, as numbers: dense features, size, shape and brightness."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from skimage.measure import perimeter

from ..engine import Embedding, PlacedMask, PlaneSource, Predictor, Window
from ..large import TileGrid
from ..progress import Progress
from .views import WHOLE, read_rgb

CHANNELS = 256
"""Of the image embedding of any published Segment Anything model."""
RING = 3
"""Width in pixels of the surroundings that an object's brightness is compared with."""


@dataclass(frozen=True, slots=True, eq=False)
class Traits:
    """What n objects look like.

    Parameters
    ----------
    embedding : float32 array (n, channels)
        Mean of the image embedding over the mask, of length 1.
    size : float32 array (n,)
        Logarithm of the area in pixels.
    shape : float32 array (n, 3)
        Logarithm of the ratio of the axes; area over that of the ellipse with the same moments;
        compactness (area over that of a circle with the same perimeter).
    light : float32 array (n, 3)
        Brightness, 0 to 1 between the contrast limits: mean, standard deviation, and mean minus
        that of the surroundings.
    """

    embedding: NDArray[np.float32]
    size: NDArray[np.float32]
    shape: NDArray[np.float32]
    light: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.size)

    def __getitem__(self, which: NDArray[np.generic] | Sequence[int] | slice) -> Traits:
        return Traits(*(getattr(self, field.name)[which] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Traits]) -> Traits:
        """Join traits of several images, described by the same model."""
        return cls(
            *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls))
        )


def describe_objects(
    masks: Sequence[PlacedMask],
    source: PlaneSource,
    predictor: Predictor,
    window: Window | None = None,
) -> Generator[Progress, None, Traits]:
    """Describe objects of a plane. A large plane is encoded tile by tile, where it has objects.

    Parameters
    ----------
    masks : sequence of PlacedMask
        n masks, none of them empty.
    source : PlaneSource
        The image, of one plane.
    predictor : Predictor
    window : Window, optional
        What to encode; they lie in it. By default the plane, or tiles of it.

    Yields
    ------
    Progress
        Before every view that is encoded.

    Returns
    -------
    Traits
        Of the masks, in their order.
    """
    options = source.embed_arguments()
    image = source.image()
    out = Traits(
        np.zeros((len(masks), CHANNELS), np.float32),
        np.log([mask.area for mask in masks]).astype(np.float32).reshape(-1),
        np.zeros((len(masks), 3), np.float32),
        np.zeros((len(masks), 3), np.float32),
    )
    if window is None:
        windows = _windows(masks, source.shape, predictor.model.image_size)
    else:
        windows = [(window, list(range(len(masks))))] if masks else []
    for done, (window, chosen) in enumerate(windows):
        yield Progress(done, len(windows), message="describing objects")
        embedding = predictor.embed(image, window=window, **options)
        pixels = read_rgb(source, window).mean(2, dtype=np.float32) / 255
        features = pooled([masks[i] for i in chosen], embedding)
        if features.shape[1] != out.embedding.shape[1]:
            out = replace(out, embedding=np.zeros((len(masks), features.shape[1]), np.float32))
        out.embedding[chosen] = features
        for i in chosen:
            out.shape[i] = shape_of(masks[i].mask)
            out.light[i] = light_of(masks[i], pixels, window)
    return out


def _windows(
    masks: Sequence[PlacedMask], shape: tuple[int, int], frame: int
) -> list[tuple[Window, list[int]]]:
    """Windows to encode, and the objects that are described in each."""
    if not masks:
        return []
    if max(shape) <= WHOLE * frame:
        return [(Window.full(shape), list(range(len(masks))))]
    grid = TileGrid.over(shape, (), frame, frame // 2)
    rows, cols = grid.counts
    found: dict[int, list[int]] = {}
    for i, mask in enumerate(masks):
        own = mask.window
        row, col = own.row + own.height // 2, own.col + own.width // 2
        tile = grid.index(0, min(row // grid.stride, rows - 1), min(col // grid.stride, cols - 1))
        found.setdefault(tile, []).append(i)
    return [(grid.window(tile), found[tile]) for tile in sorted(found)]


def pooled(masks: Sequence[PlacedMask], embedding: Embedding) -> NDArray[np.float32]:
    """Average an embedding over masks, and scale to length 1: float32 (n, channels).

    Parameters
    ----------
    masks : sequence of PlacedMask
        n masks; of each the part in the embedding's window counts.
    embedding : Embedding
    """
    features = embedding.features[0].float()
    height, width = features.shape[-2:]
    stride = embedding.image_size / height
    rows, cols = (
        np.minimum((np.arange(n) + 0.5) * scale / stride, most - 1).astype(np.int64)
        for n, scale, most in zip(
            embedding.window.shape, embedding.scale, (height, width), strict=True
        )
    )
    index, weight = [], []
    for number, mask in enumerate(masks):
        common = mask.window.intersection(embedding.window)
        if common is None:
            continue
        down, across = common.slices_in(embedding.window)
        inside = mask.within(common)
        if not inside.any():
            continue
        cells, counts = np.unique(
            (rows[down][:, None] * width + cols[across])[inside], return_counts=True
        )
        index.append(np.stack([np.full(len(cells), number), cells]))
        weight.append(counts / counts.sum())
    flat = features.flatten(1).T.cpu().numpy()
    if not index:
        return np.zeros((len(masks), flat.shape[1]), np.float32)
    where = np.concatenate(index, axis=1)
    weights = csr_array((np.concatenate(weight), where), (len(masks), len(flat)))
    return unit_length((weights @ flat).astype(np.float32))


def unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale vectors (n, channels) to length 1; zeros stay."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = vectors / np.maximum(length, 1e-9)
    return scaled


def shape_of(mask: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Logarithm of the axes' ratio, share of the ellipse, and compactness; see `Traits`."""
    rows, cols = np.nonzero(mask)
    area = len(rows)
    # a pixel is a square, with a variance of its own
    spread = np.cov(rows, cols, bias=True) + np.eye(2) / 12
    small, large = np.linalg.eigvalsh(spread)
    around = max(float(perimeter(np.pad(mask, 1))), np.sqrt(4 * np.pi * area))
    return (
        0.5 * float(np.log(large / small)),
        area / (4 * np.pi * float(np.sqrt(small * large))),
        4 * np.pi * area / around**2,
    )


def light_of(
    mask: PlacedMask, pixels: NDArray[np.float32], window: Window
) -> tuple[float, float, float]:
    """Mean and standard deviation inside a mask, and mean minus that of its surroundings.

    Parameters
    ----------
    mask : PlacedMask
    pixels : float32 array (height, width)
        Brightness in a window.
    window : Window
        It holds some of the mask.
    """
    own = mask.window
    top, left = max(own.row - RING, window.row), max(own.col - RING, window.col)
    bottom = min(own.row + own.height + RING, window.row + window.height)
    right = min(own.col + own.width + RING, window.col + window.width)
    near = Window(top, left, bottom - top, right - left)
    inside = mask.within(near)
    if not inside.any():
        return 0.0, 0.0, 0.0
    around = ndimage.binary_dilation(inside, iterations=RING) & ~inside
    part = pixels[near.slices_in(window)]
    values = part[inside]
    mean = float(values.mean())
    contrast = mean - float(part[around].mean()) if around.any() else 0.0
    return mean, float(values.std()), contrast
