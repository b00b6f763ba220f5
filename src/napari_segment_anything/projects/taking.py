"""Labels of suggestions without a person: the fully automatic stage, which an audit checks."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from ..errors import ResourceError
from ..progress import Progress
from .editing import ImageEditing
from .images import ProjectImage
from .objects import ObjectEntry
from .project import Project
from .suggesting import TODO, WHO


@dataclass(frozen=True, slots=True)
class TakingReport:
    """What became labels.

    Parameters
    ----------
    taken : dict of str to int
        New objects of each image, by its key.
    left : dict of str to str
        Images that were left out, and why.
    """

    taken: dict[str, int] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


def take_suggestions_steps(
    project: Project, threshold: float | None = None, *, keys: Iterable[str] | None = None
) -> Generator[Progress, None, TakingReport]:
    """Make labels of open suggestions of everything mode, as one key does in the viewer.

    Objects that are there keep their pixels. The new ones are recorded as suggestions taken as
    they were, by nobody in particular, so that audits draw from them.

    Parameters
    ----------
    project : Project
    threshold : float, optional
        Score from which on suggestions are taken; the project's by default.
    keys : iterable of str, optional
        Only these images; by default all that are to do or in progress.

    Yields
    ------
    Progress
        Before each image.

    Returns
    -------
    TakingReport
        Images that somebody works on, or whose last session was killed, are left out.
    """
    score = float(project.settings["suggestion_score"]) if threshold is None else threshold
    if keys is None:
        images = [image for image in project.images if image.state in TODO]
    else:
        images = [project.image(key) for key in keys]
    versions = {version.name for version in project.versions}
    taken: dict[str, int] = {}
    left: dict[str, str] = {}
    for number, image in enumerate(images):
        yield Progress(number, len(images), message=image.key)
        if not image.suggestions().shown(score, "everything").items:
            continue
        if image.journal.exists():
            left[image.key] = "its last session was killed; open it in napari to recover it"
            continue
        try:
            with image.lock(WHO) as editing:
                taken[image.key] = _take(image, editing, score, versions)
        except ResourceError as error:
            left[image.key] = str(error)
    return TakingReport(taken, left)


def _take(image: ProjectImage, editing: ImageEditing, score: float, versions: set[str]) -> int:
    suggestions, labels, entries = image.suggestions(), image.labels(), list(image.objects())
    last = max([int(labels.max(initial=0)), *(entry.id for entry in entries)])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    shown = suggestions.shown(score, "everything").items
    became: dict[int, int] = {}
    for item in sorted(shown, key=lambda item: -item.score):
        mask = item.placed
        under = labels[mask.window.slices]
        free = mask.mask & (under == 0)
        if not free.any():
            continue
        last += 1
        under[free] = became[item.id] = last
        known = item.version in versions
        entries.append(
            ObjectEntry(
                last,
                score=None if np.isnan(item.predicted_iou) else float(item.predicted_iou),
                made_by="suggestion",
                model="" if known else item.version,
                version=item.version if known else "",
                fingerprint=item.fingerprint,
                time=now,
            )
        )
    editing.write(
        labels=labels,
        objects=entries,
        suggestions=suggestions.decide(became, "taken", became),
        state="in_progress" if image.state == "todo" else image.state,
    )
    return len(became)
