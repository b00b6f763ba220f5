"""Suggestions in a viewer: outlined, and no labels until somebody takes them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from ...engine import Window
from ...errors import PromptError
from ...progress import Progress
from ...projects.suggesting import is_large
from ...projects.suggestions import COVERED, Suggestion, Suggestions
from ...session import LatestWins
from ..viewer.mouse import no_claim
from ..viewer.plane_sessions import PlaneInView
from ..viewer.runners import Background, Inline, JobCallbacks, JobRunner
from .opening import OpenedImage
from .outline_layer import Outline, OutlineLayer, outline_along, outlines_of
from .suggesting import Suggested, suggest, suggest_similar

if TYPE_CHECKING:
    from .project_session import ProjectSession

_COLOURS = {
    "everything": "#ffd34d",
    "similar": "#4de1ff",
    "asked": "#ffffff",
    "complete": "#3ddc97",
}


class SuggestionBoard:
    """Shows the suggestions for the image that is open, and records what becomes of each.

    Parameters
    ----------
    owner : ProjectSession
    """

    changed = Signal()
    """Which suggestions there are, or which are shown."""
    busy_changed = Signal(bool)
    """Suggestions are being computed, or not any more."""
    progressed = Signal(object)
    """Emits a Progress."""

    def __init__(self, owner: ProjectSession) -> None:
        self._owner, self._session, dispatch = owner, owner.session, owner.dispatch
        self.suggestions: Suggestions | None = None
        """Those for the image that is open; None before there are any."""
        self.source = "everything"
        """Which are shown: those of everything mode, or those like an example."""
        self.asked = 0
        """Number of the suggestion that stands out; 0 for none."""
        self.automatic = True
        """Whether suggestions are computed when an image is opened."""
        self.busy = False
        score = float(owner.project.settings["suggestion_score"])
        self._thresholds = {"everything": score, "similar": 0.5}
        self._pool: Any = None
        self._outlines: dict[int, Outline] = {}
        self._covered: set[int] = set()
        self._rejected: list[int] = []
        self._layer = OutlineLayer(self._session.viewer, "suggestions", _COLOURS)
        self._last_done = 0.0
        scheduler = LatestWins(name="segment-anything-suggestions")
        self._runner: JobRunner = Inline() if dispatch is None else Background(dispatch, scheduler)
        self._session.mouse.claim = self._claim

    # -- which image -----------------------------------------------------------------------------

    def follow(self, opened: OpenedImage) -> None:
        """Show the suggestions for an image that was opened, and compute them if need be."""
        self.cancel()
        self.suggestions, self._pool, self._rejected = opened.suggestions, None, []
        self._outlines = dict(opened.outlines)
        self.source = "everything"
        self._last_done = opened.clock.peek()
        events = opened.session.events
        events.target_changed.connect(lambda plane, window: self._cover(window))
        events.objects_changed.connect(lambda ids: self._decide(opened))
        self._decide(opened)  # a session that was killed may know more than its suggestions
        self._cover_all()
        self.renew()

    def leave(self) -> None:
        """Show none."""
        self.cancel()
        self.suggestions, self._outlines = None, {}
        self._layer.remove()
        self.changed.emit()

    def renew(self) -> None:
        """Compute suggestions if there are none of the model in use; not of a large image."""
        if self._owner.now is None or not (self.automatic and self._session.is_loaded):
            return
        if self._is_outdated() and not self.is_large:
            self.compute()

    @property
    def is_large(self) -> bool:
        """Whether the image that is open is segmented tile by tile, and only when asked for."""
        opened = self._owner.now
        if opened is None or not self._session.is_loaded:
            return False
        return is_large(opened.ahead.source, self._session.model)

    def _is_outdated(self) -> bool:
        known = self.suggestions
        if known is None:
            return True
        return known.settings.get("fingerprint") != self._session.model.fingerprint

    # -- computing -------------------------------------------------------------------------------

    def compute(self) -> None:
        """Compute suggestions for the image with the model in use."""
        opened = self._owner.now
        if opened is None:
            return
        occupied, before = self._owner.saver.occupied, self.suggestions or opened.suggestions
        predictor, version = self._session.predictor, self._owner.model_name
        ahead = opened.ahead
        self._start(opened, lambda: suggest(ahead, predictor, occupied, before, version))

    def find_similar(self, ids: Sequence[int]) -> None:
        """Look for all objects that look like some of the image's; reports if they have no pixels.

        Parameters
        ----------
        ids : sequence of int
            Labels of the examples.

        Raises
        ------
        PromptError
            If no label is given, or no image is open.
        """
        opened = self._owner.now
        if opened is None or not ids:
            raise PromptError("choose an object that others are to be like")
        saver, before = self._owner.saver, self.suggestions or opened.suggestions
        examples = partial(saver.masks, ids)
        predictor, version = self._session.predictor, self._owner.model_name
        ahead, pool = opened.ahead, self._pool
        self.source = "similar"

        def job() -> Generator[Progress, None, Suggested]:
            return suggest_similar(
                ahead, predictor, saver.occupied, before, examples, pool, version
            )

        self._start(opened, job)

    def _start(
        self, opened: OpenedImage, job: Callable[[], Generator[Progress, None, Suggested]]
    ) -> None:
        self.busy = True
        self.busy_changed.emit(True)
        callbacks = JobCallbacks(
            partial(self._on_found, opened),
            self._session.report,
            self.progressed.emit,
            self._on_ended,
        )
        self._runner.submit(lambda cancelled: job(), callbacks)

    def _on_found(self, opened: OpenedImage, found: Suggested) -> None:
        if self._owner.now is not opened:
            return
        decided = self.suggestions
        self.suggestions, self._outlines, self._pool = found.suggestions, found.outlines, found.pool
        if decided is not None:  # meanwhile
            self._keep_decisions(decided)
        self._decide(opened)
        self._cover_all()
        self._write()

    def _keep_decisions(self, decided: Suggestions) -> None:
        known = {item.id for item in self.suggestions or ()}
        for status in ("taken", "corrected", "rejected"):
            ids = [item.id for item in decided if item.status == status and item.id in known]
            if ids and self.suggestions is not None:
                self.suggestions = self.suggestions.decide(ids, status)  # type: ignore[arg-type]

    def _on_ended(self) -> None:
        self.busy = False
        self.busy_changed.emit(False)

    def cancel(self) -> None:
        """Stop looking for objects; tiles of a large image that are done are kept."""
        self._runner.cancel()
        if self.busy:
            self._on_ended()

    # -- showing ---------------------------------------------------------------------------------

    @property
    def threshold(self) -> float:
        """Suggestions with at least this score are shown."""
        return self._thresholds[self.source]

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._thresholds[self.source] = value
        self.show()

    def choose_source(self, source: str) -> None:
        """Show the suggestions of everything mode, or those like an example."""
        self.source = source
        self.show()

    @property
    def shown(self) -> tuple[Suggestion, ...]:
        """The suggestions that are shown."""
        if self.suggestions is None:
            return ()
        found = self.suggestions.shown(self.threshold, self.source)
        return tuple(item for item in found if item.id not in self._covered)

    @property
    def open_count(self) -> int:
        """How many wait for a decision, whatever their score."""
        if self.suggestions is None:
            return 0
        return sum(
            item.status == "open" and item.source == self.source and item.id not in self._covered
            for item in self.suggestions
        )

    def show(self) -> None:
        """Draw the outlines of what is shown, and of the regions that are complete."""
        if self._owner.now is not None and self._owner.layers.images:
            shape = self._owner.now.ahead.source.shape
            regions = self._owner.complete_regions
            drawn = [("complete", outline_along(corners, shape)) for corners in regions]
            drawn += [
                ("asked" if item.id == self.asked else item.source, self._outlines[item.id])
                for item in sorted(self.shown, key=lambda item: item.id == self.asked)
            ]
            self._layer.show(self._owner.layers.images[0], shape, drawn)
        self.changed.emit()

    def _cover_all(self) -> None:
        self._covered = set()
        opened = self._owner.now
        if opened is not None:
            self._cover(Window.full(opened.ahead.source.shape))

    def _cover(self, window: Window) -> None:
        """Find which suggestions are labelled by more than half, of those that meet a window."""
        opened, known = self._owner.now, self.suggestions
        if opened is None or known is None:
            return
        for item in known:
            if item.status != "open":
                continue
            top, left, bottom, right = item.mask.bounds
            place = Window(top, left, bottom - top, right - left)
            if place.intersection(window) is None:
                continue
            under = opened.session.target.read((), place)
            labelled = np.count_nonzero(under[item.mask.decode_bounds()]) if under.any() else 0
            covered = labelled > COVERED * item.mask.area
            (self._covered.add if covered else self._covered.discard)(item.id)
        self.show()

    # -- deciding --------------------------------------------------------------------------------

    def at(self, point: tuple[float, float]) -> Suggestion | None:
        """Return the suggestion that is shown at a (row, column) point: of several the smallest."""
        row, col = (int(np.floor(at + 0.5)) for at in point)
        here = [item for item in self.shown if item.placed.crop(row, col, 1, 1).any()]
        return min(here, key=lambda item: item.mask.area, default=None)

    @property
    def at_cursor(self) -> Suggestion | None:
        """The suggestion that is shown under the mouse."""
        if self._owner.now is None:
            return None
        seen = self._session.planes.look()
        row, col = map(float, seen.points(self._session.viewer.cursor.position))
        return self.at((row, col))

    def _claim(self, seen: PlaneInView, point: tuple[float, float], positive: bool) -> bool:
        """Begin an object with the mask of the suggestion that was clicked into."""
        found = self.at(point) if self._owner.now is not None else None
        if found is None:
            return False
        clicked = point if positive else None
        self._session.prompts.take_up(found.suggested, seen.plane, clicked)
        return True

    def take(self, items: Sequence[Suggestion]) -> tuple[int, ...]:
        """Make objects of suggestions as they are, in one step; return their labels.

        Raises
        ------
        PromptError
            If there is none, an object is in progress, or none has a free pixel.
        """
        opened = self._owner.now
        if opened is None:
            raise PromptError("open an image first")
        seconds = opened.clock() - self._last_done
        fingerprint = items[0].fingerprint if items else ""
        ids = opened.session.take(
            (),
            [item.suggested for item in items],
            fingerprint=fingerprint,
            seconds=max(seconds, 0.0),
        )
        self._session.canvas.show()
        return ids

    def take_at_cursor(self) -> tuple[int, ...]:
        """Take the suggestion under the mouse.

        Raises
        ------
        PromptError
            If there is none, or as `take`.
        """
        found = self.at_cursor
        if found is None:
            raise PromptError("there is no suggestion under the mouse")
        return self.take([found])

    def take_shown(self) -> tuple[int, ...]:
        """Take all suggestions that are shown."""
        return self.take(self.shown)

    def reject_at_cursor(self) -> None:
        """Reject the suggestion under the mouse; `bring_back` takes that back.

        Raises
        ------
        PromptError
            If there is none.
        """
        found = self.at_cursor
        if found is None:
            raise PromptError("there is no suggestion under the mouse")
        self.reject(found.id)

    def reject(self, number: int) -> None:
        """Reject a suggestion; `bring_back` takes that back."""
        if self.suggestions is not None:
            self.suggestions = self.suggestions.decide([number], "rejected")
            self._rejected.append(number)
            self._write({number: "rejected"})
            self.show()

    def bring_back(self) -> bool:
        """Bring back the suggestion that was rejected last; return whether there is one."""
        if not self._rejected or self.suggestions is None:
            return False
        number = self._rejected.pop()
        self.suggestions = self.suggestions.decide([number], "open")
        self.show()
        self._write({number: "open"})
        return True

    def _decide(self, opened: OpenedImage) -> None:
        """Record which suggestions became objects, and which are none any more."""
        self._last_done = opened.clock.peek()
        known = self.suggestions
        if known is None or self._owner.now is not opened:
            return
        became = {
            item.suggestion: (label, "taken" if item.made_by == "suggestion" else "corrected")
            for label, item in opened.session.objects.items()
            if item.suggestion is not None
        }
        undone = opened.session.state.history.undone
        reverted = set() if not undone or undone[-1].edit is None else set(undone[-1].edit.ids)
        news: dict[str, dict[int, int]] = {}
        for item in known:
            label, status = became.get(item.id, (0, ""))
            if not status and item.status in ("taken", "corrected"):
                status = "open" if item.object_id in reverted else "rejected"
            if status and (item.status, item.object_id) != (status, label):
                news.setdefault(status, {})[item.id] = label
        for status, labels in news.items():
            known = known.decide(labels, status, labels)  # type: ignore[arg-type]
        if news:
            self.suggestions = known
            if "open" in news:
                self._outlines = outlines_of(known)
                self._cover_all()
            self.show()
            self._write()

    def _write(self, decided: Mapping[int, str] | None = None) -> None:
        if self.suggestions is not None:
            self._owner.write_suggestions(self.suggestions, decided)

    def close(self) -> None:
        """Stop computing, and leave the mouse alone."""
        self._runner.close()
        self._session.mouse.claim = no_claim
