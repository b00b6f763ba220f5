"""From the name of a model to its files on disk."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import CheckpointError
from ..families import FAMILIES, ModelFolder
from ..families.folder import CONFIG
from ..reading import is_url, require
from .catalogue import NATIVE, CatalogueEntry, catalogue, find_entry, unknown_name
from .download import (
    ProgressCallback,
    cached_path,
    checkpoint_directory,
    embedded_path,
    fetch,
    fetch_url,
)
from .hub import HubModel, fetch_folder, find_folder, hub_model


def download(
    name: str,
    directory: str | Path | None = None,
    progress: ProgressCallback | None = None,
) -> Path:
    """Download a model by name, with its instance decoder if it has one.

    Complete files are not downloaded again; interrupted downloads are continued.

    Parameters
    ----------
    name : str
        A name from `catalogue`, or the ``"owner/name"`` of a model on the Hugging Face Hub.
    directory : str or Path, optional
        Folder for the files; by default one in `cache_directory`.
    progress : callable, optional
        Called with a `Progress` in bytes. If it raises, the download stops and can be
        continued later.

    Returns
    -------
    Path
        The checkpoint file, or the folder of a model from the hub.

    Raises
    ------
    CheckpointError
        If the name is unknown, or the model needs packages that are not installed.
    DownloadError
        If a file cannot be downloaded, or is not the published one.
    ResourceError
        If the disk is full or the folder cannot be written to.
    """
    require(name, str, "the name of a model", "catalogue() lists them")
    entry = named_entry(name)
    if entry is None:
        model = hub_model(name)
        if model is None:
            raise unknown_name(name)
        return fetch_folder(model, directory, progress)
    path = _weights(entry, directory, progress)
    for remote in entry.files[1:]:
        fetch(remote, directory, progress)
    return path


def locate(
    source: str | Path,
    directory: str | Path | None = None,
    progress: ProgressCallback | None = None,
) -> Path:
    """Return the path of a model's weights, a file or a folder, downloading what is not here.

    Parameters
    ----------
    source : str or Path
        As for `load_checkpoint`.
    directory, progress
        As for `download`.

    Raises
    ------
    CheckpointError
        If there is no such model or file.
    DownloadError, ResourceError
        As `download`.
    """
    if not isinstance(source, str | Path):
        raise CheckpointError(
            f"a checkpoint is a name, a path or a URL, not {type(source).__name__} {source!r:.50}"
        )
    if isinstance(source, str):
        if (entry := named_entry(source)) is not None:
            return _weights(entry, directory, progress)
        if is_url(source):
            return fetch_url(source, directory, progress)
        if (model := hub_model(source)) is not None:
            return fetch_folder(model, directory, progress)
    path = Path(source).expanduser()
    if path.exists():
        return path
    looks_like_path = isinstance(source, Path) or path.suffix or re.search(r"[\\/~]", str(source))
    if looks_like_path:
        raise CheckpointError(f"there is no file {path}")
    raise unknown_name(str(source))


def named_entry(source: str) -> CatalogueEntry | None:
    """Find the catalogue entry for a name, the URL of a published file, or a name on the hub."""
    published = (e for e in catalogue().values() if source and source in (e.source, e.hub))
    return find_entry(source) or next(published, None)


def known_abilities(source: str | Path) -> tuple[str, ...] | None:
    """Return what a model can do, as far as that is known before it is loaded; else None.

    Parameters
    ----------
    source : str or Path
        As for `load_checkpoint`.
    """
    entry = named_entry(source) if isinstance(source, str) else None
    if entry is not None:
        return entry.abilities
    if not (Path(source).expanduser() / CONFIG).is_file():
        return None
    try:
        kind = ModelFolder.read(source).model_type
    except CheckpointError:
        return None
    if kind == "sam":
        return NATIVE
    able: tuple[str, ...] = ("prompt", "everything") if kind in FAMILIES else ()
    if able and kind.endswith("_video"):
        able += ("memory",)
    return (*able, "words", "examples") if kind == "sam3_video" else able


def present(entry: CatalogueEntry, directory: str | Path | None = None) -> Path | None:
    """Return the path of a model's weights if they are here and intact, else None.

    Parameters
    ----------
    entry : CatalogueEntry
        The model.
    directory : str or Path, optional
        As for `download`.

    Raises
    ------
    CheckpointError
        If weights that are part of the package are missing.
    """
    if entry.embedded:
        return embedded_path(entry)
    if entry.checkpoint is None:
        return find_folder(_on_hub(entry), directory)
    return cached_path(entry.checkpoint, directory)


def is_here(entry: CatalogueEntry, directory: str | Path | None = None) -> bool:
    """Whether all files of a model are downloaded, judged by their sizes.

    Parameters
    ----------
    entry : CatalogueEntry
        The model.
    directory : str or Path, optional
        As for `download`.
    """
    if entry.embedded:
        return True
    if entry.hub:
        return find_folder(_on_hub(entry), directory) is not None
    folder = checkpoint_directory(directory)
    for remote in entry.files:
        path = folder / remote.file
        if not path.is_file() or remote.size not in (None, path.stat().st_size):
            return False
    return True


def _weights(
    entry: CatalogueEntry, directory: str | Path | None, progress: ProgressCallback | None
) -> Path:
    if entry.embedded:
        return embedded_path(entry)
    if entry.checkpoint is None:
        return fetch_folder(_on_hub(entry), directory, progress)
    return fetch(entry.checkpoint, directory, progress)


def _on_hub(entry: CatalogueEntry) -> HubModel:
    return HubModel(entry.hub, entry.revision)
