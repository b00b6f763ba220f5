"""The layers of a large run: labels while they are written, a map of the tiles, the seams."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...large import LargePlan, TileGrid, TileStatus
from ..viewer.coordinates import placement
from ..viewer.images import labels_placement
from ..viewer.layer_list import keeping_selection, remove_layers
from ..viewer.measures import as_features
from .large import LargeDone, LargeSource, LargeStep
from .live_labels import LiveLabels, aligned

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Shapes

MAP_PIXELS = 1 << 21
MOST_SEAMS = 2000
"""Maximum number of boxes; of more seams only ambiguous and cut ones are drawn."""
TILE_COLOURS = {
    TileStatus.TODO: (0.0, 0.0, 0.0, 0.5),
    TileStatus.DONE: (0.0, 0.0, 0.0, 0.0),
    TileStatus.EMPTY: (0.45, 0.62, 0.85, 0.28),
    TileStatus.FAILED: (1.0, 0.12, 0.12, 0.62),
}
SEAM_COLOURS = {
    "merged": "#3ddc97",
    "ambiguous": "#ffb000",
    "cut": "#ff4d4d",
    "redecoded": "#5aa9ff",
}


class LargeLayers:
    """The layers of a large run: labels, a map of the tiles, and the seams.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.labels: Labels | None = None
        self.map: Labels | None = None
        self.seams: Shapes | None = None
        self._source: LargeSource | None = None
        self._grid: TileGrid | None = None

    def start(self) -> None:
        """Begin a run: its first step creates new layers."""
        self._source = None

    def show(self, source: LargeSource, step: LargeStep) -> None:
        """Show the state of a run."""
        if self.labels is None or self._source is not source:
            self._begin(source, step)
        elif step.fresh:
            if self.map is not None and self.map in self.viewer.layers:
                self.map.data[...] = _map_of(source, step.grid, step.status)
            for layer in (self.labels, self.map):
                if layer is not None and layer in self.viewer.layers:
                    layer.refresh(thumbnail=False, highlight=False, extent=False)

    def finish(self, source: LargeSource, done: LargeDone) -> None:
        """Show the result of a run; the map of tiles stays visible only if tiles failed."""
        result = done.result
        live, plan = LiveLabels(result.labels, result.grid), LargePlan.of(result.grid, 0, 1)
        step = LargeStep(live, result.grid, result.status, plan, False, result.path)
        self.show(source, step)
        layer = self.labels
        if layer is None:
            return
        if layer in self.viewer.layers:
            if live.step == 1:  # napari's brush needs a single level
                layer = self.labels = self._single(layer, aligned(result.labels, source.order))
            else:
                layer.data = [aligned(level, source.order) for level in result.group.levels]
        layer.features = as_features(done.objects)
        if self.map is not None and self.map in self.viewer.layers:
            self.map.visible = bool(result.failed)
        self.show_seams(source, done.result.grid, done.seams)

    def close(self) -> None:
        """Forget the layers, which stay in the viewer."""
        self.labels = self.map = self.seams = self._source = self._grid = None

    def _single(self, layer: Labels, data: Any) -> Labels:
        """Replace a pyramid of labels by one array."""
        if not layer.multiscale:
            layer.data = data
            return layer
        look = ("name", "visible", "opacity", "blending", "metadata")
        lies = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
        state = {name: getattr(layer, name) for name in (*look, *lies)}
        chosen, place = layer.selected_label, self.viewer.layers.index(layer)
        was_active = self.viewer.layers.selection.active is layer
        with keeping_selection(self.viewer):
            remove_layers(self.viewer, [layer])
            new = self.viewer.add_labels(data, multiscale=False, **state)
            self.viewer.layers.move(self.viewer.layers.index(new), place)
        new.selected_label = chosen
        if was_active:
            self.viewer.layers.selection.active = new
        return new

    def _begin(self, source: LargeSource, step: LargeStep) -> None:
        same = self.labels is not None and self.labels.metadata.get("store") == step.path
        remove_layers(self.viewer, (self.map, self.seams, self.labels if same else None))
        self.seams = None
        self._source, self._grid = source, step.grid
        image = source.layers[0]
        levels = [aligned(level, source.order) for level in step.live.levels]
        with keeping_selection(self.viewer):
            self.labels = self.viewer.add_labels(
                levels if len(levels) > 1 else levels[0],
                multiscale=len(levels) > 1,
                name=f"{image.name} everything",
                metadata={"store": step.path},
                **labels_placement(image, source.axes),
            )
            self.map = self._add_map(source, step)

    def _add_map(self, source: LargeSource, step: LargeStep) -> Labels:
        from napari.utils.colormaps import DirectLabelColormap

        image, grid = source.layers[0], step.grid
        rows, cols = source.axes.displayed
        side = grid.stride / _parts(grid)
        thick: dict[int, float] = {rows: side, cols: side}
        if source.axes.channel is not None:
            thick[source.axes.channel] = source.axes.shape[source.axes.channel]
        origin = {
            rows: float(grid.first[0] * grid.stride),
            cols: float(grid.first[1] * grid.stride),
        }
        colours: dict[Any, Any] = {None: np.zeros(4), 0: np.zeros(4)}
        colours |= {int(state) + 1: np.array(c) for state, c in TILE_COLOURS.items()}
        layer = self.viewer.add_labels(
            _map_of(source, grid, step.status),
            name=f"{image.name} tiles",
            colormap=DirectLabelColormap(color_dict=colours),
            opacity=1.0,
            **placement(image, origin=origin, thick=thick),
        )
        layer.editable = False
        return layer

    # -- seams -----------------------------------------------------------------------------------

    def show_seams(
        self, source: LargeSource, grid: TileGrid, seams: Mapping[str, NDArray[Any]]
    ) -> None:
        """Show the seams as boxes, coloured by kind."""
        remove_layers(self.viewer, [self.seams])
        self.seams = None
        if not len(seams.get("seam", ())):
            return
        import pandas as pd

        rows = np.arange(len(seams["seam"]))
        if len(rows) > MOST_SEAMS:
            rows = rows[np.isin(seams["kind"], ("ambiguous", "cut"))][:MOST_SEAMS]
        if not len(rows):
            return
        kinds = np.asarray(seams["kind"])[rows]
        image = source.layers[0]
        with keeping_selection(self.viewer):
            self.seams = self.viewer.add_shapes(
                [seam_corners(source, grid, seams, int(row)) for row in rows],
                ndim=image.ndim,
                shape_type="polygon",
                name=f"{image.name} seams",
                edge_color=[SEAM_COLOURS[kind] for kind in kinds],
                face_color=[0, 0, 0, 0],
                edge_width=max(1.0, max(source.axes.rows_cols) / 1000),
                features=pd.DataFrame(
                    {
                        "seam": np.asarray(seams["seam"])[rows],
                        "kind": kinds,
                        "iou": np.round(np.asarray(seams["iou"], float)[rows], 3),
                        "label_a": np.asarray(seams["labels"])[rows, 0],
                        "label_b": np.asarray(seams["labels"])[rows, 1],
                    }
                ),
                **placement(image, world_units=self.viewer.dims.units),
            )


def seam_corners(
    source: LargeSource, grid: TileGrid, seams: Mapping[str, NDArray[Any]], row: int
) -> np.ndarray:
    """Return the corners of a seam's box in the image layer's coordinates: (4, ndim)."""
    plane = grid.plane(grid.index(int(seams["plane"][row]), 0, 0))
    top, left, bottom, right = (float(n) for n in seams["box"][row])
    top, left, bottom, right = top - 0.5, left - 0.5, bottom + 0.5, right + 0.5
    corners = [[top, left], [top, right], [bottom, right], [bottom, left]]
    return source.axes.position(plane, corners)


def _parts(grid: TileGrid) -> int:
    """Return how many pixels of the map a tile has along each side; fewer for more tiles."""
    return int(np.clip(np.sqrt(MAP_PIXELS / len(grid)), 1, 16))


def _map_of(source: LargeSource, grid: TileGrid, status: NDArray[np.uint8]) -> np.ndarray:
    """Return the state of the tiles as an image, cut at the borders of the region."""
    parts = _parts(grid)
    values = (status.reshape(*grid.planes, *grid.counts) + 1).astype(np.uint8)
    values = values.repeat(parts, axis=-2).repeat(parts, axis=-1)
    ends = (grid.region.row + grid.region.height, grid.region.col + grid.region.width)
    wanted = [
        math.ceil((end - first * grid.stride) * parts / grid.stride - 1e-9)
        for end, first in zip(ends, grid.first, strict=True)
    ]
    # the last tile also covers the remainder
    more = [max(0, n - have) for n, have in zip(wanted, values.shape[-2:], strict=True)]
    values = np.pad(values, [(0, 0)] * (values.ndim - 2) + [(0, n) for n in more], mode="edge")
    values = values[..., : wanted[0], : wanted[1]]
    begin = [
        (low - first * grid.stride) * parts // grid.stride
        for low, first in zip((grid.region.row, grid.region.col), grid.first, strict=True)
    ]
    values[..., : begin[0], :] = 0
    values[..., : begin[1]] = 0
    found: np.ndarray = np.array(aligned(values, source.order)[...])
    return found
