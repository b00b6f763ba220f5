"""napari's own brush on the mask of the object in progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from .qt_helpers import button, tight

if TYPE_CHECKING:
    from napari.layers import Labels

    from ..bridge import ViewerSession


class PaintTools(QWidget):
    """Buttons to paint, erase, and have the network refine the painted mask.

    Parameters
    ----------
    session : ViewerSession
    attempt : callable
        Calls a function and shows its errors.
    commit : callable
        What Enter does, also while the brush is in use, when napari would handle the key.
    """

    def __init__(
        self,
        session: ViewerSession,
        attempt: Callable[..., Any],
        commit: Callable[[], object],
    ) -> None:
        super().__init__()
        self._session, self._attempt, self._commit = session, attempt, commit
        self._bound: Labels | None = None
        self.paint = self._tool("Paint", "paint", "Add to the mask with napari's brush")
        self.erase = self._tool("Erase", "erase", "Take from the mask with napari's eraser")
        self.refine = button(
            "Refine",
            lambda: attempt(self.take),
            "Give the painted mask to the network as a prompt",
        )
        layout = tight(QHBoxLayout(self), 2)
        for item in (self.paint, self.erase, self.refine):
            layout.addWidget(item, 1)

    def _tool(self, text: str, mode: str, tip: str) -> QPushButton:
        item = button(text, lambda: self._attempt(self._use, mode, item.isChecked()), tip)
        item.setCheckable(True)
        return item

    def update_tools(self) -> None:
        """Enable the buttons if the session shows a mask to paint on."""
        ready = self._session.preview is not None and len(self._session.preview.objects) == 1
        if not ready and (self.paint.isChecked() or self.erase.isChecked()):
            self.rest()
        for item in (self.paint, self.erase, self.refine):
            item.setEnabled(ready)

    def rest(self) -> None:
        """Stop painting and return to the image layer."""
        self.paint.setChecked(False)
        self.erase.setChecked(False)
        layer, viewer = self._bound, self._session.viewer
        if layer is not None and layer in viewer.layers:
            layer.mode = "pan_zoom"
            if viewer.layers.selection.active is layer and self._session.image in viewer.layers:
                viewer.layers.selection.active = self._session.image

    def take(self) -> None:
        """Use the painted mask as a prompt.

        Raises
        ------
        PromptError
            If the mask is empty.
        """
        session, preview = self._session, self._session.preview
        if preview is None:
            return
        painted = session.canvas.painted() or (preview.mask, preview.window)
        session.set_mask(*painted)

    def _use(self, mode: str, on: bool) -> None:
        self.paint.setChecked(False)
        self.erase.setChecked(False)
        layer = self._session.working.masks.layer if on and self._session.preview else None
        if layer is None:
            self.rest()
            return
        (self.paint if mode == "paint" else self.erase).setChecked(True)
        self._session.viewer.layers.selection.active = layer
        layer.selected_label = 1
        layer.mode = mode
        if layer is not self._bound:
            layer.bind_key("Enter", lambda _: self._commit(), overwrite=True)
            self._bound = layer
