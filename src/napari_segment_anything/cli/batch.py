"""Several images in one run: each has its own files, and one that fails does not stop the rest."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ImageError, ParameterError, SegmentAnythingError
from ..reading import is_url, one_line
from .inputs import Input, open_input
from .output import KINDS, MORE, SOMETIMES, ImageOutput, Result, check_free

if TYPE_CHECKING:
    from .options import ImageOptions
    from .report import Show

SUMMARY = "summary.csv"
COLUMNS = ("image", "name", "objects", "seconds", "error")


@dataclass(frozen=True, slots=True)
class Place:
    """An image of the arguments.

    Parameters
    ----------
    source : str
        File, Zarr folder, URL or sample.
    plane : str or None
        Plane of a stack, where a table names one.
    name : str
        What its files are named after; "" for the image's own name.
    """

    source: str
    plane: str | None = None
    name: str = ""


def places_of(images: Sequence[str]) -> list[Place]:
    """List the images of arguments: all those of a folder, pattern, table or plate.

    Results of an earlier run, which may lie in the same folder, are left out.

    Parameters
    ----------
    images : sequence of str
        As the user wrote them.

    Raises
    ------
    FormatError, ImageError
        If a folder or pattern has no image.
    """
    found = list(dict.fromkeys(place for each in images for place in _places(each)))
    if not found:
        raise ImageError(f"{', '.join(images)} has no image but the results of an earlier run")
    names = [_name(place) for place in found]
    common = Counter(names)
    taken = {stem.casefold() for (stem, _), count in common.items() if count == 1}
    for number, name in enumerate(names):
        if common[name] > 1:
            found[number] = replace(found[number], name=_long_name(found[number], taken))
    return found


def has_wildcards(text: str) -> bool:
    """Return whether a text may be a pattern of paths."""
    return any(sign in text for sign in "*?[")


def _places(image: str) -> Iterator[Place]:
    from ..datasets.opening import SAMPLE
    from ..datasets.sources import TABLE_SUFFIXES, ImageSource, images_at, plane_text

    path = Path(image).expanduser()
    several = path.is_dir() or path.suffix.lower() in TABLE_SUFFIXES or is_url(image)
    pattern = not path.exists() and has_wildcards(image)
    if image.startswith(SAMPLE) or not (several or pattern):
        yield Place(image)
        return
    source, here = ImageSource(image), Path.cwd()
    results = tuple(f"_{ending}" for ending in (*KINDS.values(), *MORE.values()))
    for found in images_at(source.located(here)):
        if found.path.endswith(results):
            continue
        place = source.place_of(here, found.path) if found.path else image
        if Path(place).is_relative_to(here):
            place = os.path.relpath(place)
        yield Place(place, plane_text(found.plane) or None)


def _name(place: Place) -> tuple[str, str | None]:
    from ..datasets.finding import stem

    return stem(Path(place.source)), place.plane


def _long_name(place: Place, taken: set[str]) -> str:
    """Return a name of its own, made of the path from the working directory and the plane."""
    from ..datasets.sources import read_plane
    from ..projects.index import free_key, readable_key

    path = place.source if is_url(place.source) else os.path.relpath(place.source)
    plane = read_plane(place.plane or "", place.source)
    name = free_key(readable_key(path, plane), taken)
    taken.add(name.casefold())
    return name


@dataclass
class Batch:
    """The images of a run, and what became of them.

    Parameters
    ----------
    places : list of Place
    target : ImageOutput
        Where results are written.
    resume : bool
        Whether images that have all of their files are left out.
    more : tuple of str
        Kinds of further files that the verb writes.
    """

    places: list[Place]
    target: ImageOutput
    resume: bool
    more: tuple[str, ...] = ()
    rows: list[dict[str, Any]] = field(default_factory=list)
    contents: list[dict[str, Any]] = field(default_factory=list)
    skipped: int = 0

    _first: tuple[Input, dict[str, Path]] | None = None

    def __post_init__(self) -> None:
        if self.resume and (self.target.overwrite or self.target.folder is None):
            raise ParameterError("--resume goes with -o, and not with --overwrite")

    @property
    def single(self) -> bool:
        """Whether there is one image only, whose result is reported as such."""
        return len(self.places) == 1

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Rows of the images that failed."""
        return [row for row in self.rows if row["error"]]

    def check(self, view: ImageOptions, plane: str | None) -> None:
        """Find mistakes that show before the model is loaded.

        Raises
        ------
        ParameterError
            If results of an earlier run are there.
        SegmentAnythingError
            If the only image cannot be opened.
        """
        if self.single:
            self._first = self.open(self.places[0], view, plane)
        elif self.target.folder is not None and not self.resume:
            summary = self.target.folder / SUMMARY
            check_free([summary], self.target.overwrite, "--overwrite or --resume")

    def open(
        self, place: Place, view: ImageOptions, plane: str | None
    ) -> tuple[Input, dict[str, Path]] | None:
        """Open an image, and check its files; None if it is done already."""
        if self._first is not None:
            return self._first
        from ..formats import read_table

        opened = open_input(place.source, view, place.plane or plane)
        if place.name:
            opened = replace(opened, name=place.name)
        if not self.resume:
            return opened, self.target.files(opened.name, *self.more)
        files = replace(self.target, overwrite=True).files(opened.name, *self.more)
        if not all(path.exists() for kind, path in files.items() if kind not in SOMETIMES):
            return opened, files
        self.skipped += 1
        self._row(place, opened.name, len(read_table(files["table"])["label"]))
        return None

    def run(
        self,
        model: Any,
        view: ImageOptions,
        plane: str | None,
        show: Show,
        work: Callable[[Place, Input, Show], Result],
    ) -> None:
        """Work on image after image, write what comes of each, and report.

        Parameters
        ----------
        model : Model
        view, plane
            As for `open`.
        show : callable
            Takes the progress of the whole run.
        work : callable
            Takes an image and what shows its progress, and returns its result.

        Raises
        ------
        ImageError
            If one of several images failed.
        SegmentAnythingError
            If the only image did.
        """
        from .report import within

        for number, place in enumerate(self.places):
            with self.attempt(place):
                found = self.open(place, view, plane)
                if found is not None:
                    opened, files = found
                    result = work(place, opened, within(show, number, len(self.places)))
                    self.keep(place, result, files)
        self.close(model)

    @contextmanager
    def attempt(self, place: Place) -> Iterator[None]:
        """Note an error of one of several images, and go on."""
        try:
            yield
        except SegmentAnythingError as error:
            if self.single:
                raise
            self._row(place, error=one_line(error))

    def keep(self, place: Place, result: Result, files: dict[str, Path]) -> None:
        """Write an image's files, and report them if there is no other image."""
        if self.single:
            self.target.finish(result, files)
            return
        content = self.target.write(result, files)
        self.contents.append(content)
        self._row(place, result.image.name, content["objects"], round(result.seconds, 3))

    def close(self, model: Any) -> None:
        """Write the summary of several images, and report it.

        Parameters
        ----------
        model : Model

        Raises
        ------
        ImageError
            If an image failed.
        """
        if self.single and not self.skipped:  # it was reported
            return
        from ..formats import write_table
        from .report import model_facts, tell

        facts: dict[str, Any] = {
            "images": len(self.rows) - len(self.failed),
            "objects": sum(row["objects"] or 0 for row in self.rows),
        }
        if self.skipped:
            facts["done_before"] = self.skipped
        files = {}
        if self.target.folder is not None and not self.single:
            files["summary"] = self.target.folder / SUMMARY
            columns = {name: [row[name] for row in self.rows] for name in COLUMNS}
            write_table(files["summary"], columns)
        errors = {f"failed: {row['image']}": row["error"] for row in self.failed}
        tell(
            self.target.report,
            {
                **{name.replace("_", " "): value for name, value in facts.items()},
                **model_facts(model),
                **files,
                **errors,
            },
            lambda: {
                **facts,
                "results": self.contents,
                "failed": {row["image"]: row["error"] for row in self.failed},
            },
        )
        if self.failed:
            first = self.failed[0]
            raise ImageError(
                f"{len(self.failed)} of {len(self.rows)} images failed, the first: "
                f"{first['image']}: {first['error']}"
            )

    def _row(
        self,
        place: Place,
        name: str = "",
        objects: int | str = "",
        seconds: float | str = "",
        error: str = "",
    ) -> None:
        values = (place.source, name, objects, seconds, error)
        self.rows.append(dict(zip(COLUMNS, values, strict=True)))
