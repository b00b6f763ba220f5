"""Whether a model is as good for all groups of images (SAM, section 6 and appendix C, for images).

Images are grouped by a column of metadata: modality, stain, laboratory, instrument, magnification.
Each group is compared with all other images by a permutation test over image files, and the
p-values are corrected for the number of comparisons (Holm, 1979).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError
from ..measures import Interval, bootstrap
from .summary import Record, counts_of

TITLES = {
    "everything": "AP at .50 of everything mode",
    "points": "IoU from one point",
    "boxes": "IoU from a box",
    "clicks": "IoU after the last click",
}
SIGNIFICANT = 0.05
_LEAST_FILES = 2
_PERMUTATIONS = 5000


@dataclass(frozen=True, slots=True)
class GroupDifference:
    """One group against all other images, in one measure.

    Parameters
    ----------
    column, value : str
        The group.
    method : str
        Protocol, with the mode of everything mode.
    interval : Interval
        Mean over its image files.
    rest : float
        Mean over all other image files.
    p : float
        Probability of such a difference by chance, corrected; NaN if the group or the rest has
        fewer than two files.
    """

    column: str
    value: str
    method: str
    interval: Interval
    rest: float
    p: float

    @property
    def difference(self) -> float:
        """By how much the group is better than the rest."""
        return self.interval.value - self.rest


def compare_groups(
    records: Sequence[Record], columns: Sequence[str], *, seed: int = 0
) -> list[GroupDifference]:
    """Compare the groups of one or several columns in every protocol that was run.

    Parameters
    ----------
    records : sequence of dict
        From `Evaluation`.
    columns : sequence of str
        Columns of metadata; "set" groups by set.
    seed : int
        Of bootstrap and permutations.

    Raises
    ------
    ParameterError
        If no image has such a column, or all have the same value.
    """
    found: list[GroupDifference] = []
    for column in columns:
        groups = {r["file"]: _value(r, column) for r in records if _value(r, column) is not None}
        if len(set(groups.values())) < 2:
            known = sorted({name for record in records for name in record["columns"]})
            raise ParameterError(
                f"column {column!r} has fewer than two values in these images; columns are: "
                f"{', '.join(['set', *known])}"
            )
        for method, values in _by_file(records).items():
            files = [file for file in values if file in groups]
            scores = np.array([values[file] for file in files])
            names = np.array([groups[file] for file in files])
            for name in sorted(set(names)):
                inside = names == name
                found.append(_compare(column, str(name), method, scores, inside, seed))
    corrected = holm([each.p for each in found])
    return [
        GroupDifference(d.column, d.value, d.method, d.interval, d.rest, float(p))
        for d, p in zip(found, corrected, strict=True)
    ]


def weaknesses(differences: Sequence[GroupDifference]) -> list[str]:
    """Sentences on the groups for which a model is worse than for the rest."""
    worse = [d for d in differences if d.p <= SIGNIFICANT and d.difference < 0]
    said = []
    for each in sorted(worse, key=lambda d: d.difference):
        title = TITLES[each.method.partition(":")[0]]
        said.append(
            f"{each.column} {each.value}: {title} is {each.interval.value:.2f}, "
            f"{-each.difference:.2f} below other images (p = {each.p:.2g})"
        )
    return said


def permutation_p(
    scores: ArrayLike, inside: ArrayLike, *, permutations: int = _PERMUTATIONS, seed: int = 0
) -> float:
    """Probability that group and rest differ so much in the mean by chance, two-sided.

    Parameters
    ----------
    scores : array-like (n,)
    inside : bool array-like (n,)
        Which belong to the group.
    permutations, seed : int
    """
    values, chosen = np.asarray(scores, np.float64), np.asarray(inside, bool)
    rng = np.random.default_rng(seed)
    count, rest = int(chosen.sum()), int((~chosen).sum())
    observed = abs(values[chosen].mean() - values[~chosen].mean())
    shuffled = rng.permuted(np.tile(values, (permutations, 1)), axis=1)
    sums = shuffled[:, :count].sum(1)
    drawn = np.abs(sums / count - (values.sum() - sums) / rest)
    return float((1 + np.count_nonzero(drawn >= observed - 1e-12)) / (1 + permutations))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Correct p-values for their number; NaN stays, and does not count."""
    values = np.asarray(p, np.float64)
    corrected = np.full(values.shape, np.nan)
    real = np.flatnonzero(~np.isnan(values))
    order = real[np.argsort(values[real], kind="stable")]
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, float(values[index]) * (len(order) - rank)))
        corrected[index] = largest
    return corrected


def _compare(
    column: str,
    value: str,
    method: str,
    scores: NDArray[np.float64],
    inside: NDArray[np.bool_],
    seed: int,
) -> GroupDifference:
    enough = min(inside.sum(), (~inside).sum()) >= _LEAST_FILES
    return GroupDifference(
        column,
        value,
        method,
        bootstrap(scores[inside], seed=seed),
        float(scores[~inside].mean()) if not inside.all() else np.nan,
        permutation_p(scores, inside, seed=seed) if enough else np.nan,
    )


def _by_file(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """One number for each protocol and image file: the mean over its planes."""
    held: dict[str, dict[str, list[float]]] = {}
    for record in records:
        for method, score in _scores(record):
            held.setdefault(method, {}).setdefault(record["file"], []).append(score)
    return {
        method: {file: float(np.mean(values)) for file, values in files.items()}
        for method, files in held.items()
    }


def _scores(record: Record) -> Iterator[tuple[str, float]]:
    method = record["protocol"]
    if method.startswith("everything"):
        yield method, counts_of(record)[0].ap
    elif method in TITLES and record["ids"]:
        iou, predicted = np.array(record["iou"]), np.array(record["predicted"])
        if method == "points":
            iou = iou[np.arange(len(iou)), predicted.argmax(1)]
        yield method, float((iou[:, -1] if method == "clicks" else iou).mean())


def _value(record: Mapping[str, object], column: str) -> str | None:
    if column == "set":
        return str(record["set"])
    columns = record["columns"]
    return columns.get(column) if isinstance(columns, Mapping) else None
