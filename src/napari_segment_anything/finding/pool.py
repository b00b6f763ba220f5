"""All candidates of an image, and what they look like: where similar objects are looked for."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..automatic import CandidateTable, Reason, generate_candidates
from ..automatic.candidates import placed
from ..engine import PlaneSource, Predictor, Window
from ..errors import FormatError, ImageError
from ..formats import open_npz
from ..formats.rle import RLE, from_counts
from ..progress import Progress
from ..reading import one_line
from .traits import CHANNELS, Traits, describe_objects

_USABLE = (Reason.KEPT, Reason.CROP_LAYER, Reason.CROP_NMS)
_LEAST_AREA = 16


@dataclass(frozen=True, slots=True, eq=False)
class CandidatePool:
    """Candidates of one image, of all crops and scores. They may overlap.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns) of the image.
    masks : tuple of RLE
        n masks.
    predicted_iou, stability : float32 array (n,)
        The model's scores; NaN if there is none.
    layer : int16 array (n,)
        Crop layer that each was found in: 0 the whole image, 1 its quarters, -1 the image reduced.
    traits : Traits
        What they look like.
    fingerprint : str
        Of the model's weights.
    """

    shape: tuple[int, int]
    masks: tuple[RLE, ...]
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    layer: NDArray[np.int16]
    traits: Traits
    fingerprint: str

    def __len__(self) -> int:
        return len(self.masks)

    def writer(self) -> Callable[[Path], object]:
        """Return a function that writes it as NPZ; features at half precision."""

        def write(path: Path) -> None:
            counts = [mask.counts for mask in self.masks]
            traits = {f.name: getattr(self.traits, f.name) for f in fields(Traits)}
            traits["embedding"] = traits["embedding"].astype(np.float16)
            with path.open("wb") as file:
                np.savez(
                    file,
                    rows_and_columns=np.array(self.shape),
                    runs=np.array([len(each) for each in counts], np.int64),
                    counts=np.concatenate([np.zeros(0, np.uint32), *counts]),
                    predicted_iou=self.predicted_iou,
                    stability=self.stability,
                    layer=self.layer,
                    fingerprint=np.array(self.fingerprint),
                    **traits,
                )

        return write


def read_pool(path: Path) -> CandidatePool:
    """Read what `CandidatePool.writer` wrote.

    Raises
    ------
    FormatError
        If the file is missing or damaged.
    """
    try:
        with open_npz(path) as held:
            rows, cols = (int(n) for n in held["rows_and_columns"])
            ends = np.cumsum(held["runs"])[:-1]
            parts = np.split(held["counts"], ends) if len(held["runs"]) else []
            traits = Traits(*(held[f.name].astype(np.float32) for f in fields(Traits)))
            found = CandidatePool(
                (rows, cols),
                tuple(from_counts(part, (rows, cols)) for part in parts),
                held["predicted_iou"].astype(np.float32),
                held["stability"].astype(np.float32),
                held["layer"].astype(np.int16),
                traits,
                str(held["fingerprint"]),
            )
    except (ImageError, ValueError, TypeError) as error:
        raise FormatError(f"{path} cannot be read: {one_line(error)}") from error
    if {len(found.predicted_iou), len(found.stability), len(found.layer), len(traits)} != {
        len(found)
    } or traits.embedding.shape != (len(found), CHANNELS):
        raise FormatError(f"{path} is damaged: its columns differ in length")
    return found


def candidate_steps(
    source: PlaneSource,
    predictor: Predictor,
    mode: str = "auto",
    window: Window | None = None,
    **params: Any,
) -> Generator[Progress, None, tuple[CandidateTable, list[int]]]:
    """Run everything mode, and choose what may be compared: also low scores, also other crops.

    Parameters
    ----------
    source : PlaneSource
        The image, of one plane.
    predictor : Predictor
    window : Window, optional
        The part of the plane to segment; all by default.
    mode, **params
        As for `segment_everything`.

    Yields
    ------
    Progress

    Returns
    -------
    table : CandidateTable
        Of the window.
    chosen : list of int
        Positions among its candidates.
    """
    table = yield from generate_candidates(
        source.image(),
        predictor.model,
        mode=mode,
        predictor=predictor,
        window=window,
        **source.embed_arguments(),
        **params,
    )
    candidates = table.candidates
    lowest = table.refilter(pred_iou_thresh=candidates.pred_iou_floor)
    usable = np.isin(lowest.reason, _USABLE) & (candidates.area >= _LEAST_AREA)
    return table, np.flatnonzero(usable).tolist()


def everything_steps(
    source: PlaneSource, predictor: Predictor, mode: str = "auto", **params: Any
) -> Generator[Progress, None, tuple[CandidateTable, CandidatePool]]:
    """Run everything mode on a plane, and describe its candidates.

    Parameters
    ----------
    source : PlaneSource
        The image, of one plane.
    predictor : Predictor
    mode, **params
        As for `segment_everything`.

    Yields
    ------
    Progress

    Returns
    -------
    table : CandidateTable
    pool : CandidatePool
    """
    table, chosen = yield from candidate_steps(source, predictor, mode, **params)
    candidates = table.candidates
    masks = tuple(mask for i in chosen if (mask := candidates.masks[i]) is not None)
    traits = yield from describe_objects([placed(mask) for mask in masks], source, predictor)
    layers = np.array([crop.layer for crop in candidates.crops], np.int16)
    return table, CandidatePool(
        table.shape,
        masks,
        candidates.predicted_iou[chosen],
        candidates.stability_score[chosen],
        layers[candidates.crop[chosen]],
        traits,
        predictor.model.fingerprint,
    )
