"""`napari-sam download`: fetch a model before it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options


def download(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="Names from `napari-sam models`, or owner/name on the Hugging Face Hub.",
        ),
    ],
    directory: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for the files, instead of the cache.", show_default=False
        ),
    ] = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Download models and check them against their published hashes.

    Models are also downloaded when they are first loaded; this does it ahead of time, for example
    before working offline. Gated ones need a token of the Hugging Face Hub in HF_TOKEN.

    Examples:

    napari-sam download vit_b

    napari-sam download vit_b_lm vit_t --directory /data/models

    napari-sam download sam2.1_hiera_tiny
    """
    from ..checkpoints import download as fetch
    from ..checkpoints.catalogue import find_entry
    from . import report

    files, checked = {}, []
    with report.progress_bar(quiet) as show:
        for name in names:
            files[name] = str(fetch(name, directory, progress=show))
            entry = find_entry(name)
            if entry is None or entry.hub:
                checked.append(f"{name} (the sizes and hashes that the hub lists)")
            elif not entry.embedded:
                checked += [f"{remote.file} ({remote.checked})" for remote in entry.files]
    if as_json:
        report.print_json(files)
    elif not quiet:
        report.print_facts("", files | ({"checked": ", ".join(checked)} if checked else {}))
