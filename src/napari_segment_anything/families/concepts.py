"""SAM 3: masks of all instances that words name, or that are like example boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .folder import ModelFolder
from .loading import load_module
from .words import WordReader

CONCEPT_TYPES = ("sam3", "sam3_video")
_READS = 32
_ONLY_BOXES = "visual"
"""What SAM 3 reads where there are only boxes, as published."""


@dataclass(frozen=True, slots=True, eq=False)
class ConceptMasks:
    """Instances that SAM 3 found in an image.

    Parameters
    ----------
    logits : Tensor (n, h, w)
        Of the masks, on a grid over the whole image.
    scores : float32 array (n,)
        0 to 1.
    """

    logits: Tensor
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def mask(self, index: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return a mask at an image's resolution: bool (rows, columns)."""
        soft = nn.functional.interpolate(
            self.logits[index].sigmoid()[None, None],
            size=shape,
            mode="bilinear",
            align_corners=False,
        )
        mask: NDArray[np.bool_] = (soft[0, 0] > 0.5).cpu().numpy()
        return mask


@dataclass(frozen=True, slots=True, eq=False)
class ConceptFinder:
    """SAM 3's detector of concepts. Made by `load_concepts`.

    Parameters
    ----------
    module : torch.nn.Module
        Transformers' Sam3Model.
    words : WordReader
    mean, deviation : Tensor (1, 3, 1, 1)
        Of pixels in 0..255.
    device : torch.device
    """

    module: Any
    words: WordReader
    mean: Tensor
    deviation: Tensor
    device: torch.device
    name: ClassVar[str] = "sam3"
    threshold: ClassVar[float] = 0.5

    @classmethod
    def of(cls, folder: ModelFolder, module: Any, device: torch.device) -> ConceptFinder:
        """Make one of a loaded model, with the folder's tokenizer and description of images.

        Parameters
        ----------
        folder : ModelFolder
        module : torch.nn.Module
            Transformers' Sam3Model; it is moved to the device.
        device : torch.device
        """
        # transformers takes one function of torchvision, and leaves its name open without it
        modelling: Any = import_module(type(module).__module__)
        if not hasattr(modelling, "torchvision"):
            modelling.torchvision = SimpleNamespace(ops=SimpleNamespace(roi_align=roi_align))
        half = (0.5,) * 3
        mean, deviation = (
            torch.tensor(values, device=device).reshape(1, 3, 1, 1)
            for values in folder.pixels(half, half)
        )
        words = WordReader.of(folder, most=_READS, padded=True)
        return cls(module.to(device), words, mean, deviation, device)

    @property
    def frame(self) -> int:
        """Side of its frame in pixels; images are stretched to it."""
        return int(self.module.config.vision_config.backbone_config.image_size)

    def find(
        self,
        image: NDArray[np.uint8],
        words: str = "",
        boxes: NDArray[np.floating] | None = None,
        least: float = 0.0,
    ) -> ConceptMasks:
        """Find all instances in an image.

        Parameters
        ----------
        image : uint8 array (rows, columns, 3)
        words : str
            What they are called; "" if only boxes are given.
        boxes : float array (n, 4), optional
            Instances in the same image: (row_min, col_min, row_max, col_max).
        least : float
            Drop instances with lower scores.
        """
        tokens = self.words([words or _ONLY_BOXES], self.device)
        prompts: dict[str, Tensor] = {}
        if boxes is not None and len(boxes):
            prompts["input_boxes"] = self._relative(boxes, image.shape[:2])[None].to(self.device)
        with torch.inference_mode():
            found = self.module(pixel_values=self._pixels(image), **tokens, **prompts)
            scores = found.pred_logits[0].sigmoid() * found.presence_logits[0].sigmoid()
            good = scores >= least
        return ConceptMasks(found.pred_masks[0][good], scores[good].float().cpu().numpy())

    def _pixels(self, image: NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].to(self.device)
        pixels = nn.functional.interpolate(
            pixels.float(), size=(self.frame, self.frame), mode="bilinear", antialias=True
        )
        # torchvision, which the published preprocessing uses, resizes 8-bit images to 8 bits
        return (pixels.round().clamp(0, 255) - self.mean) / self.deviation

    @staticmethod
    def _relative(boxes: NDArray[np.floating], shape: tuple[int, ...]) -> Tensor:
        """From corners in pixels to centre and size in 0..1, (x, y): float32 (n, 4)."""
        row0, col0, row1, col1 = (np.asarray(boxes, np.float64) + 0.5).T
        rows, cols = shape
        centre = [(col0 + col1) / 2 / cols, (row0 + row1) / 2 / rows]
        size = [(col1 - col0) / cols, (row1 - row0) / rows]
        return torch.from_numpy(np.stack([*centre, *size], axis=1).astype(np.float32))


def load_concepts(
    folder: str | Path | ModelFolder, device: torch.device | str = "cpu"
) -> ConceptFinder:
    """Load SAM 3's detector of concepts from a folder in the form of transformers.

    Parameters
    ----------
    folder : path or ModelFolder
        With weights and tokenizer; also one with the weights for memory, as published.
    device : torch.device or str

    Raises
    ------
    CheckpointError
        If it is no such folder, or incomplete.
    """
    folder = ModelFolder.of(folder, CONCEPT_TYPES, "concepts are found by")
    video = folder.model_type == "sam3_video"
    module: Any = load_module(folder, "Sam3VideoConfig" if video else "Sam3Config", "Sam3Model")
    return ConceptFinder.of(folder, module, torch.device(device))


def roi_align(features: Tensor, boxes: Sequence[Tensor], size: int) -> Tensor:
    """Average features over a grid of bins in each box: torchvision's, with its defaults.

    Parameters
    ----------
    features : Tensor (images, channels, h, w)
    boxes : sequence of Tensor (n, 4)
        x_min, y_min, x_max, y_max in cells, for each image.
    size : int
        Bins along a side.

    Returns
    -------
    Tensor (boxes, channels, size, size)
    """
    pooled = [
        _bins(image[None], box, size)
        for image, several in zip(features, boxes, strict=True)
        for box in several
    ]
    return torch.cat(pooled) if pooled else features.new_zeros(0, features.shape[1], size, size)


def _bins(image: Tensor, box: Tensor, size: int) -> Tensor:
    grid = []
    for low, high, extent in zip(box[:2], box[2:], (image.shape[3], image.shape[2]), strict=True):
        side = (high - low).clamp(min=1)
        count = max(1, int(torch.ceil(side / size)))  # samples along a bin
        places = torch.arange(size * count, device=box.device, dtype=box.dtype)
        places = low + (places + 0.5) * side / (size * count)
        grid.append(2 * places / max(extent - 1, 1) - 1)
    x, y = grid
    points = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
    samples = nn.functional.grid_sample(
        image, points[None].to(image.dtype), padding_mode="border", align_corners=True
    )
    return nn.functional.avg_pool2d(samples, (len(y) // size, len(x) // size))
