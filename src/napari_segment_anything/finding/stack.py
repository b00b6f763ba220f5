"""Find all instances of a concept in a stack: plane by plane, then linked through the planes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..automatic import CandidateTable
from ..engine import Model, PlaneSource, Predictor, Window, load_model
from ..errors import ParameterError
from ..parameters import LINKING
from ..progress import Progress, finish
from ..stacks import StackResult, segment_stack_steps
from ..stacks.volume import Volume
from .concept import Concept
from .query import Query
from .run import FindRun
from .views import plan_views

_VOLUME = ("axis", "axes", "channel_axis", "rgb", "channels", "contrast_limits")
_STACK = (*_VOLUME, *LINKING, "output", "label", "overwrite")


def find_stack(
    volume: Any,
    words: str | None = None,
    model: Model | str = "default",
    *,
    on_progress: Callable[[Progress], object] | None = None,
    **options: Any,
) -> StackResult:
    """Find all instances of a concept in a volume or time-lapse.

    Every plane is searched by itself; then objects are linked, as by `segment_stack`.

    Parameters
    ----------
    volume : array-like, pyramid, PlaneSource, ImageData, str or Path
        As for `segment_stack`.
    words : str, optional
        What to look for.
    model : Model or str
        The model that segments.
    on_progress : callable, optional
        Called with every `Progress`; if it raises, the run is cancelled.
    **options
        Those of `find_stack_steps`.

    Returns
    -------
    StackResult

    Raises
    ------
    ImageError, ParameterError, PromptError
        If volume, options or examples cannot be used.
    """
    return finish(find_stack_steps(volume, words, model, **options), on_progress)


def find_stack_steps(
    volume: Any,
    words: str | None = None,
    model: Model | str = "default",
    *,
    examples: Any = None,
    plane: int = 0,
    stack: tuple[int, ...] = (),
    finder: Any = None,
    likeness_thresh: float | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    predictor: Predictor | None = None,
    policy: str = "score",
    **options: Any,
) -> Generator[Progress, None, StackResult]:
    """Find all instances of a concept in a stack, step by step.

    `find_stack` has the first three parameters.

    Parameters
    ----------
    examples : optional
        As for `find`, in one plane.
    plane : int
        The plane that examples lie in.
    stack : tuple of int
        And its stack, where the volume holds several: an index along each further axis.
    finder, likeness_thresh, tile, overlap, predictor
        As for `find_steps`.
    policy : {"small", "score", "large"}
        Which mask wins where two overlap; "score" is the likeness.
    **options
        Of `segment_stack_steps`: axis, output, label, overwrite, axes, channel_axis, rgb, channels,
        contrast_limits, and how planes are joined; and of `find_steps`: parameters of the finder.

    Yields
    ------
    Progress
        As `segment_stack_steps`.
    """
    stacking = {name: options.pop(name) for name in _STACK if name in options}
    opened = Volume.of(volume, **{name: stacking[name] for name in _VOLUME if name in stacking})
    if not 0 <= plane < opened.count:
        raise ParameterError(f"plane {plane} does not exist; they run from 0 to {opened.count - 1}")
    stack = opened.check_stack(stack)
    loaded = model if isinstance(model, Model) else load_model(model)
    query = Query.of(words, examples, opened.plane_shape)
    concept = Concept.of(query, loaded, finder, likeness_thresh, options)
    concept.check_elsewhere()
    predictor = predictor or Predictor(loaded)
    search = _PlaneSearch(concept, (plane, stack), predictor, {"tile": tile, "overlap": overlap})
    return segment_stack_steps(
        volume, loaded, finder=search, predictor=predictor, policy=policy, **stacking
    )


@dataclass(slots=True, eq=False)
class _PlaneSearch:
    """Searches the planes of a volume; what examples are like is learned from theirs."""

    concept: Concept
    at: tuple[int, tuple[int, ...]]
    predictor: Predictor
    views: Mapping[str, int | None]

    @property
    def settings(self) -> dict[str, Any]:
        """What its result depends on."""
        concept = self.concept
        used = {name: value for name, value in concept.parameters.items() if name != "words"}
        return {
            "finder": concept.finder.name,
            "words": concept.query.words,
            "examples": concept.query.boxes.tolist(),
            "at": [self.at[0], *self.at[1]],
            "filters": repr(concept.filters),
            "views": dict(self.views),
            "parameters": repr(sorted(used.items())),
        }

    def table(self, volume: Volume, plane: int, stack: tuple[int, ...]) -> CandidateTable:
        """Search a plane."""
        if self.concept.learned is None:
            first = self._run(volume, *self.at, self.concept)
            finish(first.learn())
            self.concept = replace(self.concept, learned=first.learned)
        concept = self.concept if (plane, stack) == self.at else self.concept.elsewhere
        return finish(self._run(volume, plane, stack, concept).run())

    def _run(self, volume: Volume, plane: int, stack: tuple[int, ...], concept: Concept) -> FindRun:
        view, options = volume.bare(plane, stack)
        source = PlaneSource(view, rgb=volume.source.rgb, **options)
        crops = plan_views(source.shape, concept.finder.frame, **self.views)
        return FindRun(source, concept, self.predictor, Window.full(source.shape), crops)
