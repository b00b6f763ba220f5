"""Commands in napari's menus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from napari.layers import Labels
from napari.utils.notifications import show_info, show_warning
from qtpy.QtWidgets import QFileDialog

from ..errors import SegmentAnythingError
from ..formats import write_table
from ..session import journal_directory, unfinished_journals
from ..wording import counted
from .files import write_label_store, write_records
from .recovery import recover
from .settings import Settings
from .shared import shared_session


def recover_session(napari_viewer: napari.viewer.Viewer) -> None:
    """Bring back the objects, prompts and history of a session that was not closed."""
    folder = Settings().get("engine")["journal_directory"] or journal_directory()
    found = unfinished_journals(folder)
    start = str(found[0] if found else folder)
    path, _ = QFileDialog.getOpenFileName(
        None, "Recover a session", start, "Session journals (*.jsonl)"
    )
    if path:
        recover_from(napari_viewer, path)


def recover_from(napari_viewer: Any, path: str) -> None:
    """Recover a journal on the image that is open, which must be the one it was made on."""
    name = Path(path).name
    shared = shared_session(napari_viewer)
    try:
        count = recover(shared.session, path)
    except SegmentAnythingError as error:
        show_warning(f"{name}: {error}")
    else:
        show_info(f"{counted(count, 'object')} recovered from {name}")
    finally:
        shared.leave_later(shared.session.viewer)


def export_records(napari_viewer: napari.viewer.Viewer) -> None:
    """Save the selected Labels layer as SA-1B JSON."""
    layer = _selected_labels(napari_viewer)
    if layer is not None:
        meta = {"name": layer.name, "multiscale": layer.multiscale}
        _save(
            "masks",
            f"{layer.name}.json",
            "SA-1B JSON (*.json)",
            lambda path: write_records(path, layer.data, meta),
        )


def export_labels(napari_viewer: napari.viewer.Viewer) -> None:
    """Save the selected Labels layer as OME-Zarr, with its pixel size."""
    layer = _selected_labels(napari_viewer)
    if layer is not None:
        _save(
            "labels",
            f"{layer.name}.ome.zarr",
            "OME-Zarr stores (*.zarr)",
            lambda path: write_label_store(path, layer),
            lambda path: path if path.endswith(".zarr") else f"{path}.ome.zarr",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )


def export_table(napari_viewer: napari.viewer.Viewer) -> None:
    """Save the measures of the selected Labels layer, its features, as CSV."""
    layer = napari_viewer.layers.selection.active
    if not isinstance(layer, Labels) or layer.features.empty:
        show_warning("Select a Labels layer that has measures: objects of this plugin.")
        return
    table = {str(name): layer.features[name].tolist() for name in layer.features}
    _save("measures", f"{layer.name}.csv", "Table (*.csv)", lambda path: write_table(path, table))


def _selected_labels(viewer: Any) -> Labels | None:
    """Return the Labels layer that is selected; say so if none is."""
    layer = viewer.layers.selection.active
    if isinstance(layer, Labels):
        return layer
    show_warning("Select a Labels layer first.")
    return None


def _save(
    what: str,
    proposed: str,
    kinds: str,
    write: Callable[[str], object],
    complete: Callable[[str], str] = str,
    **dialog: Any,
) -> None:
    """Ask where to, write there, and say what came of it; `complete` adds a missing ending."""
    path, _ = QFileDialog.getSaveFileName(None, f"Save {what}", proposed, kinds, **dialog)
    if not path:
        return
    path = complete(path)
    try:
        write(path)
    except (OSError, SegmentAnythingError) as error:
        show_warning(str(error))
    else:
        show_info(f"Saved {Path(path).name}")


def refine_label(napari_viewer: napari.viewer.Viewer) -> None:
    """Take the selected label of the selected Labels layer as a mask prompt."""
    layer = napari_viewer.layers.selection.active
    if not isinstance(layer, Labels) or not layer.selected_label:
        show_warning("Select a Labels layer, and in it a label (with the picker).")
        return
    shared = shared_session(napari_viewer)
    label = int(layer.selected_label)

    def refine() -> None:
        with shared.session.reporting():
            shared.session.refine(layer, label)

    shared.session.when_loaded(refine)
    shared.leave_later(shared.session.viewer)
