"""Add and remove layers of a viewer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


def remove_layers(viewer: ViewerModel, layers: Iterable[Layer | None]) -> None:
    """Remove those of some layers that are in the viewer.

    napari 0.9 carries out what waits for OpenGL when a layer is removed, in whichever context is
    current. Without one, a second removal before the window is drawn leaves programs without
    buffers, and drawing crashes the process.
    """
    from vispy.gloo import get_current_canvas

    for layer in layers:
        if layer in viewer.layers:
            canvas = get_current_canvas()
            if canvas is not None:
                with suppress(RuntimeError):  # of a window that was closed
                    canvas.set_current()
            viewer.layers.remove(layer)


@contextmanager
def keeping_selection(viewer: ViewerModel) -> Iterator[None]:
    """Add layers without changing the selection."""
    selection = viewer.layers.selection
    before, active = set(selection), selection.active
    yield
    kept = {layer for layer in before if layer in viewer.layers}
    if kept:
        selection.clear()
        selection.update(kept)
        if active is not None and active in kept:
            selection.active = active
