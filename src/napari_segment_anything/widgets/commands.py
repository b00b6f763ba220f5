"""Commands in napari's menus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari
from napari.layers import Labels
from napari.utils.notifications import show_info, show_warning
from qtpy.QtWidgets import QFileDialog

from ..bridge.files import write_label_store, write_records
from ..errors import SegmentAnythingError
from ..formats import write_table
from ..session import journal_directory, unfinished_journals
from ..wording import counted
from .exports import ask_and_save
from .recovery import recover
from .settings import PluginSettings
from .shared import shared_session

_TELL = (show_info, show_warning)


def recover_session(napari_viewer: napari.viewer.Viewer) -> None:
    """Recover the objects, prompts and history of a session that was not closed."""
    folder = PluginSettings().get("engine")["journal_directory"] or journal_directory()
    found = unfinished_journals(folder)
    start = str(found[0] if found else folder)
    path, _ = QFileDialog.getOpenFileName(
        None, "Recover a session", start, "Session journals (*.jsonl)"
    )
    if path:
        recover_from(napari_viewer, path)


def recover_from(napari_viewer: Any, path: str) -> None:
    """Recover a journal on the open image, which must be the one it was made on.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    path : str
        The journal.
    """
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
        ask_and_save(
            f"{layer.name}.json",
            "SA-1B JSON (*.json)",
            lambda path: write_records(path, layer.data, meta),
            *_TELL,
        )


def export_labels(napari_viewer: napari.viewer.Viewer) -> None:
    """Save the selected Labels layer as OME-Zarr, with its pixel size."""
    layer = _selected_labels(napari_viewer)
    if layer is not None:
        ask_and_save(
            f"{layer.name}.ome.zarr",
            "OME-Zarr stores (*.zarr)",
            lambda path: write_label_store(path, layer),
            *_TELL,
            ending=".ome.zarr",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )


def export_table(napari_viewer: napari.viewer.Viewer) -> None:
    """Save the measures of the selected Labels layer, its features, as CSV."""
    layer = napari_viewer.layers.selection.active
    if not isinstance(layer, Labels) or layer.features.empty:
        show_warning("Select a Labels layer that has measures: objects of this plugin.")
        return
    table = {str(name): layer.features[name].tolist() for name in layer.features}
    ask_and_save(
        f"{layer.name}.csv", "Table (*.csv)", lambda path: write_table(path, table), *_TELL
    )


def _selected_labels(viewer: Any) -> Labels | None:
    """Return the selected Labels layer; show a warning if there is none."""
    layer = viewer.layers.selection.active
    if isinstance(layer, Labels):
        return layer
    show_warning("Select a Labels layer first.")
    return None


def refine_label(napari_viewer: napari.viewer.Viewer) -> None:
    """Use the selected label of the selected Labels layer as a mask prompt."""
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
