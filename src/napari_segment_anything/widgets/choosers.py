"""Combo boxes that follow the viewer's layers, and the choice of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from ..bridge.viewer.binding import readable_images
from ..bridge.viewer.images import layer_shape, level_shapes
from .parts import tight

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

    from .chosen import ChosenImage

_MARK = "napari-segment-anything"
_LAYER = Qt.ItemDataRole.UserRole


class LayerBox(QComboBox):
    """Chooses a layer, by identity: renaming and reordering keep the choice.

    Parameters
    ----------
    viewer : ViewerModel
    layers : callable
        Returns the layers to choose from.
    none : str, optional
        Text of an entry that stands for no layer.
    """

    chosen = Signal(object)
    """Emits the layer, or None, when the choice becomes another one."""

    def __init__(
        self, viewer: ViewerModel, layers: Callable[[], Sequence[Layer]], none: str = ""
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._offer = layers
        self._none = none
        self._layers: list[Layer | None] = []
        self._last: Layer | None = None
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.currentIndexChanged.connect(self._changed)
        events = viewer.layers.events
        self._emitters = (events.inserted, events.removed, events.reordered)
        for emitter in self._emitters:
            emitter.connect(self.refresh)
        self._named: list[Layer] = []
        self.refresh()

    def close_down(self) -> None:
        """Listen to the viewer no more."""
        for emitter in self._emitters:
            emitter.disconnect(self.refresh)
        self._listen_to_names(())

    def _listen_to_names(self, layers: Sequence[Layer]) -> None:
        for layer in self._named:
            layer.events.name.disconnect(self.refresh)
        self._named = list(layers)
        for layer in self._named:
            layer.events.name.connect(self.refresh)

    def refresh(self, event: Any = None) -> None:
        """Offer the layers there are now."""
        before = self.layer
        offered = list(self._offer())
        self._listen_to_names(offered)
        self.blockSignals(True)
        self.clear()
        self._layers = [None] if self._none else []
        if self._none:
            self.addItem(self._none)
        for layer in reversed(offered):
            self._layers.append(layer)
            self.addItem(layer.name)
        if before is not None and before in self._layers:
            self.setCurrentIndex(self._layers.index(before))
        elif self._layers:
            self.setCurrentIndex(0)
        self.blockSignals(False)
        self._changed()

    @property
    def layer(self) -> Any:
        """What is chosen."""
        index = self.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    @layer.setter
    def layer(self, layer: Any) -> None:
        if layer in self._layers:
            self.setCurrentIndex(self._layers.index(layer))

    def show_layer(self, layer: Any) -> None:
        """Show a choice that was made elsewhere, without telling anybody."""
        if layer in self._layers:
            self._last = layer
            self.blockSignals(True)
            self.setCurrentIndex(self._layers.index(layer))
            self.blockSignals(False)

    def _changed(self, index: int = 0) -> None:
        now = self.layer
        if now is not self._last:
            self._last = now
            self.chosen.emit(now)


def labels_box(viewer: ViewerModel, none: str) -> LayerBox:
    """Return a choice of the viewer's Labels layers, those of an object in progress left out."""
    from napari.layers import Labels

    def offered() -> list[Labels]:
        return [
            layer
            for layer in viewer.layers
            if isinstance(layer, Labels) and _MARK not in layer.metadata
        ]

    return LayerBox(viewer, offered, none)


class ImageChooser(QWidget):
    """Chooses an image, and which layers or which axis are its channels.

    Parameters
    ----------
    viewer : ViewerModel
    chosen : ChosenImage
        The choice, which other widgets show and change too.
    """

    changed = Signal()
    """Another image, or other channels of it, are chosen: here or in another widget."""

    def __init__(self, viewer: ViewerModel, chosen: ChosenImage) -> None:
        super().__init__()
        self._viewer, self._chosen = viewer, chosen
        self.box = LayerBox(viewer, lambda: readable_images(viewer))
        self.box.show_layer(viewer.layers.selection.active)  # if it is an image
        self.box.setToolTip("image: the layer that is segmented")
        self._more = QToolButton()
        self._more.setText("Channels")
        self._more.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._more.setStyleSheet("QToolButton { padding: 2px 16px 2px 4px; }")
        self._more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._more.setToolTip(
            "Layers of the same shape that are further channels of this image, "
            "or the axis of the image that holds channels"
        )
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self._fill_menu)
        self._more.setMenu(self._menu)
        layout = tight(QHBoxLayout(self))
        layout.addWidget(self.box, 1)
        layout.addWidget(self._more)
        for emitter in (viewer.layers.events.inserted, viewer.layers.events.removed):
            emitter.connect(self._update_button)
        chosen.changed.connect(self._on_changed)
        if chosen.layers and chosen.layers[0] in viewer.layers:
            self.box.show_layer(chosen.layers[0])
        else:
            self._on_box(self.box.layer)
        self.box.chosen.connect(self._on_box)
        self._update_button()

    def close_down(self) -> None:
        """Listen to the viewer no more."""
        self.box.close_down()
        self._chosen.changed.disconnect(self._on_changed)
        events = self._viewer.layers.events
        for emitter in (events.inserted, events.removed):
            emitter.disconnect(self._update_button)

    @property
    def layers(self) -> tuple[Image, ...]:
        """The image layer, followed by its further channels; empty if there is none."""
        return tuple(layer for layer in self._chosen.layers if layer in self._viewer.layers)

    @property
    def channel_axis(self) -> int | None:
        """The axis of the image that holds channels, if one does."""
        return self._chosen.channel_axis

    def _on_box(self, layer: Any) -> None:
        if layer is None:
            self._chosen.choose(())
        elif not self._chosen.layers or layer is not self._chosen.layers[0]:
            self._chosen.choose((layer,))

    def _on_changed(self) -> None:
        if self._chosen.layers:
            self.box.show_layer(self._chosen.layers[0])
        self._update_button()
        self.changed.emit()

    def _partners(self) -> list[Image]:
        first = self.box.layer
        if first is None or first.rgb:
            return []
        shapes = level_shapes(first)
        return [
            layer
            for layer in readable_images(self._viewer)
            if layer is not first and not layer.rgb and level_shapes(layer) == shapes
        ]

    def _axes(self) -> list[int]:
        first = self.box.layer
        if first is None or first.rgb or first.ndim < 3:
            return []
        shown = set(self._viewer.dims.order[-2:])
        shift = self._viewer.dims.ndim - first.ndim
        return [axis for axis in range(first.ndim) if axis + shift not in shown]

    def _update_button(self, event: Any = None) -> None:
        here = self.layers
        if here and here[0] is self._chosen.layers[0]:  # a further channel may have been removed
            self._chosen.choose(here, self.channel_axis)
        self._more.setVisible(bool(self._partners() or self._axes()))
        count = len(self.layers)
        text = "Channels" if count < 2 else f"{count} channels"
        if self.channel_axis is not None:
            text = f"axis {self.channel_axis}"
        self._more.setText(text)

    def _fill_menu(self) -> None:
        self._menu.clear()
        partners = self._partners()
        if partners:
            self._menu.addSection("Further channels")
        for layer in reversed(partners):
            action = self._menu.addAction(layer.name)
            action.setCheckable(True)
            action.setChecked(layer in self.layers[1:])
            action.toggled.connect(lambda on, layer=layer: self._toggle(layer, on))
        first = self.box.layer
        if self._axes() and first is not None:
            self._menu.addSection("Axis of channels")
            for axis in (None, *self._axes()):
                name = "none" if axis is None else f"axis {axis}: {layer_shape(first)[axis]}"
                action = self._menu.addAction(name)
                action.setCheckable(True)
                action.setChecked(axis == self.channel_axis)
                action.triggered.connect(lambda *_, axis=axis: self._take_axis(axis))

    def _toggle(self, layer: Image, on: bool) -> None:
        first, *more = self.layers
        more = [item for item in more if item is not layer] + ([layer] if on else [])
        order = {id(item): number for number, item in enumerate(self._viewer.layers)}
        more.sort(key=lambda item: order[id(item)])
        self._chosen.choose((first, *more))

    def _take_axis(self, axis: int | None) -> None:
        self._chosen.choose(self.layers[:1], axis)


class StoreBox(QWidget):
    """Chooses an OME-Zarr store for labels.

    Parameters
    ----------
    empty : str
        What it says when nothing is chosen.
    tip : str
    """

    changed = Signal(str)

    def __init__(self, empty: str, tip: str) -> None:
        super().__init__()
        self._edit = QLineEdit()
        self._edit.setPlaceholderText(empty)
        self._edit.setToolTip(tip)
        browse = QToolButton()
        browse.setText("…")
        browse.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        browse.setToolTip("Choose a store")
        browse.clicked.connect(lambda *_: self.ask())
        layout = tight(QHBoxLayout(self))
        layout.addWidget(self._edit, 1)
        layout.addWidget(browse)
        self._edit.textChanged.connect(self.changed)

    @property
    def path(self) -> str:
        """Path or URL; "" for none."""
        return str(self._edit.text()).strip()

    @path.setter
    def path(self, path: str) -> None:
        self._edit.setText(path)

    def ask(self) -> bool:
        """Let the user choose; return whether they did."""
        start = self.path or str(Path.home() / "labels.ome.zarr")
        path, _ = QFileDialog.getSaveFileName(
            self, "Labels go to", start, "OME-Zarr stores (*.zarr)",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )  # fmt: skip
        if path:
            self.path = path if path.rstrip("/").endswith(".zarr") else f"{path}.ome.zarr"
        return bool(path)
