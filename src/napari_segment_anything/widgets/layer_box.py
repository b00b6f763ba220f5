"""Combo boxes of layers: magicgui's, for napari's types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class LayerBox(ComboBox):
    """A choice of layers, kept when layers are renamed or reordered.

    Parameters
    ----------
    layer_type : type
        One of napari's.
    offered : callable
        Returns the layers to choose from.
    none : str
        Text of an entry that stands for no layer; "" for no such entry.
    """

    def __init__(
        self,
        layer_type: type[Layer],
        offered: Callable[[], Sequence[Layer]],
        *,
        name: str,
        label: str,
        tooltip: str,
        none: str = "",
    ) -> None:
        self.null_string = none
        super().__init__(
            annotation=layer_type,
            choices=lambda box: [(layer.name, layer) for layer in reversed(offered())],
            nullable=bool(none),
            name=name,
            label=label,
            tooltip=tooltip,
        )
        self.native.setSizeAdjustPolicy(
            self.native.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.native.setMinimumContentsLength(5)

    def reset_choices(self, *_: Any) -> None:
        """Offer the current layers, and keep the choice if it is still there."""
        before = self.value
        with self.changed.blocked():
            self.native.clear()  # magicgui would compare names
            super().reset_choices()
            if before is not None and before in self.choices:
                self.value = before
        if self.value is not before:
            self.changed.emit(self.value)

    def show_layer(self, layer: Any) -> None:
        """Show a choice made elsewhere, without emitting `changed`."""
        with self.changed.blocked():
            if layer in self.choices:
                self.value = layer


def labels_box(viewer: ViewerModel, tooltip: str) -> LayerBox:
    """Return a box of the viewer's Labels layers, without those of an object in progress.

    Parameters
    ----------
    viewer : ViewerModel
    tooltip : str
    """
    from napari.layers import Labels

    def offered() -> list[Layer]:
        return [
            layer
            for layer in viewer.layers
            if isinstance(layer, Labels) and not is_ours(layer, exactly=True)
        ]

    return LayerBox(
        Labels, offered, name="target", label="Labels", tooltip=tooltip, none="new layer"
    )


def is_ours(layer: Any, exactly: bool = False) -> bool:
    """Return whether a layer was made by a session or a run to show its work.

    Parameters
    ----------
    layer : Layer
    exactly : bool
        Whether only layers of an object in progress count.
    """
    mark = "napari-segment-anything"
    if exactly:
        return mark in layer.metadata
    return any(str(key).startswith(mark) for key in layer.metadata)
