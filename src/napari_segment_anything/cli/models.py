"""`napari-sam models`: what can be loaded by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError
from . import options

if TYPE_CHECKING:
    from ..checkpoints import CatalogueEntry


def models(as_json: options.JsonOption = False, debug: options.DebugOption = False) -> None:
    """List the models that --model knows by name.

    Any other SAM checkpoint is loaded from its file or URL.

    Examples:

    napari-sam models

    napari-sam models --json
    """
    from ..checkpoints import catalogue
    from . import report

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


def _facts(entry: CatalogueEntry) -> dict[str, Any]:
    from ..checkpoints.download import cached_path, embedded_path

    path: Path | None
    if entry.embedded:
        try:
            path, where = embedded_path(entry), "in this package"
        except CheckpointError:
            path, where = None, "missing: install the package again"
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
        "where": where,
        "path": None if path is None else str(path),
    }
