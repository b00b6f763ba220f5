"""Detectors: boxes for words, or for what is like the content of other boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import CheckpointError
from .folder import ModelFolder
from .loading import load_module
from .words import PixelReader, WordReader


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes that a detector found.

    Parameters
    ----------
    boxes : float32 array (n, 4)
        (row_min, col_min, row_max, col_max) in pixels, pixel centres at integers.
    scores : float32 array (n,)
        0 to 1.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    def above(self, score: float) -> Boxes:
        """Select those with more than a score."""
        good = self.scores > score
        return Boxes(self.boxes[good], self.scores[good])


class Detector(Protocol):
    """Finds boxes in an image; it keeps no state of images."""

    @property
    def name(self) -> str:
        """Its model_type."""

    @property
    def takes(self) -> frozenset[str]:
        """What it finds by: "words", "examples"."""

    @property
    def threshold(self) -> float:
        """Score from which on a box is probably right."""

    @property
    def frame(self) -> int:
        """Side of an image that it sees at full resolution, in pixels."""

    def read_words(self, words: str) -> Any:
        """Return what `detect` looks for: what words name."""

    def read_boxes(self, image: NDArray[np.uint8], boxes: NDArray[np.floating]) -> Any:
        """Return what `detect` looks for: what is like the content of boxes (n, 4) of an image."""

    def detect(self, image: NDArray[np.uint8], wanted: Any) -> Boxes:
        """Find boxes in an image, uint8 (rows, columns, 3)."""


@dataclass(frozen=True, slots=True, eq=False)
class Owlv2Detector:
    """OWLv2: words, and one or several boxes as examples."""

    module: Any
    words: WordReader
    pixels: PixelReader
    device: torch.device
    name: ClassVar[str] = "owlv2"
    takes: ClassVar[frozenset[str]] = frozenset({"words", "examples"})
    threshold: ClassVar[float] = 0.2

    @classmethod
    def of(cls, folder: ModelFolder, module: Any, device: torch.device) -> Owlv2Detector:
        """Put a loaded model on a device, with the folder's tokenizer and description of images."""
        most = int(module.config.text_config.max_position_embeddings)
        words = WordReader.of(folder, most=most, padded=True)
        return cls(module.to(device), words, PixelReader.of(folder), device)

    @property
    def frame(self) -> int:
        """Side of its frame."""
        return int(self.module.config.vision_config.image_size)

    def read_words(self, words: str) -> Tensor:
        """Embed words: (1, channels)."""
        tokens = self.words([words], self.device)
        with torch.inference_mode():
            text = self.module.owlv2.text_model(**tokens).pooler_output
            embedded: Tensor = self.module.owlv2.text_projection(text)
            return nn.functional.normalize(embedded, dim=-1)

    def read_boxes(self, image: NDArray[np.uint8], boxes: NDArray[np.floating]) -> Tensor:
        """Embed what fits each box best: (boxes, channels)."""
        with torch.inference_mode():
            features, map_ = self._features(image)
            embedded = self.module.class_predictor(features)[1][0]
            found = self._placed(self.module.box_predictor(features, map_)[0], image.shape)
        best = [int(np.argmax(_iou(box, found))) for box in np.asarray(boxes, np.float64)]
        return embedded[best]

    def detect(self, image: NDArray[np.uint8], wanted: Tensor) -> Boxes:
        """Find boxes; the score is that for the closest of what is wanted."""
        with torch.inference_mode():
            features, map_ = self._features(image)
            logits = self.module.class_predictor(features, wanted[None])[0][0]
            boxes = self._placed(self.module.box_predictor(features, map_)[0], image.shape)
            scores = logits.max(dim=-1).values.sigmoid()
        return Boxes(boxes, scores.float().cpu().numpy())

    def _features(self, image: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        pixels = self.pixels([image], self.device)["pixel_values"]
        map_ = self.module.image_embedder(pixel_values=pixels)[0]
        return map_.flatten(1, 2), map_

    def _placed(self, boxes: Tensor, shape: tuple[int, ...]) -> NDArray[np.float32]:
        side = max(shape[:2])  # the image is padded to a square
        return _corners(boxes, side, side)


@dataclass(frozen=True, slots=True, eq=False)
class GroundingDinoDetector:
    """Grounding DINO: words."""

    module: Any
    words: WordReader
    pixels: PixelReader
    device: torch.device
    name: ClassVar[str] = "grounding-dino"
    takes: ClassVar[frozenset[str]] = frozenset({"words"})
    threshold: ClassVar[float] = 0.3
    frame: ClassVar[int] = 800

    @classmethod
    def of(cls, folder: ModelFolder, module: Any, device: torch.device) -> GroundingDinoDetector:
        """Put a loaded model on a device, with the folder's tokenizer and description of images."""
        words = WordReader.of(folder, most=int(module.config.max_text_len), padded=False)
        return cls(module.to(device), words, PixelReader.of(folder), device)

    def read_words(self, words: str) -> dict[str, Tensor]:
        """Return tokens: the model reads words together with the image."""
        return self.words([words.lower().rstrip(".") + "."], self.device)

    def read_boxes(self, image: NDArray[np.uint8], boxes: NDArray[np.floating]) -> Any:
        """Raise `CheckpointError`: it does not take examples."""
        raise CheckpointError("Grounding DINO finds by words, not by examples")

    def detect(self, image: NDArray[np.uint8], wanted: dict[str, Tensor]) -> Boxes:
        """Find boxes; the score is that for the best of the words."""
        with torch.inference_mode():
            found = self.module(**self.pixels([image], self.device), **wanted)
            scores = found.logits[0].sigmoid().max(dim=-1).values
        boxes = _corners(found.pred_boxes[0], *image.shape[:2])
        return Boxes(boxes, scores.float().cpu().numpy())


_Maker = Callable[[ModelFolder, Any, torch.device], Detector]
DETECTOR_TYPES: dict[str, tuple[str, str, _Maker]] = {
    "owlv2": ("Owlv2Config", "Owlv2ForObjectDetection", Owlv2Detector.of),
    "grounding-dino": (
        "GroundingDinoConfig",
        "GroundingDinoForObjectDetection",
        GroundingDinoDetector.of,
    ),
}
"""Names of transformers' classes by model_type, and ours."""


def load_detector(folder: str | Path | ModelFolder, device: torch.device | str = "cpu") -> Detector:
    """Load OWLv2 or Grounding DINO from a folder in the form of transformers.

    Parameters
    ----------
    folder : path or ModelFolder
        With weights, tokenizer and description of images.
    device : torch.device or str

    Raises
    ------
    CheckpointError
        If it is no such folder, or incomplete.
    """
    folder = ModelFolder.of(folder, DETECTOR_TYPES, "boxes are found by")
    config, model, make = DETECTOR_TYPES[folder.model_type]
    attention = None if folder.model_type == "grounding-dino" else "sdpa"  # it has its own
    return make(folder, load_module(folder, config, model, attention), torch.device(device))


def _corners(boxes: Tensor, rows: int, cols: int) -> NDArray[np.float32]:
    """From (x, y, width, height) in 0..1 to corners in pixels, (row, column)."""
    x, y, width, height = boxes.float().cpu().numpy().T
    corners = np.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], axis=1)
    return (corners * np.array([rows, cols] * 2) - 0.5).astype(np.float32)


def _iou(box: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.floating]:
    low = np.maximum(box[:2], others[:, :2])
    shared = np.clip(np.minimum(box[2:], others[:, 2:]) - low, 0, None).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    iou: NDArray[np.floating] = shared / ((box[2:] - box[:2]).prod() + areas - shared)
    return iou
