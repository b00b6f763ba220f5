"""Whether the three masks of a click cover both a part and the whole.

python benchmarks/ambiguity.py DATA [--model PATH] [--picture OUT.png]

On held-out electron micrographs in which axons (parts) and fibres with myelin (wholes) are
labelled, the three masks of a click in the middle of each axon are compared with both.
--picture draws the three masks of a few clicks on built-in samples.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from sets import entries

import napari_segment_anything as nsa
from napari_segment_anything.datasets import read_planes
from napari_segment_anything.formats import to_rgb
from napari_segment_anything.measures import interior_point, mask_iou

CLICKS = (("coffee", (180, 300)), ("cell", (330, 260)), ("tissue", (60, 64)), ("coins", (70, 45)))
SIDE = 320


def measure(data: Path, predictor: nsa.Predictor, per_image: int = 30) -> None:
    """Print how well the three masks of a click match part and whole."""
    rows = []
    for entry in entries(data, "axon_tem", "validation"):
        plane = next(read_planes(entry, wholes="labels_fiber"))
        axons, fibres = plane.labels, plane.wholes
        embedding = predictor.embed(plane.image)
        ids = np.unique(axons)[1:]
        for number in ids[np.linspace(0, len(ids) - 1, min(per_image, len(ids))).astype(int)]:
            part = axons == number
            point = interior_point(part)
            if part.sum() < 200 or not fibres[point]:
                continue
            whole = fibres == fibres[point]
            if part.sum() > 0.8 * whole.sum():
                continue
            result = predictor.predict(embedding, nsa.Prompts.from_points([point]))
            one, other = (
                np.array([mask_iou(mask, truth) for mask in result.masks[0]])
                for truth in (part, whole)
            )
            rows.append(
                (one.max(), other.max(), one.argmax() != other.argmax(), one[result.best_index[0]])
            )
    parts, wholes, apart, chosen = np.array(rows, float).T
    single = np.maximum(parts, 0) > 0.5
    both = (parts > 0.5) & (wholes > 0.5) & (apart > 0)
    print(f"clicks {len(rows)}")
    print(f"best of three: IoU with axon {parts.mean():.3f}, with fibre {wholes.mean():.3f}")
    print(f"another mask is best for the fibre than for the axon: {apart.mean():.0%} of clicks")
    print(f"axon found (IoU > .5) {single.mean():.0%}, both in two masks {both.mean():.0%}")
    print(f"mask ranked first: IoU with the axon {chosen.mean():.3f}")


def picture(output: Path, predictor: nsa.Predictor) -> None:
    """Draw a row for each click: its three masks, the best predicted IoU first."""
    rows = []
    for name, point in CLICKS:
        sample = nsa.sample(name)
        rgb = to_rgb(sample.image, channel_axis=sample.channel_axis, rgb=sample.rgb)
        embedding = predictor.embed(sample.image, channel_axis=sample.channel_axis)
        result = predictor.predict(embedding, nsa.Prompts.from_points([point]))
        order = np.argsort(-result.scores[0])
        tiles = []
        for index in order:
            mask = result.masks[0, index]
            edge = mask ^ ndimage.binary_erosion(mask, iterations=max(1, min(mask.shape) // 200))
            tile = np.where(mask[..., None], rgb * 0.6 + np.array([0, 90, 100]), rgb * 0.8)
            tile[edge] = (0, 255, 255)
            size = max(2, min(mask.shape) // 80)
            row, col = point
            tile[row - size : row + size + 1, col - size : col + size + 1] = (255, 230, 0)
            scale = SIDE / max(mask.shape)
            shape = (round(mask.shape[1] * scale), round(mask.shape[0] * scale))
            small = Image.fromarray(tile.clip(0, 255).astype(np.uint8)).resize(shape)
            framed = Image.new("RGB", (SIDE, SIDE), "white")
            framed.paste(small, ((SIDE - shape[0]) // 2, (SIDE - shape[1]) // 2))
            tiles.append(np.asarray(framed))
        rows.append(np.hstack(tiles))
    Image.fromarray(np.vstack(rows)).save(output, quality=88)


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    predictor = nsa.Predictor(nsa.load_model(options.model))
    measure(options.data, predictor)
    if options.picture:
        picture(options.picture, predictor)


if __name__ == "__main__":
    main()
