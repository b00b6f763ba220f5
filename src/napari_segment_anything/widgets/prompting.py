"""The object in progress: its buttons, its keys, and what the status line says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QVBoxLayout, QWidget

from ..progress import Progress
from ..wording import counted
from . import keys
from .painting import PaintTools
from .qt_helpers import CandidateButtons, button, row, tight

if TYPE_CHECKING:
    from ..session import Preview
    from .panel import Panel

_SOON = 150
"""Milliseconds after which it is shown that something takes time; most masks are there before."""


class Prompting(QWidget):
    """Candidates, brush, commit and undo, with their keys on the canvas and in the panel.

    Parameters
    ----------
    panel : Panel
        Whose session, status line and keys are used.
    hint : callable
        What to say while no object is in progress.
    """

    def __init__(self, panel: Panel, hint: Callable[[], str]) -> None:
        super().__init__()
        self._panel, self._hint = panel, hint
        self._session, self._status = panel.session, panel.status
        self.candidates = CandidateButtons()
        self.commit_button = button("Commit", self.commit, "Write the object to the labels (Enter)")
        self.cancel_button = button("Cancel", self.cancel, "Discard the object in progress (Esc)")
        self.undo_button = button("Undo", self.undo, "Undo the last step (Alt-Z)")
        self.redo_button = button("Redo", self.redo, "Redo it (Shift-Alt-Z)")
        self.painting = PaintTools(self._session, panel.attempt, self.commit)
        layout = tight(QVBoxLayout(self), 5)
        layout.addWidget(self.candidates)
        layout.addWidget(self.painting)
        layout.addWidget(
            row(self.commit_button, self.cancel_button, self.undo_button, self.redo_button)
        )
        self._latest = Progress(0, 1)
        self._soon = panel.delayed(_SOON, self._show_busy)
        session = self._session
        self.candidates.changed.connect(lambda value: panel.attempt(session.choose, int(value)))
        panel.status.cancelled.connect(self._stop)
        for signal, slot in (
            (session.draft_changed, self._on_draft),
            (session.preview_changed, self._on_preview),
            (session.history_changed, self._on_history),
            (session.busy_changed, self._on_busy),
            (session.progressed, self._on_progress),
            (session.failed, self._on_error),
            (session.committed, self._on_committed),
        ):
            panel.follow(signal, slot)
        self._bind_keys()
        self.refresh()

    def refresh(self) -> None:
        """Show what the session can do now."""
        self._on_draft()
        self._on_history()

    def _bind_keys(self) -> None:
        actions = (
            ("Enter", self.commit),
            ("Escape", self.cancel),
            ("Shift-C", self.next_candidate),
            ("Alt-Z", self.undo),
            ("Shift-Alt-Z", self.redo),
            ("Shift-E", self.edit_under_mouse),
            ("Shift-D", self.delete_under_mouse),
        )
        viewer = self._panel.viewer
        self.keys = keys.Keys(viewer, self._panel, actions)
        self._panel.at_the_end(self.keys.close)
        viewer.mouse_drag_callbacks.append(self._take_up)
        self._panel.at_the_end(lambda: viewer.mouse_drag_callbacks.remove(self._take_up))

    def _take_up(self, viewer: Any, event: Any) -> None:
        """Ctrl-click: edit the object there."""
        plain = event.button == 1 and set(event.modifiers) == {"Control"}
        if plain and self._session.mouse.is_ours():
            self.edit_under_mouse()

    # -- what the user does ----------------------------------------------------------------------

    def later(self, action: Callable[..., Any], *arguments: Any) -> None:
        """Do something after everything that is waiting for a mask."""
        self._session.queue.ask(lambda: self._panel.attempt(action, *arguments))

    def commit(self) -> None:
        """Write the object in progress to the labels."""
        if self._session.draft is None and not self._session.queue.users:
            self._status.say(self._hint())
            return
        self._session.commit_when_decoded()

    def cancel(self) -> None:
        """Discard the object in progress."""
        self._panel.attempt(self._session.cancel_last)
        self._status.rest()

    def _stop(self) -> None:
        if not self._session.models.is_loading:  # the shared session stops that
            self.cancel()

    def next_candidate(self) -> None:
        """Choose the next candidate mask."""
        if self._session.preview is not None:
            self._panel.attempt(self._session.cycle)

    def undo(self) -> None:
        """Undo the last step."""
        self._step(self._session.undo, "Undone", "Nothing to undo.")

    def redo(self) -> None:
        """Redo the step that was undone last."""
        self._step(self._session.redo, "Redone", "Nothing to redo.")

    def _step(self, action: Callable[[], str | None], done: str, nothing: str) -> None:
        def step() -> None:
            what = self._panel.attempt(action)
            self._status.say(f"{done}: {what}." if what else nothing)

        self._session.queue.ask(step)

    def under_mouse(self) -> int | None:
        """Return the label under the mouse; say so if there is none."""
        label: int | None = self._panel.attempt(lambda: self._session.commits.object_at_cursor)
        if label is None:
            self._status.say("No object under the mouse.")
        return label

    def edit_under_mouse(self) -> None:
        """Edit the prompts of the object under the mouse."""
        label = self.under_mouse()
        if label is not None:
            self.later(self._session.edit, label)

    def delete_under_mouse(self) -> None:
        """Delete the object under the mouse."""
        label = self.under_mouse()
        if label is not None:
            self.later(self._session.delete, label)

    # -- what the session says -------------------------------------------------------------------

    def _on_draft(self) -> None:
        going = self._session.draft is not None
        self.commit_button.setEnabled(going)
        self.cancel_button.setEnabled(going)
        if not going:
            self.candidates.show_scores()
        self.painting.update_tools()

    def _on_preview(self, preview: Any) -> None:
        self.painting.update_tools()
        if preview is None or len(preview.objects) != 1:
            self.candidates.show_scores()
        else:
            self.candidates.show_scores(preview.scores, preview.chosen)
        if not self._session.busy:
            self._say_what_next(preview)

    def _say_what_next(self, preview: Preview | None) -> None:
        if preview is None:
            return
        if len(preview.objects) != 1:
            self._status.rest(f"{counted(len(preview.objects), 'object')}; Enter commits them.")
            return
        draft = self._session.draft
        editing = None if draft is None else draft.editing
        what = "commits" if editing is None else f"replaces object {editing}"
        self._status.rest(f"Enter {what}; right-click on what does not belong to it.")

    def _on_history(self) -> None:
        self.undo_button.setEnabled(self._session.can_undo)
        self.redo_button.setEnabled(self._session.can_redo)

    def _on_committed(self, ids: tuple[int, ...]) -> None:
        what = f"Object {ids[0]}" if len(ids) == 1 else counted(len(ids), "object")
        self._status.rest(f"{what} committed.")

    def _on_busy(self, busy: bool) -> None:
        if self._session.models.is_loading:
            return  # shown by the shared session
        if busy:
            self._latest = Progress(0, 1)
            self._soon.start()
            return
        self._soon.stop()
        self._say_what_next(self._session.preview)
        if self._session.draft is None:
            self._status.rest(self._hint())

    def _show_busy(self) -> None:
        """Show that something is taking time, and that it can be stopped."""
        if self._session.busy and not self._session.models.is_loading:
            self._status.busy("Working …", stoppable=True, doing="")
            self._status.show_progress(self._latest)

    def _on_progress(self, step: Progress) -> None:
        self._latest = step
        loading = self._session.models.is_loading
        if self._session.busy and not loading and not self._soon.isActive():
            self._status.show_progress(step)

    def _on_error(self, error: BaseException) -> None:
        self._status.rest()
        self._status.warn(error)
