"""`napari-sam replay`: repeat a recorded session without a viewer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options

if TYPE_CHECKING:
    from ..engine import Model

CHECKS = "What is checked"


def replay(
    journal: Annotated[
        Path, typer.Argument(metavar="JOURNAL", help="The session's journal, a .jsonl file.")
    ],
    image: Annotated[
        str | None,
        typer.Argument(
            metavar="[IMAGE]",
            help="The image: a file, a Zarr folder, or sample:NAME. By default the recorded file, "
            "if it is beside the journal or in the working directory.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where the labels go: .tif, .png, .npy, .npz or .zarr.",
            rich_help_panel=options.RESULT,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The labels as they were before the session, if there were any.",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    axes: options.AxesOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE|URL",
            help="The model, if it cannot be loaded by its recorded name.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    device: options.DeviceOption = "auto",
    recorded_image: Annotated[
        bool,
        typer.Option(
            "--recorded-image",
            help="Read the recorded image wherever it is, also from a URL.",
            rich_help_panel=options.INPUT,
        ),
    ] = False,
    other_image: Annotated[
        bool,
        typer.Option(
            "--other-image", help="Allow another image of the same shape.", rich_help_panel=CHECKS
        ),
    ] = False,
    other_model: Annotated[
        bool,
        typer.Option(
            "--other-model", help="Allow another model or precision.", rich_help_panel=CHECKS
        ),
    ] = False,
    overwrite: options.OverwriteOption = False,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Repeat a recorded session: every mask is decoded anew.

    On the same machine with the same model the labels are identical to the recorded ones. The
    summary says whether they are, and whether masks are decoded by another policy today.

    Examples:

    napari-sam replay session.jsonl -o labels.tif

    napari-sam replay session.jsonl cells.tif -o labels.tif --json
    """
    from ..errors import ParameterError
    from .output import check_free

    if output is None and not as_json:
        raise ParameterError("say where the labels go with -o FILE, or use --json")
    if output is not None:
        check_free([output], overwrite)

    from ..engine import load_model
    from ..formats.labels import LABEL_SUFFIXES, read_labels, write_labels
    from ..session import Journal, recorded_model, replay_steps
    from .report import print_facts, print_json, progress_bar

    if output is not None and output.suffix.lower() not in LABEL_SUFFIXES:
        raise ParameterError(
            f"{output}: labels are written as {', '.join(LABEL_SUFFIXES)}; name the file so"
        )
    header, _ = Journal.read(journal)
    where = image or _recorded_image(header["image"].get("path"), journal, recorded_image)

    from ..datasets.opening import read_source

    data = read_source(where, axes)
    before = None if labels is None else read_labels(labels)

    def load(recorded: Mapping[str, Any]) -> Model:
        name = model if model is not None else recorded_model(recorded)
        return load_model(name, device, recorded["precision"])

    with progress_bar(quiet) as show:
        from ..progress import finish

        result = finish(
            replay_steps(
                journal,
                list(data.levels) or [data.array],
                load,
                labels=before,
                other_image=other_image,
                other_model=other_model,
            ),
            show,
        )
    if output is not None:
        write_labels(output, result.labels)
    if as_json:
        print_json(
            {
                "journal": str(journal),
                "image": str(where),
                "shape": list(result.labels.shape),
                "objects": len(result.objects),
                "events": result.events,
                "decoded": result.decoded,
                "identical": result.identical,
                "differing_pixels": result.differing_pixels,
                "model": result.model,
                "policy_note": result.policy_note,
                "seconds": round(result.seconds, 3),
                "labels": None if output is None else str(output),
            }
        )
    elif not quiet:
        same = "identical" if result.identical else f"{result.differing_pixels} pixels differ"
        facts = {
            "objects": len(result.objects),
            "recorded labels": same,
            "events": f"{result.events}, {result.decoded} of them decoded masks",
            "image": where,
            "model": f"{result.model['name']} ({result.model['fingerprint'][:12]})",
            "time": f"{result.seconds:.2f} s",
            "labels": output,
        }
        if result.policy_note is not None:
            facts["policy"] = result.policy_note
        print_facts("", facts)


def _recorded_image(path: str | None, journal: Path, anywhere: bool) -> str:
    """Return the path of the recorded image, if it may be read.

    A journal may come from anybody. Its image is read only from beside the journal or from the
    working directory, unless the journal is in this user's own folder, or the user asks for it.
    """
    from ..errors import ImageError
    from ..formats import is_url
    from ..session import journal_directory

    if path is None:
        raise ImageError(
            "the journal does not say which file the image came from; give the image as the second "
            "argument"
        )
    if anywhere:
        return path
    here = journal.expanduser().resolve().parent
    own = here.is_relative_to(journal_directory().resolve())
    elsewhere = is_url(path) or path.startswith(("\\\\", "//"))
    if not elsewhere and not own:
        place = Path(path).expanduser().resolve()
        elsewhere = not any(place.is_relative_to(each) for each in (here, Path.cwd()))
    if elsewhere:
        raise ImageError(
            f"the journal says that its image is {path}, which lies elsewhere and was not opened: "
            "give the image as the second argument, or add --recorded-image"
        )
    return path
