"""What an audit says: shares of good masks, and count, area and density with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import ParameterError
from .audit_answers import FieldAnswer, MaskAnswer
from .audit_domain import AuditFigure, CheckedMask, checked_masks, domain_figures, missed
from .audit_sample import AuditSample
from .estimates import LEVEL
from .sampling import LEAST_OF_CLASS


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Figures of one class.

    Parameters
    ----------
    name : str
        Of the class; "" for objects without one.
    masks, trusted : int
        Automatic masks of the class, and its objects that count as right.
    masks_answered : int
        Drawn masks of the class that a person answered.
    missed : int
        Objects of the class missed in the answered fields.
    figures : tuple of AuditFigure
        None if there are too few answers.
    lacking : str
        What is missing then.
    """

    name: str
    masks: int
    trusted: int
    masks_answered: int
    missed: int
    figures: tuple[AuditFigure, ...] = ()
    lacking: str = ""

    def __getitem__(self, name: str) -> AuditFigure:
        return _find(self.figures, name)


@dataclass(frozen=True, slots=True)
class AuditFigures:
    """All figures of an audit.

    Parameters
    ----------
    level : float
        Confidence level of the intervals.
    images, masks, trusted, fields : int
        What the audit is about: images, automatic masks, objects that count as right, and fields
        that the images were divided into.
    masks_answered, fields_answered : int
        Drawn masks and fields that a person answered.
    verdicts : mapping of str to int
        How many of these masks were accepted, corrected and rejected.
    missed : int
        Objects missed in these fields.
    seconds : float
        Time that the answers took.
    figures : tuple of AuditFigure
    classes : tuple of ClassFigures
        By class, if the project has classes.
    classes_answered : int
        Drawn masks whose class was looked at too. If there are any, figures by class come from
        these alone; else classes of masks are taken to be right.
    """

    level: float
    images: int
    masks: int
    trusted: int
    fields: int
    masks_answered: int
    fields_answered: int
    verdicts: Mapping[str, int]
    missed: int
    seconds: float
    figures: tuple[AuditFigure, ...]
    classes: tuple[ClassFigures, ...] = ()
    classes_answered: int = 0

    def __getitem__(self, name: str) -> AuditFigure:
        return _find(self.figures, name)


def audit_figures(
    sample: AuditSample,
    masks: Mapping[int, MaskAnswer],
    fields: Mapping[int, FieldAnswer],
    level: float = LEVEL,
) -> AuditFigures:
    """Estimate figures of all images from the answers, and of each class.

    Masks and fields are checked in random order, so an audit may be ended before all of them are
    answered.

    Parameters
    ----------
    sample : AuditSample
    masks, fields : mapping of int to answer
        By position in the sample.
    level : float
        Confidence level of the intervals.

    Raises
    ------
    ParameterError
        If there are too few answers for an estimate.
    """
    if not 0 < level < 1:
        raise ParameterError(f"a confidence level lies between 0 and 1, not at {level}")
    total = sum(stratum.masks for stratum in sample.strata)
    least, wanted = min(2, sample.field_count), min(2, total)
    if len(masks) < wanted or len(fields) < least:
        raise ParameterError(
            f"{len(masks)} masks and {len(fields)} fields are answered; an estimate needs at least "
            f"{wanted} masks and {least} fields"
        )
    verdicts = [answer.verdict for answer in masks.values()]
    looked_at = {i: answer for i, answer in masks.items() if answer.classes is not None}
    checked = checked_masks(sample, masks)
    of_classes = checked_masks(sample, looked_at) if looked_at else checked
    return AuditFigures(
        level,
        len(sample.images),
        total,
        sum(image.trusted for image in sample.images),
        sample.field_count,
        len(masks),
        len(fields),
        {v: verdicts.count(v) for v in ("accepted", "corrected", "rejected")},
        sum(len(answer.missed) for answer in fields.values()),
        sum(a.seconds for a in masks.values()) + sum(a.seconds for a in fields.values()),
        domain_figures(sample, checked, fields, level),
        tuple(
            _of_class(name, sample, of_classes, fields, level, bool(looked_at))
            for name in _class_names(sample, masks, fields)
        ),
        len(looked_at),
    )


def _class_names(
    sample: AuditSample, masks: Mapping[int, MaskAnswer], fields: Mapping[int, FieldAnswer]
) -> list[str]:
    """Classes of the project, and what else masks and answers have; none if nothing has one."""
    if not sample.classes:
        return []
    found = [name for image in sample.images for name in image.classes]
    answered = [answer.classes or () for answer in masks.values()]
    answered += [answer.classes or () for answer in fields.values()]
    found += [name for names in answered for name in names]
    if any(answer.missed and answer.classes is None for answer in fields.values()):
        found.append("")
    if not any(found):  # the project's classes are not used
        return []
    others = sorted(set(found) - set(sample.classes), key=lambda name: (not name, name))
    return [*sample.classes, *others]


def _of_class(
    name: str,
    sample: AuditSample,
    masks: Sequence[CheckedMask],
    fields: Mapping[int, FieldAnswer],
    level: float,
    elsewhere: bool,
) -> ClassFigures:
    own = sum(stratum.masks for stratum in sample.strata if stratum.class_name == name)
    others = sum(stratum.masks for stratum in sample.strata) - own
    trusted = sum(i.classes[name].trusted for i in sample.images if name in i.classes)
    of = [sample.strata[mask.stratum].class_name for mask in masks]
    answered = of.count(name)
    facts = (name, own, trusted, answered, sum(len(missed(f, name)) for f in fields.values()))
    needed = min(own, LEAST_OF_CLASS)
    if answered < needed:
        return ClassFigures(
            *facts, lacking=f"{answered} of its {own} masks are answered; figures need {needed}"
        )
    rest = len(of) - answered
    if elsewhere and rest < min(others, 2):
        return ClassFigures(
            *facts, lacking=f"{rest} masks of other classes are answered; figures need 2"
        )
    return ClassFigures(*facts, domain_figures(sample, masks, fields, level, name, elsewhere))


def _find(figures: tuple[AuditFigure, ...], name: str) -> AuditFigure:
    for figure in figures:
        if figure.name == name:
            return figure
    raise ParameterError(f"an audit has no figure {name!r}")
