"""What people's ratings say: mean rating of each source, and differences between sources."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FormatError, ParameterError, PromptError
from ..formats.atomic import replacing
from ..formats.sheets import cell_number, read_rows
from ..measures import Interval, bootstrap
from .csv_files import write_csv
from .figure_table import number, table_rows
from .group_comparison import holm
from .rating_sheet import FOR_RATERS, RATINGS, RatedMask, RatingSheet, read_sheet

LOWEST, HIGHEST = 1, 10
_MOST_SIGNS = 16  # image files up to which all signs are tried
_DRAWN_SIGNS = 10_000


@dataclass(frozen=True, slots=True)
class SourceRating:
    """The ratings of one source.

    Parameters
    ----------
    source : str
    interval : Interval
        Mean rating, with an interval from resampling image files.
    counts : tuple of int
        Masks by their rounded rating, 1 to 10.
    missing : int
        Drawn objects for which the source has no mask.
    """

    source: str
    interval: Interval
    counts: tuple[int, ...]
    missing: int

    @property
    def masks(self) -> int:
        """Number of rated masks."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Two sources on the objects for which both have a rated mask.

    Parameters
    ----------
    first, second : str
    interval : Interval
        Mean of rating of the first minus rating of the second, resampling image files.
    p : float
        Probability of such a difference by chance: a sign-flip test over image files, corrected
        for the number of pairs (Holm).
    items : int
        Number of objects.
    """

    first: str
    second: str
    interval: Interval
    p: float
    items: int


@dataclass(frozen=True, slots=True, eq=False)
class RatingResult:
    """Ratings and what they say.

    Parameters
    ----------
    sheet : RatingSheet
    raters : tuple of str
    ratings : dict of int to float
        Mean rating over raters, by number on the sheet.
    sources : tuple of SourceRating
    differences : tuple of PairedDifference
    disagreement : float
        Mean absolute difference between two raters of the same mask; NaN with one rater.
    """

    sheet: RatingSheet
    raters: tuple[str, ...]
    ratings: dict[int, float]
    sources: tuple[SourceRating, ...]
    differences: tuple[PairedDifference, ...]
    disagreement: float


def read_ratings(file: str | Path, sheet: RatingSheet) -> dict[str, dict[int, float]]:
    """Read a filled-in table.

    Parameters
    ----------
    file : path
        CSV with columns ``number``, ``rating`` (1 to 10; empty for a mask that is not rated) and
        perhaps ``rater``; by default the file's name names the rater.
    sheet : RatingSheet
        What was rated.

    Returns
    -------
    dict of str to dict of int to float
        For each rater the ratings by number.

    Raises
    ------
    FormatError
        If the file cannot be read, or a number or rating is not possible; the message names the
        line.
    """
    file = Path(file).expanduser()
    known = {mask.number for mask in sheet.masks}
    found: dict[str, dict[int, float]] = {}
    try:
        names, rows = read_rows(file)
        missing = [name for name in ("number", "rating") if name not in names]
        if missing:
            raise FormatError(f"{file} needs a column {missing[0]!r}")
        for line, row in rows:
            where = f"{file}, line {line}"
            if not row["rating"]:
                continue
            place, rating = cell_number(row, "number", where), cell_number(row, "rating", where)
            if place not in known:
                raise FormatError(f"{where}: the sheet has no number {row['number']}")
            if not LOWEST <= rating <= HIGHEST:
                raise FormatError(f"{where}: a rating lies between 1 and 10, not {row['rating']}")
            own = found.setdefault(row.get("rater") or file.stem, {})
            if int(place) in own:
                raise FormatError(f"{where}: number {int(place)} is rated twice by the same person")
            own[int(place)] = rating
    except PromptError as error:
        raise FormatError(str(error)) from error
    return found


def analyse_ratings(
    folder: str | Path, answers: Sequence[str | Path] = (), *, level: float = 0.95, seed: int = 0
) -> RatingResult:
    """Compute what the ratings of a sheet say.

    Parameters
    ----------
    folder : path
        Of the sheet.
    answers : sequence of path
        Filled-in tables, of one rater each or of several; by default ``for-raters/ratings*.csv``.
    level : float
        Confidence level of the intervals.
    seed : int
        Of bootstrap and test.

    Raises
    ------
    FormatError
        If the key or a table cannot be read.
    ParameterError
        If nothing is rated, or a rater's name is in two tables.
    """
    sheet = read_sheet(folder)
    default = sorted((sheet.folder / FOR_RATERS).glob(f"{Path(RATINGS).stem}*.csv"))
    by_rater: dict[str, dict[int, float]] = {}
    for file in answers or default:
        for rater, own in read_ratings(file, sheet).items():
            if rater in by_rater:
                raise ParameterError(f"two tables have ratings of {rater}; give one of them")
            by_rater[rater] = own
    if not by_rater:
        raise ParameterError(f"nothing is rated yet: fill in {FOR_RATERS}/{RATINGS}, or name files")
    held: dict[int, list[float]] = {}
    for own in by_rater.values():
        for place, rating in own.items():
            held.setdefault(place, []).append(rating)
    ratings = {place: float(np.mean(values)) for place, values in sorted(held.items())}
    apart = [abs(a - b) for values in held.values() for a, b in itertools.combinations(values, 2)]
    rated = [mask for mask in sheet.masks if mask.number in ratings]
    return RatingResult(
        sheet,
        tuple(by_rater),
        ratings,
        tuple(_source(name, rated, ratings, sheet, level, seed) for name in sheet.sources),
        _differences(rated, ratings, sheet.sources, level, seed),
        float(np.mean(apart)) if apart else np.nan,
    )


def _source(
    name: str,
    rated: Sequence[RatedMask],
    ratings: dict[int, float],
    sheet: RatingSheet,
    level: float,
    seed: int,
) -> SourceRating:
    mine = [mask for mask in rated if mask.source == name]
    values = np.array([ratings[mask.number] for mask in mine])
    sums, sizes = _by_image([mask.image for mask in mine], values)
    counts = np.bincount(np.round(values).astype(int), minlength=HIGHEST + 1)[LOWEST:]
    interval = bootstrap(sums, sizes, level=level, seed=seed)
    return SourceRating(name, interval, tuple(counts.tolist()), sheet.missing.get(name, 0))


def _differences(
    rated: Sequence[RatedMask],
    ratings: dict[int, float],
    sources: Sequence[str],
    level: float,
    seed: int,
) -> tuple[PairedDifference, ...]:
    by_item = {(mask.item, mask.source): mask for mask in rated}
    items = sorted({mask.item for mask in rated})
    found = []
    for first, second in itertools.combinations(sources, 2):
        pairs = [
            (by_item[item, first], by_item[item, second])
            for item in items
            if (item, first) in by_item and (item, second) in by_item
        ]
        values = np.array([ratings[a.number] - ratings[b.number] for a, b in pairs])
        sums, sizes = _by_image([a.image for a, _ in pairs], values)
        interval = bootstrap(sums, sizes, level=level, seed=seed)
        p = sign_flip_p(sums, seed=seed) if len(sums) > 1 else np.nan
        found.append(PairedDifference(first, second, interval, p, len(pairs)))
    corrected = holm([each.p for each in found])
    return tuple(
        PairedDifference(d.first, d.second, d.interval, float(p), d.items)
        for d, p in zip(found, corrected, strict=True)
    )


def _by_image(
    images: Sequence[str], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of the values of each image file: masks of an image are not independent."""
    _, index = np.unique(np.array(images, str), return_inverse=True)
    sums = np.bincount(index, values).astype(np.float64)
    return sums, np.bincount(index).astype(np.float64)


def sign_flip_p(sums: ArrayLike, *, seed: int = 0) -> float:
    """Probability that paired differences sum to so much by chance, two-sided.

    Under the null hypothesis each sign is as likely as the other. All signs are tried for up to 16
    values, 10,000 random ones for more.

    Parameters
    ----------
    sums : array-like (n,)
        Sum of the differences of each independent unit, such as an image file.
    seed : int
        Of the random signs.
    """
    values = np.asarray(sums, np.float64)
    observed = abs(values.sum()) - 1e-9
    if len(values) <= _MOST_SIGNS:
        numbers = np.arange(2 ** len(values))[:, None] >> np.arange(len(values))
        signs = 1 - 2 * (numbers & 1)
        return float(np.mean(np.abs(signs @ values) >= observed))
    rng = np.random.default_rng(seed)
    signs = rng.choice((-1, 1), (_DRAWN_SIGNS, len(values)))
    reached = np.count_nonzero(np.abs(signs @ values) >= observed)
    return float((1 + reached) / (1 + _DRAWN_SIGNS))


def write_rating_report(
    result: RatingResult, output: str | Path | None = None, *, plots: bool = True
) -> Path:
    """Write ``ratings.md``, ``masks.csv`` and, with matplotlib, ``ratings.png``.

    Parameters
    ----------
    result : RatingResult
    output : path, optional
        Folder; by default ``report/`` in the sheet's.
    plots : bool
        Draw the figure, which needs matplotlib.

    Returns
    -------
    Path
        The Markdown file.

    Raises
    ------
    ParameterError
        If a figure is asked for without matplotlib.
    """
    from .report import require_plots

    if plots:
        require_plots()
    folder = result.sheet.folder / "report" if output is None else Path(output).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["number", "item", "source", "image", "row", "col", "label", "rating"]
    write_csv(
        folder / "masks.csv",
        columns,
        (
            [*(getattr(mask, name) for name in columns[:-1]), result.ratings.get(mask.number, "")]
            for mask in result.sheet.masks
        ),
    )
    picture = _draw(folder, result) if plots else ""
    path = folder / "ratings.md"
    with replacing(path) as temporary:
        temporary.write_text(markdown(result, picture), "utf-8")
    return path


def markdown(result: RatingResult, picture: str = "") -> str:
    """The report as Markdown.

    Parameters
    ----------
    result : RatingResult
    picture : str
        File name of the figure; "" for none.
    """
    sheet = result.sheet
    total, rated = len(sheet.masks), len(result.ratings)
    files = len({mask.image for mask in sheet.masks})
    raters = f"{len(result.raters)} rater{'s' if len(result.raters) > 1 else ''}"
    lines = [
        "# Ratings of masks",
        "",
        f"{rated} of {total} masks rated by {raters}, from 1 to 10 and without knowing their "
        f"source; {sheet.items} objects in {files} image files, drawn from each source in turn. "
        "In brackets: confidence intervals from resampling image files.",
        "",
    ]
    rows = [
        [each.source, number(each.interval), str(each.masks), str(each.missing)]
        for each in sorted(result.sources, key=lambda s: -np.nan_to_num(s.interval.value))
    ]
    lines += table_rows(["source", "mean rating", "masks rated", "objects without a mask"], rows)
    lines += ["Differences on the objects for which both have a rated mask:", ""]
    pairs = [
        [
            f"{each.first} minus {each.second}",
            number(each.interval),
            "" if np.isnan(each.p) else f"{each.p:.2g}",
            str(each.items),
        ]
        for each in result.differences
    ]
    lines += table_rows(["", "mean difference", "p", "objects"], pairs)
    lines += [
        "p: sign-flip test over image files, corrected for the number of pairs by Holm's method. "
        "Objects without a mask have no rating and do not count.",
        "",
    ]
    if not np.isnan(result.disagreement):
        lines += [
            f"Two raters of the same mask differ by {result.disagreement:.2f} on average.",
            "",
        ]
    return "\n".join([*lines, f"![Ratings]({picture})", ""] if picture else lines)


def _draw(folder: Path, result: RatingResult) -> str:
    """Mean ratings with intervals, and how often each rating was given."""
    from .plots import COLOURS, new_figure, save_figure

    canvas, (means, shares) = new_figure(2)
    names = [each.source for each in result.sources]
    for place, each in enumerate(result.sources):
        colour: Any = COLOURS[place % len(COLOURS)]
        interval = each.interval
        means.plot([interval.low, interval.high], [place, place], color=colour, linewidth=2)
        means.plot([interval.value], [place], "o", color=colour)
        part = np.array(each.counts) / max(each.masks, 1)
        shares.plot(range(LOWEST, HIGHEST + 1), part, "o-", color=colour, label=each.source)
    means.set_yticks(range(len(names)), names)
    means.set_ylim(len(names) - 0.5, -0.5)
    means.set_xlim(LOWEST, HIGHEST)
    means.set_xlabel("mean rating")
    shares.set_xlabel("rating")
    shares.set_ylabel("share of masks")
    shares.set_ylim(bottom=0)
    shares.legend(fontsize=7)
    return save_figure(canvas, folder, "ratings.png")
