"""Prompts of many objects as arrays: points, boxes, mask logits."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import PromptError
from ..limits import MASK_PIXELS
from ..reading import inflate
from ..wording import counted
from .windows import Window

if TYPE_CHECKING:
    from .model import Model

PADDING = -1
"""The label of a point that is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Prompts of n objects, in full-resolution (row, column) coordinates.

    Usually made by `from_points`, `from_boxes`, `each_point` or `from_objects`. An object has at
    least one prompt. Objects with negative points only can be held (while somebody edits them),
    but not decoded: the network was never trained on them.

    Parameters
    ----------
    points : float32 array (n, k, 2)
        (row, column), pixel centres at integers; k is the largest number of points.
    labels : int8 array (n, k)
        1 inside the object, 0 outside, -1 padding.
    boxes : float32 array (n, 4)
        (row_min, col_min, row_max, col_max); NaN where an object has no box.
    masks : float32 array (n, h, w), optional
        Low-resolution logits, of the size that `Prediction.logits` has; see
        `masks.mask_logits` for a mask drawn by hand.
    has_mask : bool array (n,), optional
        Which of `masks` are there; by default all.
    texts : float32 array (n, channels), optional
        Vectors of words, for a model with text prompts; NaN where an object has none. See
        `from_words`.

    Raises
    ------
    PromptError
        If shapes do not fit, a number is not finite, a label is unknown, a box has no area, or
        an object has no prompt.
    """

    points: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray | None = None
    has_mask: np.ndarray | None = None
    texts: np.ndarray | None = None
    point_counts: np.ndarray = field(init=False, repr=False)
    """Number of real points of each object: int (n,)."""
    has_box: np.ndarray = field(init=False, repr=False)
    """Which objects have a box: bool (n,)."""
    has_masks: np.ndarray = field(init=False, repr=False)
    """Which objects have a mask prompt: bool (n,)."""
    has_text: np.ndarray = field(init=False, repr=False)
    """Which objects have a text prompt: bool (n,)."""

    def __post_init__(self) -> None:
        points = _floats(self.points, "points")
        labels = _whole_labels(self.labels)
        boxes = _floats(self.boxes, "boxes")
        if points.ndim != 3 or points.shape[2] != 2:
            raise PromptError(f"points have the shape (objects, points, 2), not {points.shape}")
        count = len(points)
        if labels.shape != points.shape[:2]:
            raise PromptError(
                f"labels of shape {labels.shape} do not fit points of shape {points.shape}"
            )
        if boxes.shape != (count, 4):
            raise PromptError(f"boxes have the shape ({count}, 4), not {boxes.shape}")
        masks, has_mask = _mask_arrays(self.masks, self.has_mask, count)
        texts, none = _text_arrays(self.texts, count), np.zeros(count, bool)
        for name, value in (
            ("points", points),
            ("labels", labels),
            ("boxes", boxes),
            ("masks", masks),
            ("has_mask", has_mask),
            ("texts", texts),
            ("point_counts", (labels != PADDING).sum(1)),
            ("has_box", ~np.isnan(boxes[:, 0])),
            ("has_masks", none if has_mask is None else has_mask),
            ("has_text", none if texts is None else ~np.isnan(texts[:, 0])),
        ):
            if value is not None:
                value.setflags(write=False)
            object.__setattr__(self, name, value)
        self._check()

    def __repr__(self) -> str:
        boxes, masks = ("box", self.has_box), ("mask", self.has_masks)
        kinds = (("point", self.point_counts), boxes, masks, ("text", self.has_text))
        what = ", ".join(counted(int(each.sum()), kind) for kind, each in kinds if each.any())
        return f"<Prompts of {counted(len(self), 'object')}: {what}>"

    def _check(self) -> None:
        real = self.labels != PADDING
        wrong = ~np.isin(self.labels, (PADDING, 0, 1))
        if wrong.any():
            where = np.argwhere(wrong)[0]
            raise PromptError(
                f"point {where[1]} of object {where[0]} has label {self.labels[tuple(where)]}; "
                "labels are 1 (inside the object) or 0 (outside)"
            )
        wrong = real & ~np.isfinite(self.points).all(-1)
        if wrong.any():
            item, point = np.argwhere(wrong)[0]
            raise PromptError(f"point {point} of object {item} is not finite")
        missing = np.isnan(self.boxes)
        wrong_box = ~(missing.all(1) | np.isfinite(self.boxes).all(1))
        if wrong_box.any():
            item = int(np.argmax(wrong_box))
            raise PromptError(f"the box of object {item} is not finite: {self.boxes[item]}")
        flat = ~missing.all(1) & ~(
            (self.boxes[:, 0] < self.boxes[:, 2]) & (self.boxes[:, 1] < self.boxes[:, 3])
        )
        if flat.any():
            item = int(np.argmax(flat))
            raise PromptError(
                f"the box of object {item} has no area; a box is (row_min, col_min, row_max, "
                f"col_max) with min < max, not {tuple(self.boxes[item].tolist())}"
            )
        empty = ~(real.any(1) | self.has_box | self.has_masks | self.has_text)
        if empty.any():
            raise PromptError(
                f"object {int(np.argmax(empty))} has no prompt; give it a point, a box or a mask"
            )

    @classmethod
    def from_points(cls, points: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> Prompts:
        """Make the prompts of ONE object from its points.

        Parameters
        ----------
        points : array-like (k, 2) or (2,)
            (row, column).
        labels : array-like (k,), optional
            1 inside the object, 0 outside; all 1 by default.
        """
        return cls.from_objects([{"points": points, "labels": labels}])

    @classmethod
    def from_words(
        cls,
        words: str,
        model: Model,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
    ) -> Prompts:
        """Make the prompts of ONE object from words, and perhaps points where they are not enough.

        Parameters
        ----------
        words : str
            Such as "a nucleus".
        model : Model
            One that was trained with text prompts (``train`` with ``prompt = "clip"``).
        points, labels : array-like, optional
            As for `from_points`.

        Raises
        ------
        PromptError
            If the model has no text prompts, or the words are none.
        CheckpointError
            If its CLIP is not there, or is another one.
        """
        item = {"text": model.text_vectors([words])[0], "points": points, "labels": labels}
        return cls.from_objects([item])

    @classmethod
    def from_boxes(cls, boxes: npt.ArrayLike) -> Prompts:
        """Make the prompts of n objects from a box each.

        Parameters
        ----------
        boxes : array-like (n, 4) or (4,)
            (row_min, col_min, row_max, col_max).
        """
        array = np.atleast_2d(_floats(boxes, "boxes"))
        count = len(array)
        if np.isnan(array).any():
            raise PromptError("a box holds NaN")
        return cls(np.zeros((count, 0, 2)), np.zeros((count, 0), np.int8), array)

    @classmethod
    def each_point(cls, points: npt.ArrayLike) -> Prompts:
        """Make the prompts of n objects from one positive point each.

        Parameters
        ----------
        points : array-like (n, 2)
            (row, column).
        """
        array = _floats(points, "points")
        if array.ndim != 2 or array.shape[1] != 2:
            raise PromptError(f"points have the shape (n, 2), not {array.shape}")
        count = len(array)
        return cls(array[:, None], np.ones((count, 1), np.int8), _no_boxes(count))

    @classmethod
    def from_objects(cls, objects: Iterable[Mapping[str, Any]]) -> Prompts:
        """Make prompts from one mapping per object.

        Parameters
        ----------
        objects : iterable of mappings
            Keys, each optional: "points" (k, 2), "labels" (k,), "box" (4,), "mask" (h, w)
            float logits, "text" (channels,). Other keys are errors.
        """
        entries = [_object_arrays(item, number) for number, item in enumerate(objects)]
        count = len(entries)
        width = max((len(points) for points, *_ in entries), default=0)
        points = np.zeros((count, width, 2), np.float32)
        labels = np.full((count, width), PADDING, np.int8)
        boxes = _no_boxes(count)
        shapes = {mask.shape for *_, mask, _ in entries if mask is not None}
        widths = {len(text) for *_, text in entries if text is not None}
        if len(widths) > 1:
            raise PromptError(f"texts of one batch need one width, not {sorted(widths)}")
        texts = np.full((count, widths.pop()), np.nan, np.float32) if widths else None
        if len(shapes) > 1:
            raise PromptError(f"mask prompts of one batch need one shape, not {sorted(shapes)}")
        masks = np.zeros((count, *shapes.pop()), np.float32) if shapes else None
        has_mask = np.zeros(count, bool)
        for number, (own_points, own_labels, box, mask, text) in enumerate(entries):
            points[number, : len(own_points)] = own_points
            labels[number, : len(own_labels)] = own_labels
            if box is not None:
                boxes[number] = box
            if mask is not None and masks is not None:
                masks[number] = mask
                has_mask[number] = True
            if text is not None and texts is not None:
                texts[number] = text
        return cls(points, labels, boxes, masks, has_mask if masks is not None else None, texts)

    @classmethod
    def concatenate(cls, parts: Iterable[Prompts]) -> Prompts:
        """Join the objects of several prompts."""
        return cls.from_objects(item for part in parts for item in part.objects())

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> Prompts:
        """Return some of the objects, as `Prompts`; an int gives one object."""
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"object {index} of {len(self)}")
            index = [int(index)]
        has_mask = None if self.has_mask is None else self.has_mask[index]
        masks = None if self.masks is None or not self.has_masks[index].any() else self.masks[index]
        return Prompts(
            self.points[index],
            self.labels[index],
            self.boxes[index],
            masks,
            None if masks is None else has_mask,
            None if self.texts is None else self.texts[index],
        )

    def __iter__(self) -> Iterator[Prompts]:
        return (self[index] for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Prompts):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def objects(self) -> list[dict[str, Any]]:
        """Return one mapping of arrays per object, as `from_objects` takes them."""
        result: list[dict[str, Any]] = []
        for number in range(len(self)):
            real = self.labels[number] != PADDING
            item: dict[str, Any] = {}
            if real.any():
                item["points"] = self.points[number][real]
                item["labels"] = self.labels[number][real]
            if self.has_box[number]:
                item["box"] = self.boxes[number]
            if self.masks is not None and self.has_masks[number]:
                item["mask"] = self.masks[number]
            if self.texts is not None and self.has_text[number]:
                item["text"] = self.texts[number]
            result.append(item)
        return result

    def with_masks(self, logits: npt.ArrayLike) -> Prompts:
        """Return the same prompts with mask prompts (n, h, w), e.g. the last best logits."""
        masks = np.asarray(logits, np.float32)
        return Prompts(self.points, self.labels, self.boxes, masks, texts=self.texts)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and strings, for JSON; mask logits are deflated float32, base64."""
        items = []
        for item in self.objects():
            plain = {key: value.tolist() for key, value in item.items() if key != "mask"}
            if "mask" in item:
                mask = np.ascontiguousarray(item["mask"], "<f4")
                data = base64.b64encode(zlib.compress(mask.tobytes(), 1)).decode("ascii")
                plain["mask"] = {"shape": list(mask.shape), "float32": data}
            items.append(plain)
        return {"objects": items}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Prompts:
        """Read what `to_dict` gave.

        Raises
        ------
        PromptError
            If it is not such a mapping.
        """
        try:
            objects = []
            for plain in data["objects"]:
                item = dict(plain)
                if "mask" in item:
                    rows, cols = (int(side) for side in item["mask"]["shape"])
                    MASK_PIXELS.check(rows * cols, "a mask prompt", PromptError)
                    packed = base64.b64decode(item["mask"]["float32"], validate=True)
                    raw = inflate(packed, 4 * rows * cols, "a mask prompt")
                    mask = np.frombuffer(raw, "<f4").reshape(rows, cols)
                    item["mask"] = mask.astype(np.float32)
                objects.append(item)
        except PromptError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise PromptError(f"prompts cannot be read: {error!r}") from error
        return cls.from_objects(objects)

    def check(self, window: Window, image_shape: tuple[int, int]) -> None:
        """Check that every prompt can be decoded in a window of an image.

        Points are on the image's pixels; a box may reach to the edge as a slice does (row_max equal
        to the number of rows).

        Raises
        ------
        PromptError
            If a prompt lies outside the image or the window, or an object has negative points
            and nothing else.
        """
        self._check_inside(Window.full(image_shape), "image")
        self._check_inside(window, "window")
        negative = ~((self.labels == 1).any(1) | self.has_box | self.has_masks | self.has_text)
        if negative.any():
            raise PromptError(
                f"object {int(np.argmax(negative))} has only negative points; add a positive "
                "point, a box or a mask"
            )

    def _check_inside(self, area: Window, name: str) -> None:
        low = np.array([area.row, area.col], np.float32) - 0.5
        high = low + np.array(area.shape, np.float32)
        _, _, last_row, last_col = area.box
        where = (
            f"{name}, whose rows run from {area.row} to {last_row} and columns from {area.col} to "
            f"{last_col}"
        )
        beyond = ((self.points < low) | (self.points > high)).any(-1)
        outside = np.argwhere(beyond & (self.labels != PADDING))
        if len(outside):
            item, point = outside[0]
            row, col = self.points[item, point]
            raise PromptError(
                f"point {point} of object {item} at (row {row:g}, column {col:g}) lies outside the "
                f"{where}"
            )
        reaching = np.flatnonzero(
            ((self.boxes < np.tile(low, 2)) | (self.boxes > np.tile(high + 0.5, 2))).any(-1)
        )
        if len(reaching):
            box = tuple(self.boxes[reaching[0]].tolist())
            raise PromptError(
                f"the box of object {reaching[0]}, {box}, reaches outside the {where}"
            )


def _no_boxes(count: int) -> np.ndarray:
    return np.full((count, 4), np.nan, np.float32)


def _floats(values: Any, name: str) -> np.ndarray:
    """Return values as a new float32 array; `name` is for the error."""
    try:
        return np.array(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{name} must be an array of numbers: {error}") from error


def _whole_labels(values: Any) -> np.ndarray:
    """Return labels as a new int8 array."""
    array = _floats(values, "labels")
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int8)
    if (whole != array).any():
        raise PromptError("labels are 1 (inside the object) or 0 (outside)")
    return whole


def _mask_arrays(
    masks: Any, has_mask: Any, count: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return mask logits (count, h, w) and which of them are there, both new or None."""
    if masks is None:
        if has_mask is not None and np.any(has_mask):
            raise PromptError("has_mask marks mask prompts, but there are no masks")
        return None, None
    if getattr(masks, "dtype", None) == np.bool_:
        raise PromptError(
            "mask prompts are low-resolution logits; mask_logits turns a boolean mask into them"
        )
    array = _floats(masks, "masks")
    if array.ndim != 3 or len(array) != count or 0 in array.shape[1:]:
        raise PromptError(f"mask prompts have the shape ({count}, h, w), not {array.shape}")
    present = np.ones(count, bool) if has_mask is None else np.array(has_mask, bool)
    if present.shape != (count,):
        raise PromptError(f"has_mask has the shape ({count},), not {present.shape}")
    if not np.isfinite(array[present]).all():
        raise PromptError("a mask prompt is not finite")
    return array, present


def _text_arrays(texts: Any, count: int) -> np.ndarray | None:
    """Return vectors of text prompts (count, channels), new; None if no object has one."""
    if texts is None:
        return None
    array = _floats(texts, "texts")
    if array.ndim != 2 or len(array) != count or not array.shape[1]:
        raise PromptError(f"texts are vectors of shape ({count}, channels), not {array.shape}")
    given = ~np.isnan(array).all(1)
    if not np.isfinite(array[given]).all():
        raise PromptError("the vector of a text prompt is not finite")
    return array if given.any() else None


def _object_arrays(
    item: Mapping[str, Any], number: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Return points (k, 2), labels (k,), box (4,), mask (h, w) and text (w,) of one object."""
    unknown = set(item) - {"points", "labels", "box", "mask", "text"}
    if unknown:
        raise PromptError(
            f"object {number} has {sorted(unknown)}; known are points, labels, box, mask and text"
        )
    raw = item.get("points")
    points = _floats([] if raw is None else raw, "points")
    points = points.reshape(-1, 2) if points.size == 0 or points.shape == (2,) else points
    if points.ndim != 2 or points.shape[1] != 2:
        raise PromptError(f"points of object {number} have the shape (k, 2), not {points.shape}")
    given = item.get("labels")
    labels = np.ones(len(points), np.int8) if given is None else np.atleast_1d(_whole_labels(given))
    if labels.shape != (len(points),):
        raise PromptError(
            f"object {number} has {len(points)} points and {labels.size} labels; "
            "give one label per point"
        )
    if (labels == PADDING).any():
        raise PromptError(f"object {number}: labels are 1 (inside the object) or 0 (outside)")
    box = item.get("box")
    if box is not None:
        box = _floats(box, "box")
        if box.shape != (4,) or not np.isfinite(box).all():
            raise PromptError(
                f"the box of object {number} is (row_min, col_min, row_max, col_max), not {box}"
            )
    mask = item.get("mask")
    if mask is not None:
        if getattr(mask, "dtype", None) == np.bool_:
            raise PromptError(
                "mask prompts are low-resolution logits; mask_logits turns a boolean mask into them"
            )
        mask = _floats(mask, "mask")
        if mask.ndim != 2 or 0 in mask.shape:
            raise PromptError(f"the mask of object {number} has the shape (h, w), not {mask.shape}")
    text = item.get("text")
    if text is not None:
        text = _floats(text, "text")
        if text.ndim != 1 or not np.isfinite(text).all():
            raise PromptError(
                f"the text of object {number} is a vector, which Prompts.from_words makes of words"
            )
    return points, labels, box, mask, text
