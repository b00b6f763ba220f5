"""A review in a viewer: the suggestions of a series, those most worth a look first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from ...projects import ProjectImage
from ...projects.review import ReviewItem, review_queue
from .layers import show_window
from .threads import OrderedThread

if TYPE_CHECKING:
    from .project_session import ProjectSession

_AROUND = 5.0


class ReviewRound:
    """Goes through the queue of a project's suggestions, one image after the other as needed.

    A suggestion leaves the queue when it is taken, corrected or rejected.

    Parameters
    ----------
    owner : ProjectSession
    """

    filled = Signal()
    """There is a new queue."""
    asked = Signal(object)
    """Emits the `ReviewItem` that is shown, or None at the end."""

    def __init__(self, owner: ProjectSession) -> None:
        self._owner, self._board = owner, owner.board
        self.queue: list[ReviewItem] = []
        """What is still to be looked at, in order."""
        self.item: ReviewItem | None = None
        self.is_closed = False
        self._thread = OrderedThread("segment-anything-review", owner.dispatch)
        self._automatic = self._board.automatic
        self._board.automatic = False  # suggestions keep their numbers
        owner.opened.connect(self._on_opened)
        self._board.changed.connect(self._on_changed)

    def begin(self) -> None:
        """Fill the queue, and show its first."""
        project, threshold = self._owner.project, self._board.threshold
        self._owner.flush()
        self._thread.run(
            lambda: review_queue(project, threshold=threshold),
            self._on_filled,
            self._owner.session.report,
        )

    def _on_filled(self, queue: tuple[ReviewItem, ...]) -> None:
        if not self.is_closed:
            self.queue = list(queue)
            self.filled.emit()
            self.show(self.queue[0] if self.queue else None)

    def show(self, item: ReviewItem | None) -> None:
        """Show one of the queue; its image is opened."""
        self.item = item
        self._board.asked = 0
        self.asked.emit(item)
        if item is None:
            self._board.show()
        elif self._owner.image is not None and self._owner.image.key == item.key:
            self._on_opened(self._owner.image)
        else:
            self._owner.go_to(item.key)

    def _on_opened(self, image: ProjectImage) -> None:
        item, known = self.item, self._board.suggestions
        if item is None or image.key != item.key or known is None:
            return
        if not any(each.id == item.id and each.status == "open" for each in known):
            self.later()
            return
        found = known[item.id]
        self._board.asked = item.id
        self._board.choose_source(found.source)
        show_window(
            self._owner.session.viewer, self._owner.layers.images[0], found.placed.window, _AROUND
        )

    def accept(self) -> None:
        """Take the suggestion as it is; then the next is shown."""
        if self.item is not None and self._board.suggestions is not None and self._board.asked:
            self._board.take([self._board.suggestions[self.item.id]])

    def reject(self) -> None:
        """Reject the suggestion; then the next is shown."""
        if self.item is not None and self._board.asked:
            self._board.reject(self.item.id)

    def later(self) -> None:
        """Show the next without a decision."""
        if self.item in self.queue:
            self.queue.remove(self.item)
        self.filled.emit()
        self.show(self.queue[0] if self.queue else None)

    def _on_changed(self) -> None:
        """Go on when the suggestion that is shown was decided on."""
        item, known = self.item, self._board.suggestions
        if item is None or known is None or self._board.asked != item.id:
            return
        if self._owner.image is not None and self._owner.image.key == item.key:
            status = next((each.status for each in known if each.id == item.id), "rejected")
            if status != "open":
                self._board.asked = 0
                self._owner.session.when_loaded(self.later)

    def close(self) -> None:
        """End the review."""
        if not self.is_closed:
            self.is_closed = True
            self.item = None
            self._board.asked, self._board.automatic = 0, self._automatic
            self._owner.opened.disconnect(self._on_opened)
            self._board.changed.disconnect(self._on_changed)
            self._thread.close()
