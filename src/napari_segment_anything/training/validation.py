"""Quick validation during training, on the grid of the logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..automatic.dense import BoxDecoding, decode_dense
from ..measures import (
    counts,
    interior_point,
    mask_iou,
    next_click,
    overlap_table,
    tight_box,
)
from .config import StageConfig
from .data import LabelledImage
from .geometry import Geometry, has_dense_head, mixed_precision

# smaller objects of the dense head are ignored
MIN_CELLS = 12
# Boxes alone decide: joining pieces would hide that they disagree.
_APART = BoxDecoding(merge_thresh=1.0)


class QuickValidation:
    """The quick measures of those parts of a network that a stage trains.

    Parameters
    ----------
    images : sequence of LabelledImage
        Held-out images.
    stage : StageConfig
        If it trains the encoder, the dense head is measured; if it prompts, the decoder.
    share : int
        Measure the decoder on every `share`-th image only.
    """

    def __init__(self, images: Sequence[LabelledImage], stage: StageConfig, share: int = 2) -> None:
        self.images, self.stage, self.share = images, stage, share

    def __call__(self, network: Any) -> dict[str, float]:
        """Measure a network in eval mode."""
        measures: dict[str, float] = {}
        if self.stage.encoder_learning_rate > 0 and has_dense_head(network):
            measures |= dense_scores(network.image_encoder, self.images)
        if self.stage.objects:
            measures |= prompt_scores(network, self.images[:: self.share])
        return measures


def validation_subset(images: Sequence[LabelledImage], count: int) -> list[LabelledImage]:
    """Choose images evenly from every set, more from larger sets.

    Parameters
    ----------
    images : sequence of LabelledImage
    count : int
        About how many.
    """
    groups: dict[str, list[LabelledImage]] = {}
    for image in images:
        groups.setdefault(image.group, []).append(image)
    share = count / max(sum(len(g) ** 0.5 for g in groups.values()), 1)
    chosen = []
    for _, members in sorted(groups.items()):
        wanted = min(len(members), max(1, round(share * len(members) ** 0.5)))
        chosen += [members[i * len(members) // wanted] for i in range(wanted)]
    return chosen


def frame_of(
    source: LabelledImage, geometry: Geometry | None = None
) -> tuple[Tensor, NDArray[np.int32]]:
    """Resize an image as inference does, and sample its labels on the grid of the logits.

    Parameters
    ----------
    source : LabelledImage
    geometry : Geometry, optional
        Frame and stride of the network.

    Returns
    -------
    tuple
        (3, h, w) float32 in 0..255, long side that of the frame; (h/stride, w/stride) int32.
    """
    geometry = geometry or Geometry()
    side, stride = geometry.frame, geometry.stride
    height, width = source.labels.shape
    scale = side / max(height, width)
    rows = max(int(height * scale + 0.5), stride)
    cols = max(int(width * scale + 0.5), stride)
    image = torch.from_numpy(source.image).permute(2, 0, 1)[None]
    image = F.interpolate(image, (rows, cols), mode="bilinear", antialias=True)[0]
    index_r = ((np.arange(rows // stride) + 0.5) * stride / scale).astype(int)
    index_c = ((np.arange(cols // stride) + 0.5) * stride / scale).astype(int)
    labels = source.labels[index_r.clip(0, height - 1)][:, index_c.clip(0, width - 1)]
    return image.expand(3, -1, -1).float(), labels


def normalise(pixels: Tensor, valid: Tensor | None = None) -> Tensor:
    """Normalise pixels with the published mean and standard deviation.

    Parameters
    ----------
    pixels : Tensor
        (batch, 3, h, w) or (3, h, w) in 0..255.
    valid : Tensor, optional
        0 or False in the padding, which is set to 0.
    """
    mean = pixels.new_tensor([123.675, 116.28, 103.53])[:, None, None]
    deviation = pixels.new_tensor([58.395, 57.12, 57.375])[:, None, None]
    out = (pixels - mean) / deviation
    return out if valid is None else out * valid


def dense_maps(encoder: nn.Module, source: LabelledImage) -> tuple[NDArray, NDArray[np.int32]]:
    """Predict the dense maps of an image, and sample its labels on their grid.

    Parameters
    ----------
    encoder : nn.Module
        Image encoder with a dense head.
    source : LabelledImage

    Returns
    -------
    (float32 array (6, h, w), int32 array (h, w))
        Without padding.
    """
    geometry = Geometry.of(encoder)
    image, labels = frame_of(source, geometry)
    frame = torch.zeros(1, 3, geometry.frame, geometry.frame)
    frame[0, :, : image.shape[1], : image.shape[2]] = normalise(image)
    device = next(encoder.parameters()).device
    with torch.no_grad(), mixed_precision(device, encoder):
        maps = encoder(frame.to(device)).heads["dense"][0]
    return maps[:, : labels.shape[0], : labels.shape[1]].float().cpu().numpy(), labels


def cell_index(
    shape: tuple[int, int], cells: tuple[int, int]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Index that spreads maps on the grid of the dense head over the pixels of their image.

    Parameters
    ----------
    shape, cells : (int, int)
        Rows and columns of the image, and of the maps.
    """
    rows, cols = (np.arange(n) * some // n for n, some in zip(shape, cells, strict=True))
    return rows[:, None], cols[None]


def dense_scores(encoder: nn.Module, images: Sequence[LabelledImage]) -> dict[str, float]:
    """Mean AP = TP / (TP + FP + FN) over images at IoU .5, .7 and .8, and at .5 for each set.

    Parameters
    ----------
    encoder : nn.Module
        Image encoder with a dense head, in eval mode.
    images : sequence of LabelledImage
    """
    rows: dict[str, list[float]] = {}
    for source in images:
        maps, labels = dense_maps(encoder, source)
        table = overlap_table(labels, decode_dense(maps, _APART, min_cells=MIN_CELLS).labels)
        for threshold in (0.5, 0.7, 0.8):
            score = counts(table, threshold).ap
            rows.setdefault(f"ap{int(threshold * 100)}", []).append(score)
            if threshold == 0.5:
                rows.setdefault(f"ap50/{source.group}", []).append(score)
    return {name: float(np.mean(values)) for name, values in sorted(rows.items())}


def prompt_scores(
    network: Any,
    images: Sequence[LabelledImage],
    objects: int = 8,
    clicks: int = 3,
    dense: bool = False,
) -> dict[str, float]:
    """Mean IoU for a click in the middle, for a box, and after corrective clicks.

    Parameters
    ----------
    network : Sam
        In eval mode.
    images : sequence of LabelledImage
        Whole images.
    objects : int
        Objects per image, spread evenly over its labels.
    clicks : int
        Number of clicks, the first included. Further clicks lie in the middle of the largest error,
        with the last mask's logits as mask prompt.
    dense : bool
        Also measure the dense head's instance under the click.

    Returns
    -------
    dict of str to float
        ``point`` (mask of the best predicted IoU), ``point_best`` (best of three), ``box``
        (single mask), ``click1`` .. ``clickN``, ``iou_error`` (mean absolute error of the
        predicted IoU), ``iou_correlation``, and ``point_best`` and ``box`` per group.
    """
    rows: dict[str, list[float]] = {}
    pairs: list[tuple[float, float]] = []
    device = next(network.parameters()).device
    geometry = Geometry.of(network.image_encoder)
    stride, half = geometry.stride, 0.5 * (geometry.stride - 1)
    for source in images:
        pixels, labels = frame_of(source, geometry)
        ids = np.flatnonzero(np.bincount(labels.ravel())[1:] >= 10) + 1
        if len(ids) == 0:
            continue
        ids = ids[np.linspace(0, len(ids) - 1, min(objects, len(ids))).astype(int)]
        masks = labels[None] == ids[:, None, None]
        points = np.array([interior_point(mask) for mask in masks])
        with torch.no_grad(), mixed_precision(device, network.image_encoder):
            output = network.encode(pixels[None].to(device))
            embedding = output.embedding
            known = {} if network.mask_refiner is None else {"heads": output.heads}
            if dense:
                maps = output.heads["dense"][0, :, : labels.shape[0], : labels.shape[1]]
                found = decode_dense(maps.float().cpu().numpy(), _APART, min_cells=MIN_CELLS).labels
                for mask, (r, c) in zip(masks, points, strict=True):
                    own = found == found[r, c] if found[r, c] else np.zeros_like(mask)
                    rows.setdefault("dense_at_point", []).append(mask_iou(own, mask))
            coords = torch.tensor(points[:, None, ::-1] * stride + half).float().to(device)
            kinds = torch.ones(len(ids), 1, dtype=torch.int64, device=device)
            logits, iou = network.decode(embedding, coords, kinds, return_all=True, **known)
            quality = _ious(logits, masks)
            pick = iou[:, 1:].argmax(1).cpu().numpy() + 1
            chosen = quality[np.arange(len(ids)), pick]
            rows.setdefault("point", []).extend(chosen)
            rows.setdefault("point_best", []).extend(quality[:, 1:].max(1))
            rows.setdefault("point_single", []).extend(quality[:, 0])
            rows.setdefault(f"point_best/{source.group}", []).extend(quality[:, 1:].max(1))
            rows.setdefault("click1", []).extend(chosen)
            pairs += list(zip(iou[:, 1:].flatten().tolist(), quality[:, 1:].ravel(), strict=True))
            sides = np.array([tight_box(mask) for mask in masks])[:, [1, 0, 3, 2]]
            boxes = torch.tensor(sides * stride + half).float().to(device)
            boxed, _ = network.decode(embedding, boxes=boxes, multimask=False, **known)
            quality = _ious(boxed, masks)[:, 0]
            rows.setdefault("box", []).extend(quality)
            rows.setdefault(f"box/{source.group}", []).extend(quality)
            last = logits[torch.arange(len(ids)), torch.from_numpy(pick)][:, None]
            for click in range(2, clicks + 1):
                more = [
                    _correction(a, b) for a, b in zip(_cut(last[:, 0], masks), masks, strict=True)
                ]
                added = torch.tensor([[c * stride + half, r * stride + half] for r, c, _ in more])
                coords = torch.cat([coords, added[:, None].float().to(device)], 1)
                kind = torch.tensor([[k] for _, _, k in more], device=device)
                kinds = torch.cat([kinds, kind], 1)
                last, _ = network.decode(
                    embedding, coords, kinds, masks=last, multimask=False, **known
                )
                rows.setdefault(f"click{click}", []).extend(_ious(last, masks)[:, 0])
    measures = {name: float(np.mean(values)) for name, values in sorted(rows.items())}
    if len(pairs) < 2:
        return measures
    predicted, true = np.array(pairs).T
    measures["iou_error"] = float(np.abs(predicted - true).mean())
    measures["iou_correlation"] = float(np.corrcoef(predicted, true)[0, 1])
    return measures


def _cut(logits: Tensor, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return (logits[..., : masks.shape[1], : masks.shape[2]] > 0).cpu().numpy()


def _ious(logits: Tensor, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    found = _cut(logits, masks)
    true = masks[:, None]
    return (found & true).sum((2, 3)) / np.maximum((found | true).sum((2, 3)), 1)


def _correction(found: NDArray[np.bool_], mask: NDArray[np.bool_]) -> tuple[float, float, int]:
    """Row, column and label of the next click; inside the object if nothing is wrong."""
    click = next_click(found, mask)
    return (*interior_point(mask), 1) if click is None else (click.row, click.col, click.label)
