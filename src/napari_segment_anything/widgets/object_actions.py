"""What can be done with the objects selected in the list."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QHBoxLayout, QWidget

from .object_list import ObjectList
from .qt_helpers import button, tight

if TYPE_CHECKING:
    from ..bridge import ViewerSession


class ObjectActions(QWidget):
    """Buttons to edit, delete, merge, hide and lock objects.

    Parameters
    ----------
    session : ViewerSession
    objects : ObjectList
        Where they are selected.
    later : callable
        Calls a function after everything that is waiting for a mask, and shows its errors.
    """

    def __init__(
        self, session: ViewerSession, objects: ObjectList, later: Callable[..., Any]
    ) -> None:
        super().__init__()
        self._session, self._objects, self._later = session, objects, later
        self.edit_button = button(
            "Edit", self.edit, "Edit the object's prompts again (Shift-E: under the mouse)"
        )
        self.delete_button = button(
            "Delete", self.delete, "Remove the objects (Shift-D: the one under the mouse)"
        )
        self.merge_button = button("Merge", self.merge, "Merge the objects into one")
        self.hide_button = button("Hide", self.hide_them, "Hide or show the objects")
        self.lock_button = button(
            "Lock", self.lock, "Protect the objects: they keep their pixels and cannot be changed"
        )
        layout = tight(QHBoxLayout(self))
        for item in (
            self.edit_button,
            self.delete_button,
            self.merge_button,
            self.hide_button,
            self.lock_button,
        ):
            layout.addWidget(item)
        layout.addStretch(1)
        objects.cellDoubleClicked.connect(lambda *_: self.edit())
        objects.selection_changed.connect(self.refresh)

    def refresh(self) -> None:
        """Enable the buttons that fit what is selected."""
        chosen, session = self._objects.selected, self._session
        some = len(chosen) > 0
        hidden = some and session.hidden.issuperset(chosen)
        locked = some and session.locked.issuperset(chosen)
        self.hide_button.setText("Show" if hidden else "Hide")
        self.lock_button.setText("Unlock" if locked else "Lock")
        self.edit_button.setEnabled(len(chosen) == 1)
        self.merge_button.setEnabled(len(chosen) > 1)
        for item in (self.delete_button, self.hide_button, self.lock_button):
            item.setEnabled(some)

    def edit(self) -> None:
        """Edit the prompts of the selected object."""
        if self._objects.selected:
            self._later(self._session.edit, self._objects.selected[0])

    def delete(self) -> None:
        """Delete the selected objects."""
        if self._objects.selected:
            self._later(self._session.delete, self._objects.selected)

    def merge(self) -> None:
        """Merge the selected objects into one."""
        if len(self._objects.selected) > 1:
            self._later(self._session.merge, self._objects.selected)

    def hide_them(self) -> None:
        """Hide the selected objects, or show them if all are hidden."""
        chosen = self._objects.selected
        self._later(self._session.hide, chosen, not self._session.hidden.issuperset(chosen))

    def lock(self) -> None:
        """Lock the selected objects, or unlock them if all are locked."""
        chosen = self._objects.selected
        self._later(self._session.lock, chosen, not self._session.locked.issuperset(chosen))
