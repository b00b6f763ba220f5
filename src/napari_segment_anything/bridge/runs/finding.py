"""Find all instances of a concept in part of a plane: words, and examples from the viewer."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...automatic.candidates import placed
from ...engine import PlacedMask, Predictor
from ...errors import PromptError
from ...finding import find_steps
from ...formats.rle import encode_labels
from ...progress import Progress
from ..viewer.sources import fill, labels_on, prompts_of
from .areas import Area, draw_rectangles
from .everything import DrawnObjects, draw_steps

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer, Shapes

EXAMPLES_MARK = "napari-segment-anything examples"


def examples_from(
    viewer: ViewerModel, layer: Layer, area: Area, labels: Sequence[int] | None = None
) -> list[Any]:
    """Read examples on the plane of an area from a layer.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    layer : Shapes or Labels
        Rectangles and polygons, or objects.
    area : Area
    labels : sequence of int, optional
        Only these objects of a Labels layer.

    Returns
    -------
    list
        Boxes and `PlacedMask`, in pixels of the plane.

    Raises
    ------
    PromptError
        If there is none on this plane.
    """
    from napari.layers import Labels

    image, shape = area.layers[0], area.axes.rows_cols
    found: list[Any] = []
    if isinstance(layer, Labels):
        masks = encode_labels(labels_on(viewer, layer, image, area.axes, area.plane))
        found += [placed(m) for n, m in masks.items() if labels is None or n in labels]
    else:
        drawn = prompts_of(viewer, layer, image, area.axes, area.plane)
        found += drawn.boxes
        for outline in drawn.regions:
            mask, window = fill(outline, shape)
            found.append(PlacedMask.of(mask, window.row, window.col))
    if not found:
        raise PromptError(f"{layer.name!r} has no example on this plane")
    return found


def draw_examples(viewer: ViewerModel, image: Image) -> Shapes:
    """Create the layer that examples are drawn on, or activate its rectangle tool."""
    return draw_rectangles(viewer, image, EXAMPLES_MARK, "examples", "#4de1ff")


def run_find(
    area: Area,
    predictor: Predictor,
    words: str,
    examples: Sequence[Any],
    finder: Any,
    parameters: Mapping[str, Any],
    policy: str,
) -> Generator[Progress, None, DrawnObjects]:
    """Find all instances of a concept in an area. May run on any thread.

    Parameters
    ----------
    area : Area
    predictor : Predictor
    words, examples, finder, parameters
        As for `find_steps`.
    policy : str
        As for `CandidateTable.resolve`.

    Yields
    ------
    Progress
        As `run_everything`.
    """
    steps = find_steps(
        area.source.image(area.plane),
        words or None,
        predictor.model,
        examples=list(examples) or None,
        finder=finder,
        predictor=predictor,
        window=area.window,
        **area.source.embed_arguments(area.plane),
        **parameters,
    )
    return (yield from draw_steps(area, steps, policy))
