"""The result of everything mode: candidates, why each was kept or rejected, and exports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError
from ..formats.records import ImageRecords, MaskRecord, to_coco
from ..formats.rle import RLE
from ..formats.rle_many import boxes_and_areas
from ..wording import counted
from .candidates import Candidates
from .filtering import Reason, apply
from .overlaps import LabelImage, depths, parents, priority, resolve_overlaps
from .parameters import FILTERS, Filters, check, check_areas

_OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")


@dataclass(frozen=True, slots=True, eq=False)
class CandidateTable:
    """Candidates of an image, and which of them are kept.

    Made by `segment_everything`. Kept masks come in the published order; mask number i
    (from 0) has the label i + 1 wherever labels are made, whatever the overlap policy.

    Parameters
    ----------
    candidates : Candidates
        All candidates, including rejected ones; shared by all refiltered tables.
    mode : str
        "grid", "proposals", "instances" or "find".
    filters : Filters
        The thresholds that were applied.
    reason : uint8 array (n,)
        `Reason` of every candidate, 0 for those kept.
    kept : int64 array (k,)
        Indices of the kept ones among the candidates.
    masks : tuple of RLE
        Their masks, with small regions removed where that was asked for.
    parameters : mapping of str to object
        All parameters of the run.
    """

    candidates: Candidates
    mode: str
    filters: Filters
    reason: NDArray[np.uint8]
    kept: NDArray[np.int64]
    masks: tuple[RLE, ...]
    parameters: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"<CandidateTable: {counted(len(self), 'object')}, of {self.candidates!r}>"

    @classmethod
    def filtered(
        cls, candidates: Candidates, mode: str, filters: Filters, parameters: Mapping[str, Any]
    ) -> CandidateTable:
        """Apply filters to candidates.

        Parameters
        ----------
        candidates : Candidates
        mode : str
            The mode of the run.
        filters : Filters
            Thresholds to apply.
        parameters : mapping of str to object
            All parameters of the run.
        """
        outcome = apply(candidates, filters)
        return cls(
            candidates, mode, filters, outcome.reason, outcome.kept, outcome.masks, parameters
        )

    def __len__(self) -> int:
        """Count the masks kept."""
        return len(self.kept)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the image, or of the window that was segmented."""
        return self.candidates.shape

    @property
    def origin(self) -> tuple[int, int]:
        """(row, col) in the array of the window's first pixel; all here is relative to it."""
        return self.candidates.origin

    @property
    def boxes(self) -> NDArray[np.int64]:
        """(k, 4): row_min, col_min, row_max, col_max of the kept masks, outermost pixels."""
        return boxes_and_areas(self.masks)[0]

    @property
    def areas(self) -> NDArray[np.int64]:
        """(k,): pixels of the kept masks."""
        return boxes_and_areas(self.masks)[1]

    @property
    def scores(self) -> NDArray[np.float32]:
        """(k,): predicted IoU of the kept masks; of `find` their likeness."""
        return self.candidates.score[self.kept]

    @property
    def sources(self) -> tuple[str, ...]:
        """(k,): where the kept masks of `find` come from; empty in everything mode."""
        source = self.candidates.source
        return tuple(source[i] for i in self.kept) if source else ()

    def counts(self) -> dict[str, int]:
        """Count the candidates that each filter rejected, and those kept.

        Returns
        -------
        dict of str to int
            Keys are the names of `Reason` in lower case, in the filters' order.
        """
        found = np.bincount(self.reason, minlength=len(Reason))
        return {reason.name.lower(): int(found[reason]) for reason in Reason}

    def refilter(self, **thresholds: Any) -> CandidateTable:
        """Filter the same candidates again with other thresholds, without running the model.

        The result equals that of a new run with these thresholds.

        Parameters
        ----------
        **thresholds
            pred_iou_thresh, stability_score_thresh, box_nms_thresh, crop_nms_thresh,
            min_mask_region_area, min_area, max_area, nms, likeness_thresh (of `find`). Those left
            out, or None, keep their values; max_area=None removes that limit.

        Returns
        -------
        CandidateTable
            A new table on the same candidates.

        Raises
        ------
        ParameterError
            If a name is unknown or needs a new run, a value is out of range, or a threshold is
            below the floor of the run.
        """
        check(self.mode, thresholds, names=FILTERS)
        given = {k: v for k, v in thresholds.items() if v is not None or k == "max_area"}
        filters = replace(self.filters, **given)
        check_areas(filters.min_area, filters.max_area)
        return self.filtered(self.candidates, self.mode, filters, {**self.parameters, **given})

    def resolve(
        self,
        policy: str = "small",
        *,
        existing: ArrayLike | None = None,
        min_visible: float = 0.5,
        min_piece: float = 0.25,
    ) -> LabelImage:
        """Paint a label image, and tell what became of each mask.

        Parameters
        ----------
        policy : {"small", "score", "large"}
            Which mask wins where two overlap: the smaller, so that parts stay visible on
            wholes; the one with the higher predicted IoU; or the larger.
        existing : int array (rows, columns), optional
            Labels to respect: they stay, and new ids begin above the largest.
        min_visible : float
            A mask that keeps less than this fraction of its area is dropped and leaves its pixels
            to the masks below it, so that rings around parts get no label.
        min_piece : float
            Disconnected pieces smaller than this fraction of the mask's largest piece are left
            out, so that fragments get no label.

        Returns
        -------
        LabelImage
            Labels, the id of each mask (0 if dropped), and its visible area.

        Raises
        ------
        ParameterError
            If a value is out of range.
        """
        order = priority(policy, self.areas, self.scores)
        return resolve_overlaps(
            self.masks, order, self.shape,
            existing=existing, min_visible=min_visible, min_piece=min_piece,
        )  # fmt: skip

    def to_labels(
        self,
        policy: str = "small",
        *,
        existing: ArrayLike | None = None,
        min_visible: float = 0.5,
        min_piece: float = 0.25,
    ) -> NDArray[np.unsignedinteger]:
        """Paint a label image; parameters are those of `resolve`.

        Parameters
        ----------
        policy, existing, min_visible, min_piece
            As in `resolve`.

        Returns
        -------
        unsigned integer array (rows, columns)
            0 is background, i + 1 the i-th kept mask (or that above the largest existing
            label); the smallest type that holds all ids.
        """
        return self.resolve(
            policy, existing=existing, min_visible=min_visible, min_piece=min_piece
        ).labels

    def parents(self, containment: float = 0.8) -> NDArray[np.int64]:
        """For each mask, the mask that it is part of.

        Parameters
        ----------
        containment : float
            Fraction of a mask that must lie inside a larger one.

        Returns
        -------
        int64 array (k,)
            Index of the smallest mask that contains it, or -1.

        Raises
        ------
        ParameterError
            If `containment` is out of range.
        """
        if not 0 < containment <= 1:
            raise ParameterError(f"containment must be above 0 and at most 1; got {containment!r}.")
        return parents(self.masks, self.boxes, self.areas, containment)

    def layers(
        self, *, containment: float = 0.8, min_visible: float = 0.5, min_piece: float = 0.25
    ) -> list[NDArray[np.unsignedinteger]]:
        """Paint nested masks into separate label images: wholes, their parts, and so on.

        Parameters
        ----------
        containment : float
            As in `parents`.
        min_visible, min_piece : float
            As in `resolve`. Where masks of one layer overlap, the better score wins.

        Returns
        -------
        list of unsigned integer arrays (rows, columns)
            Outermost first. Ids are those of `to_labels`, in every layer.
        """
        depth = depths(self.parents(containment))
        order = priority("score", self.areas, self.scores)
        return [
            resolve_overlaps(
                self.masks, order[depth[order] == level], self.shape,
                min_visible=min_visible, min_piece=min_piece,
            ).labels
            for level in range(int(depth.max(initial=0)) + 1)
        ]  # fmt: skip

    def features(
        self,
        policy: str | None = None,
        *,
        existing: ArrayLike | None = None,
        min_visible: float = 0.5,
        min_piece: float = 0.25,
        containment: float = 0.8,
    ) -> dict[str, NDArray[Any]]:
        """Measurements of the masks, column by column, as for napari's `Labels.features`.

        Parameters
        ----------
        policy : str, optional
            With a policy (and the other parameters) of `to_labels`, one row for each label of
            that image, with its visible area; without, one row for each kept mask.
        existing, min_visible, min_piece
            As in `resolve`.
        containment : float
            As in `parents`.

        Returns
        -------
        dict of str to array (rows,)
            label, area, visible_area (with a policy), predicted_iou, stability_score, parent
            (its label, or 0), depth, row_min, col_min, row_max, col_max, point_row, point_col;
            of `find` also likeness and source.

        Raises
        ------
        ParameterError
            If a value is out of range, or `existing` is given without a policy.
        """
        count = len(self)
        label = np.arange(1, count + 1)
        columns: dict[str, NDArray[Any]] = {"label": label, "area": self.areas}
        rows = np.arange(count)
        if policy is not None:
            image = self.resolve(
                policy, existing=existing, min_visible=min_visible, min_piece=min_piece
            )
            label = image.label
            columns.update(label=label, visible_area=image.visible_area)
            rows = np.flatnonzero(label)
        elif existing is not None:
            raise ParameterError("existing has an effect only together with a policy.")
        parent = self.parents(containment)
        columns["predicted_iou"] = self.candidates.predicted_iou[self.kept]
        columns["stability_score"] = self.candidates.stability_score[self.kept]
        columns["parent"] = np.where(parent >= 0, label[parent], 0) if count else parent
        columns["depth"] = depths(parent)
        boxes = self.boxes
        for i, name in enumerate(("row_min", "col_min", "row_max", "col_max")):
            columns[name] = boxes[:, i]
        for i, name in enumerate(("point_row", "point_col")):
            columns[name] = self.candidates.point[self.kept, i]
        if self.candidates.likeness is not None:
            columns["likeness"] = self.candidates.likeness[self.kept]
            columns["source"] = np.array(self.sources, dtype=object)
        return {name: column[rows] for name, column in columns.items()}

    def to_records(self, output_mode: str = "binary_mask") -> list[dict[str, Any]]:
        """Return records in the form of the published mask generator.

        Parameters
        ----------
        output_mode : {"binary_mask", "uncompressed_rle", "coco_rle"}
            Form of `segmentation`: bool array (rows, columns), run lengths as a list, or
            run lengths as COCO's string.

        Returns
        -------
        list of dict
            Keys segmentation, area, bbox [x, y, width, height], predicted_iou, point_coords
            [[x, y]], stability_score, crop_box [x, y, width, height]. As published, width and
            height of bbox are last pixel minus first pixel. Of `find` also likeness and source.

        Raises
        ------
        ParameterError
            If `output_mode` is unknown.
        """
        if output_mode not in _OUTPUT_MODES:
            raise ParameterError(
                f"output_mode must be one of {', '.join(_OUTPUT_MODES)}; got {output_mode!r}."
            )
        out = []
        for mask, i in zip(self.masks, self.kept, strict=True):
            row0, col0, row1, col1 = mask.box
            crop = self.candidates.crops[self.candidates.crop[i]]
            out.append(
                {
                    "segmentation": mask.decode()
                    if output_mode == "binary_mask"
                    else mask.to_coco(compressed=output_mode == "coco_rle"),
                    "area": mask.area,
                    "bbox": [col0, row0, col1 - col0, row1 - row0],
                    "predicted_iou": float(self.candidates.predicted_iou[i]),
                    "point_coords": [self.candidates.point[i, ::-1].tolist()],
                    "stability_score": float(self.candidates.stability_score[i]),
                    "crop_box": [crop.col, crop.row, crop.width, crop.height],
                    **self._found_by(int(i)),
                }
            )
        return out

    def _found_by(self, index: int) -> dict[str, Any]:
        """How `find` came to a candidate."""
        likeness, source = self.candidates.likeness, self.candidates.source
        if likeness is None:
            return {}
        return {"likeness": float(likeness[index]), "source": source[index]}

    def to_coco(
        self, *, file_name: str = "", image_id: int = 1, category: str = "object"
    ) -> dict[str, Any]:
        """Return a COCO data set of this image, ready for JSON.

        Parameters
        ----------
        file_name : str
            Name of the image file.
        image_id : int
            Id of the image.
        category : str
            Name of the only category.

        Returns
        -------
        dict
            images, categories, annotations; an annotation's id is its label, its bbox
            [x, y, width, height] counts whole pixels, and its score is the predicted IoU.
        """
        return to_coco(
            [replace(self.image_records(file_name), image_id=image_id)], categories=(category,)
        )

    def image_records(self, file_name: str = "") -> ImageRecords:
        """Kept masks with their scores, each with the id it has in label images."""
        pairs = zip(self.masks, self.to_records("coco_rle"), strict=True)
        keys = ("predicted_iou", "stability_score", "point_coords", "crop_box")
        records = tuple(
            MaskRecord.from_mask(
                mask,
                id=number,
                provenance=self._found_by(int(self.kept[number - 1])),
                **{key: record[key] for key in keys},
            )
            for number, (mask, record) in enumerate(pairs, start=1)
        )
        return ImageRecords(self.shape[1], self.shape[0], records, file_name)
