"""Long jobs over all images that are still to do, while one of them is open."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

from psygnal import Signal

from ...errors import PromptError
from ...progress import Progress
from ...projects.similar_series import example_steps, similar_series_steps
from ...projects.suggesting import SeriesReport, suggest_series_steps
from ...session import LatestWins
from ..viewer.runners import Background, Inline, JobCallbacks, JobRunner

if TYPE_CHECKING:
    from .project_session import ProjectSession

_WAIT = 0.05
Steps = Generator[Progress, None, SeriesReport]


class SeriesJobs:
    """Makes suggestions for the images of a project that are still to do, one job at a time.

    It waits while the viewer's session decodes. Images that somebody works on are left out.

    Parameters
    ----------
    owner : ProjectSession
    """

    progressed = Signal(object)
    """Emits a Progress; its `partial` is the key of an image that is done."""
    finished = Signal(object)
    """Emits the `SeriesReport`."""
    running_changed = Signal(bool)
    """A job runs, or does not any more."""

    def __init__(self, owner: ProjectSession) -> None:
        self._owner, self._session = owner, owner.session
        self.running = False
        scheduler = LatestWins(name="segment-anything-series")
        background = None if owner.dispatch is None else Background(owner.dispatch, scheduler)
        self._runner: JobRunner = background or Inline()

    def suggest(self) -> None:
        """Suggest objects with the model in use, where there are no suggestions of it yet."""
        project, predictor = self._owner.project, self._session.predictor
        self._start(lambda: suggest_series_steps(project, predictor))

    def find_similar(self, ids: Sequence[int]) -> None:
        """Look in all images for objects like some of the image that is open.

        Parameters
        ----------
        ids : sequence of int
            Labels of the examples.

        Raises
        ------
        PromptError
            If no image is open, or no label is given.
        """
        project, predictor, image = (
            self._owner.project, self._session.predictor, self._owner.image,
        )  # fmt: skip
        if image is None or not ids:
            raise PromptError("choose an object that others are to be like")
        self._owner.flush()

        def steps() -> Steps:
            examples = yield from example_steps(image, ids, predictor)
            return (yield from similar_series_steps(project, examples, predictor))

        self._start(steps)

    def _start(self, steps: Callable[[], Steps]) -> None:
        def job(cancelled: Callable[[], bool]) -> Steps:
            work = steps()
            try:
                while True:
                    while self._session.busy and not cancelled():
                        time.sleep(_WAIT)
                    try:
                        step = next(work)
                    except StopIteration as stop:
                        report: SeriesReport = stop.value
                        return report
                    yield step
            finally:
                work.close()

        self.running = True
        self.running_changed.emit(True)
        self._runner.submit(
            job,
            JobCallbacks(
                self.finished.emit, self._session.report, self.progressed.emit, self._ended
            ),
        )

    def _ended(self) -> None:
        self.running = False
        self.running_changed.emit(False)

    def stop(self) -> None:
        """Stop; images that are done keep their suggestions."""
        self._runner.cancel()
        if self.running:
            self._ended()

    def close(self) -> None:
        """Stop, and end the thread."""
        self._runner.close()
