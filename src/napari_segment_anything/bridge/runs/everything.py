"""Everything mode on what the viewer shows, and its result as a Labels layer."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...automatic import CandidateTable, generate_candidates
from ...engine import PlaneSource, Predictor, Window
from ...errors import ImageError, ParameterError
from ...progress import Progress
from ..viewer.coordinates import placement, world_to_data
from ..viewer.selection import keeping_selection

if TYPE_CHECKING:
    from napari.layers import Labels

    from ..viewer.viewer_objects import ViewerObjects


@dataclass(frozen=True, slots=True)
class Region:
    """What everything mode is run on.

    Parameters
    ----------
    plane : tuple of int
    window : Window
        Of that plane.
    """

    plane: tuple[int, ...]
    window: Window


def region_of_view(owner: ViewerObjects, region: str | Window = "plane") -> Region:
    """Settle a region: "plane" (the one that is shown), "view" (the part in sight), or a window.

    Raises
    ------
    ParameterError
        If it is none of these.
    ImageError
        If nothing of the image is in sight.
    """
    view, plane = owner.view, owner.plane
    shape = view.axes.rows_cols
    if isinstance(region, Window):
        return Region(plane, region.clip(shape))
    if region == "plane":
        return Region(plane, Window.full(shape))
    if region == "view":
        return Region(plane, visible_window(owner))
    raise ParameterError(f"region is 'plane', 'view' or a Window, not {region!r}")


def visible_window(owner: ViewerObjects) -> Window:
    """Return the smallest window of the plane that holds everything the canvas shows of it.

    Raises
    ------
    ImageError
        If nothing of the image is in sight.
    """
    viewer, view, image = owner.viewer, owner.view, owner.image
    if image is None:
        raise ImageError("choose an image first")
    camera = viewer.scene.camera
    half = np.asarray(viewer.canvas.size, np.float64) / (2 * camera.zoom)
    centre = np.asarray(camera.center, np.float64)[-2:]
    corners = np.repeat(np.asarray(viewer.dims.point, np.float64)[None], 4, axis=0)
    signs = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    corners[:, list(viewer.dims.displayed)] = centre + signs * half
    seen = world_to_data(viewer, image, corners)[:, list(view.axes.displayed)]
    shape = np.array(view.axes.rows_cols)
    low = np.clip(np.floor(seen.min(0) + 0.5), 0, None).astype(int)
    high = np.minimum(np.ceil(seen.max(0) + 0.5).astype(int), shape)
    if (high <= low).any():
        raise ImageError("nothing of the image is in sight; move the camera to it")
    return Window(low[0], low[1], high[0] - low[0], high[1] - low[1])


def everything_job(
    owner: ViewerObjects, region: Region, mode: str = "auto", **parameters: Any
) -> Generator[Progress, None, CandidateTable]:
    """Return a generator that finds everything in a region; it may run on any thread.

    The image and the model are settled here; the generator touches no layer. Parameters are
    those of `segment_everything`.
    """
    view, predictor = owner.view, owner.predictor
    source = view.session.source
    return _run(source, predictor, region, mode, parameters)


def _run(
    source: PlaneSource, predictor: Predictor, region: Region, mode: str, parameters: dict[str, Any]
) -> Generator[Progress, None, CandidateTable]:
    yield Progress(0, 1, message="Reading the image")
    arguments = dict(source.embed_arguments(region.plane))  # contrast limits: reads pixels
    if region.window != Window.full(source.shape):
        arguments["window"] = region.window
    return (
        yield from generate_candidates(
            source.image(region.plane),
            predictor.model,
            mode=mode,
            predictor=predictor,
            **{name: value for name, value in arguments.items() if value is not None},
            **parameters,
        )
    )


def add_table(
    owner: ViewerObjects,
    table: CandidateTable,
    region: Region,
    *,
    policy: str = "small",
    layer: Labels | None = None,
    name: str | None = None,
) -> Labels:
    """Show candidates as a Labels layer over their region, with a features table.

    Parameters
    ----------
    table : CandidateTable
        From `everything_job` on this region.
    policy : str
        Which mask is in front; as for `CandidateTable.to_labels`.
    layer : Labels, optional
        One made by this function before, to be changed, as after other thresholds.
    name : str, optional
        Of a new layer.
    """
    view, image = owner.view, owner.image
    if image is None:
        raise ImageError("choose an image first")
    axes = view.axes
    labels = table.to_labels(policy)
    shape = [1] * image.ndim
    for axis, size in zip(axes.displayed, labels.shape, strict=True):
        shape[axis] = size
    data = labels.astype(np.uint32, copy=False).reshape(shape)
    if layer is not None and layer in owner.viewer.layers and layer.data.shape == data.shape:
        layer.data = data
    else:
        origin = dict(zip(axes.planes, map(float, region.plane), strict=True))
        origin[axes.displayed[0]] = float(region.window.row)
        origin[axes.displayed[1]] = float(region.window.col)
        thick = {} if axes.channel is None else {axes.channel: axes.shape[axes.channel]}
        with keeping_selection(owner.viewer):
            layer = owner.viewer.add_labels(
                data,
                name=name or f"{image.name} everything",
                **placement(image, origin=origin, thick=thick),
            )
    columns = table.features(policy)
    layer.features = {"index": columns.pop("label"), **columns}
    return layer
