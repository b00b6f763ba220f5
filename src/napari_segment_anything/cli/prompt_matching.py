"""Which file of prompts, or of another program's objects, belongs to which image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..datasets.coco import bare
from ..datasets.finding import OBJECT_SUFFIXES, labels_of
from ..errors import PromptError
from ..limits import RECORDS_BYTES
from ..reading import is_url, read_json
from .batch import Place


def prompts_of(
    places: Sequence[Place],
    prompts: str,
    suffixes: Sequence[str] = OBJECT_SUFFIXES,
    coco: bool = True,
) -> dict[Place, str | None]:
    """The file of prompts of each image; None where there is none.

    Parameters
    ----------
    places : sequence of Place
    prompts : str
        A file; for several images COCO JSON of them, or a folder of files with their names, perhaps
        with an ending of labels.
    suffixes : sequence of str
        Of the files in a folder, besides JSON.
    coco : bool
        Whether COCO JSON is read.

    Raises
    ------
    PromptError
        If no image has one, or two images have the same.
    """
    path = Path(prompts).expanduser()
    found: dict[Place, str | None] = {}
    if is_url(prompts) or not path.is_dir() or path.suffix.lower() == ".zarr":
        if len(places) == 1:
            return dict.fromkeys(places, prompts)
        listed = _listed(path) if coco else None
        if listed is None:
            raise PromptError(
                f"{path} is of one image: for several, give a folder of files with their names"
                f"{', or COCO JSON of all' if coco else ''}"
            )
        found = {p: prompts if bare(Path(p.source).name) in listed else None for p in places}
    else:
        for place in places:
            file = labels_of(Path(place.source), path, suffixes=suffixes)
            found[place] = None if file is None else str(file)
    if not any(found.values()):
        raise PromptError(
            f"{prompts} has nothing for {places[0].source}, nor for another image: files are named "
            "like the images"
        )
    _check_names([place for place in places if found[place] is not None])
    return found


def missing(prompts: str, place: Place) -> PromptError:
    """The error for an image without a file."""
    return PromptError(f"{prompts} has nothing for an image of the name of {place.source}")


def _check_names(places: Sequence[Place]) -> None:
    """Raise an error for two files with the same name, whose objects cannot be told apart."""
    known: dict[str, str] = {}
    for place in places:
        name = bare(Path(place.source).name)
        other = known.setdefault(name, place.source)
        if other != place.source:
            raise PromptError(
                f"{other} and {place.source} have the same name, so that it is unclear whose "
                "prompts are meant: take one folder at a time"
            )


def _listed(path: Path) -> set[str] | None:
    """Names of the images of COCO JSON; None of another file."""
    held = None
    if path.suffix.lower() == ".json":
        held = read_json(path, dict, what="file of objects", limit=RECORDS_BYTES, error=PromptError)
    images = None if held is None else held.get("images")
    if not isinstance(images, list):
        return None
    return {bare(str(each.get("file_name"))) for each in images if isinstance(each, dict)}
