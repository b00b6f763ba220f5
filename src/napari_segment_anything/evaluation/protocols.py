"""What is asked of a model on one image, and the raw answers, as plain numbers for JSON.

Every function gives one record for one image: lists with an entry for each object, from which
`summary` makes the figures. Objects of an image share its embedding and are decoded together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..automatic import CandidateTable, available_modes, segment_everything
from ..automatic.parameters import FILTERS, applicable
from ..engine import (
    Prediction,
    Predictor,
    Prompts,
    View,
    Views,
    open_image,
    predict_in_focus,
)
from ..errors import ParameterError
from .datasets import LabelledPlane
from .floors import otsu_watershed
from .metrics import THRESHOLDS, best_iou, counts, match, top
from .overlap import OverlapTable, overlap_of_masks, overlap_table
from .prompting import inscribed_ellipse, interior_point, next_click, tight_box

PROTOCOLS = ("points", "boxes", "clicks", "everything", "proposals", "floors")
PROPOSAL_COUNTS = (100, 1000)
PROPOSAL_NMS = 0.9
_MASK_BYTES = 1 << 27


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the figures, beside model and images.

    Parameters
    ----------
    objects_per_image : int
        Prompted objects of an image, drawn at random; 0 for all.
    min_area : int
        Smaller true objects are not prompted; they count in everything mode.
    clicks : int
        Clicks in all, the first included.
    seed : int
        Of the draw of objects.
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
    """One image under test: its embedding, made when first needed, and the objects to prompt.

    Parameters
    ----------
    plane : LabelledPlane
        Image and truth.
    predictor : Predictor
        With a cache, everything mode does not encode the image again.
    settings : Settings
        Which objects.
    """

    def __init__(self, plane: LabelledPlane, predictor: Predictor, settings: Settings) -> None:
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
        """Encode the whole image now, so that no protocol's time holds that."""
        _ = self.views

    def mask(self, number: int) -> NDArray[np.bool_]:
        """True mask of the number-th chosen object."""
        found: NDArray[np.bool_] = self.labels == self.ids[number]
        return found

    def record(self, **columns: Any) -> dict[str, Any]:
        """Ids and areas of the chosen objects with further columns."""
        return {"ids": self.ids.tolist(), "areas": self.areas.tolist(), **columns}

    def predict(
        self, prompts: Prompts, multimask: bool
    ) -> Iterator[tuple[NDArray[np.intp], Prediction]]:
        """Predictions for some objects at a time, so that masks of large images fit in memory."""
        rows, cols = self.shape
        step = int(np.clip(_MASK_BYTES // ((3 if multimask else 1) * rows * cols), 1, 64))
        for start in range(0, len(prompts), step):
            batch = prompts[start : start + step]
            found_all = predict_in_focus(self.predictor, self.views, batch, multimask)
            for which, found, _ in found_all:
                yield start + which, found


def choose_objects(
    plane: LabelledPlane, settings: Settings
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and areas of the objects to prompt: a draw that depends on name and seed alone."""
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
    """One point in the middle of each object: true and predicted IoU of the three masks.

    The paper's single-point evaluation (SAM, section 7.1).
    """
    if not len(subject.ids):
        return subject.record(iou=[], predicted=[])
    where = [interior_point(subject.mask(i)) for i in range(len(subject.ids))]
    iou, predicted = np.zeros((2, len(where), _candidates(subject)))
    for which, result in subject.predict(Prompts.each_point(where), multimask=True):
        iou[which] = _ious(subject, which, result)
        predicted[which] = result.scores
    return subject.record(iou=_rounded(iou), predicted=_rounded(predicted))


def boxes(subject: Subject) -> dict[str, Any]:
    """The tight box of each object: true and predicted IoU of the single mask.

    Beside it the IoU of the ellipse inscribed in the box, which needs no model.
    """
    if not len(subject.ids):
        return subject.record(iou=[], predicted=[], ellipse=[])
    true = [tight_box(subject.mask(i)) for i in range(len(subject.ids))]
    iou, predicted = np.zeros((2, len(true)))
    for which, result in subject.predict(Prompts.from_boxes(true), multimask=False):
        iou[which] = _ious(subject, which, result)[:, 0]
        predicted[which] = result.scores[:, 0]
    ellipses = [
        _iou(inscribed_ellipse(box, subject.labels.shape), subject.mask(i))
        for i, box in enumerate(true)
    ]
    return subject.record(
        iou=_rounded(iou), predicted=_rounded(predicted), ellipse=_rounded(ellipses)
    )


def clicks(subject: Subject) -> dict[str, Any]:
    """Corrective clicks on each object: true and predicted IoU after each.

    The first click is that of `points`, its mask the one with the best predicted IoU. Each
    further one goes to the middle of the largest error; all clicks so far are given, with the
    last logits as mask prompt, and the single mask for unambiguous prompts is taken (SAM,
    appendix A and E). An object without any error is finished.
    """
    count, rounds = len(subject.ids), subject.settings.clicks
    iou, predicted = np.ones((count, rounds)), np.ones((count, rounds))
    step = max(1, _MASK_BYTES // (4 * subject.labels.size))
    for start in range(0, count, step):
        group = np.arange(start, min(start + step, count))
        first = Prompts.each_point([interior_point(subject.mask(int(i))) for i in group])
        for which, result, view in predict_in_focus(subject.predictor, subject.views, first):
            _click_group(subject, group[which], first.points[which], result, view, iou, predicted)
    return subject.record(iou=_rounded(iou), predicted=_rounded(predicted))


def _click_group(
    subject: Subject,
    active: NDArray[np.intp],
    places: NDArray[np.floating],
    result: Prediction,
    view: View,
    iou: NDArray[np.float64],
    predicted: NDArray[np.float64],
) -> None:
    """Click on objects that are looked at from one view, which they keep."""
    truth = {int(i): subject.mask(int(i)) for i in active}
    kinds = np.ones((len(active), 1), np.int8)
    masks, logits, scores = _whole(subject, result), result.best_logits(), result.scores.max(1)
    for click in range(iou.shape[1]):
        for row, i in enumerate(active):
            iou[i, click:] = _iou(masks[row], truth[int(i)])
            predicted[i, click:] = scores[row]
        if click + 1 == iou.shape[1]:
            return
        more = [next_click(masks[row], truth[int(i)]) for row, i in enumerate(active)]
        keep = np.array([each is not None for each in more], bool)
        if not keep.any():
            return
        added = np.array([[[c.row, c.col]] for c in more if c is not None], np.float64)
        label = np.array([[c.label] for c in more if c is not None], np.int8)
        active = active[keep]
        places = np.concatenate([places[keep], added], axis=1)
        kinds = np.concatenate([kinds[keep], label], axis=1)
        nothing = np.full((len(active), 4), np.nan)
        near = view.window
        # an object may reach beyond the view: its missing part cannot be clicked there
        low = np.array([near.row, near.col])
        inside = np.clip(places, low, low + near.shape - 1)
        prompts = Prompts(inside, kinds, nothing, logits[keep])
        result = subject.predictor.predict(subject.views(view), prompts, multimask=False)
        masks, logits, scores = _whole(subject, result), result.logits[:, 0], result.scores[:, 0]


def everything(
    subject: Subject, mode: str, parameters: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], NDArray[Any]]:
    """Everything mode: the label image against the truth.

    Returns
    -------
    record : dict
        As `compare` gives, with `predicted`, the predicted IoU of the found objects.
    labels : unsigned integer array (rows, columns)
        What was found.
    """
    table = _table(subject, mode, **(parameters or {}))
    labels = table.to_labels()
    record = compare(subject.labels, labels)
    found = np.array(record["found_ids"], np.int64)
    record["predicted"] = _rounded(table.scores[found - 1])
    return record, labels


def compare(truth: ArrayLike, found: ArrayLike) -> dict[str, Any]:
    """Numbers of one label image against another, enough for every measure of everything mode.

    Returns
    -------
    dict
        `areas` and `best` (largest IoU) of the true objects, `found_ids` and `found_best` of the
        found ones, `hits` at each of `THRESHOLDS`, and `matched_iou`, the sum over matches at .5.
    """
    table = overlap_table(truth, found)
    return {
        "areas": table.true_areas.tolist(),
        "best": _rounded(best_iou(table)),
        "found_ids": table.found_ids.tolist(),
        "found_best": _rounded(best_iou(table.transposed())),
        "hits": [counts(table, threshold).true_positives for threshold in THRESHOLDS],
        "matched_iou": round(float(match(table, 0.5).iou.sum()), 6),
    }


def proposals(subject: Subject, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Proposals without thresholds, best first: how well the best of them cover each object.

    As in the paper (appendix D.3): everything mode at the model's proposals (at the grid, where
    it has none), duplicates dropped above a box IoU of .9, ranked by the mean of predicted IoU
    and stability.

    Parameters
    ----------
    subject : Subject
        The image.
    parameters : mapping, optional
        Of everything mode; those that have no say in this (thresholds, other modes) do nothing.
    """
    mode = "proposals" if "proposals" in available_modes(subject.predictor.model) else "grid"
    names = set(applicable(mode)) - set(FILTERS)
    given = {name: value for name, value in (parameters or {}).items() if name in names}
    given |= {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    table = _table(subject, mode, box_nms_thresh=PROPOSAL_NMS, **given)
    stability = np.nan_to_num(table.candidates.stability_score[table.kept])
    ranking = top(table.scores + stability, max(PROPOSAL_COUNTS))
    overlap: OverlapTable = overlap_of_masks(subject.labels, [table.masks[i] for i in ranking])
    best = {
        str(k): _rounded(best_iou(overlap, np.arange(min(k, len(ranking)))))
        for k in PROPOSAL_COUNTS
    }
    return {"mode": mode, "count": len(table), "areas": overlap.true_areas.tolist(), "best": best}


def floors(subject: Subject) -> tuple[dict[str, Any], NDArray[np.int32]]:
    """Otsu's threshold and a distance watershed against the truth; as `everything`."""
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


def _whole(subject: Subject, result: Prediction) -> NDArray[np.bool_]:
    """Best masks, as large as the image."""
    masks = np.zeros((len(result), *subject.shape), bool)
    masks[(slice(None), *result.window.slices)] = result.best()
    return masks


def _ious(subject: Subject, which: NDArray[np.intp], result: Prediction) -> NDArray[np.float64]:
    """IoU of (n, c) masks with the true masks of some of the chosen objects."""
    count = int(result.scores.shape[1])
    iou = np.zeros((len(which), count))
    for row, number in enumerate(which):
        truth = subject.mask(int(number))
        near = truth[result.window.slices]
        for candidate in range(count):
            mask = result.masks[row, candidate]
            shared = np.count_nonzero(mask & near)
            either = np.count_nonzero(mask) + np.count_nonzero(truth) - shared
            iou[row, candidate] = shared / either
    return iou


def _iou(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    shared = np.count_nonzero(found & truth)
    return shared / (np.count_nonzero(found) + np.count_nonzero(truth) - shared)


def _rounded(values: ArrayLike) -> Any:
    return np.round(np.asarray(values, np.float64), 5).tolist()
