"""Find all instances of a concept in a stack: plane by plane, then linked through the planes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..automatic import CandidateTable, Filters
from ..engine import Model, PlaneSource, Predictor, Window, load_model
from ..errors import ParameterError
from ..parameters import LINKING
from ..progress import Progress, finish
from ..stacks import StackResult, segment_stack_steps
from ..stacks.volume import Volume
from .choosing import FinderOptions, choose_finder
from .finder import Finder
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
    given = FinderOptions.of({**options, "likeness_thresh": likeness_thresh})
    chosen = choose_finder(query, loaded, finder, given)
    if query.examples and not query.words and not chosen.elsewhere:
        raise ParameterError(
            f"{chosen.name} finds what is like examples only in their own plane; add words, or "
            "give another finder"
        )
    predictor = predictor or Predictor(loaded)
    views = {"tile": tile, "overlap": overlap}
    search = _PlaneSearch(
        query, (plane, stack), chosen, given.filters(chosen), predictor, views, {
            **given.everything, **given.finding,
        },
    )  # fmt: skip
    return segment_stack_steps(
        volume, loaded, finder=search, predictor=predictor, policy=policy, **stacking
    )


@dataclass(slots=True, eq=False)
class _PlaneSearch:
    """Searches the planes of a volume; what examples are like is learned from theirs."""

    query: Query
    at: tuple[int, tuple[int, ...]]
    finder: Finder
    filters: Filters
    predictor: Predictor
    views: Mapping[str, int | None]
    parameters: Mapping[str, Any]
    _learned: Any = field(default=None, repr=False)

    @property
    def settings(self) -> dict[str, Any]:
        """What its result depends on."""
        return {
            "finder": self.finder.name,
            "words": self.query.words,
            "examples": self.query.boxes.tolist(),
            "at": [self.at[0], *self.at[1]],
            "filters": repr(self.filters),
            "views": dict(self.views),
            "parameters": repr(sorted(self.parameters.items())),
        }

    def table(self, volume: Volume, plane: int, stack: tuple[int, ...]) -> CandidateTable:
        """Search a plane."""
        if self._learned is None:
            first = self._run(volume, *self.at, self.query)
            finish(first.learn())
            self._learned = first.learned
        query = self.query if (plane, stack) == self.at else Query(self.query.words)
        return finish(self._run(volume, plane, stack, query).run())

    def _run(self, volume: Volume, plane: int, stack: tuple[int, ...], query: Query) -> FindRun:
        view, options = volume.bare(plane, stack)
        source = PlaneSource(view, rgb=volume.source.rgb, **options)
        crops = plan_views(source.shape, self.finder.frame, **self.views)
        return FindRun(
            source, query, self.finder, self.predictor, self.filters, Window.full(source.shape),
            crops, self.parameters, self._learned,
        )  # fmt: skip
