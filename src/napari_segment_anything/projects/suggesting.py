"""Suggestions for images of a project: everything mode, one image after another, resumed."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..automatic import choose_mode
from ..engine import Model, PlaneSource, Predictor, load_model
from ..errors import FormatError, ImageError, ParameterError, ResourceError
from ..finding import CandidatePool, everything_steps
from ..formats.rle import encode_labels
from ..large import segment_large_steps
from ..progress import Progress, in_series, mapped
from ..reading import convert
from .editing import ImageEditing
from .files import current, write_together
from .images import ProjectImage
from .layout import POOL
from .project import Project
from .review import SEAMS, with_doubts
from .suggestions import Suggestions

LARGE_FRAMES = 4
"""Planes with more frames than that along a side are segmented tile by tile."""
TODO = ("todo", "in_progress")
WHO = "napari-segment-anything"
_PLAIN = dict[str, bool | int | float | str | None]
Steps = Generator[Progress, None, Suggestions]


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """What a run over the images of a project did.

    Parameters
    ----------
    made : dict of str to int
        Number of open suggestions of each image that was worked on, by its key.
    current : tuple of str
        Images that had them already.
    busy : dict of str to str
        Images that somebody worked on, and who.
    failed : dict of str to str
        Images that could not be worked on, and why.
    seconds : float
    """

    made: dict[str, int] = field(default_factory=dict)
    current: tuple[str, ...] = ()
    busy: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def suggest_steps(
    image: ProjectImage,
    predictor: Predictor,
    version: str,
    *,
    editing: ImageEditing | None = None,
    mode: str = "auto",
    renew: bool = False,
    **params: Any,
) -> Steps:
    """Suggest objects of one image: all that everything mode finds, where no object is yet.

    Places where a person has looked for every object, and what a person rejected or marked as
    background, get no suggestions. The image is locked only while results are written. A large
    image is segmented tile by tile, and resumes where it was stopped.

    Parameters
    ----------
    image : ProjectImage
    predictor : Predictor
    version : str
        Name of its model in the project: `Project.model`.
    editing : ImageEditing, optional
        Of the caller, who has the image locked.
    mode, **params
        As for `segment_everything`; plain values.
    renew : bool
        Also if the image has suggestions of this model and these parameters.

    Yields
    ------
    Progress

    Returns
    -------
    Suggestions
        Of the image, with earlier decisions.

    Raises
    ------
    ImageError
        If the image cannot be read.
    ResourceError
        If somebody else works on it.
    ParameterError
        As `segment_everything`.
    """
    settings = run_settings(predictor.model, version, mode, params)
    if not renew and is_current(image.suggestions(), settings):
        return image.suggestions()
    if editing is None and (busy := image.locked_by()) is not None:
        raise ResourceError(f"{image.key} is being worked on by {busy}")
    found = yield from find_steps(image, image.plane_source(), predictor, settings, mode, **params)
    yield Progress(1, 1, message="writing suggestions")
    with nullcontext(editing) if editing is not None else image.lock(WHO) as writing:
        after = found.suggestions(occupied(image), earlier(image), image.negatives())
        if found.pool is not None:
            write_together(image.folder, {POOL: found.pool.writer()})
        else:
            current(image.folder, POOL).unlink(missing_ok=True)
        writing.set_suggestions(after)
    clear_tiles(image)
    return after


def find_steps(
    image: ProjectImage,
    source: PlaneSource,
    predictor: Predictor,
    settings: dict[str, Any],
    mode: str = "auto",
    **params: Any,
) -> Generator[Progress, None, Findings]:
    """Run everything mode on an image; on a large one tile by tile, resumed where it was stopped.

    Parameters
    ----------
    image : ProjectImage
    source : PlaneSource
        Its pixels.
    predictor : Predictor
    settings : dict
        Those of `run_settings`.
    mode, **params
        As for `segment_everything`.

    Yields
    ------
    Progress

    Raises
    ------
    ImageError
        If the image cannot be read, or tiles of it cannot be segmented.
    ParameterError
        As `segment_everything`.
    """
    model = predictor.model
    if is_large(source, model):
        return Findings((yield from _large(image, model, settings, mode, params)), settings)
    table, pool = yield from everything_steps(source, predictor, mode, **params)

    def make(taken: np.ndarray) -> Suggestions:
        return Suggestions.from_table(
            table, labels=taken, version=settings["version"], fingerprint=settings["fingerprint"]
        )

    return Findings(make, settings, pool)


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What everything mode found in an image.

    Parameters
    ----------
    make : callable
        Takes a bool array (rows, columns), true where nothing is to be suggested.
    settings : dict
        Those of `run_settings`.
    pool : CandidatePool, optional
        All candidates; None for a large image.
    """

    make: Callable[[np.ndarray], Suggestions]
    settings: dict[str, Any]
    pool: CandidatePool | None = None

    def suggestions(
        self, taken: np.ndarray, before: Suggestions, negatives: np.ndarray
    ) -> Suggestions:
        """Suggest objects, and keep what was decided about earlier suggestions.

        Parameters
        ----------
        taken : bool or uint8 array (rows, columns)
            Where nothing is to be suggested; see `occupied`.
        before : Suggestions
            Earlier ones of the image.
        negatives : float64 array (n, 2)
            (row, column) of points in background: no suggestion has one in it.
        """
        made = self.make(taken)
        refused = {item.id for at in negatives if (item := made.at(*at)) is not None}
        made = replace(made, items=tuple(item for item in made if item.id not in refused))
        if self.pool is not None:
            made = with_doubts(made, self.pool, before)
        return before.renewed(replace(made, settings=self.settings))


def is_large(source: PlaneSource, model: Model) -> bool:
    """Whether a plane is segmented tile by tile."""
    return max(source.shape) > LARGE_FRAMES * model.image_size


def suggest_series_steps(
    project: Project,
    predictor: Predictor | None = None,
    *,
    keys: Iterable[str] | None = None,
    renew: bool = False,
    device: str = "auto",
    mode: str = "auto",
    **params: Any,
) -> Generator[Progress, None, SeriesReport]:
    """Suggest objects of all images still to do, with the project's model.

    It can be stopped at any step: images that are done keep their suggestions, and the next run
    goes on with the others. After the model has changed, suggestions are made anew. Images
    that somebody works on, or that cannot be read, are left out and reported.

    Parameters
    ----------
    project : Project
    predictor : Predictor, optional
        Of the project's model, if it is loaded already.
    keys : iterable of str, optional
        Only these images, in any state.
    renew : bool
        Also images that have suggestions of this model.
    device : str
        For the model; see `load_model`.
    mode, **params
        As for `segment_everything`.

    Yields
    ------
    Progress
        `done` and `total` count hundredths of images; after each image, `partial` is its key.

    Returns
    -------
    SeriesReport

    Raises
    ------
    ParameterError, CheckpointError
        If the model or parameters cannot be used.
    """
    if predictor is None:
        yield Progress(0, 1, message="loading the model")
        predictor = Predictor(load_model(project.model_path(), device=device))
    settings = run_settings(predictor.model, project.model, mode, params)
    loaded, version = predictor, project.model

    def work(image: ProjectImage) -> Steps:
        return suggest_steps(image, loaded, version, mode=mode, renew=renew, **params)

    def done(image: ProjectImage) -> bool:
        return not renew and is_current(image.suggestions(), settings)

    return (yield from over_series(project, keys, work, done))


def over_series(
    project: Project,
    keys: Iterable[str] | None,
    work: Callable[[ProjectImage], Steps],
    done: Callable[[ProjectImage], bool],
) -> Generator[Progress, None, SeriesReport]:
    """Work on images one after another, and collect what became of each.

    Parameters
    ----------
    project : Project
    keys : iterable of str, optional
        Only these images; by default all that are to do or in progress.
    work : callable
        Takes an image; returns a generator of Progress that returns its suggestions.
    done : callable
        Whether an image needs no work.
    """
    began = time.perf_counter()
    if keys is None:
        images = [image for image in project.images if image.state in TODO]
    else:
        images = [project.image(key) for key in keys]
    made: dict[str, int] = {}
    done_before: list[str] = []
    busy: dict[str, str] = {}
    failed: dict[str, str] = {}
    total = 100 * len(images)
    for number, image in enumerate(images):
        first = 100 * number
        shown = in_series(number, len(images), image.key, partials=False)
        try:
            if done(image):
                done_before.append(image.key)
                continue
            yield Progress(first, total, message=image.key)
            found = yield from mapped(work(image), shown)
            made[image.key] = found.counts()["open"]
        except ResourceError as error:
            holder = image.locked_by()
            if holder is None:
                raise
            busy[image.key] = holder
            yield Progress(first + 100, total, message=str(error))
            continue
        except (ImageError, FormatError) as error:
            failed[image.key] = str(error)
        yield Progress(first + 100, total, partial=image.key, message=image.key)
    return SeriesReport(made, tuple(done_before), busy, failed, time.perf_counter() - began)


def run_settings(model: Model, version: str, mode: str, params: dict[str, Any]) -> dict[str, Any]:
    """What suggestions depend on, besides the image.

    Parameters
    ----------
    model : Model
    version : str
        Its name in the project.
    mode, params
        As for `segment_everything`.

    Raises
    ------
    ParameterError
        If a parameter is no plain value, or the model does not support the mode.
    """
    plain = {name: value for name, value in params.items() if value is not None}
    return {
        "version": version,
        "fingerprint": model.fingerprint,
        "mode": choose_mode(model, mode),
        "parameters": convert(plain, _PLAIN, "parameters of suggestions", ParameterError),
    }


def is_current(found: Suggestions, settings: dict[str, Any]) -> bool:
    """Whether suggestions were made with these settings."""
    return all(found.settings.get(name) == value for name, value in settings.items())


def occupied(image: ProjectImage) -> np.ndarray:
    """Where no object is to be suggested: objects, and where a person looked: bool (rows, cols)."""
    where = image.seen()
    if not image.has_labels:
        return where
    labels = image.labels()
    if labels.shape != where.shape:
        raise ImageError(f"{image.key} is of shape {where.shape}, its labels {labels.shape}")
    return where | (labels != 0)


def earlier(image: ProjectImage) -> Suggestions:
    """Read an image's suggestions; raise `ImageError` if the image has another size by now."""
    found = image.suggestions()
    if found.shape != image.shape:
        raise ImageError(f"{image.key} is of shape {image.shape}, its suggestions {found.shape}")
    return found


def _large(
    image: ProjectImage,
    model: Model,
    settings: dict[str, Any],
    mode: str,
    params: dict[str, Any],
) -> Generator[Progress, None, Callable[[np.ndarray], Suggestions]]:
    """Segment a large plane; return what makes suggestions of it."""
    text = json.dumps(settings, sort_keys=True)
    image.folder.mkdir(parents=True, exist_ok=True)
    store = image.folder / f"tiles-{hashlib.sha256(text.encode()).hexdigest()[:12]}.ome.zarr"
    result = yield from segment_large_steps(
        image.open(),
        store,
        model,
        mode=mode,
        channels=image.channels,
        label="suggestions",
        **params,
    )
    if result.failed:
        raise ImageError(
            f"{len(result.failed)} of {len(result.grid)} tiles could not be segmented: "
            f"{result.failed[0].reason}; run again to try them again"
        )
    table = result.table
    rows = {int(label): row for row, label in enumerate(table.get("label", ()))}
    masks = encode_labels(np.asarray(result.labels).reshape(image.shape))
    chosen = [rows[label] for label in masks]
    columns: dict[str, list[Any]] = {
        "predicted_iou": table["predicted_iou"][chosen].tolist() if rows else [],
        "stability": table["stability_score"][chosen].tolist() if rows else [],
        "point": [mask.box[:2] for mask in masks.values()],
        "doubts": [{"seam": SEAMS.get(int(table["seam"][row]), 0.0)} for row in chosen],
    }
    scores = columns["predicted_iou"]

    def make(taken: np.ndarray) -> Suggestions:
        return Suggestions.from_masks(
            list(masks.values()), scores, image.shape, labels=taken, columns=columns,
            version=settings["version"], fingerprint=settings["fingerprint"],
        )  # fmt: skip

    return make


def clear_tiles(image: ProjectImage) -> None:
    """Remove what a large image's suggestions were made of, once they are written."""
    for old in image.folder.glob("tiles-*.ome.zarr"):
        shutil.rmtree(old, ignore_errors=True)
