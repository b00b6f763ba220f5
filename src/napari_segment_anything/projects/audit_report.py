"""The report of an audit as JSON, and as text for a methods section."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ..evaluation.figure_table import table_rows
from ..wording import counted
from .audit_domain import AuditFigure
from .audit_figures import AuditFigures, ClassFigures

if TYPE_CHECKING:
    from .audit_files import DrawnAudit

_LIBRARIES = ("torch", "numpy", "scipy", "scikit-image")
STATISTICS = (
    "Totals are difference estimates: the automatic figures, corrected by the weighted errors of "
    "the checked masks and fields. Intervals of shares are those of Clopper and Pearson with the "
    "effective sample size (Korn and Graubard 1998); those of false, merged and missed objects are "
    "gamma intervals (Fay and Feuer 1997; Tiwari et al. 2006); those of changed outlines are "
    "Student's t with Satterthwaite's degrees of freedom. They are combined by the method of "
    "variance estimates recovery (Zou and Donner 2008). The intervals are for these images; they "
    "do not include the variation between specimens."
)
_SHARES = ("precision", "recall", "coverage")
_NOTHING = "–"


def report_json(drawn: DrawnAudit, found: AuditFigures) -> dict[str, Any]:
    """The report as plain values.

    Parameters
    ----------
    drawn : DrawnAudit
    found : AuditFigures
    """
    sample = drawn.sample
    return {
        "version": 1,
        "project": drawn.project,
        "package": drawn.package,
        "drawn": drawn.time,
        "level": found.level,
        "images": found.images,
        "left_out": drawn.left_out,
        "masks": {"all": found.masks, "drawn": len(sample.masks), "answered": found.masks_answered},
        "fields": {
            "all": found.fields, "drawn": len(sample.fields), "answered": found.fields_answered,
            "side": sample.field_side,
        },
        "trusted": found.trusted,
        "verdicts": dict(found.verdicts),
        "missed": found.missed,
        "seconds": round(found.seconds, 1),
        "models": [
            {"model": m.model, "version": m.version, "fingerprint": m.fingerprint, "masks": m.masks}
            for m in drawn.models
        ],
        "figures": _figures_json(found.figures),
        "classes_answered": found.classes_answered,
        "classes": [
            {
                "name": each.name, "masks": each.masks, "answered": each.masks_answered,
                "trusted": each.trusted, "missed": each.missed, "lacking": each.lacking,
                "figures": _figures_json(each.figures),
            }
            for each in found.classes
        ],
    }  # fmt: skip


def _figures_json(figures: Iterable[AuditFigure]) -> dict[str, Any]:
    return {
        figure.name: {
            "unit": figure.unit,
            "automatic": figure.automatic,
            "value": _plain(figure.interval.value),
            "low": _plain(figure.interval.low),
            "high": _plain(figure.interval.high),
        }
        for figure in figures
    }


def class_title(each: ClassFigures) -> str:
    """The name of a class, or what to call objects without one."""
    return each.name or "without a class"


def class_rows(found: AuditFigures) -> list[list[str]]:
    """A row for each figure of each class, with the class before; what is lacking as one row."""
    rows = []
    for each in found.classes:
        own = figure_rows(each.figures) or [[each.lacking, "", "", ""]]
        names = [class_title(each), *[""] * (len(own) - 1)]
        rows += [[name, *row] for name, row in zip(names, own, strict=True)]
    return rows


def figure_rows(figures: Iterable[AuditFigure]) -> list[list[str]]:
    """A row for each figure: its title, its value for the automatic masks, estimate, interval."""
    rows = []
    for figure in figures:
        before = "" if figure.automatic is None else _text(figure, figure.automatic)
        title = f"{figure.title} ({figure.unit})" if figure.unit else figure.title
        rows.append([title, before, _text(figure, figure.interval.value), _range(figure)])
    return rows


def methods_text(drawn: DrawnAudit, found: AuditFigures, people: Iterable[str] = ()) -> str:
    """Text for a methods section, and the figures as a table, in Markdown.

    Parameters
    ----------
    drawn : DrawnAudit
    found : AuditFigures
    people : iterable of str
        Who answered.
    """
    level = f"{100 * found.level:g} %"
    columns = ["figure", "masks as they are", "estimate", f"{level} interval"]
    lines = [
        f"# Audit of {drawn.project}",
        "",
        _segmentation(drawn, found),
        "",
        _procedure(drawn, found, sorted(name for name in people if name)),
        "",
        f"{_estimate(found['iou_above_90'], level)} of the automatic masks have an IoU above .90 "
        f"with the corrected mask, {_estimate(found['iou_above_75'], level)} above .75. "
        f"The images hold {_estimate(found['count'], level)} objects "
        f"({found['count'].automatic:,.0f} before the audit), with an area of "
        f"{_estimate(found['area'], level)} {found['area'].unit} and a density of "
        f"{_estimate(found['density'], level)} {found['density'].unit}.",
        "",
        *table_rows(columns, figure_rows(found.figures)),
        *_class_lines(found, columns),
        STATISTICS,
        "",
        *table_rows(
            ["class", "scores", "areas (pixels)", "masks", "drawn"],
            [_stratum_row(drawn, number) for number in range(len(drawn.sample.strata))],
        ),
    ]
    return "\n".join(lines)


def _class_lines(found: AuditFigures, columns: list[str]) -> list[str]:
    if not found.classes:
        return []
    checked = "; ".join(
        f"{class_title(each)}: {each.masks_answered} of {counted(each.masks, 'mask')} checked, "
        f"{counted(each.trusted, 'object')} counted as they are, {each.missed} missed in fields"
        for each in found.classes
    )
    return [
        f"{classes_note(found)} {checked}.", "",
        *table_rows(["class", *columns], class_rows(found)),
    ]  # fmt: skip


def classes_note(found: AuditFigures) -> str:
    """How classes were decided, as a sentence."""
    if found.classes_answered:
        return (
            f"The classes of {found.classes_answered} masks were checked too; a mask of another "
            "class than its object counts for the object's class. "
            "Intervals are derived as those of all objects, from the strata of each class."
        )
    return "Classes of masks were not checked, and are taken to be right."


def _segmentation(drawn: DrawnAudit, found: AuditFigures) -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    told = [
        f"Objects in {counted(found.images, 'image')} were segmented with segment-anything-napari "
        f"{drawn.package} (Python {platform.python_version()}, {libraries}).",
        _models(drawn),
    ]
    if drawn.threshold is not None:
        told.append(
            f"Open suggestions with a score of at least {drawn.threshold:.2f} count as masks."
        )
    if found.trusted:
        told.append(
            f"{counted(found.trusted, 'further object')} had been drawn, corrected or confirmed by "
            "a person and are counted as they are."
        )
    if drawn.left_out:
        told.append(
            f"Not included: {counted(drawn.left_out, 'image')} without masks, skipped or flagged."
        )
    return " ".join(told)


def _procedure(drawn: DrawnAudit, found: AuditFigures, people: list[str]) -> str:
    sample, verdicts = drawn.sample, found.verdicts
    strata = counted(len(sample.strata), "stratum").replace("stratums", "strata")
    scored = any(stratum.scores is not None for stratum in sample.strata)
    told = [
        "The remaining error was estimated by an audit of a random sample (drawn on "
        f"{drawn.time[:10]}, seed {sample.seed}). Of the {found.masks:,} automatic masks, "
        f"{found.masks_answered}, drawn at random without replacement from {strata} of "
        f"{_of_what(scored, {stratum.class_name for stratum in sample.strata})}, were checked"
        f"{' by ' + ', '.join(people) if people else ''} (accepted: {verdicts['accepted']}, "
        f"corrected: {verdicts['corrected']}, rejected: {verdicts['rejected']}).",
        "A mask stands for an object if they share more than half of the smaller of the two; of "
        "several such masks, the one that shares most. Of merged objects all were drawn.",
        f"Objects without a mask were looked for in {found.fields_answered} of {found.fields:,} "
        f"fields of about {sample.field_side} × {sample.field_side} pixels, also drawn at random; "
        f"{counted(found.missed, 'missed object')} had "
        f"{'its' if found.missed == 1 else 'their'} centre in them.",
    ]
    if found.seconds >= 30:
        told.append(f"This took {counted(round(found.seconds / 60) or 1, 'minute')}.")
    return " ".join(told)


def _of_what(scored: bool, classes: set[str]) -> str:
    by = [*(["class"] if len(classes) > 1 else []), *(["score"] if scored else []), "size"]
    return " and ".join([", ".join(by[:-1]), by[-1]] if len(by) > 1 else by)


def _stratum_row(drawn: DrawnAudit, number: int) -> list[str]:
    stratum = drawn.sample.strata[number]
    checked = sum(mask.stratum == number for mask in drawn.sample.masks)
    scores = "none" if stratum.scores is None else "{:.3f} to {:.3f}".format(*stratum.scores)
    areas = "{:.0f} to {:.0f}".format(*stratum.areas)
    return [stratum.class_name, scores, areas, str(stratum.masks), str(checked)]


def _models(drawn: DrawnAudit) -> str:
    told = []
    for made in drawn.models:
        name = made.version or made.model
        if not name and not made.fingerprint:
            told.append(f"{counted(made.masks, 'mask')} of unknown origin")
            continue
        weights = f", weights {made.fingerprint[:16]}" if made.fingerprint else ""
        told.append(
            f"{counted(made.masks, 'mask')} by the model {name or 'without a name'}{weights}"
        )
    return f"Masks: {'; '.join(told)}." if told else "There are no automatic masks."


def _estimate(figure: AuditFigure, level: str) -> str:
    return f"{_text(figure, figure.interval.value)} ({level} confidence interval {_range(figure)})"


def _range(figure: AuditFigure) -> str:
    low, high = (_text(figure, end) for end in (figure.interval.low, figure.interval.high))
    return low if low == high == _NOTHING else f"{low} to {high}"


def _text(figure: AuditFigure, value: float) -> str:
    if math.isnan(value):
        return _NOTHING
    if figure.name in _SHARES or figure.name.startswith("iou"):
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if abs(value) >= 100 or figure.name == "count" else f"{value:.3g}"


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
