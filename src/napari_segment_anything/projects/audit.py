"""Audits of a project: masks and fields drawn, answers recorded as they come, and the report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from ..errors import ParameterError
from ..formats.locking import exclusive
from ..formats.rle import RLE, encode
from ..parameters import AUDIT, check_values
from ..reading import plain_name
from .audit_answers import (
    FieldAnswer,
    MaskAnswer,
    answer_to,
    answers_from,
    classes_of,
    coco,
    standing,
)
from .audit_figures import AuditFigures, audit_figures
from .audit_files import ANSWERS, Answers, DrawnAudit, MadeWith, read_answers, read_drawn
from .audit_masks import ImageMasks, image_masks, masks_now
from .audit_sample import AuditSample
from .estimates import LEVEL
from .files import append_line, json_writer, write_text, write_together
from .sampling import draw, population

if TYPE_CHECKING:
    from .project import Project

SAMPLE, REPORT, METHODS = "sample.json", "report.json", "methods.md"
_LEFT_OUT = ("skipped", "flagged")
_WAIT = 10.0


class Audit:
    """An audit of the automatic masks of a project, in a folder of its own.

    Made by `Audit.draw` and `Audit.open`. Each answer is on the disk when the method that gives it
    returns; several people may answer the same audit.

    Parameters
    ----------
    project : Project
    name : str
        Of the audit and its folder.
    """

    def __init__(self, project: Project, name: str) -> None:
        self.project = project
        self.folder = project.audits / plain_name(name, "an audit")
        if not (self.folder / SAMPLE).exists():
            known = ", ".join(audit_names(project)) or "none"
            raise ParameterError(f"there is no audit {name!r}; the project's audits are: {known}")
        self.drawn = read_drawn(self.folder / SAMPLE)

    @classmethod
    def draw(
        cls,
        project: Project,
        name: str = "",
        *,
        masks: int = 120,
        fields: int = 40,
        field_side: int | None = None,
        seed: int = 0,
        images: Iterable[str] | None = None,
    ) -> Audit:
        """Draw masks and fields of a project's images, and keep them.

        Parameters
        ----------
        project : Project
        name : str
            Of the audit; by default "audit-1" and so on.
        masks, fields : int
            How many to draw.
        field_side : int, optional
            Side of a field in pixels; by default, one that holds about ten masks, smaller if
            more than half of the images would be searched.
        seed : int
            The same seed draws the same masks and fields.
        images : iterable of str, optional
            Keys of the images; all by default. Skipped and flagged ones, and those without labels
            or suggestions, are left out.

        Raises
        ------
        ParameterError
            If there is nothing to audit, an audit of this name exists, or a number is out of range.
        """
        from .. import __version__

        check_values(
            AUDIT, {"masks": masks, "fields": fields, "field_side": field_side, "seed": seed}
        )
        name = plain_name(name or _next_name(project), "an audit")
        folder = project.audits / name
        if (folder / SAMPLE).exists():
            raise ParameterError(f"there is an audit {name!r} already; choose another name")
        chosen = project.images if images is None else [project.image(key) for key in images]
        looked_at = [i for i in chosen if i.state not in _LEFT_OUT]
        made: dict[tuple[str, str, str], int] = {}
        threshold = float(project.settings["suggestion_score"])
        suggested = False

        def read() -> Iterator[Any]:
            nonlocal suggested
            for image in looked_at:
                held = image_masks(image, threshold)
                if held is None:
                    continue
                for key in held.models:
                    made[key] = made.get(key, 0) + 1
                suggested |= min(held.automatic, default=0) < 0
                yield held.described(image), held.automatic, held.scores, held.classes

        held = population(read())
        sample = draw(
            held, lambda key: masks_now(project.image(key), threshold).automatic,
            masks=masks, fields=fields, field_side=field_side, seed=seed,
            classes=[each.name for each in project.classes],
        )  # fmt: skip
        models = tuple(MadeWith(*key, count) for key, count in sorted(made.items()))
        drawn = DrawnAudit(
            1, project.name, __version__, _now(), models, threshold if suggested else None,
            len(chosen) - len(held.images), sample,
        )  # fmt: skip
        write_text(folder / SAMPLE, json.dumps(asdict(drawn), allow_nan=False))
        return cls(project, name)

    @classmethod
    def open(cls, project: Project, name: str = "") -> Audit:
        """Open an audit, by default the one drawn last.

        Raises
        ------
        ParameterError
            If there is none of that name.
        """
        names = audit_names(project)
        return cls(project, name or (names[-1] if names else "audit-1"))

    @property
    def name(self) -> str:
        """What it is called."""
        return self.folder.name

    @property
    def sample(self) -> AuditSample:
        """What was drawn."""
        return self.drawn.sample

    @property
    def masks(self) -> Mapping[int, MaskAnswer]:
        """Answers about drawn masks, by position in the sample."""
        return self._answers().masks

    @property
    def fields(self) -> Mapping[int, FieldAnswer]:
        """Answers about drawn fields, by position in the sample."""
        return self._answers().fields

    def open_masks(self) -> list[int]:
        """Positions of drawn masks without an answer, in the order in which to answer them."""
        known = self.masks
        return [i for i in range(len(self.sample.masks)) if i not in known]

    def open_fields(self) -> list[int]:
        """Positions of drawn fields without an answer, in the order in which to answer them."""
        known = self.fields
        return [i for i in range(len(self.sample.fields)) if i not in known]

    def masks_of(self, key: str) -> ImageMasks:
        """The masks of an image as they are now: automatic and trusted ones.

        Parameters
        ----------
        key : str
            Of the image.
        """
        return masks_now(self.project.image(key), self.drawn.threshold)

    # -- answers ---------------------------------------------------------------------------------

    def answer_mask(
        self,
        number: int,
        objects: Sequence[RLE | ArrayLike],
        *,
        classes: Sequence[str] | None = None,
        seconds: float = 0.0,
        by: str = "",
    ) -> MaskAnswer:
        """Record which objects a drawn mask stands for.

        Parameters
        ----------
        number : int
            Its position in the sample.
        objects : sequence of RLE or bool array (rows, columns)
            The corrected mask; the drawn mask itself if it is right; several objects if it had
            merged them; none if it is no object, or another mask has more of its object.
        classes : sequence of str, optional
            Name of the class of each object, "" for none, if classes were looked at.
        seconds : float
            Time that it took.
        by : str
            Who answers; the user's name by default.

        Returns
        -------
        MaskAnswer

        Raises
        ------
        ParameterError
            If there is no such mask or class, or an object is empty or of another size.
        """
        drawn = self._at(self.sample.masks, number, "mask")
        codes = [each if isinstance(each, RLE) else encode(each) for each in objects]
        self._check_classes(classes)
        answer = answer_to(drawn.rle, codes, seconds, by or _user(), _now(), classes)
        self._record(Answers(1, masks={number: answer}))
        return answer

    def answer_field(
        self,
        number: int,
        missed: Sequence[RLE | ArrayLike],
        *,
        classes: Sequence[str] | None = None,
        seconds: float = 0.0,
        by: str = "",
    ) -> FieldAnswer:
        """Record which objects in a drawn field have no mask.

        Parameters
        ----------
        number : int
            Its position in the sample.
        missed : sequence of RLE or bool array (rows, columns)
            Objects that no mask stands for, drawn whole. Those whose centre lies outside of the
            field do not count.
        classes : sequence of str, optional
            Name of the class of each, "" for none.
        seconds : float
            Time that it took.
        by : str
            Who answers; the user's name by default.

        Returns
        -------
        FieldAnswer
            With the objects that count.

        Raises
        ------
        ParameterError
            If there is no such field or class, or an object is empty.
        """
        place = self._at(self.sample.fields, number, "field")
        codes = [each if isinstance(each, RLE) else encode(each) for each in missed]
        shape = next((i.rows, i.cols) for i in self.sample.images if i.key == place.image)
        if any(each.size != shape or not each.area for each in codes):
            raise ParameterError("a missed object is a mask of the whole image, not empty")
        self._check_classes(classes)
        named = classes_of(codes, classes)
        inside = [i for i, each in enumerate(codes) if place.holds(each)]
        answer = FieldAnswer(
            tuple(coco(codes[i]) for i in inside), seconds, by or _user(), _now(),
            None if named is None else tuple(named[i] for i in inside),
        )  # fmt: skip
        self._record(Answers(1, fields={number: answer}))
        return answer

    def answer_from(
        self,
        key: str,
        truth: ArrayLike,
        *,
        classes: Mapping[int, str] | None = None,
        by: str = "labels",
    ) -> None:
        """Answer all drawn masks and fields of an image from labels of all its objects.

        Parameters
        ----------
        key : str
            Of the image.
        truth : integer array (rows, columns)
            0 is background.
        classes : mapping of int to str, optional
            Names of classes by label; "" or left out for none. Ignored without classes in the
            project; without a mapping, classes of masks are taken to be right.
        by : str
            Who drew them.

        Raises
        ------
        ParameterError
            If the labels have another size, a class is not the project's, the image is not in the
            audit, or its masks have changed since the sample was drawn.
        """
        if not self.sample.classes:
            classes = None
        self._check_classes(None if classes is None else list(classes.values()))
        known = {image.key: image for image in self.sample.images}
        if key not in known:
            raise ParameterError(f"the audit {self.name} does not cover the image {key!r}")
        held = self.masks_of(key)
        if held.described(self.project.image(key)).digest != known[key].digest:
            raise ParameterError(
                f"the masks of {key} have changed since the audit {self.name} was drawn; draw "
                "another audit"
            )
        there = standing(truth, {**held.automatic, **held.trusted}, classes)
        self._record(Answers(1, *answers_from(self.sample, {key: there}, by, _now())))

    # -- report ----------------------------------------------------------------------------------

    def figures(self, level: float = LEVEL) -> AuditFigures:
        """Estimate shares, count, area and density from the answers so far.

        Parameters
        ----------
        level : float
            Confidence level of the intervals.

        Raises
        ------
        ParameterError
            If there are too few answers.
        """
        held = self._answers()
        return audit_figures(self.sample, held.masks, held.fields, level)

    def write_report(self, level: float = LEVEL) -> tuple[Path, Path]:
        """Write ``report.json`` and ``methods.md``, and return their paths.

        Parameters
        ----------
        level : float
            Confidence level of the intervals.

        Raises
        ------
        ParameterError
            If there are too few answers.
        """
        from .audit_report import methods_text, report_json

        figures = self.figures(level)
        held = self._answers()
        people = {a.by for a in held.masks.values()} | {a.by for a in held.fields.values()}
        with self._locked():
            write_together(
                self.folder,
                {
                    REPORT: json_writer(report_json(self.drawn, figures)),
                    METHODS: lambda path: path.write_text(
                        methods_text(self.drawn, figures, people), "utf-8"
                    ),
                },
            )
        return self.folder / REPORT, self.folder / METHODS

    def _check_classes(self, classes: Sequence[str] | None) -> None:
        known = ("", *self.sample.classes)
        other = next((name for name in classes or () if name not in known), None)
        if other is not None:
            raise ParameterError(
                f"the audit {self.name} has no class {other!r}; its classes are: "
                f"{', '.join(self.sample.classes) or 'none'}"
            )

    def _at(self, items: Sequence[Any], number: int, what: str) -> Any:
        if not 0 <= number < len(items):
            raise ParameterError(f"the audit {self.name} has no {what} {number}")
        return items[number]

    def _answers(self) -> Answers:
        return read_answers(self.folder, self.sample)

    def _record(self, answers: Answers) -> None:
        with self._locked():
            append_line(self.folder / ANSWERS, json.dumps(asdict(answers), allow_nan=False))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        def busy() -> str:
            return f"another process is writing the audit {self.folder}; try again"

        with exclusive(self.folder / ".lock", busy, _WAIT):
            yield


def audit_names(project: Project) -> list[str]:
    """Names of a project's audits, the one drawn first at the beginning."""
    found = [path for path in project.audits.glob(f"*/{SAMPLE}") if path.is_file()]
    found.sort(key=lambda path: (path.stat().st_mtime_ns, path.parent.name))
    return [path.parent.name for path in found]


def _next_name(project: Project) -> str:
    number = 1
    while (project.audits / f"audit-{number}" / SAMPLE).exists():
        number += 1
    return f"audit-{number}"


def _user() -> str:
    from .editing import user_name

    return user_name()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
