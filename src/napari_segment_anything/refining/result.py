"""Refined objects: masks, labels, records, and the table to review them by."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..automatic.overlaps import priority
from ..engine import PlacedMask, Window
from ..formats import ImageRecords, LabelsGroup, MaskRecord, encode
from ..progress import Progress
from ..wording import counted, extent
from .given import GivenObjects
from .hints import Hint
from .review import doubts, evidence

Table = dict[str, NDArray[Any]]

_UNNAMED = "object"
_STRIP = 512
"""Rows that are drawn together, where labels are written to a store."""


@dataclass(frozen=True, eq=False)
class Refined:
    """Objects of another program, and what the model makes of them; n objects in the given order.

    Parameters
    ----------
    given : GivenObjects
        Ids, boxes, classes and scores.
    before : tuple of PlacedMask or None
        The given masks.
    masks : tuple of PlacedMask
        The refined ones; empty where the model finds nothing.
    predicted_iou, stability : float64 array (n,)
        The model's scores of the refined masks.
    hints : tuple of Hint
    prompt : str
        What the model was prompted with, where there was a mask.
    fingerprint : str
        The model's weights.
    """

    given: GivenObjects
    before: tuple[PlacedMask | None, ...]
    masks: tuple[PlacedMask, ...]
    predicted_iou: NDArray[np.float64]
    stability: NDArray[np.float64]
    hints: tuple[Hint, ...]
    prompt: str
    fingerprint: str

    def __repr__(self) -> str:
        return f"<Refined: {counted(len(self), 'object')} on {extent(self.shape)} pixels>"

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return self.given.shape

    @property
    def ids(self) -> NDArray[np.int64]:
        """The objects' ids, which are their labels: (n,)."""
        return self.given.ids

    @cached_property
    def agreement(self) -> NDArray[np.float64]:
        """IoU of each given mask with the refined one, of boxes with its box: (n,), 0 to 1."""
        return np.array(
            [
                new.iou(old) if old is not None else 0.0 if new.empty else _box_iou(box, new)
                for old, new, box in zip(self.before, self.masks, self.given.boxes, strict=True)
            ]
        )

    @cached_property
    def size_change(self) -> NDArray[np.float64]:
        """Area of each refined mask per area of the given one, of boxes of their boxes: (n,)."""
        return np.array(
            [
                new.area / old.area if old is not None else _box_area(new) / _area(box)
                for old, new, box in zip(self.before, self.masks, self.given.boxes, strict=True)
            ]
        )

    @cached_property
    def doubt(self) -> NDArray[np.float64]:
        """Estimated probability that each refined mask is wrong: (n,), 0 to 1."""
        kinds = np.array([hint.kind for hint in self.hints], str)
        found = evidence(self.predicted_iou, self.stability, self.agreement, kinds)
        return np.where(kinds == "empty", 1.0, doubts(found))

    def review(self) -> Table:
        """Return a row per object, those most worth a look first.

        Returns
        -------
        dict of str to array (n,)
            object, class, score (of the other program), doubt, hint, with (ids of the other
            objects of a merge), iou (of given and refined), predicted_iou, stability,
            size_change, area, area_given (NaN for boxes), and the box of both: row_min, col_min,
            row_max, col_max in pixels.
        """
        return dict(self._review)

    @cached_property
    def _review(self) -> Table:
        order = np.lexsort((self.ids, -self.doubt))
        both = [_extent(box, mask) for box, mask in zip(self.given.boxes, self.masks, strict=True)]
        corners = np.array(both, np.int64)
        others = [
            " ".join(str(self.ids[i]) for i in sorted(hint.others, key=lambda i: self.ids[i]))
            for hint in self.hints
        ]
        table: Table = {
            "object": self.ids,
            "class": np.array(self.given.classes, str),
            "score": self.given.scores,
            "doubt": self.doubt,
            "hint": np.array([hint.kind for hint in self.hints], str),
            "with": np.array(others, str),
            "iou": self.agreement,
            "predicted_iou": self.predicted_iou,
            "stability": self.stability,
            "size_change": self.size_change,
            "area": np.array([mask.area for mask in self.masks], np.int64),
            "area_given": np.array([math.nan if m is None else m.area for m in self.before]),
        }
        for index, name in enumerate(("row_min", "col_min", "row_max", "col_max")):
            table[name] = corners[:, index]
        return {name: column[order] for name, column in table.items()}

    def to_labels(self) -> NDArray[np.unsignedinteger]:
        """Draw all masks; where they overlap, the one with the higher predicted IoU is on top.

        Returns
        -------
        unsigned integer array (rows, columns)
        """
        return self.labels_in(Window.full(self.shape))

    def labels_in(self, window: Window) -> NDArray[np.unsignedinteger]:
        """Return the labels of a part of the image: (height, width)."""
        labels = np.zeros(window.shape, self.dtype)
        first, last = self._corners
        low = np.array([window.row, window.col])
        apart = ((last <= low) | (first >= low + window.shape)).any(axis=1)
        meets: NDArray[np.bool_] = np.logical_not(apart)
        below_first = self._order[::-1]
        for index in below_first[meets[below_first]]:
            self.masks[index].paste(labels, self.ids[index], window.row, window.col)
        return labels

    @cached_property
    def _corners(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First row and column of each mask's window, and those after the last: (n, 2) each."""
        windows = [mask.window for mask in self.masks]
        first = np.array([(each.row, each.col) for each in windows], np.int64)
        return first, first + np.array([each.shape for each in windows], np.int64)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels: the smallest that holds the ids."""
        return np.min_scalar_type(int(self.ids.max(initial=0)))

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """Objects as they are painted, the first on top."""
        areas = np.array([mask.area for mask in self.masks], np.int64)
        return priority("score", areas, np.nan_to_num(self.predicted_iou))

    def write_labels(self, labels: LabelsGroup) -> Generator[Progress, None, None]:
        """Write labels of the image's shape into a store, strip by strip, and their pyramid.

        Parameters
        ----------
        labels : LabelsGroup
            Of `formats.create_labels`.
        """
        rows, cols = self.shape
        for top in range(0, rows, _STRIP):
            yield Progress(top, rows, message="writing labels")
            height = min(_STRIP, rows - top)
            labels.array[top : top + height] = self.labels_in(Window(top, 0, height, cols))
        yield from labels.build_pyramid()

    def image_records(self, file_name: str = "") -> ImageRecords:
        """Return the complete masks, also where others are drawn over them; ids are labels.

        Objects of which the model finds nothing are left out.

        Parameters
        ----------
        file_name : str
            The image's file.
        """
        names = self.categories
        rows, cols = self.shape
        return ImageRecords(
            cols,
            rows,
            tuple(
                MaskRecord.from_mask(
                    encode(mask.mask).place((mask.window.row, mask.window.col), self.shape),
                    id=int(number),
                    predicted_iou=float(score),
                    stability_score=float(stable),
                    category_id=1 + names.index(name or _UNNAMED),
                    category=name,
                    score=float(given),
                )
                for mask, number, score, stable, name, given in zip(
                    self.masks, self.ids, self.predicted_iou, self.stability,
                    self.given.classes, self.given.scores, strict=True,
                )
                if not mask.empty
            ),
            file_name,
        )  # fmt: skip

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the classes, sorted; "object" is that of objects without one."""
        return tuple(sorted({name or _UNNAMED for name in self.given.classes}))


def _extent(box: NDArray[np.float64], mask: PlacedMask) -> list[int]:
    """Outermost pixels of a box and a mask together."""
    low, high = np.ceil(box[:2]), np.floor(box[2:])
    if not mask.empty:
        low = np.minimum(low, mask.window.box[:2])
        high = np.maximum(high, mask.window.box[2:])
    return [*low.astype(int).tolist(), *high.astype(int).tolist()]


def _area(box: NDArray[np.float64]) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _box_area(mask: PlacedMask) -> int:
    return 0 if mask.empty else mask.window.height * mask.window.width


def _box_iou(box: NDArray[np.float64], mask: PlacedMask) -> float:
    own = np.add(mask.window.box, (-0.5, -0.5, 0.5, 0.5))
    sides = np.minimum(box[2:], own[2:]) - np.maximum(box[:2], own[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / (_area(box) + _area(own) - shared)
