"""Take the picture of "a volume from one click": `python docs/volume_picture.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import napari_segment_anything as nsa
from napari_segment_anything.formats import overlay, save_overlay

PICTURE = Path(__file__).parent / "images" / "volume_one_click.png"
PLANE, CLICK = 12, (50, 58)
SIDE = 96


def main() -> None:
    """Follow one nucleus of the built-in volume, and show every other plane around it."""
    volume = nsa.sample("nuclei_3d").image
    result = nsa.propagate(
        volume, {PLANE: nsa.Prompts.from_points([CLICK])}, nsa.load_model("default")
    )
    first, last = result.planes[1][0], result.planes[1][-1]
    print(f"found on planes {first} to {last}; ends: {result.ends[1]}")
    row, col = (
        int(np.clip(c - SIDE // 2, 0, n - SIDE))
        for c, n in zip(CLICK, volume.shape[1:], strict=True)
    )
    where = np.s_[row : row + SIDE, col : col + SIDE]
    low, high = np.percentile(volume, (0.1, 99.9))
    grey = (np.clip((volume - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    tiles = []
    planes = np.unique(np.linspace(max(first - 2, 0), min(last + 2, len(volume) - 1), 8).round())
    for plane in planes.astype(int):
        tile = np.repeat(grey[plane][where][..., None], 3, axis=2)
        picture = np.array(overlay(tile, result.labels[plane][where], min_side=2 * SIDE))
        if plane == PLANE:
            at = [2 * (c - o) for c, o in zip(CLICK, (row, col), strict=True)]
            picture[at[0] - 4 : at[0] + 5, at[1] - 4 : at[1] + 5] = (255, 255, 255)
        tiles.append(np.pad(picture, ((2, 2), (2, 2), (0, 0)), constant_values=255))
    half = (len(tiles) + 1) // 2
    tiles += [np.full_like(tiles[0], 255)] * (2 * half - len(tiles))
    rows = [np.concatenate(tiles[:half], 1), np.concatenate(tiles[half:], 1)]
    save_overlay(PICTURE, np.concatenate(rows, 0))


if __name__ == "__main__":
    main()
