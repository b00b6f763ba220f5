"""What a model suggests for an image, and what a person decided about each suggestion."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..automatic.candidates import placed
from ..automatic.overlaps import priority, resolve_overlaps
from ..engine import PlacedMask, Window
from ..errors import ParameterError
from ..formats.rle import RLE, encode_labels, intersection
from ..session import SuggestedMask

if TYPE_CHECKING:
    from ..automatic import CandidateTable

Status = Literal["open", "taken", "corrected", "rejected"]
Source = Literal["everything", "similar"]

STATUSES: tuple[Status, ...] = ("open", "taken", "corrected", "rejected")
COVERED = 0.5
"""A suggestion is dropped if more than this share of it is labelled already."""
SAME = 0.5
"""IoU from which on two masks are taken for the same object."""


@dataclass(frozen=True, slots=True, eq=False)
class Suggestion:
    """One suggested object.

    Parameters
    ----------
    id : int
        Number in its image, from 1.
    mask : RLE
        In the plane.
    score : float
        What the threshold is compared with, 0 to 1: the predicted IoU, or for source "similar" how
        similar it is to the examples.
    predicted_iou, stability : float
        The model's scores; NaN if there is none.
    point : tuple of float
        (row, col) of a point in it.
    status : {"open", "taken", "corrected", "rejected"}
        What a person decided; "taken" as it was, "corrected" with further prompts or by hand.
    source : {"everything", "similar"}
        How it was found.
    version, fingerprint : str
        Name of the model, or of its version in the project, and fingerprint of its weights.
    object_id : int
        Label of the object that it became; 0 if none.
    doubts : mapping of str to float
        Reasons to look at it, 0 to 1; see `review`.
    """

    id: int
    mask: RLE
    score: float
    predicted_iou: float = math.nan
    stability: float = math.nan
    point: tuple[float, float] = (0.0, 0.0)
    status: Status = "open"
    source: Source = "everything"
    version: str = ""
    fingerprint: str = ""
    object_id: int = 0
    doubts: Mapping[str, float] = field(default_factory=dict)

    @property
    def placed(self) -> PlacedMask:
        """The mask with its place."""
        return placed(self.mask)

    @property
    def suggested(self) -> SuggestedMask:
        """As a session takes it."""
        return SuggestedMask(self.id, self.placed, self.score)


@dataclass(frozen=True, slots=True, eq=False)
class Suggestions:
    """The suggestions of an image. Immutable: every change returns new ones.

    Open suggestions of one source do not overlap each other.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns) of the plane.
    items : tuple of Suggestion
        In ascending order of ids.
    settings : mapping of str to object
        Parameters of the last run, as plain values; its keys "version" and "fingerprint" name the
        model.
    """

    shape: tuple[int, int]
    items: tuple[Suggestion, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_masks(
        cls,
        masks: Sequence[RLE],
        scores: ArrayLike,
        shape: tuple[int, int],
        *,
        labels: NDArray[np.integer] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
        **same: Any,
    ) -> Suggestions:
        """Make suggestions of overlapping masks: where two overlap, the better score wins.

        Which masks win does not depend on the threshold. Masks keep only pixels that are free.

        Parameters
        ----------
        masks : sequence of RLE
            n masks of the plane.
        scores : array-like (n,)
            Clipped to 0..1; NaN is 0.
        shape : tuple of int
            (rows, columns).
        labels : int array (rows, columns), optional
            Objects that are there already; masks that they cover by more than half are dropped.
        columns : mapping of str to sequence, optional
            Fields of `Suggestion` that differ between masks, each (n,).
        **same
            Fields that all have in common.
        """
        scores = np.clip(np.nan_to_num(np.asarray(scores, np.float64)), 0, 1)
        area = np.array([mask.area for mask in masks], np.int64)
        order = priority("score", area, scores)
        taken = None if labels is None else (np.asarray(labels) != 0).astype(np.uint8)
        painted = resolve_overlaps(masks, order, shape, existing=taken, min_visible=1 - COVERED)
        visible = encode_labels(painted.labels)
        each = {name: list(values) for name, values in (columns or {}).items()}
        items: list[Suggestion] = []
        for i in np.flatnonzero(painted.label):
            own = {name: values[i] for name, values in each.items()}
            mask = visible[int(painted.label[i])]
            items.append(Suggestion(len(items) + 1, mask, float(scores[i]), **own, **same))
        return cls(shape, tuple(items))

    @classmethod
    def from_table(
        cls,
        table: CandidateTable,
        *,
        labels: NDArray[np.integer] | None = None,
        version: str = "",
        fingerprint: str = "",
    ) -> Suggestions:
        """Make suggestions of the candidates of everything mode.

        Parameters
        ----------
        table : CandidateTable
            Of the whole plane. Candidates below its threshold of the predicted IoU become
            suggestions as well, with their low score.
        labels : int array (rows, columns), optional
            Objects that are there already.
        version, fingerprint : str
            Of the model.
        """
        candidates = table.candidates
        table = table.refilter(pred_iou_thresh=candidates.pred_iou_floor)
        kept = table.kept
        columns: dict[str, Sequence[Any]] = {
            "predicted_iou": table.scores.tolist(),
            "stability": candidates.stability_score[kept].tolist(),
            "point": [(row, col) for row, col in candidates.point[kept].tolist()],
        }
        made = cls.from_masks(
            table.masks, table.scores, table.shape,
            labels=labels, columns=columns, version=version, fingerprint=fingerprint,
        )  # fmt: skip
        settings = {"version": version, "fingerprint": fingerprint, "mode": table.mode}
        return replace(made, settings=settings)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Suggestion]:
        return iter(self.items)

    def __getitem__(self, id: int) -> Suggestion:
        for item in self.items:
            if item.id == id:
                return item
        raise ParameterError(f"there is no suggestion {id}")

    def shown(self, threshold: float, source: str | None = None) -> Suggestions:
        """Select the open suggestions with at least a score.

        Parameters
        ----------
        threshold : float
            0 to 1.
        source : {"everything", "similar"}, optional
            All by default.
        """
        return self._where(
            item.status == "open" and item.score >= threshold and source in (None, item.source)
            for item in self.items
        )

    def counts(self) -> dict[str, int]:
        """Count the suggestions of each status."""
        found = [item.status for item in self.items]
        return {status: found.count(status) for status in STATUSES}

    def at(self, row: float, col: float) -> Suggestion | None:
        """Return the open suggestion at a pixel: of several the one with the best score."""
        place = (round(row), round(col), 1, 1)
        here = [
            item for item in self.items if item.status == "open" and item.placed.crop(*place).any()
        ]
        return max(here, key=lambda item: item.score, default=None)

    def painted(self, window: Window | None = None, status: Status = "open") -> NDArray[np.int32]:
        """Paint the suggestions of one status into a label image, each with its id.

        Parameters
        ----------
        window : Window, optional
            The part of the plane; all by default.
        status : {"open", "taken", "corrected", "rejected"}

        Returns
        -------
        int32 array (height, width)
            Where sources overlap, the better score is on top.
        """
        window = window or Window(0, 0, *self.shape)
        out = np.zeros(window.shape, np.int32)
        for item in sorted(self.items, key=lambda item: item.score):
            if item.status == status:
                item.placed.paste(out, item.id, window.row, window.col)
        return out

    def decide(
        self, ids: Iterable[int], status: Status, objects: Mapping[int, int] | None = None
    ) -> Suggestions:
        """Record what a person decided; "open" takes a decision back.

        Parameters
        ----------
        ids : iterable of int
            Which suggestions.
        status : {"open", "taken", "corrected", "rejected"}
        objects : mapping of int to int, optional
            The label that each suggestion became, by its id.

        Raises
        ------
        ParameterError
            If a suggestion or status is unknown.
        """
        chosen = set(ids)
        if status not in STATUSES:
            raise ParameterError(f"status must be one of {', '.join(STATUSES)}; got {status!r}")
        unknown = chosen - {item.id for item in self.items}
        if unknown:
            raise ParameterError(f"there is no suggestion {min(unknown)}")
        became = objects or {}
        return replace(
            self,
            items=tuple(
                replace(item, status=status, object_id=became.get(item.id, 0))
                if item.id in chosen
                else item
                for item in self.items
            ),
        )

    def without_covered(
        self, labels: NDArray[np.integer], row: int = 0, col: int = 0
    ) -> Suggestions:
        """Drop open suggestions of which more than half is labelled.

        Parameters
        ----------
        labels : int array (height, width)
            Labels of the plane or of a part of it, which has changed; 0 is background.
        row, col : int
            Position of its first pixel in the plane.
        """
        window = Window(row, col, *labels.shape)

        def free(item: Suggestion) -> bool:
            mask = item.placed
            common = mask.window.intersection(window)
            if item.status != "open" or common is None:
                return True
            labelled = labels[common.slices_in(window)][mask.within(common)]
            return bool(np.count_nonzero(labelled) <= COVERED * mask.area)

        return self._where(free(item) for item in self.items)

    def renewed(self, new: Suggestions, source: Source = "everything") -> Suggestions:
        """Replace open suggestions by those of a new run.

        Decisions stay, and so do open suggestions of other sources. New suggestions of what a
        person rejected are left out.

        Parameters
        ----------
        new : Suggestions
            Of the same plane and of that source, all open.
        source : {"everything", "similar"}

        Raises
        ------
        ParameterError
            If the shapes differ.
        """
        if new.shape != self.shape:
            raise ParameterError(
                f"suggestions for a plane of {new.shape} cannot replace those of {self.shape}"
            )
        stay = [item for item in self.items if item.status != "open" or item.source != source]
        rejected = [item.mask for item in stay if item.status == "rejected"]
        known, _ = best_matches([item.mask for item in new.items], rejected)
        last = max((item.id for item in self.items), default=0)
        come = [item for item, iou in zip(new.items, known, strict=True) if iou < SAME]
        come = [replace(item, id=number) for number, item in enumerate(come, last + 1)]
        return Suggestions(
            self.shape,
            (*stay, *come),
            {**self.settings, **new.settings},
        )

    def _where(self, keep: Iterable[bool]) -> Suggestions:
        return replace(
            self,
            items=tuple(item for item, stays in zip(self.items, keep, strict=True) if stays),
        )


def best_matches(
    masks: Sequence[RLE], others: Sequence[RLE]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """For each mask, find the one among others with the highest IoU.

    Parameters
    ----------
    masks, others : sequence of RLE
        n masks, m masks of the same plane; each may overlap.

    Returns
    -------
    iou : float64 array (n,)
        0 where nothing overlaps.
    index : int64 array (n,)
        Position in `others`; -1 where nothing overlaps.
    """
    best, index = np.zeros(len(masks)), np.full(len(masks), -1, np.int64)
    boxes = np.array([mask.bounds for mask in others], np.int64).reshape(-1, 4)
    area = np.array([mask.area for mask in others], np.int64)
    for i, mask in enumerate(masks):
        top, left, bottom, right = mask.bounds
        meet = (boxes[:, 0] < bottom) & (boxes[:, 2] > top)
        meet &= (boxes[:, 1] < right) & (boxes[:, 3] > left)
        for j in np.flatnonzero(meet).tolist():
            shared = intersection(mask, others[j])
            iou = shared / max(mask.area + area[j] - shared, 1)
            if iou > best[i]:
                best[i], index[i] = iou, j
    return best, index
