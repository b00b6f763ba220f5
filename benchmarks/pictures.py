"""A page of samples segmented by the embedded model, for the model card.

python benchmarks/pictures.py docs/images/default_samples.jpg
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image
from skimage.transform import resize

import napari_segment_anything as nsa
from napari_segment_anything.formats import overlay, to_rgb

NAMES = ("coins", "nuclei", "cells_phase", "em_membranes", "tissue", "hubble")
SIDE = 512


def main() -> None:
    """Segment each sample as `napari-sam everything` does and tile the overlays."""
    model = nsa.load_model("default")
    tiles = []
    for name in NAMES:
        sample = nsa.sample(name)
        table = nsa.segment_everything(sample.image, model, channel_axis=sample.channel_axis)
        rgb = to_rgb(sample.image, channel_axis=sample.channel_axis, rgb=sample.rgb)
        picture = overlay(rgb, table.to_labels())
        scale = SIDE / max(picture.shape[:2])
        shape = [round(scale * n) for n in picture.shape[:2]]
        tile = np.full((SIDE, SIDE, 3), 255, np.uint8)
        shrunk = resize(picture, shape, preserve_range=True, anti_aliasing=True)
        top, left = (SIDE - shape[0]) // 2, (SIDE - shape[1]) // 2
        tile[top : top + shape[0], left : left + shape[1]] = shrunk
        tiles.append(tile)
        print(name, len(table.kept), "objects")
    rows = [np.hstack(tiles[i : i + 3]) for i in (0, 3)]
    Image.fromarray(np.vstack(rows)).save(sys.argv[1], quality=85)


if __name__ == "__main__":
    main()
