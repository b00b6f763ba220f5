"""What a person says about drawn masks and fields, and the same from labels drawn elsewhere.

The rule: a mask stands for an object if they share more than half of the smaller of the two. If
several masks do, the one that shares most with the object stands for it, the others for none.
An object without such a mask was missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError
from ..formats.rle import RLE, encode_labels, from_coco, intersection
from ..measures import overlap_of_masks
from .audit_sample import AuditSample, CocoMask, centre_of

Verdict = Literal["accepted", "corrected", "rejected"]


@dataclass(frozen=True, slots=True)
class MaskAnswer:
    """What a person says about a mask.

    Parameters
    ----------
    verdict : {"accepted", "corrected", "rejected"}
    objects : tuple of CocoMask
        The objects that a corrected mask stands for: one, or several that it had merged.
    iou : float
        IoU with the one of them that fits best; 1 if accepted, 0 if rejected.
    seconds : float
        Time that it took.
    by : str
        Who answered.
    time : str
        When, in ISO 8601.
    classes : tuple of str, or None
        Name of the class of each object, of an accepted mask of its one; "" for none. None if
        classes were not looked at: they are then those of the mask.
    """

    verdict: Verdict
    objects: tuple[CocoMask, ...]
    iou: float
    seconds: float = 0.0
    by: str = ""
    time: str = ""
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class FieldAnswer:
    """What a person found in a field.

    Parameters
    ----------
    missed : tuple of CocoMask
        Objects that no mask stands for and whose centre lies in the field, drawn whole.
    seconds, by, time
        As in `MaskAnswer`.
    classes : tuple of str, or None
        Name of the class of each; None if none was given.
    """

    missed: tuple[CocoMask, ...]
    seconds: float = 0.0
    by: str = ""
    time: str = ""
    classes: tuple[str, ...] | None = None


def coco(mask: RLE) -> CocoMask:
    """A mask as it is stored."""
    code = mask.to_coco()
    return CocoMask(size=code["size"], counts=code["counts"])


def answer_to(
    mask: RLE,
    objects: Sequence[RLE],
    seconds: float = 0.0,
    by: str = "",
    time: str = "",
    classes: Sequence[str] | None = None,
) -> MaskAnswer:
    """The answer that says which objects an automatic mask stands for.

    Parameters
    ----------
    mask : RLE
        The automatic mask.
    objects : sequence of RLE
        Its object: the mask itself if it is right. Several if it had merged them, none if it is
        no object.
    seconds : float
    by, time : str
        As in `MaskAnswer`.
    classes : sequence of str, optional
        Name of the class of each object; "" for none.

    Raises
    ------
    ParameterError
        If an object is empty, or of an image of another size, or not each has a class.
    """
    named = classes_of(objects, classes)
    for each in objects:
        if each.size != mask.size or not each.area:
            raise ParameterError("an object of an audit is a mask of the whole image, not empty")
    if not objects:
        return MaskAnswer("rejected", (), 0.0, seconds, by, time, named)
    if len(objects) == 1 and objects[0] == mask:
        return MaskAnswer("accepted", (), 1.0, seconds, by, time, named)
    best = 0.0
    for each in objects:
        shared = intersection(mask, each)
        best = max(best, shared / (mask.area + each.area - shared))
    return MaskAnswer("corrected", tuple(map(coco, objects)), best, seconds, by, time, named)


def classes_of(objects: Sequence[RLE], classes: Sequence[str] | None) -> tuple[str, ...] | None:
    """Classes of objects, one each; None if they were not looked at.

    Raises
    ------
    ParameterError
        If there are more or fewer classes than objects.
    """
    if classes is not None and len(classes) != len(objects):
        raise ParameterError(
            f"{len(objects)} objects of an answer need as many classes, not {len(classes)}"
        )
    return None if classes is None else tuple(classes)


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Which objects the automatic masks of an image stand for.

    Parameters
    ----------
    objects : dict of int to RLE
        The true objects by label.
    of : dict of int to tuple of int
        The objects of each automatic mask that stands for one.
    missed : tuple of int
        Objects that no mask stands for.
    classes : mapping of int to str, or None
        Names of the objects' classes; None if they are not known.
    """

    objects: dict[int, RLE]
    of: dict[int, tuple[int, ...]]
    missed: tuple[int, ...]
    classes: Mapping[int, str] | None = None

    def classes_of(self, objects: Sequence[int]) -> tuple[str, ...] | None:
        """Classes of some of the objects, "" for none; None if they are not known."""
        known = self.classes
        return None if known is None else tuple(known.get(i, "") for i in objects)


def standing(
    truth: ArrayLike, masks: Mapping[int, RLE], classes: Mapping[int, str] | None = None
) -> Standing:
    """Find out which true objects automatic masks stand for.

    Parameters
    ----------
    truth : integer array (rows, columns)
        Labels of all objects; 0 is background.
    masks : mapping of int to RLE
        The automatic masks by label.
    classes : mapping of int to str, optional
        Names of classes by true label, if they are known.

    Raises
    ------
    ParameterError
        If the labels have another size than the masks.
    """
    labels = np.asarray(truth)
    ids = sorted(masks)
    if any(masks[i].size != labels.shape for i in ids[:1]):
        raise ParameterError(
            f"the true labels have {labels.shape} pixels, the masks {masks[ids[0]].size}"
        )
    table = overlap_of_masks(
        labels, ((*masks[i].bounds[:2], masks[i].decode_bounds()) for i in ids)
    )
    least = np.minimum(table.true_areas[table.true_index], table.found_areas[table.found_index])
    linked = np.flatnonzero(2 * table.shared > least)
    # the mask that shares most with an object, of several the first
    order = linked[np.lexsort((table.found_index[linked], -table.shared[linked]))]
    _, first = np.unique(table.true_index[order], return_index=True)
    owners = order[first]
    of: dict[int, list[int]] = {}
    for pair in owners:
        mask = ids[int(table.found_index[pair])]
        of.setdefault(mask, []).append(int(table.true_ids[table.true_index[pair]]))
    found = set(table.true_index[owners].tolist())
    missed = tuple(int(t) for i, t in enumerate(table.true_ids) if i not in found)
    return Standing(encode_labels(labels), {m: tuple(o) for m, o in of.items()}, missed, classes)


def answers_from(
    sample: AuditSample, known: Mapping[str, Standing], by: str = "", time: str = ""
) -> tuple[dict[int, MaskAnswer], dict[int, FieldAnswer]]:
    """Answers to the drawn masks and fields of images whose true objects are known.

    Parameters
    ----------
    sample : AuditSample
    known : mapping of str to Standing
        By the image's key; other images are left unanswered.
    by, time : str
        As in `MaskAnswer`.

    Returns
    -------
    dict of int to MaskAnswer, dict of int to FieldAnswer
        By their position in the sample.
    """
    masks: dict[int, MaskAnswer] = {}
    for number, drawn in enumerate(sample.masks):
        if drawn.image in known:
            there = known[drawn.image]
            own = there.of.get(drawn.id, ())
            masks[number] = answer_to(
                drawn.rle, [there.objects[i] for i in own], 0.0, by, time, there.classes_of(own)
            )
    fields: dict[int, FieldAnswer] = {}
    centres = {
        key: {i: centre_of(there.objects[i]) for i in there.missed} for key, there in known.items()
    }
    for number, field in enumerate(sample.fields):
        if field.image in known:
            there = known[field.image]
            inside = [i for i, at in centres[field.image].items() if field.contains(at)]
            fields[number] = FieldAnswer(
                tuple(coco(there.objects[i]) for i in inside), 0.0, by, time,
                there.classes_of(inside),
            )  # fmt: skip
    return masks, fields


def object_areas(answer: MaskAnswer, own: float) -> NDArray[np.float64]:
    """Areas in pixels of the objects that a mask stands for; `own` is the mask's area."""
    if answer.verdict == "accepted":
        return np.array([own])
    return np.array([from_coco(each).area for each in answer.objects], float)
