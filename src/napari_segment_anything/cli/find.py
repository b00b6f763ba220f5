"""`napari-sam find`: all instances of what words name, or of what is like examples."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..parameters import FINDING, RUN, TILING
from . import options
from .generated import generated

if TYPE_CHECKING:
    from ..formats import ImageData
    from .batch import Place
    from .inputs import Input
    from .report import Show

WANTED = "What to look for"
_POLICY = {"policy": replace(RUN["policy"], default="score")}
_TILES = {name: TILING[name] for name in ("tile", "overlap")}


@generated((FINDING, WANTED), (_POLICY, options.KEEP), (_TILES, "Large images"), *options.FINDING)
def find(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES... [WORDS]",
            help="Images, as everything takes them; then, without examples or with both, what the "
            "objects are called, such as nucleus.",
        ),
    ],
    output: options.OutputOption = None,
    overwrite: options.OverwriteOption = False,
    resume: options.ResumeOption = False,
    *,
    box: Annotated[
        list[str] | None,
        options.option(WANTED, "A box around an example; can be repeated.", metavar="R0,C0,R1,C1"),
    ] = None,
    examples: Annotated[
        str | None,
        options.option(
            WANTED,
            "Examples in a file: boxes or outlines (CSV, COCO JSON, GeoJSON, shapes saved from "
            "napari), or a label image.",
            metavar="FILE",
        ),
    ] = None,
    examples_image: Annotated[
        str | None,
        options.option(
            WANTED,
            "Image that the examples lie in; by default the one that is searched.",
            metavar="IMAGE",
        ),
    ] = None,
    examples_plane: Annotated[
        int, options.option(WANTED, "Plane of a stack that the examples lie in.", metavar="I")
    ] = 0,
    finder: Annotated[
        str | None,
        options.option(
            WANTED,
            "Model that finds: a name from `napari-sam models`, owner/name on the Hugging Face "
            "Hub, or a folder. By default the model itself, if it can; for examples its own "
            "features; for words the first one on this machine.",
            metavar="NAME|FOLDER",
        ),
    ] = None,
    parameters: dict[str, Any],
    network: options.ModelOptions,
    cache: options.CacheOption = False,
    plane: options.PlaneOption = None,
    view: options.ImageOptions,
    report: options.Reporting,
) -> None:
    """Find all instances of what words name, or of what is like examples.

    Writes the same files as everything, for one image or for each of several; of a stack without
    --plane, whose planes are searched one by one and linked, the same as stack. The score is the
    likeness. Examples in one image find what is like them in all.

    Examples:

    napari-sam find cells.tif nucleus -o out/ --finder owlv2_base

    napari-sam find sample:coins -o out/ --box 33,21,75,68

    napari-sam find cells.tif -o out/ --examples some.tif --likeness-thresh 0.3

    napari-sam find raw/ -o out/ --examples-image raw/a1.tif --box 33,21,75,68 --resume

    napari-sam find a1.tif a2.tif more/ nucleus -o out/ --finder owlv2_base
    """
    from ..errors import ParameterError, PromptError
    from . import values
    from .batch import places_of
    from .report import progress_bar

    if examples is not None and box:
        raise PromptError("give examples either as --box or in a file, not both")
    shown = examples is not None or bool(box)
    sources, words = _images_and_words(images, shown)
    if not words and not shown:
        raise PromptError(
            "say what to look for: words after the images, or examples with --box or --examples"
        )
    if examples_image is not None and not shown:
        raise PromptError("--examples-image goes with examples: give --box or --examples")
    wanted: dict[str, Any] = {
        "words": words,
        "examples": [values.box(text) for text in box] if box else examples,
        "finder": finder,
    }
    places = places_of(sources)
    if len(places) > 1 and shown and examples_image is None:
        raise PromptError(
            f"there are {len(places)} images: name the one that the examples lie in, with "
            "--examples-image"
        )
    call = _Call(
        places, wanted, parameters, network, cache, view, output, overwrite, resume, report
    )
    with progress_bar(report.quiet) as show:
        data = _stack(places, plane, view) if examples_image is None else None
        if data is not None:
            if resume:
                raise ParameterError("--resume is for images that are searched in one plane each")
            wanted["plane"] = examples_plane
            call.in_stack(data, show)
        else:
            call.in_planes(plane, examples_image, examples_plane, show)


def _images_and_words(arguments: list[str], shown: bool) -> tuple[list[str], str | None]:
    """Tell images from the words after them; with examples there need not be any."""
    from ..datasets.coco import IMAGE_SUFFIXES
    from ..datasets.opening import SAMPLE
    from ..datasets.sources import TABLE_SUFFIXES
    from ..reading import is_url
    from .batch import has_wildcards

    *images, last = arguments
    path = Path(last)
    of_image = (
        path.is_file()
        or (path.is_dir() and (shown or last.endswith(("/", os.sep))))
        or path.suffix.lower() in (*IMAGE_SUFFIXES, *TABLE_SUFFIXES)
        or last.startswith(SAMPLE)
        or is_url(last)
        or has_wildcards(last)
    )
    return (arguments, None) if of_image or not images else (images, last)


def _stack(places: list[Place], plane: str | None, view: options.ImageOptions) -> ImageData | None:
    """The only image, if it is a stack whose planes are to be searched one by one."""
    from ..datasets.opening import read_source

    if len(places) > 1 or plane is not None or places[0].plane is not None:
        return None
    data = read_source(places[0].source, view.axes)
    planes = [data.shape[data.axes.index(axis)] for axis in data.stack_axes]
    return data if max(planes, default=1) > 1 else None


@dataclass(frozen=True, slots=True)
class _Call:
    """What was asked for."""

    places: list[Place]
    wanted: dict[str, Any]
    parameters: dict[str, Any]
    network: options.ModelOptions
    cache: bool
    view: options.ImageOptions
    output: Path | None
    overwrite: bool
    resume: bool
    report: options.Reporting

    def in_planes(
        self, plane: str | None, examples_image: str | None, examples_plane: int, show: Show
    ) -> None:
        """Search one plane of each image."""
        from .batch import Batch
        from .cache import make_predictor
        from .output import ImageOutput, Result

        target = ImageOutput(self.output, self.overwrite, self.report)
        batch = Batch(self.places, target, self.resume)
        batch.check(self.view, plane)
        shown = None
        if examples_image is not None:
            shown = self._open_examples(examples_image, plane, examples_plane)

        from ..finding import Concept, Query, find_steps, learn_concept_steps
        from ..progress import finish

        parameters = dict(self.parameters)
        policy = parameters.pop("policy", _POLICY["policy"].default)
        tiles = {name: parameters.pop(name) for name in _TILES if name in parameters}
        loaded = self.network.load(show)
        predictor = make_predictor(loaded, self.cache)
        concept: Concept | None = None
        if shown is not None:
            steps = learn_concept_steps(
                shown.image, model=loaded, predictor=predictor, **self.wanted,
                **shown.engine_options, **parameters,
            )  # fmt: skip
            concept = finish(steps, show)
        elif not batch.single:
            likeness = parameters.pop("likeness_thresh", None)
            query = Query.of(self.wanted["words"], None, (0, 0))
            concept = Concept.of(query, loaded, self.wanted["finder"], likeness, parameters)

        def search(place: Place, opened: Input, step: Show) -> Result:
            began = time.perf_counter()
            asked = {**self.wanted, **parameters}
            if concept is not None:
                here = shown is not None and _same(opened, shown)
                asked = {"concept": concept if here else concept.elsewhere}
            steps = find_steps(
                opened.image, model=loaded, predictor=predictor, **asked, **tiles,
                **opened.engine_options,
            )  # fmt: skip
            table = finish(steps, step)
            facts = {"finder": table.parameters["finder"], "candidates": len(table.candidates)}
            return Result.of_table(table, policy, opened, loaded, began, facts)

        batch.run(loaded, self.view, plane, show, search)

    def _open_examples(self, image: str, plane: str | None, examples_plane: int) -> Input:
        """The image that shows the examples; of a stack the plane of --plane, or their own."""
        from ..datasets.opening import read_source
        from .inputs import open_input

        data = read_source(image, self.view.axes)
        several = any(data.shape[data.axes.index(axis)] > 1 for axis in data.stack_axes)
        return open_input(image, self.view, (plane or str(examples_plane)) if several else None)

    def in_stack(self, data: ImageData, show: Show) -> None:
        """Search every plane of a stack."""
        from .cache import make_predictor
        from .stack_output import StackOutput, linked

        target = StackOutput(self.output, None, self.overwrite, self.report)
        target.check(data.name)

        from ..finding import find_stack_steps
        from ..progress import finish

        loaded = self.network.load(show)
        began = time.perf_counter()
        steps = find_stack_steps(
            data, model=loaded, predictor=make_predictor(loaded, self.cache), output=target.store,
            overwrite=self.overwrite, **self.wanted, **self.view.read(), **self.parameters,
        )  # fmt: skip
        found = linked(finish(steps, show))
        found["seconds"] = time.perf_counter() - began
        target.finish(found, data, loaded, self.places[0].source)


def _same(image: Input, other: Input) -> bool:
    """Whether two are the same plane of the same file."""
    return os.path.realpath(image.source) == os.path.realpath(other.source)
