"""Fields for an image with its channels, and for an OME-Zarr store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets.bases import ValuedContainerWidget
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QMenu, QToolButton, QWidget

from ..bridge.viewer.images import layer_shape, level_shapes, readable_images
from .layer_box import LayerBox
from .qt_helpers import tight

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from .chosen import ChosenImage


class ImageField(ValuedContainerWidget["Image | None"]):
    """Chooses an image, and which layers or which axis are its channels.

    `changed` is also emitted when the channels change, and for a choice made in another widget.

    Parameters
    ----------
    viewer : ViewerModel
    chosen : ChosenImage
        The choice that all widgets of the viewer share.
    """

    def __init__(self, viewer: ViewerModel, chosen: ChosenImage) -> None:
        from napari.layers import Image

        self._viewer, self._chosen = viewer, chosen
        self._box = LayerBox(
            Image,
            lambda: readable_images(viewer),
            name="layer",
            label="",
            tooltip="<b>image</b><br>The layer that is segmented",
        )
        self.button = QToolButton()
        self.button.setText("Channels")
        self.button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.button.setStyleSheet("QToolButton { padding: 2px 16px 2px 4px; }")
        self.button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.button.setToolTip(
            "Layers of the same shape that are further channels of this image, "
            "or the axis of the image that holds channels"
        )
        super().__init__(
            name="image", label="Image", widgets=[self._box], layout="horizontal", labels=False
        )
        self.margins = (0, 0, 0, 0)
        self.native.layout().setSpacing(4)
        self.native.layout().addWidget(self.button)
        self._menu = QMenu(self.button)
        self._menu.aboutToShow.connect(self._fill_menu)
        self.button.setMenu(self._menu)
        chosen.changed.connect(self._on_chosen)
        self._box.show_layer(viewer.layers.selection.active)  # if it is an image
        if chosen.layers and chosen.layers[0] in viewer.layers:
            self._box.show_layer(chosen.layers[0])
        else:
            self._on_box(self._box.value)
        self._box.changed.connect(self._on_box)
        self._update_button()

    def close_down(self) -> None:
        """Stop listening to the other widgets."""
        self._chosen.changed.disconnect(self._on_chosen)

    def get_value(self) -> Image | None:
        """Return the image layer."""
        return self._box.value

    def set_value(self, value: Image) -> None:
        """Choose an image layer of the viewer."""
        self._box.value = value

    @property
    def layers(self) -> tuple[Image, ...]:
        """The image layer, followed by its further channels; empty if there is none."""
        return tuple(layer for layer in self._chosen.layers if layer in self._viewer.layers)

    @property
    def channel_axis(self) -> int | None:
        """The axis of the image that holds channels, if one does."""
        return self._chosen.channel_axis

    def reset_choices(self, *_: Any) -> None:
        """Offer the viewer's current layers."""
        super().reset_choices()
        if self._initialized:
            self._update_button()

    def _on_box(self, layer: Any) -> None:
        if layer is None:
            self._chosen.choose(())
        elif not self._chosen.layers or layer is not self._chosen.layers[0]:
            self._chosen.choose((layer,))

    def _on_chosen(self) -> None:
        if self._chosen.layers:
            self._box.show_layer(self._chosen.layers[0])
        self._update_button()
        self.changed.emit(self.value)

    def _partners(self) -> list[Image]:
        first = self.value
        if first is None or first.rgb:
            return []
        shapes = level_shapes(first)
        return [
            layer
            for layer in readable_images(self._viewer)
            if layer is not first and not layer.rgb and level_shapes(layer) == shapes
        ]

    def _axes(self) -> list[int]:
        first = self.value
        if first is None or first.rgb or first.ndim < 3:
            return []
        shown = set(self._viewer.dims.order[-2:])
        shift = self._viewer.dims.ndim - first.ndim
        return [axis for axis in range(first.ndim) if axis + shift not in shown]

    def _update_button(self) -> None:
        here = self.layers
        if here and here[0] is self._chosen.layers[0]:  # a further channel may have been removed
            self._chosen.choose(here, self.channel_axis)
        self.button.setVisible(bool(self._partners() or self._axes()))
        count = len(self.layers)
        text = "Channels" if count < 2 else f"{count} channels"
        if self.channel_axis is not None:
            text = f"axis {self.channel_axis}"
        self.button.setText(text)

    def _fill_menu(self) -> None:
        self._menu.clear()
        partners = self._partners()
        if partners:
            self._menu.addSection("Further channels")
        for layer in reversed(partners):
            action = self._menu.addAction(layer.name)
            action.setCheckable(True)
            action.setChecked(layer in self.layers[1:])
            action.toggled.connect(lambda on, layer=layer: self.use_channel(layer, on))
        first = self.value
        if self._axes() and first is not None:
            self._menu.addSection("Axis of channels")
            for axis in (None, *self._axes()):
                name = "none" if axis is None else f"axis {axis}: {layer_shape(first)[axis]}"
                action = self._menu.addAction(name)
                action.setCheckable(True)
                action.setChecked(axis == self.channel_axis)
                action.triggered.connect(lambda *_, axis=axis: self.use_axis(axis))

    def use_channel(self, layer: Image, on: bool = True) -> None:
        """Use a layer of the same shape as a further channel, or no longer.

        Parameters
        ----------
        layer : Image
            Of the same shape as the image.
        on : bool
            Whether to use it.
        """
        first, *more = self.layers
        more = [item for item in more if item is not layer] + ([layer] if on else [])
        order = {id(item): number for number, item in enumerate(self._viewer.layers)}
        more.sort(key=lambda item: order[id(item)])
        self._chosen.choose((first, *more))

    def use_axis(self, axis: int | None) -> None:
        """Take an axis of the image as that of its channels."""
        self._chosen.choose(self.layers[:1], axis)


class StoreBox(QWidget):
    """Chooses an OME-Zarr store for labels.

    Parameters
    ----------
    empty : str
        Shown when nothing is chosen.
    """

    changed = Signal(str)

    def __init__(self, empty: str) -> None:
        super().__init__()
        self._edit = QLineEdit()
        self._edit.setPlaceholderText(empty)
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
    def value(self) -> str:
        """Path or URL; "" for none."""
        return str(self._edit.text()).strip()

    @value.setter
    def value(self, path: Any) -> None:
        self._edit.setText(str(path))

    def ask(self) -> bool:
        """Let the user choose; return whether they did."""
        start = self.value or str(Path.home() / "labels.ome.zarr")
        path, _ = QFileDialog.getSaveFileName(
            self, "Labels go to", start, "OME-Zarr stores (*.zarr)",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )  # fmt: skip
        if path:
            self.value = path if path.rstrip("/").endswith(".zarr") else f"{path}.ome.zarr"
        return bool(path)
