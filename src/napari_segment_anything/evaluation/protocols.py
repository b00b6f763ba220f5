"""Protocols: prompt a model on one labelled image, and record its answers as plain numbers.

Each function returns one record per image, with lists that have an entry for each object, from
which `summary` computes the figures. Objects of an image are segmented together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..automatic import CandidateTable, available_modes, segment_everything
from ..automatic.parameters import FILTERS, applicable
from ..datasets import LabelledPlane, ObjectClasses
from ..engine import (
    Ask,
    PlacedMask,
    Predictor,
    Prompts,
    Segmented,
    Segmenter,
    View,
    Views,
    Window,
    bounding_box,
)
from ..engine.image import open_image
from ..errors import ParameterError
from ..measures import (
    THRESHOLDS,
    best_iou,
    counts,
    inscribed_ellipse,
    interior_point,
    mask_iou,
    match,
    next_click,
    otsu_watershed,
    overlap_of_masks,
    overlap_table,
    tight_box,
    top,
)
from ..progress import finish

USUAL = ("points", "boxes", "clicks", "everything", "proposals", "floors")
"""Protocols that are run unless others are named."""
PROTOCOLS = (*USUAL, "grid_proposals", "edges", "single_point", "instances")
PROPOSAL_COUNTS = (10, 100, 1000)
PROPOSAL_POINTS = 64
"""Points per side of the grid for proposals; the paper's is larger than for everything mode."""
PROPOSAL_NMS = 0.9
_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """Which objects are prompted, and how often.

    Parameters
    ----------
    objects_per_image : int
        Number of prompted objects per image, drawn at random; 0 for all.
    min_area : int
        Smaller objects are not prompted, in pixels. Everything mode counts them.
    clicks : int
        Number of clicks, the first included.
    seed : int
        Seed of the choice of objects.
    """

    objects_per_image: int = 20
    min_area: int = 10
    clicks: int = 9
    seed: int = 0

    def __post_init__(self) -> None:
        if self.objects_per_image < 0 or self.min_area < 1 or self.clicks < 1:
            raise ParameterError(
                "objects_per_image is at least 0, min_area and clicks are at least 1"
            )

    def to_dict(self) -> dict[str, int]:
        """Plain numbers."""
        return asdict(self)


class Subject:
    """One image: its embeddings, computed when first needed, and the objects to prompt.

    Parameters
    ----------
    plane : LabelledPlane
        Image and true labels.
    predictor : Predictor
        If it has a cache, everything mode does not encode the image again.
    settings : PromptSettings
        Which objects.
    """

    def __init__(
        self, plane: LabelledPlane, predictor: Predictor, settings: PromptSettings
    ) -> None:
        self.plane, self.predictor, self.settings = plane, predictor, settings
        self.labels = plane.labels
        self.ids, self.areas = choose_objects(plane, settings)
        self._views: Views | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return (self.labels.shape[0], self.labels.shape[1])

    @property
    def views(self) -> Views:
        """Embeddings of the image."""
        if self._views is None:
            axis = self.plane.channel_axis
            self._views = Views(self.predictor, self.plane.image, channel_axis=axis)
        return self._views

    def encode(self) -> None:
        """Encode the whole image now, so that the time of a protocol does not include it."""
        _ = self.views.whole

    def mask(self, number: int) -> NDArray[np.bool_]:
        """True mask of a chosen object, by its position in `ids`."""
        found: NDArray[np.bool_] = self.labels == self.ids[number]
        return found

    def record(self, **columns: Any) -> dict[str, Any]:
        """A record of the chosen objects: ids, areas, and further columns."""
        return {"ids": self.ids.tolist(), "areas": self.areas.tolist(), **columns}

    def segment(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Segmented]]:
        """Segment objects in batches, yielding the position of each and its masks."""
        segmenter = Segmenter(self.predictor)
        for start in range(0, len(asks), _TOGETHER):
            part = asks[start : start + _TOGETHER]
            found = finish(segmenter.steps(self.views, part))
            yield from enumerate(found or [], start)


def choose_objects(
    plane: LabelledPlane, settings: PromptSettings
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose the objects to prompt, at random but depending only on name and seed.

    Parameters
    ----------
    plane : LabelledPlane
    settings : PromptSettings

    Returns
    -------
    ids, areas : int64 array (n,)
    """
    ids, areas = np.unique(plane.labels, return_counts=True)
    large = (ids != 0) & (areas >= settings.min_area)
    ids, areas = ids[large].astype(np.int64), areas[large].astype(np.int64)
    if 0 < settings.objects_per_image < len(ids):
        key = hashlib.sha256(f"{settings.seed} {plane.name}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(key[:8], "little"))
        chosen = np.sort(rng.permutation(len(ids))[: settings.objects_per_image])
        ids, areas = ids[chosen], areas[chosen]
    return ids, areas


def points(subject: Subject) -> dict[str, Any]:
    """A point in the middle of each object: true and predicted IoU of the candidate masks.

    This is the single-point evaluation of the paper (SAM, section 7.1).
    """
    if not len(subject.ids):
        return subject.record(iou=[], predicted=[])
    where = [interior_point(subject.mask(i)) for i in range(len(subject.ids))]
    iou, predicted = np.zeros((2, len(where), _candidates(subject)))
    asks = Ask.each(Prompts.each_point(where))
    for i, found in subject.segment(asks):
        truth = PlacedMask.of(subject.mask(i))
        iou[i] = [mask.iou(truth) for mask in found.masks]
        predicted[i] = found.scores
    return subject.record(iou=rounded(iou), predicted=rounded(predicted))


def boxes(subject: Subject) -> dict[str, Any]:
    """The tight box of each object: true and predicted IoU of the mask.

    For comparison, also the IoU of the ellipse inscribed in the box.
    """
    if not len(subject.ids):
        return subject.record(iou=[], predicted=[], ellipse=[])
    true = [tight_box(subject.mask(i)) for i in range(len(subject.ids))]
    iou, predicted = np.zeros((2, len(true)))
    for i, found in subject.segment(Ask.each(Prompts.from_boxes(true))):
        iou[i], predicted[i] = found.mask.iou(PlacedMask.of(subject.mask(i))), found.score
    ellipses = [
        mask_iou(inscribed_ellipse(box, subject.labels.shape), subject.mask(i))
        for i, box in enumerate(true)
    ]
    return subject.record(iou=rounded(iou), predicted=rounded(predicted), ellipse=rounded(ellipses))


def clicks(subject: Subject) -> dict[str, Any]:
    """Corrective clicks on each object: true and predicted IoU after each.

    The first click is that of `points`, and the mask with the best predicted IoU is taken. Further
    clicks lie in the middle of the largest error. All clicks so far are given, with the last logits
    as mask prompt (SAM, appendix A and E), as in a session: the view stays the same until a click
    lies outside it. An object without error gets no further clicks.
    """
    count, rounds = len(subject.ids), subject.settings.clicks
    iou, predicted = np.ones((count, rounds)), np.ones((count, rounds))
    first = [interior_point(subject.mask(i)) for i in range(count)]
    asks = dict(enumerate(Ask.each(Prompts.each_point(first)))) if count else {}
    for click in range(rounds):
        further: dict[int, Ask] = {}
        active = list(asks)
        for row, found in subject.segment(list(asks.values())):
            i = active[row]
            truth = subject.mask(i)
            iou[i, click:] = found.mask.iou(PlacedMask.of(truth))
            predicted[i, click:] = found.score
            following = next_ask(asks[i], found, truth)
            if following is not None:
                further[i] = following
        asks = further
    return subject.record(iou=rounded(iou), predicted=rounded(predicted))


def next_ask(ask: Ask, found: Segmented, truth: NDArray[np.bool_]) -> Ask | None:
    """The prompts after the next click of a user who sees a mask; None if the mask is perfect."""
    click = next_click(found.mask.within(Window.full(truth.shape)), truth)
    if click is None:
        return None
    points = np.concatenate([ask.points, [[click.row, click.col]]])
    inside = np.concatenate([ask.inside, [click.label == 1]])
    view: View | None = found.view
    if found.mask.empty or not found.view.window.holds(bounding_box(points[inside])):
        view = None
    feed = None if view is None else found.logits[found.best]
    window = None if view is None else found.asked
    return Ask(points, inside, window=window, feed=feed, feed_view=view)


def everything(
    subject: Subject, mode: str, parameters: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], NDArray[Any]]:
    """Compare the label image of everything mode with the true labels.

    Parameters
    ----------
    subject : Subject
        The image.
    mode : str
        Of everything mode.
    parameters : mapping, optional
        Of everything mode.

    Returns
    -------
    record : dict
        From `compare`, with `predicted`, the predicted IoU of the found objects.
    labels : unsigned integer array (rows, columns)
        The objects found.
    """
    table = _table(subject, mode, **(parameters or {}))
    labels = table.to_labels()
    record = compare(subject.labels, labels)
    found = np.array(record["found_ids"], np.int64)
    record["predicted"] = rounded(table.scores[found - 1])
    return record, labels


def compare(truth: ArrayLike, found: ArrayLike) -> dict[str, Any]:
    """Compare two label images; the record suffices for all measures of everything mode.

    Parameters
    ----------
    truth, found : integer array (rows, columns)
        0 is background.

    Returns
    -------
    dict
        `areas` and `best` (largest IoU) of the true objects, `found_ids` and `found_best` of the
        found ones, `hits` at each of `THRESHOLDS`, and `matched_iou`, the summed IoU of the matches
        at .5.
    """
    table = overlap_table(truth, found)
    return {
        "areas": table.true_areas.tolist(),
        "best": rounded(best_iou(table)),
        "found_ids": table.found_ids.tolist(),
        "found_best": rounded(best_iou(table.transposed())),
        "hits": [counts(table, threshold).true_positives for threshold in THRESHOLDS],
        "matched_iou": round(float(match(table, 0.5).iou.sum()), 6),
    }


def proposals(
    subject: Subject,
    parameters: Mapping[str, Any] | None = None,
    classes: ObjectClasses | None = None,
    mode: str | None = None,
) -> dict[str, Any]:
    """How well the best-ranked proposals cover each object.

    As in the paper (appendix D.3): everything mode in mode "proposals" (or "grid", if the model has
    no proposals) without score thresholds, duplicates dropped above a box IoU of .9, ranked by the
    mean of predicted IoU and stability.

    Parameters
    ----------
    subject : Subject
        The image.
    parameters : mapping, optional
        Of everything mode; thresholds and parameters of other modes are ignored.
    classes : ObjectClasses, optional
        Says how common each object's class is.
    mode : str, optional
        "grid" takes the paper's grid of 64 x 64 points also where the model has proposals.
    """
    if mode is None:
        mode = "proposals" if "proposals" in available_modes(subject.predictor.model) else "grid"
    names = set(applicable(mode)) - set(FILTERS)
    given = {name: value for name, value in (parameters or {}).items() if name in names}
    if mode == "grid":
        given.setdefault("points_per_side", PROPOSAL_POINTS)
    given |= {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    table = _table(subject, mode, box_nms_thresh=PROPOSAL_NMS, **given)
    stability = np.nan_to_num(table.candidates.stability_score[table.kept])
    ranking = top(table.scores + stability, max(PROPOSAL_COUNTS))
    masks = (table.masks[i] for i in ranking)
    placed = ((*mask.bounds[:2], mask.decode_bounds()) for mask in masks)
    overlap = overlap_of_masks(subject.labels, placed)
    best = {
        str(k): rounded(best_iou(overlap, np.arange(min(k, len(ranking))))) for k in PROPOSAL_COUNTS
    }
    record = {
        "mode": mode,
        "count": len(table),
        "areas": overlap.true_areas.tolist(),
        "best": best,
    }
    if classes is not None:
        own = classes.of(subject.plane.file)
        ids = overlap.true_ids.tolist()
        record["frequency"] = [classes.frequency(own.get(label, "")) for label in ids]
    return record


def floors(subject: Subject) -> tuple[dict[str, Any], NDArray[np.int32]]:
    """Compare Otsu's threshold and a watershed with the true labels; returns as `everything`."""
    plane = subject.plane
    source = open_image(plane.image, channel_axis=plane.channel_axis)
    labels = otsu_watershed(source.read(0, slice(None), slice(None)))
    return compare(subject.labels, labels), labels


def _table(subject: Subject, mode: str, **parameters: Any) -> CandidateTable:
    plane = subject.plane
    return segment_everything(
        plane.image,
        subject.predictor.model,
        mode,
        predictor=subject.predictor,
        channel_axis=plane.channel_axis,
        **parameters,
    )


def _candidates(subject: Subject) -> int:
    return subject.predictor.model.network.config.multimask_outputs


def rounded(values: ArrayLike) -> Any:
    """Plain numbers with five decimals."""
    return np.round(np.asarray(values, np.float64), 5).tolist()
