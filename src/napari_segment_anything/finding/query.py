"""What is looked for: words, examples, or both."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..automatic.candidates import placed
from ..engine import PlacedMask, PlaneSource, Predictor, Prompts, Segmenter, Views
from ..engine.ask import Ask
from ..errors import ParameterError, PromptError
from ..formats.detection import Detection
from ..formats.rle import encode_labels
from ..progress import Progress, finish
from ..refining.given import given_objects

Box = tuple[float, float, float, float]
"""(row_min, col_min, row_max, col_max) in pixels."""


@dataclass(frozen=True, slots=True)
class Query:
    """A concept, all instances of which are wanted.

    Parameters
    ----------
    words : str
        What it is called; "" if only examples are given.
    examples : tuple of PlacedMask or Box
        Instances of it in one plane.
    """

    words: str = ""
    examples: tuple[PlacedMask | Box, ...] = ()

    @classmethod
    def of(cls, words: Any, examples: Any, shape: tuple[int, int]) -> Query:
        """Read words and examples as users give them.

        Parameters
        ----------
        words : str, optional
        examples : optional
            A sequence of boxes (row_min, col_min, row_max, col_max), of boolean masks (rows,
            columns) or of `PlacedMask`, also mixed; a label image, every object of which is one;
            or a file of boxes, outlines or labels, as `refine` takes them.
        shape : tuple of int
            (rows, columns) of the plane that they lie in.

        Raises
        ------
        ParameterError
            If there are neither words nor examples.
        PromptError
            If an example is none of these, empty, or outside the plane.
        """
        if words is not None and not isinstance(words, str):
            raise ParameterError(f"words are one text, such as 'nucleus', not {words!r:.60}")
        found = cls((words or "").strip(), _read(examples, shape))
        if not found.words and not found.examples:
            raise ParameterError("say what to look for: words, or examples (boxes or masks)")
        return found

    @property
    def needs(self) -> frozenset[str]:
        """What a finder has to understand: "words", "examples" or both."""
        given = {"words": bool(self.words), "examples": bool(self.examples)}
        return frozenset(name for name, there in given.items() if there)

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Boxes of the examples, (n, 4): (row_min, col_min, row_max, col_max)."""
        return np.array(
            [each.window.box if isinstance(each, PlacedMask) else each for each in self.examples],
            np.float64,
        ).reshape(-1, 4)


def example_masks(
    query: Query, source: PlaneSource, predictor: Predictor
) -> Generator[Progress, None, list[PlacedMask]]:
    """Turn the examples into masks: a box is segmented.

    Parameters
    ----------
    query : Query
    source : PlaneSource
        The plane that the examples lie in.
    predictor : Predictor

    Raises
    ------
    PromptError
        If a box holds nothing that the model would segment.
    """
    boxes = [each for each in query.examples if not isinstance(each, PlacedMask)]
    masks: list[PlacedMask] = []
    if boxes:
        views = Views(predictor, source)
        asks = Ask.each(Prompts.from_boxes(np.array(boxes)))
        steps = Segmenter(predictor).steps(views, asks)
        masks = [each.mask for each in (yield from steps) or ()]
    for box, mask in zip(boxes, masks, strict=True):
        if mask.empty:
            raise PromptError(f"nothing was segmented in the example box {box}; draw it closer")
    segmented = iter(masks)
    return [each if isinstance(each, PlacedMask) else next(segmented) for each in query.examples]


def _read(examples: Any, shape: tuple[int, int]) -> tuple[PlacedMask | Box, ...]:
    if examples is None:
        return ()
    if isinstance(examples, np.ndarray) and examples.shape == shape:
        if examples.dtype.kind in "iu":
            return tuple(placed(mask) for mask in encode_labels(examples).values())
        examples = [examples]
    listed = isinstance(examples, Sequence) and examples and isinstance(examples[0], Detection)
    if isinstance(examples, str | os.PathLike) or listed:
        given = finish(given_objects(examples, shape))
        pairs = ((given.mask(i), given.boxes[i]) for i in range(len(given)))
        return tuple(_box(box, shape) if mask is None else mask for mask, box in pairs)
    if isinstance(examples, PlacedMask) or not isinstance(examples, (Sequence, np.ndarray)):
        examples = [examples]
    return tuple(_one(each, shape) for each in examples)


def _one(example: Any, shape: tuple[int, int]) -> PlacedMask | Box:
    if isinstance(example, PlacedMask):
        mask = example
    else:
        try:
            array = np.asarray(example)
            numbers = array.dtype.kind in "iufb"
        except ValueError:
            numbers = False
        if not numbers or array.shape not in ((4,), shape):
            raise PromptError(
                "an example is a box (row_min, col_min, row_max, col_max) or a boolean mask of "
                f"the image's shape {shape}, not {example!r:.60}"
            )
        if array.shape == (4,):
            return _box(array.astype(np.float64), shape)
        mask = PlacedMask.of(array != 0)
    if mask.empty or (np.array(mask.window.box[2:]) >= shape).any():
        raise PromptError(f"an example holds no pixel of the image, of shape {shape}")
    return mask


def _box(box: NDArray[np.float64], shape: tuple[int, int]) -> Box:
    low = np.clip(box[:2], 0, None)
    high = np.minimum(box[2:], np.array(shape) - 1.0)
    if not np.isfinite(box).all() or (high <= low).any():
        raise PromptError(
            f"an example box is (row_min, col_min, row_max, col_max) inside the image of shape "
            f"{shape}, not {tuple(box.tolist())}"
        )
    row0, col0, row1, col1 = (float(n) for n in (*low, *high))
    return row0, col0, row1, col1
