"""Learning from a project while it is annotated: started, watched, and its models used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...projects import ModelVersion, Project
from ...projects.learning import FIGURES, can_resume
from ...projects.learning_process import cancel_learning, learning_status, start_learning
from ...projects.learning_status import LearningStatus, read_curves
from ...training.curves import read_rows

Curves = Mapping[str, list[dict[str, float]]]


@dataclass(frozen=True, slots=True)
class Material:
    """What a project has to learn from.

    Parameters
    ----------
    images, complete, objects : int
        Images with labelled objects, those of them that are complete, and objects in all.
    """

    images: int
    complete: int
    objects: int

    @classmethod
    def of(cls, project: Project) -> Material:
        """Count what is annotated; images that are flagged or skipped are left out."""
        found = [
            image.status
            for image in project.images
            if image.state not in ("skipped", "flagged") and image.status.objects
        ]
        complete = sum(status.state == "complete" for status in found)
        return cls(len(found), complete, sum(sum(s.objects.values()) for s in found))


class Teaching:
    """Learns from a project in a process of its own, which goes on if this one ends.

    Parameters
    ----------
    project : Project
    """

    def __init__(self, project: Project) -> None:
        self.project = project

    @property
    def status(self) -> LearningStatus | None:
        """How far learning is; None if it was never started."""
        return learning_status(self.project.folder)

    @property
    def can_resume(self) -> bool:
        """Whether it was stopped, and can go on."""
        return can_resume(self.project)

    def start(self, restart: bool = False) -> None:
        """Start learning, or go on.

        Parameters
        ----------
        restart : bool
            Begin anew, with the present annotation, instead of going on.

        Raises
        ------
        ResourceError
            If a process is learning from the project already, or none can be started.
        """
        start_learning(self.project.folder, restart=restart)

    def cancel(self) -> None:
        """Ask the process to stop; it can go on later."""
        cancel_learning(self.project.folder)

    def curves(self, version: ModelVersion | None = None) -> Curves:
        """Losses and measures of a version, or of what is being learned."""
        if version is None:
            return read_curves(self.project.folder)
        return {kind: read_rows(version.folder / f"{kind}.csv") for kind in ("train", "validation")}

    def figures(self, version: ModelVersion) -> dict[str, tuple[float | None, float | None]]:
        """Measures of a version on held-out images, before and after, by name."""
        learned = version.learned()
        before, after = learned.get("before") or {}, learned.get("after") or {}
        names = [name for name in FIGURES if name in before or name in after]
        return {name: (before.get(name), after.get(name)) for name in names}
