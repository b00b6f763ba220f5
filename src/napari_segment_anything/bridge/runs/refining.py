"""Objects of another program in a viewer's layers, and the layer of what they become."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...engine import Predictor, Window
from ...errors import PromptError
from ...formats.detection import Detection, polygon
from ...progress import Progress
from ...refining import Refined, refine_steps
from ..viewer.sources import LayerPrompt, read_prompts
from ..viewer.targets import LayerTarget, new_target
from .areas import Area

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer, Shapes

_STRIP = 1024
"""Rows that are drawn together."""


class PlaneLabels:
    """Labels of a layer on a plane of the image, read window by window.

    Parameters
    ----------
    target : LayerTarget
    plane : tuple of int
    """

    def __init__(self, target: LayerTarget, plane: tuple[int, ...]) -> None:
        self._target, self._plane = target, plane
        self.shape, self.dtype = target.axes.rows_cols, target.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        rows, cols = (slice(None), slice(None)) if key is Ellipsis else key
        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = cols.indices(self.shape[1])
        return self._target.read(self._plane, Window(top, left, bottom - top, right - left))


def objects_of(viewer: ViewerModel, area: Area, layer: Layer) -> Any:
    """Return the objects of a layer on an area's plane, as `refine` takes them.

    Labels keep their ids. Rectangles and ellipses of a Shapes layer are boxes, polygons masks;
    features named class and score are kept.

    Parameters
    ----------
    viewer : ViewerModel
    area : Area
    layer : Labels or Shapes

    Raises
    ------
    ParameterError
        If labels do not lie on the image's pixels.
    PromptError
        If there is no shape on the plane, or one without an area.
    """
    from napari.layers import Labels, Shapes

    image = area.layers[0]
    if isinstance(layer, Labels):
        return PlaneLabels(LayerTarget(viewer, image, area.axes, layer), area.plane)
    if not isinstance(layer, Shapes):
        raise PromptError(f"objects come from Labels or Shapes, not from {type(layer).__name__}")
    here = [p for p in read_prompts(viewer, layer, image, area.axes) if p.plane == area.plane]
    if not here:
        raise PromptError(f"{layer.name!r} has no shapes on this plane")
    numbers = [each.number for each in here]
    keep = all(numbers) and len(set(numbers)) == len(numbers)
    return [
        _detection(each, each.number if keep else index, layer, area)
        for index, each in enumerate(here, start=1)
    ]


def _detection(item: LayerPrompt, number: int, layer: Shapes, area: Area) -> Detection:
    where = f"shape {item.index} of {layer.name!r}"
    facts = {"class_name": str(_feature(layer, "class", item.index) or "")}
    score = _feature(layer, "score", item.index)
    rest: dict[str, Any] = facts if score is None else {**facts, "score": float(score)}
    if item.kind == "box":
        low_row, low_col, high_row, high_col = map(float, item.at)
        return Detection(number, (low_row, low_col, high_row, high_col), **rest)
    if item.kind == "region":
        return Detection(number, **polygon([[item.at]], area.axes.rows_cols, where), **rest)
    raise PromptError(f"{where} encloses no area: draw rectangles or polygons")


def _feature(layer: Any, name: str, index: int) -> Any:
    if name not in layer.features:
        return None
    value = layer.features[name].iloc[index]
    return None if value != value else value


def run_refine(
    area: Area, predictor: Predictor, objects: Any, prompt: str, components: bool
) -> Generator[Progress, None, Refined]:
    """Refine objects on an area's plane. May run on any thread.

    Parameters
    ----------
    area : Area
        All of a plane.
    predictor : Predictor
    objects : object
        As for `refine`: from `objects_of`, or a file.
    prompt : str
    components : bool
        As for `refine_steps`.
    """
    return (
        yield from refine_steps(
            area.source.image(area.plane),
            objects,
            predictor.model,
            predictor=predictor,
            prompt=prompt,
            components=components,
            image_name=area.source.path or area.source.name,
            **area.source.embed_arguments(area.plane),
        )
    )


def show_refined(viewer: ViewerModel, area: Area, refined: Refined) -> Labels:
    """Add a Labels layer with refined masks; its features are the review table.

    Parameters
    ----------
    viewer : ViewerModel
    area : Area
    refined : Refined
    """
    import pandas as pd

    image = area.layers[0]
    dtype = np.promote_types(refined.dtype, np.uint16)
    layer = new_target(viewer, image, area.axes, dtype=dtype, name=f"{image.name} refined")
    viewer.layers.move(viewer.layers.index(layer), len(viewer.layers))  # above what was given
    target = LayerTarget(viewer, image, area.axes, layer)
    rows, cols = refined.shape
    for top in range(0, rows, _STRIP):
        window = Window(top, 0, min(_STRIP, rows - top), cols)
        target.write(area.plane, window, refined.labels_in(window))
    table = refined.review()
    layer.features = pd.DataFrame({"index": table.pop("object"), **table})
    return layer


def review_corners(area: Area, refined: Refined, number: int) -> NDArray[np.float64]:
    """Return the corners of an object, given and refined, in data coordinates of the image.

    Parameters
    ----------
    area : Area
    refined : Refined
    number : int
        Id of the object.

    Returns
    -------
    float64 array (2, ndim)
    """
    table = refined.review()
    [place] = np.flatnonzero(table["object"] == number)
    corners = [[table[f"{axis}_{end}"][place] for axis in ("row", "col")] for end in ("min", "max")]
    return np.asarray(area.axes.position(area.plane, corners), np.float64)
