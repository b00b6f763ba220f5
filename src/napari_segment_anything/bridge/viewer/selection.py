"""Keep the selected layers while others are added."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.components import ViewerModel


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
