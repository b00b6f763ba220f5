"""Everything mode, slowly: the published algorithm on whole arrays, one mask at a time."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from napari_segment_anything.engine.model import Model
from napari_segment_anything.engine.predictor import Predictor
from napari_segment_anything.engine.windows import Window

DEFAULTS = {
    "points_per_side": 32,
    "pred_iou_thresh": 0.88,
    "stability_score_thresh": 0.95,
    "stability_score_offset": 1.0,
    "box_nms_thresh": 0.7,
    "crop_n_layers": 0,
    "crop_nms_thresh": 0.7,
    "crop_overlap_ratio": 512 / 1500,
    "crop_n_points_downscale_factor": 1,
    "min_mask_region_area": 0,
}


def everything(image: np.ndarray, model: Model, **given) -> list[dict]:
    """Records in the published order; masks without a pixel are left out."""
    p = DEFAULTS | given
    rows, cols = image.shape[:2]
    found = []
    boxes = crop_boxes(rows, cols, p["crop_n_layers"], p["crop_overlap_ratio"])
    for x0, y0, x1, y1, layer in boxes:
        here = one_crop(image, model, (x0, y0, x1, y1), layer, p)
        keep = nms([r["box"] for r in here], [r["iou"] for r in here], p["box_nms_thresh"])
        found += [here[i] for i in keep]
    if len(boxes) > 1:
        score = [
            1 / np.float32((r["crop"][2] - r["crop"][0]) * (r["crop"][3] - r["crop"][1]))
            for r in found
        ]
        found = [found[i] for i in nms([r["box"] for r in found], score, p["crop_nms_thresh"])]
    if p["min_mask_region_area"] > 0:
        found = cleaned(
            found, p["min_mask_region_area"], max(p["box_nms_thresh"], p["crop_nms_thresh"])
        )
    return [
        {
            "segmentation": r["mask"],
            "area": int(r["mask"].sum()),
            "bbox": [
                r["box"][0],
                r["box"][1],
                r["box"][2] - r["box"][0],
                r["box"][3] - r["box"][1],
            ],
            "predicted_iou": r["iou"],
            "point_coords": [list(r["point"])],
            "stability_score": r["stability"],
            "crop_box": [
                r["crop"][0],
                r["crop"][1],
                r["crop"][2] - r["crop"][0],
                r["crop"][3] - r["crop"][1],
            ],
        }
        for r in found
        if r["mask"].any()
    ]


def crop_boxes(rows: int, cols: int, layers: int, ratio: float) -> list[tuple[int, ...]]:
    out = [(0, 0, cols, rows, 0)]
    for layer in range(1, layers + 1):
        n = 2**layer
        overlap = int(ratio * min(rows, cols) * (2 / n))
        width = math.ceil((overlap * (n - 1) + cols) / n)
        height = math.ceil((overlap * (n - 1) + rows) / n)
        for i in range(n):
            for j in range(n):
                x0, y0 = (width - overlap) * i, (height - overlap) * j
                out.append((x0, y0, min(x0 + width, cols), min(y0 + height, rows), layer))
    return out


def one_crop(image, model, crop, layer, p) -> list[dict]:
    rows, cols = image.shape[:2]
    x0, y0, x1, y1 = crop
    width, height = x1 - x0, y1 - y0
    embedding = Predictor(model).embed(image, window=Window(y0, x0, height, width))
    side = model.image_size
    scale = side / max(width, height)
    frame_w, frame_h = int(width * scale + 0.5), int(height * scale + 0.5)
    n = int(p["points_per_side"] / p["crop_n_points_downscale_factor"] ** layer)
    out = []
    for gy in np.linspace(1 / (2 * n), 1 - 1 / (2 * n), n):
        for gx in np.linspace(1 / (2 * n), 1 - 1 / (2 * n), n):
            x, y = gx * width, gy * height
            coords = torch.tensor([[[x * (frame_w / width), y * (frame_h / height)]]])
            logits, ious = model.decode(
                embedding.features,
                coords=coords.float(),
                labels=torch.ones(1, 1, dtype=torch.int),
                multimask=True,
            )
            for c in range(3):
                iou = float(ious[0, c])
                if p["pred_iou_thresh"] > 0 and not iou > p["pred_iou_thresh"]:
                    continue
                low = logits[:, c : c + 1]
                big = F.interpolate(low, (side, side), mode="bilinear", align_corners=False)
                big = big[..., :frame_h, :frame_w]
                big = F.interpolate(big, (height, width), mode="bilinear", align_corners=False)
                full = big[0, 0].numpy()
                offset = p["stability_score_offset"]
                inner, outer = (full > offset).sum(), (full > -offset).sum()
                stability = inner / outer if outer else math.nan
                if p["stability_score_thresh"] > 0 and not stability >= p["stability_score_thresh"]:
                    continue
                mask = np.zeros((rows, cols), bool)
                mask[y0:y1, x0:x1] = full > 0
                box = mask_box(mask)
                if cut_by_crop(box, crop, (0, 0, cols, rows)):
                    continue
                out.append(
                    {
                        "mask": mask, "box": box, "iou": iou, "stability": stability,
                        "point": (x + x0, y + y0), "crop": crop,
                    }
                )  # fmt: skip
    return out


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    y, x = np.nonzero(mask)
    return (int(x.min()), int(y.min()), int(x.max()), int(y.max())) if len(x) else (0, 0, 0, 0)


def cut_by_crop(box, crop, image) -> bool:
    return any(
        abs(b - c) <= 20 and not abs(b - i) <= 20 for b, c, i in zip(box, crop, image, strict=True)
    )


def box_iou(a, b) -> float:
    wide = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    area = [(q[2] - q[0]) * (q[3] - q[1]) for q in (a, b)]
    union = area[0] + area[1] - wide * high
    return float(np.float32(wide * high) / np.float32(union)) if union else math.nan


def nms(boxes, scores, threshold: float) -> list[int]:
    order = sorted(range(len(boxes)), key=lambda i: -scores[i])
    keep: list[int] = []
    for i in order:
        if not any(box_iou(boxes[k], boxes[i]) > threshold for k in keep):
            keep.append(i)
    return keep


def without_small_regions(mask: np.ndarray, smallest: int) -> tuple[np.ndarray, bool]:
    """Cleaned mask, and whether it had any small region (even if the only one was kept)."""
    eight = np.ones((3, 3))
    mask = mask.copy()
    holes, count = ndimage.label(~mask, eight)
    small = [i for i in range(1, count + 1) if (holes == i).sum() < smallest]
    mask[np.isin(holes, small)] = True
    islands, count = ndimage.label(mask, eight)
    areas = [(islands == i).sum() for i in range(1, count + 1)]
    if count and max(areas) < smallest:
        return islands == 1 + int(np.argmax(areas)), True
    for i, area in enumerate(areas, start=1):
        if area < smallest:
            mask[islands == i] = False
            small.append(i)
    return mask, bool(small)


def cleaned(found: list[dict], smallest: int, threshold: float) -> list[dict]:
    out, scores = [], []
    for record in found:
        mask, changed = without_small_regions(record["mask"], smallest)
        scores.append(float(not changed))
        out.append(record | {"mask": mask, "box": mask_box(mask)})
    return [out[i] for i in nms([r["box"] for r in out], scores, threshold)]
