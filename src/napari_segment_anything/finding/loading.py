"""Models that find by words or examples: by name, or from a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..checkpoints import catalogue, is_here, locate
from ..engine import Model, choose_device
from ..errors import CheckpointError
from ..families import ModelFolder
from ..families.concepts import CONCEPT_TYPES, ConceptFinder, load_concepts
from ..families.detectors import DETECTOR_TYPES, Detector, load_detector
from ..families.likeness import LIKENESS_TYPES, Likeness, load_likeness
from ..progress import Progress

FinderModel = ConceptFinder | Detector | Likeness
"""A network that finds, without what `find` does with it."""


def load_finder(
    source: str | Path,
    device: str = "auto",
    progress: Callable[[Progress], object] | None = None,
) -> FinderModel:
    """Load a model that finds by words or examples, for `find`.

    Parameters
    ----------
    source : str or Path
        A name from `catalogue`, the ``"owner/name"`` of a model on the Hugging Face Hub, or a
        folder: SAM 3, OWLv2, Grounding DINO, CLIP, SigLIP or SigLIP 2 in the form of transformers.
    device : str
        As for `load_model`.
    progress : callable, optional
        Called with a `Progress` in bytes during a download.

    Raises
    ------
    CheckpointError
        If it is no such model, or incomplete.
    DownloadError
        If it could not be downloaded.
    """
    where = choose_device(device)
    path = locate(source, progress=progress)
    if not path.is_dir():
        raise CheckpointError(f"{source} takes prompts; it does not find by words or examples")
    folder = ModelFolder.read(path)
    if folder.model_type in DETECTOR_TYPES:
        return load_detector(folder, where)
    if folder.model_type in LIKENESS_TYPES:
        return load_likeness(folder, where)
    if folder.model_type in CONCEPT_TYPES:
        return load_concepts(folder, where)
    known = (*CONCEPT_TYPES, *DETECTOR_TYPES, *LIKENESS_TYPES)
    raise CheckpointError(
        f"{path} holds a model of type {folder.model_type}; by words or examples find "
        f"{', '.join(known)}"
    )


def finders(needs: frozenset[str]) -> list[str]:
    """Return names from the catalogue of models that find by all of these, the best first.

    Parameters
    ----------
    needs : frozenset of str
        Of "words" and "examples".
    """
    return [entry.name for entry in catalogue().values() if needs <= set(entry.abilities)]


def takes_of(source: str | Path) -> frozenset[str]:
    """Tell what a model that finds understands, "words" and "examples", without loading it.

    Parameters
    ----------
    source : str or Path
        As for `load_finder`.

    Returns
    -------
    frozenset of str
        Empty if neither the catalogue nor a folder on this machine says.
    """
    entry = catalogue().get(str(source))
    if entry is not None:
        return frozenset(entry.abilities) & {"words", "examples"}
    try:
        kind = ModelFolder.read(source).model_type
    except CheckpointError:
        return frozenset()
    both, words = frozenset({"words", "examples"}), frozenset({"words"})
    if kind in CONCEPT_TYPES or kind == "owlv2":
        return both
    return words if kind in {*DETECTOR_TYPES, *LIKENESS_TYPES} else frozenset()


def finder_here(needs: frozenset[str]) -> str | None:
    """Return the first of `finders` that needs no download; None if there is none."""
    return next((name for name in finders(needs) if is_here(catalogue()[name])), None)


def concepts_of(model: Model) -> ConceptFinder | None:
    """Return SAM 3's detector of concepts in a model that is loaded, sharing its weights.

    Parameters
    ----------
    model : Model
        None is returned unless it is SAM 3 with its detector, loaded from a folder or the hub.
    """
    module = getattr(getattr(model.network, "module", None), "detector_model", None)
    if module is None or model.source is None:
        return None
    return ConceptFinder.of(ModelFolder.read(locate(model.source)), module, model.device)
