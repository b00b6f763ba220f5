"""Find all instances of a concept in an image."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..automatic import CandidateTable
from ..automatic.candidates import Builder, placed
from ..automatic.grid import ImageCrop
from ..automatic.measure import Measured
from ..automatic.parameters import filters_in
from ..engine import Model, PlacedMask, PlaneSource, Predictor, Window, load_model, open_image
from ..errors import ImageError, ParameterError
from ..formats.rle import RLE, encode
from ..progress import Progress, finish, mapped
from .concept import Concept
from .finder import Sightings, plane_rle
from .query import Query, example_masks
from .remembering import RememberingPredictor
from .views import plan_views

EXAMPLE = "example"
"""Source of the examples themselves."""


def find(
    image: Any,
    words: str | None = None,
    model: Model | str = "default",
    *,
    on_progress: Callable[[Progress], object] | None = None,
    **options: Any,
) -> CandidateTable:
    """Find all instances of a concept in an image: what words name, or what is like examples.

    Parameters
    ----------
    image : array-like
        (H, W), (H, W, 3|4), channels at `channel_axis`, pyramid levels, or a `PlaneSource`; of any
        size.
    words : str, optional
        What to look for, such as "nucleus".
    model : Model or str
        The model that segments.
    on_progress : callable, optional
        Called with every `Progress`. If it raises, the run is cancelled.
    **options
        Those of `find_steps`, such as `examples`.

    Returns
    -------
    CandidateTable
        Its `scores` are likenesses, 0 to 1; `refilter(likeness_thresh=...)` applies another
        threshold without a new run.

    Raises
    ------
    ParameterError
        If there is nothing to look for, no finder that understands it, or a parameter is wrong.
    PromptError
        If an example lies outside the image.
    ImageError
        If the image cannot be used.
    """
    return finish(find_steps(image, words, model, **options), on_progress)


def find_steps(
    image: Any,
    words: str | None = None,
    model: Model | str = "default",
    *,
    examples: Any = None,
    finder: Any = None,
    likeness_thresh: float | None = None,
    concept: Concept | None = None,
    window: Window | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    predictor: Predictor | None = None,
    channel_axis: int | None = None,
    channels: Sequence[int] | None = None,
    contrast_limits: Any = "auto",
    **parameters: Any,
) -> Generator[Progress, None, CandidateTable]:
    """Find all instances of a concept, step by step; `find` has the first three parameters.

    Parameters
    ----------
    examples : optional
        Instances: a sequence of boxes (row_min, col_min, row_max, col_max) or boolean masks, or a
        label image. They belong to the result, with the source "example".
    finder : str, Path or Finder, optional
        A name, hub name or folder of a model that finds; by default what `model` itself can, else
        one that is on this machine.
    likeness_thresh : float, optional
        Likeness from which on masks are kept; by default what suits the finder.
    concept : Concept, optional
        From `learn_concept_steps`, in place of words, examples, finder, `likeness_thresh` and
        parameters: what examples in another image are like.
    window : Window, optional
        The part of the image to look at; coordinates in the result are relative to it. Examples
        may lie anywhere in the image.
    tile, overlap : int, optional
        Side of the tiles that a large image is looked at in, and what they share, in pixels.
    predictor : Predictor, optional
        Of the same model, whose cache of embeddings is used.
    channel_axis, channels, contrast_limits
        As for `Predictor.embed`.
    **parameters
        Filters of everything mode, such as `min_area`; for finders that rank its masks all of its
        parameters; and those of `FINDING`.

    Yields
    ------
    Progress
        `done` and `total` count views. `partial` is a function without arguments that returns the
        table so far.
    """
    loaded = model if isinstance(model, Model) else load_model(model)
    source = plane_of(image, channel_axis, channels, contrast_limits)
    if concept is None:
        query = Query.of(words, examples, source.shape)
        concept = Concept.of(query, loaded, finder, likeness_thresh, parameters)
    elif parameters or not (words is examples is finder is likeness_thresh is None):
        raise ParameterError("a concept has words, examples, finder and parameters of its own")
    window = Window.full(source.shape) if window is None else window.clip(source.shape)
    crops = plan_views(window.shape, concept.finder.frame, tile, overlap)
    return FindRun(source, concept, predictor or Predictor(loaded), window, crops).run()


def learn_concept_steps(
    image: Any,
    words: str | None = None,
    model: Model | str = "default",
    *,
    examples: Any = None,
    finder: Any = None,
    likeness_thresh: float | None = None,
    predictor: Predictor | None = None,
    channel_axis: int | None = None,
    channels: Sequence[int] | None = None,
    contrast_limits: Any = "auto",
    **parameters: Any,
) -> Generator[Progress, None, Concept]:
    """Learn what is looked for from examples in one image, to find it in others.

    Parameters
    ----------
    image : array-like
        The image that shows the examples.
    words, model, examples, finder, likeness_thresh, predictor, channel_axis, channels
        As for `find_steps`.
    contrast_limits, **parameters
        As for `find_steps`.

    Yields
    ------
    Progress

    Returns
    -------
    Concept
        For `find_steps` in this image; its `elsewhere` for those in others.

    Raises
    ------
    ParameterError, PromptError, ImageError
        As `find`; also if the finder knows examples only where they are.
    """
    loaded = model if isinstance(model, Model) else load_model(model)
    source = plane_of(image, channel_axis, channels, contrast_limits)
    query = Query.of(words, examples, source.shape)
    concept = Concept.of(query, loaded, finder, likeness_thresh, parameters)
    concept.check_elsewhere()
    crops = plan_views(source.shape, concept.finder.frame)
    run = FindRun(source, concept, predictor or Predictor(loaded), Window.full(source.shape), crops)
    yield from run.learn()
    return replace(concept, learned=run.learned)


def plane_of(
    image: Any,
    channel_axis: int | None = None,
    channels: Sequence[int] | None = None,
    contrast_limits: Any = "auto",
) -> PlaneSource:
    """Return an image of one plane, as `find` takes it, as a `PlaneSource`.

    Raises
    ------
    ImageError
        If it is no such image.
    """
    if isinstance(image, PlaneSource):
        if image.ndim_planes:
            raise ImageError("the image is a stack: take one plane of it, or use find_stack")
        automatic = isinstance(contrast_limits, str) and contrast_limits == "auto"
        if channel_axis is not None or channels is not None or not automatic:
            raise ParameterError("a PlaneSource has its own channels and contrast limits")
        return image
    opened = open_image(image, channel_axis=channel_axis, channels=channels)
    return PlaneSource(
        list(opened.levels),
        channel_axis=None if opened.colour else opened.channel_axis,
        rgb=opened.colour,
        channels=None if channels is None else tuple(channels),
        contrast_limits=contrast_limits,
    )


@dataclass(slots=True, eq=False)
class FindRun:
    """One search in one plane.

    Parameters
    ----------
    source : PlaneSource
    concept : Concept
    predictor : Predictor
        Of the model that segments.
    window : Window
        The part of the plane that is searched.
    crops : tuple of ImageCrop
        What is looked at, one after the other, in pixels of the window.
    """

    source: PlaneSource
    concept: Concept
    predictor: Predictor
    window: Window
    crops: tuple[ImageCrop, ...]
    learned: Any = field(init=False, repr=False)
    """What the finder learned, here or from examples in another plane."""
    _masks: list[PlacedMask] = field(init=False, default_factory=list)
    _builder: Builder = field(init=False)
    _likeness: list[NDArray[np.float32]] = field(init=False, default_factory=list)
    _names: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.predictor = RememberingPredictor(self.predictor)
        self.learned = self.concept.learned
        whole = ImageCrop(0, 0, *self.window.shape, 0)
        # examples belong to the whole, and so do tables of nothing
        crops = [*self.crops, *([] if whole in self.crops else [whole])]
        origin = (self.window.row, self.window.col)
        self._builder = Builder(self.window.shape, origin, crops)

    def run(self) -> Generator[Progress, None, CandidateTable]:
        """Learn what is looked for, unless that is known, and look at view after view."""
        total, finder = len(self.crops), self.concept.finder

        def step(done: int) -> Callable[[Progress], Progress]:
            return lambda inner: Progress(done, total, self.table, inner.message)

        yield from mapped(self.learn(), step(0))
        if self._masks:
            known = [plane_rle(mask, self.source.shape) for mask in self._masks]
            ones = np.ones(len(known), np.float32)
            nothing = np.full(len(known), np.nan, np.float32)
            whole = self._builder.crops.index(ImageCrop(0, 0, *self.window.shape, 0))
            self._add(whole, Sightings(tuple(known), ones, nothing, nothing), EXAMPLE)
        for number, crop in enumerate(self.crops):
            yield Progress(number, total, self.table, f"looking with {finder.name}")
            row, col = self.window.row + crop.row, self.window.col + crop.col
            window = Window(row, col, crop.height, crop.width)
            looking = finder.look(self.learned, self.source, self.predictor, window)
            self._add(number, (yield from mapped(looking, step(number))), finder.name)
        return self.table()

    def learn(self) -> Generator[Progress, None, None]:
        """Segment the examples, and learn what to compare with, unless that is known."""
        query = self.concept.query
        if query.examples and not self._masks:
            self._masks = yield from example_masks(query, self.source, self.predictor)
        if self.learned is None:
            self.learned = yield from self.concept.finder.learn(
                query, self._masks, self.source, self.predictor
            )

    def table(self) -> CandidateTable:
        """Return what was found so far."""
        likeness = np.concatenate([np.zeros(0, np.float32), *self._likeness])
        candidates = replace(self._builder.build(), likeness=likeness, source=tuple(self._names))
        concept = self.concept
        filters = {name: getattr(concept.filters, name) for name in filters_in("find")}
        parameters = {**filters, **concept.parameters, "finder": concept.finder.name}
        return CandidateTable.filtered(candidates, "find", concept.filters, parameters)

    def _add(self, crop: int, found: Sightings, name: str) -> None:
        masks = [self._seen(mask) for mask in found.masks]
        there = [i for i, mask in enumerate(masks) if mask is not None]
        points = np.array([inner_point(m) for m in masks if m is not None], np.float64)
        measured = [Measured(found.stability[i], masks[i]) for i in there]
        outputs = np.zeros(len(measured), np.int8)
        self._builder.add(crop, points, outputs, found.predicted_iou[there], measured)
        self._likeness.append(found.likeness[there])
        self._names += [name] * len(measured)

    def _seen(self, mask: RLE) -> RLE | None:
        """Return the part of a mask of the plane that lies in the window."""
        if self.window.shape == self.source.shape:
            return mask
        part = placed(mask).within(self.window)
        return encode(part) if part.any() else None


def inner_point(mask: RLE) -> tuple[int, int]:
    """Return the (row, column) of a pixel inside a mask: the middle of its longest run."""
    ends = np.cumsum(mask.counts.astype(np.int64))
    longest = 2 * int(np.argmax(mask.counts[1::2])) + 1
    col, row = divmod(int(ends[longest] - 1 - (mask.counts[longest] - 1) // 2), mask.size[0])
    return row, col
