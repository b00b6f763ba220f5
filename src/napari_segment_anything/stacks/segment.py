"""Every object of a stack: in 3-D, or everything mode on its planes and then linking."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..automatic import CandidateTable, choose_mode, generate_candidates
from ..automatic.heads import dense_head
from ..automatic.parameters import resolve
from ..engine import Embedding, Model, Predictor
from ..errors import ImageError, ParameterError
from ..parameters import RUN
from ..progress import Progress, finish, mapped
from .embeddings import Place, PlaneEmbeddings
from .joining import Joining, join_stacks, tracks_of
from .plane_objects import StackObjects
from .result import StackResult, StackView
from .solid_segment import SolidRun
from .spacing import THICK, assumed_anisotropy
from .stack_labels import StackLabels
from .volume import Volume, attempt

StackSteps = Generator[Progress, None, StackResult]


class PlaneFinder(Protocol):
    """Finds the objects of a plane in place of everything mode."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its result depends on, as plain values."""

    def table(self, volume: Volume, plane: int, stack: tuple[int, ...]) -> CandidateTable:
        """Return the candidates of a plane without margin."""


_AHEAD = 2
_MEMORY = 64 << 20
_SOLID_PLANES = 4
SOLID = (
    "foreground_thresh", "peak_nms_thresh", "agreement_thresh", "pred_iou_thresh", "min_area",
    "max_area",
)  # fmt: skip
"""Parameters of everything mode that act in 3-D."""


def segment_stack(
    volume: Any,
    model: Model,
    *,
    on_progress: Callable[[Progress], object] | None = None,
    **options: Any,
) -> StackResult:
    """Segment every object of a volume or time-lapse.

    Objects of a volume are found in 3-D, if the model has a dense head, from planes along all three
    axes. Otherwise every plane is segmented by itself; then objects are linked through the planes,
    by overlap (a volume) or as tracks with divisions (a time-lapse). The volume is read plane by
    plane.

    Parameters
    ----------
    volume : array-like, pyramid, PlaneSource, ImageData, str or Path
        A stack: any array with shape, dtype and indexing (NumPy, Zarr, Dask), the levels of a
        pyramid, or a file. Where it holds several stacks, such as the time points of a volume, each
        is linked by itself; ids differ between stacks.
    model : Model
        A loaded model.
    on_progress : callable, optional
        Called with every `Progress`; if it raises, the run is cancelled.
    **options
        Those of `segment_stack_steps`.

    Returns
    -------
    StackResult

    Raises
    ------
    ImageError, ParameterError
        If volume or options cannot be used.
    FormatError, ResourceError
        If labels cannot be written.
    """
    return finish(segment_stack_steps(volume, model, **options), on_progress)


def segment_stack_steps(
    volume: Any,
    model: Model,
    *,
    axis: int | str | None = None,
    mode: str = "auto",
    link: str | None = None,
    link_thresh: float | None = None,
    max_gap: int = 1,
    min_extent: int | None = None,
    anisotropy: float | None = None,
    max_distance: float | None = None,
    divisions: bool | None = None,
    fill_gaps: bool | None = None,
    policy: str = "small",
    output: str | Path | None = None,
    label: str = "segment_anything",
    overwrite: bool = False,
    finder: PlaneFinder | None = None,
    predictor: Predictor | None = None,
    axes: str | None = None,
    channel_axis: int | None = None,
    rgb: bool | None = None,
    channels: Sequence[int] | None = None,
    contrast_limits: Any = "auto",
    **parameters: Any,
) -> StackSteps:
    """Segment a volume or time-lapse, step by step.

    `volume` and `model` are those of `segment_stack`. Options are checked before the first step.

    Parameters
    ----------
    axis : int or str, optional
        Axis of the volume to go along, by its number or letter; by default Z, else T, else the
        first that holds no channels.
    mode : {"auto", "grid", "proposals", "instances"}
        As for `segment_everything`.
    link : {"3d", "overlap", "track"}, optional
        By default "track" along an axis known to be T; else "3d" where the model can, from 16
        planes on, unless something is given that only "overlap" has; else "overlap".
    link_thresh : float, optional
        "overlap": least overlap (IoU) of an object's sections, relative to that of a ball of
        this size; 0.3 by default. "track": objects with this IoU may be linked at any distance;
        0.1 by default.
    max_gap : int
        Planes in between that an object may be missing from.
    min_extent : int, optional
        Objects on fewer planes, from first to last, are dropped; 2 for "overlap", 1 for "track",
        where dividing tracks always stay.
    anisotropy : float, optional
        "3d", "overlap": distance of two planes in pixels of a plane; by default that of the file.
        Where it is not known, "3d" assumes what suits nuclei and cells as they are usually imaged,
        and "overlap" 1. The larger, the less overlap is needed, of small objects above all.
    max_distance : float, optional
        "track": pixels an object may move in a frame; by default estimated from the data.
    divisions : bool, optional
        "track": whether to look for divisions; by default yes.
    fill_gaps : bool, optional
        Draw objects on planes in between that they are missing from; by default with "overlap".
    policy : {"small", "score", "large"}
        Which mask wins where two overlap; see `CandidateTable.resolve`.
    output : str or Path, optional
        OME-Zarr store, new or existing, for labels larger than memory; else a NumPy array. A run
        into a store can be stopped, even killed: the same call resumes it.
    label : str
        Name of the labels in the store.
    overwrite : bool
        Replace labels of that name, also those of a run that was stopped.
    finder : PlaneFinder, optional
        Finds the objects of each plane, in place of everything mode; see `find_stack`.
    predictor : Predictor, optional
        Of the same model, whose cache of embeddings is used.
    axes : str, optional
        A letter per axis of the volume (TZCYXSQ), in place of those in the file.
    channel_axis, rgb, channels
        As for `PlaneSource`.
    contrast_limits : "auto", "percentile", "plane", (low, high), or one such pair per channel
        The same for all planes, estimated on a few of them; "plane": each plane its own, but for
        "3d".
    **parameters
        Of everything mode, as for `segment_everything`; for "3d" foreground_thresh,
        peak_nms_thresh, agreement_thresh, pred_iou_thresh, min_area and max_area (of an object's
        largest section).

    Yields
    ------
    Progress
        After each plane, first while segmenting, then while linking; `partial` is a `StackView`.

    Raises
    ------
    ParameterError
        Also if "3d" is asked for and the model has no dense head for it, or the stack is too short.
    """
    RUN["policy"].check("policy", policy)
    mode = choose_mode(model, mode)
    given = {name: value for name, value in parameters.items() if value is not None}
    values = resolve(mode, given, model.everything_defaults(mode), dense_head(model))
    opened = Volume.of(
        volume, axis, axes=axes, channel_axis=channel_axis, rgb=rgb, channels=channels,
        contrast_limits=contrast_limits,
    )  # fmt: skip
    timed = opened.axes[opened.axis] == "T" and not _unnamed(volume, axes)
    why_not = _why_not_solid(opened, model, mode, given, policy, finder)
    if link is None:
        flat = (
            why_not
            or opened.count < THICK
            or link_thresh is not None
            or max_gap != 1
            or fill_gaps is not None
        )
        link = "track" if timed else "overlap" if flat else "3d"
    elif link == "3d" and why_not:
        raise ParameterError(f"link='3d' cannot be used here: {why_not}")
    joining = Joining(
        link, link_thresh, max_gap, min_extent, anisotropy, max_distance, divisions, fill_gaps
    )
    run = None
    if output is not None:
        run = {
            "volume": opened.source.identity(),
            "limits": opened.limits,
            "axis": opened.axis,
            "axes": opened.axes,
            "anisotropy": opened.anisotropy,
            "model": model.fingerprint,
            "precision": model.precision,
            "mode": mode,
            "parameters": given,
            "policy": policy,
            "joining": asdict(joining),
            **({} if finder is None else {"finder": dict(finder.settings)}),
        }
    labels = StackLabels(opened, output, label, overwrite, run=run)
    return _StackRun(
        opened, model, predictor or Predictor(model), mode, given, values, policy, joining, labels,
        finder,
    ).steps()  # fmt: skip


def no_solids(model: Model) -> str:
    """Why a model cannot find objects in 3-D; "" if it can."""
    if dense_head(model) == "dense":
        return ""
    return f"model '{model.name}' has no dense head with boxes"


def _why_not_solid(
    volume: Volume,
    model: Model,
    mode: str,
    given: Mapping[str, Any],
    policy: str,
    finder: PlaneFinder | None,
) -> str:
    """Why objects cannot be found in 3-D; "" if they can."""
    other = [name for name in given if name not in SOLID]
    reasons = {
        "objects are searched plane by plane": finder is not None,
        no_solids(model): bool(no_solids(model)),
        f"mode '{mode}' is for single planes, 'instances' is not": mode != "instances",
        f"{', '.join(other)} would have no effect": bool(other),
        "policy would have no effect": policy != RUN["policy"].default,
        "contrast limits are each plane's own": volume.limits is None,
        f"the stack has fewer than {_SOLID_PLANES} planes": volume.count < _SOLID_PLANES,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _unnamed(volume: Any, axes: str | None) -> bool:
    """Whether axes are only guessed."""
    from ..formats import ImageData

    return axes is None and not isinstance(volume, (ImageData, str, Path))


class _Encoded(Predictor):
    """A predictor that has one plane encoded already."""

    def __init__(self, inner: Predictor, whole: Embedding) -> None:
        super().__init__(inner.model, inner.cache)
        self._whole = whole

    def embed(self, image: Any, *, window: Any = None, **options: Any) -> Embedding:  # type: ignore[override]
        if window is None and options.get("span") is None:
            return self._whole
        return super().embed(image, window=window, **options)


@dataclass(slots=True, eq=False)
class _StackRun:
    """One call of `segment_stack`."""

    volume: Volume
    model: Model
    predictor: Predictor
    mode: str
    parameters: dict[str, Any]
    values: dict[str, Any]
    policy: str
    joining: Joining
    labels: StackLabels
    finder: PlaneFinder | None = None

    def steps(self) -> StackSteps:
        return (yield from (self._solid() if self.joining.link == "3d" else self._flat()))

    def _solid(self) -> StackSteps:
        """Find objects in 3-D; then only ids are left to settle."""
        volume, joining = self.volume, self.joining
        spacing = joining.anisotropy or volume.anisotropy
        if spacing is None:
            spacing = assumed_anisotropy(volume, volume.stacks[0])
        run = SolidRun(volume, self.predictor, self.values, self.parameters, spacing, self.labels)
        yield from mapped(run.steps(), partial(self._shown, linked=False))
        measured = {stack: StackObjects(1) for stack in volume.stacks}
        for stack, objects in measured.items():
            for plane in range(volume.count):
                labels = self.labels.section(plane, stack)
                objects.add(labels, {int(i): run.scores[int(i)] for i in np.unique(labels) if i})
        failed = {self._index(Place(*where)): why for where, why in run.failed.items()}
        return (yield from self._join(measured, failed))

    def _shown(self, step: Progress, linked: bool) -> Progress:
        plane, stack = step.partial
        return self._progress(step.done, step.total, Place(plane, stack), step.message, linked)

    def _flat(self) -> StackSteps:
        """Segment every plane by itself, and link what was found."""
        volume = self.volume
        places = [Place(p, stack) for stack in volume.stacks for p in range(volume.count)]
        embeddings = PlaneEmbeddings(volume, self.predictor, _MEMORY)
        measured = {stack: StackObjects(self.joining.max_gap + 1) for stack in volume.stacks}
        failed: dict[tuple[int, ...], str] = {}
        yield self._progress(0, len(places), places[0], "segmenting", False)
        try:
            kept = self.labels.unlinked
            todo = [p for number, p in enumerate(places) if kept is None or not kept.has(number)]
            for done, place in enumerate(places):
                if kept is not None and kept.has(done):
                    labels = self.labels.section(place.plane, place.stack)
                    scores = kept.scores_of(done)
                else:
                    if self.finder is None:
                        embeddings.expect(todo[: 1 + _AHEAD])
                    todo.pop(0)
                    labels, scores = self._plane(embeddings, place, failed)
                    if self._index(place) not in failed:  # failed planes are tried again
                        self.labels.keep(done, place.plane, place.stack, labels, scores)
                measured[place.stack].add(labels, scores)
                yield self._progress(done + 1, len(places), place, "segmenting", False)
        finally:
            embeddings.close()
        if len(failed) == len(places):
            raise ImageError(f"no plane could be segmented: {next(iter(failed.values()))}")
        return (yield from self._join(measured, failed))

    def _plane(
        self, embeddings: PlaneEmbeddings, place: Place, failed: dict[tuple[int, ...], str]
    ) -> tuple[NDArray[np.uint32], dict[int, float]]:
        """Segment a plane; one that cannot be read is noted in `failed`, and empty."""
        table = attempt(partial(self._everything, embeddings, place))
        if not isinstance(table, Exception):
            return self._paint(table)
        failed[self._index(place)] = f"{type(table).__name__}: {table}"
        return np.zeros(self.volume.plane_shape, np.uint32), {}

    def _everything(self, embeddings: PlaneEmbeddings, place: Place) -> CandidateTable:
        if self.finder is not None:
            return self.finder.table(self.volume, place.plane, place.stack)
        whole = embeddings.get(place)
        image, options = self.volume.image(place.plane, place.stack)
        run = generate_candidates(
            image, self.model, mode=self.mode, predictor=_Encoded(self.predictor, whole),
            **options, **self.parameters,
        )  # fmt: skip
        return finish(run)

    def _paint(self, table: CandidateTable) -> tuple[NDArray[np.uint32], dict[int, float]]:
        image = table.resolve(self.policy)
        margin = self.volume.margin if self.finder is None else 0
        rows, cols = self.volume.plane_shape
        labels = image.labels[margin : margin + rows, margin : margin + cols].astype(np.uint32)
        pairs = zip(image.label, table.scores, strict=True)
        return labels, {int(i): float(score) for i, score in pairs if i}

    def _join(
        self, measured: dict[tuple[int, ...], StackObjects], failed: dict[tuple[int, ...], str]
    ) -> StackSteps:
        stacks = list(measured)
        steps = join_stacks(
            list(measured.values()), self.joining, self.volume.anisotropy,
            lambda stack, plane: self.labels.section(plane, stacks[stack]),
            lambda stack, plane, labels: self.labels.write(plane, stacks[stack], labels),
        )  # fmt: skip
        table, joined = yield from mapped(steps, self._linked)
        if self.labels.group is not None:
            yield from self.labels.group.build_pyramid()
        self.labels.finish()
        tracks = None
        if self.joining.link == "track":
            tracks = tracks_of(
                list(measured.values()), joined, self._position, self.labels.array, table
            )
        return StackResult(self.labels.array, table, tracks, self.labels.path, failed)

    def _linked(self, step: Progress) -> Progress:
        stack, plane = step.partial
        return self._shown(replace(step, partial=(plane, self.volume.stacks[stack])), linked=True)

    def _position(
        self, number: int, plane: int, places: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        volume = self.volume
        out = np.zeros((len(places), len(volume.shape)))
        out[:, volume.axis] = plane
        for axis, index in zip(volume.others, volume.stacks[number], strict=True):
            out[:, axis] = index
        out[:, list(volume.displayed)] = places
        return out

    def _index(self, place: Place) -> tuple[int, ...]:
        index = self.volume.index(place.plane, place.stack)
        return tuple(int(i) for i in index if not isinstance(i, slice))

    def _progress(
        self, done: int, total: int, place: Place, message: str, linked: bool
    ) -> Progress:
        where = self._index(place)
        return Progress(done, total, StackView(self.labels.array, where, linked), message)
