"""Find all like this in the images of a project."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import nullcontext

from ..automatic.candidates import placed
from ..engine import Predictor
from ..errors import FormatError, ImageError, ParameterError
from ..finding import CandidatePool, Traits, describe_objects, everything_steps, read_pool
from ..formats.rle import encode_labels
from ..progress import Progress
from .editing import ImageEditing
from .files import read_current, write_together
from .images import ProjectImage
from .layout import POOL
from .project import Project
from .similar import similar_suggestions, suggestions_pool
from .suggesting import WHO, SeriesReport, Steps, earlier, is_large, occupied, over_series


def example_steps(
    image: ProjectImage, ids: Sequence[int], predictor: Predictor
) -> Generator[Progress, None, Traits]:
    """Describe objects of an image, to look for others like them.

    Parameters
    ----------
    image : ProjectImage
    ids : sequence of int
        Their labels.
    predictor : Predictor

    Raises
    ------
    ParameterError
        If the image has no such object.
    """
    masks = encode_labels(image.labels())
    missing = [number for number in ids if number not in masks]
    if missing or not ids:
        what = f"object {missing[0]}" if missing else "objects given as examples"
        raise ParameterError(f"{image.key} has no {what}")
    chosen = [placed(masks[number]) for number in ids]
    return (yield from describe_objects(chosen, image.plane_source(), predictor))


def kept_pool(image: ProjectImage, fingerprint: str) -> CandidatePool | None:
    """Read the candidates kept with an image's suggestions; None if a model has to find them.

    Parameters
    ----------
    image : ProjectImage
    fingerprint : str
        Of the model's weights.
    """
    try:
        found = read_current(image.folder, POOL, read_pool)
    except FormatError:  # it can be computed again
        return None
    if found is None or found.fingerprint != fingerprint or found.shape != image.shape:
        return None
    return found


def pool_steps(
    image: ProjectImage, predictor: Predictor
) -> Generator[Progress, None, CandidatePool]:
    """Find the candidates of an image; of a large one they are its open suggestions.

    Parameters
    ----------
    image : ProjectImage
    predictor : Predictor
    """
    source = image.plane_source()
    if not is_large(source, predictor.model):
        return (yield from everything_steps(source, predictor))[1]
    shown = image.suggestions().shown(0.0, "everything")
    if not shown.items:
        raise ImageError(f"{image.key} is large: make suggestions for it first")
    traits = yield from describe_objects([item.placed for item in shown], source, predictor)
    return suggestions_pool(shown, traits, predictor.model.fingerprint)


def similar_steps(
    image: ProjectImage,
    examples: Traits,
    predictor: Predictor,
    version: str,
    *,
    editing: ImageEditing | None = None,
) -> Steps:
    """Suggest the objects of an image that are like the examples, in place of earlier such ones.

    Parameters
    ----------
    image : ProjectImage
    examples : Traits
        Objects of this image or others, described by the same model.
    predictor : Predictor
    version : str
        Name of its model in the project.
    editing : ImageEditing, optional
        Of the caller, who has the image locked.

    Raises
    ------
    ImageError
        If the image cannot be read, or is large and has no suggestions.
    ResourceError
        If somebody else works on the image.
    """
    kept = kept_pool(image, predictor.model.fingerprint)
    pool = kept if kept is not None else (yield from pool_steps(image, predictor))
    yield Progress(1, 1, message="comparing")
    with nullcontext(editing) if editing is not None else image.lock(WHO) as writing:
        if kept is None:
            write_together(image.folder, {POOL: pool.writer()})
        made = similar_suggestions(
            pool, examples, image.shape, labels=occupied(image), version=version
        )
        after = earlier(image).renewed(made, "similar")
        writing.set_suggestions(after)
    return after


def similar_series_steps(
    project: Project,
    examples: Traits,
    predictor: Predictor,
    *,
    keys: Iterable[str] | None = None,
) -> Generator[Progress, None, SeriesReport]:
    """Suggest what is like the examples in all images still to do.

    Parameters
    ----------
    project : Project
    examples : Traits
        Described by the project's model.
    predictor : Predictor
        Of the project's model.
    keys : iterable of str, optional
        Only these images, in any state.

    Yields
    ------
    Progress
        As `suggest_series_steps`.

    Returns
    -------
    SeriesReport
    """

    def work(image: ProjectImage) -> Steps:
        return similar_steps(image, examples, predictor, project.model)

    return (yield from over_series(project, keys, work, lambda image: False))
