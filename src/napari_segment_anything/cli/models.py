"""`napari-sam models`: models that can be loaded by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CheckpointError
from . import options

if TYPE_CHECKING:
    from ..checkpoints import CatalogueEntry


def models(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FILE]", help="Show this model and its card.", show_default=False
        ),
    ] = None,
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """List the models that --model accepts by name, or show the card of one.

    Any other SAM checkpoint can be given as a file or URL.

    Examples:

    napari-sam models

    napari-sam models default

    napari-sam models --json
    """
    from ..checkpoints import catalogue
    from . import report

    if model is not None:
        _show(model, as_json)
        return
    entries = [_facts(entry) for entry in catalogue().values()]
    if as_json:
        report.print_json(entries)
        return
    rows = [
        [
            each["name"],
            each["architecture"],
            report.size(each["size"]) if each["size"] else "",
            each["licence"],
            each["where"],
        ]
        for each in entries
    ]
    report.print_rows("", ["name", "architecture", "size", "licence", "where"], rows)


def _show(model: str, as_json: bool) -> None:
    """Show the metadata and card of one model."""
    from ..checkpoints import load_checkpoint
    from . import report

    loaded = load_checkpoint(model)
    facts = {
        "name": loaded.name,
        "architecture": loaded.architecture,
        "fingerprint": loaded.fingerprint,
        **loaded.metadata,
    }
    if as_json:
        report.print_json(facts)
        return
    card = str(facts.pop("card", ""))
    shown = {key: value for key, value in facts.items() if isinstance(value, str) and value}
    report.print_facts("", shown)
    if card:
        typer.echo(f"\n{card.rstrip()}")


def _facts(entry: CatalogueEntry) -> dict[str, Any]:
    from ..checkpoints.download import cached_path, embedded_path

    path: Path | None
    if entry.embedded:
        try:
            path, where = embedded_path(entry), "in this package"
        except CheckpointError:
            path, where = None, "missing: reinstall the package"
    else:
        path = cached_path(entry.checkpoint)
        where = "to be downloaded" if path is None else "downloaded"
    return {
        "name": entry.name,
        "aliases": list(entry.aliases),
        "architecture": entry.architecture,
        "description": entry.description,
        "size": entry.size if path is None else path.stat().st_size,
        "licence": entry.licence,
        "citation": entry.citation,
        "source": entry.source,
        "checked": "with the package" if entry.embedded else entry.checkpoint.checked,
        "where": where,
        "path": None if path is None else str(path),
    }
