"""`napari-sam find`: all instances of what words name, or of what is like examples."""

from __future__ import annotations

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
    from .report import Show

WANTED = "What to look for"
_POLICY = {"policy": replace(RUN["policy"], default="score")}
_TILES = {name: TILING[name] for name in ("tile", "overlap")}


@generated((FINDING, WANTED), (_POLICY, options.KEEP), (_TILES, "Large images"), *options.FINDING)
def find(
    image: options.ImageArgument,
    words: Annotated[
        str | None,
        typer.Argument(
            metavar="WORDS", help="What it is called, such as nucleus.", show_default=False
        ),
    ] = None,
    output: options.OutputOption = None,
    overwrite: options.OverwriteOption = False,
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

    Writes the same files as everything; of a stack without --plane, whose planes are searched one
    by one and linked, the same as stack. The score is the likeness.

    Examples:

    napari-sam find cells.tif nucleus -o out/ --finder owlv2_base

    napari-sam find sample:coins -o out/ --box 33,21,75,68

    napari-sam find cells.tif -o out/ --examples some.tif --likeness-thresh 0.3
    """
    from ..datasets.opening import read_source
    from ..errors import PromptError
    from . import values
    from .report import progress_bar

    if examples is not None and box:
        raise PromptError("give examples either as --box or in a file, not both")
    if not words and examples is None and not box:
        raise PromptError(
            "say what to look for: words after the image, or examples with --box or --examples"
        )
    wanted: dict[str, Any] = {
        "words": words,
        "examples": [values.box(text) for text in box] if box else examples,
        "finder": finder,
    }
    data = read_source(image, view.axes)
    planes = [data.shape[data.axes.index(axis)] for axis in data.stack_axes]
    call = _Call(image, wanted, parameters, network, cache, view, output, overwrite, report)
    with progress_bar(report.quiet) as show:
        if plane is None and max(planes, default=1) > 1:
            wanted["plane"] = examples_plane
            call.in_stack(data, show)
        else:
            call.in_plane(plane, show)


@dataclass(frozen=True, slots=True)
class _Call:
    """What was asked for."""

    image: str
    wanted: dict[str, Any]
    parameters: dict[str, Any]
    network: options.ModelOptions
    cache: bool
    view: options.ImageOptions
    output: Path | None
    overwrite: bool
    report: options.Reporting

    def in_plane(self, plane: str | None, show: Show) -> None:
        """Search one plane."""
        from .cache import make_predictor
        from .inputs import open_input
        from .output import ImageOutput, Result

        target = ImageOutput(self.output, self.overwrite, self.report)
        opened = open_input(self.image, self.view, plane)
        files = target.files(opened.name)

        from ..finding import find_steps
        from ..progress import finish

        policy = self.parameters.pop("policy", _POLICY["policy"].default)
        loaded = self.network.load(show)
        began = time.perf_counter()
        steps = find_steps(
            opened.image, model=loaded, predictor=make_predictor(loaded, self.cache),
            **self.wanted, **opened.engine_options, **self.parameters,
        )  # fmt: skip
        table = finish(steps, show)
        facts = {"finder": table.parameters["finder"], "candidates": len(table.candidates)}
        target.finish(
            Result(
                image=opened,
                model=loaded,
                labels=table.to_labels(policy),
                records=table.image_records(opened.source),
                seconds=time.perf_counter() - began,
                facts=facts,
                parameters=dict(table.parameters),
            ),
            files,
        )

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
        target.finish(found, data, loaded, self.image)
