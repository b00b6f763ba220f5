"""Transformers' own way from an image and prompts to masks, without its processors.

These need torchvision. What they do stands here in a few lines, after their sources: resize, scale,
normalise; coordinates times the frame's side over the image's; bilinear steps back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

PHOTOS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def load(folder: Path, model: str, **options: Any) -> Any:
    """A model loaded by transformers alone."""
    import transformers

    from napari_segment_anything.families.loading import quiet

    with quiet():
        return getattr(transformers, model).from_pretrained(folder, **options).eval()


@dataclass
class Pipeline:
    """Transformers' model for images, and what its processor does.

    Parameters
    ----------
    module : nn.Module
    pixels : tuple
        Mean and deviation.
    pads : bool
        Whether the frame is padded, as in SAM 1.
    embed : callable, optional
        Gives the image embeddings of pixel values, where another model has the encoder.
    """

    module: Any
    pixels: Any = PHOTOS
    pads: bool = False
    embed: Callable[[torch.Tensor], list[torch.Tensor]] | None = None

    @property
    def side(self) -> int:
        return self.module.prompt_encoder.input_image_size

    def size(self, image: np.ndarray) -> tuple[int, int]:
        """Rows and columns of the image in the frame."""
        if not self.pads:
            return self.side, self.side
        scale = self.side / max(image.shape[:2])
        return tuple(int(length * scale + 0.5) for length in image.shape[:2])

    def frame(self, image: np.ndarray) -> torch.Tensor:
        rows, cols = self.size(image)
        resized = Image.fromarray(image).resize((cols, rows), Image.Resampling.BILINEAR)
        values = (np.asarray(resized, np.float32) / 255 - self.pixels[0]) / self.pixels[1]
        values = torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1)[None]
        return F.pad(values, (0, self.side - cols, 0, self.side - rows))

    def __call__(
        self,
        image: np.ndarray,
        *,
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        boxes: np.ndarray | None = None,
        mask: torch.Tensor | None = None,
        multimask: bool = True,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Low-resolution logits (n, c, h, w), scores (n, c), and logits of the image's size.

        Points (n, k, 2) and boxes (n, 4) are in rows and columns, as ours.
        """
        rows, cols = self.size(image)
        scale = torch.tensor([cols / image.shape[1], rows / image.shape[0]])
        given: dict[str, Any] = {}
        if points is not None:
            given["input_points"] = torch.tensor(points[..., ::-1].copy()).float()[None] * scale
            given["input_labels"] = torch.tensor(labels)[None].long()
        if boxes is not None:
            corners = torch.tensor(boxes.reshape(-1, 2, 2)[..., ::-1].copy()).float() * scale
            given["input_boxes"] = corners.reshape(1, -1, 4)
        if mask is not None:
            given["input_masks"] = mask
        with torch.inference_mode():
            frame = self.frame(image)
            if self.embed is None:
                given["pixel_values"] = frame
            else:
                given["image_embeddings"] = self.embed(frame)
            found = self.module(multimask_output=multimask, **given)
        low = found.pred_masks[0]
        full = low
        if self.pads:
            full = F.interpolate(low, (self.side,) * 2, mode="bilinear", align_corners=False)
            full = full[..., :rows, :cols]
        full = F.interpolate(full, image.shape[:2], mode="bilinear", align_corners=False)
        return low.numpy(), found.iou_scores[0].numpy(), full.numpy()


def video_run(
    module: Any, video: torch.Tensor, prompts: dict[int, dict[int, Any]], reverse: bool
) -> dict[tuple[int, int], tuple[torch.Tensor, float]]:
    """Low-resolution logits and object scores by (frame, object), of a whole video.

    Prompts by frame and object are masks (side, side), or points, labels and box in x and y of the
    frame.
    """
    import transformers

    kind = type(module).__name__.removesuffix("Model") + "InferenceSession"
    session = getattr(transformers, kind)(
        video=video, video_height=10, video_width=10, dtype=torch.float32
    )
    for frame, objects in sorted(prompts.items()):
        for number, given in objects.items():
            index = session.obj_id_to_idx(number)
            if isinstance(given, Mapping):
                box = given.get("box")
                corners = [] if box is None else [box[:2], box[2:]]
                kinds = [] if box is None else [2, 3]
                coords = torch.tensor([[[*corners, *given.get("points", [])]]])
                labels = torch.tensor([[[*kinds, *given.get("labels", [])]]], dtype=torch.int32)
                given = {"point_coords": coords, "point_labels": labels}
                session.add_point_inputs(index, frame, given)
            else:
                session.add_mask_inputs(index, frame, given[None, None])
        session.obj_with_new_inputs = list(objects)
        module(session, frame_idx=frame)
    start = max(prompts) if reverse else min(prompts)
    found = {}
    for out in module.propagate_in_video_iterator(session, start, reverse=reverse):
        for index, number in enumerate(out.object_ids):
            logits, score = out.pred_masks[index, 0], out.object_score_logits[index]
            found[out.frame_idx, number] = logits, float(score)
    return found
