"""`napari-sam models`: models that can be loaded by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CheckpointError
from . import options

if TYPE_CHECKING:
    from ..checkpoints import CatalogueEntry

COLUMNS = ("name", "size", "licence", "can also", "where")
_USUAL = ("prompt", "everything")
_SHORT = {"in this package": "package", "to be downloaded": "to download"}


def models(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FILE|FOLDER]",
            help="Show this model and its card.",
            show_default=False,
        ),
    ] = None,
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """List the models that --model accepts by name, or show the card of one.

    Any other SAM checkpoint can be given as a file or URL, any other model of these families as a
    folder or as owner/name on the Hugging Face Hub.

    Examples:

    napari-sam models

    napari-sam models default

    napari-sam models sam2.1_hiera_tiny

    napari-sam models --json
    """
    from ..checkpoints import INSTALL_EXTRA, catalogue, missing_packages
    from . import report

    if model is not None:
        _show(model, as_json)
        return
    entries = [_facts(entry) for entry in catalogue().values()]
    if as_json:
        report.print_json(entries)
        return
    rows, group = [], ""
    for each in entries:
        if each["group"] != group:
            group = each["group"]
            rows.append([group, *[""] * (len(COLUMNS) - 1)])
        name, *rest = _row(each)
        rows.append([f"  {name}", *rest])
    report.print_rows("", list(COLUMNS), rows)
    typer.echo(
        "\nModels answer prompts and segment everything; detectors, SigLIP and CLIP only find."
    )
    if missing := missing_packages():
        added = dict.fromkeys(entry.group for entry in catalogue().values() if entry.needs_extra)
        typer.echo(
            f"\n{', '.join(added)} need {' and '.join(missing)}, not installed here: "
            f"{INSTALL_EXTRA}"
        )


def _row(facts: dict[str, Any]) -> list[str]:
    from . import report

    size = facts["size"] or facts["about_size"]
    shown = report.size(size) if size else ""
    return [
        facts["name"],
        shown if facts["size"] or not size else f"about {shown}",
        facts["licence"],
        " ".join(each for each in facts["can"] if each not in _USUAL),
        _SHORT.get(facts["where"], facts["where"]) + (", gated" if facts["gated"] else ""),
    ]


def _show(model: str, as_json: bool) -> None:
    """Show the metadata and card of one model; one with a name is not downloaded for it."""
    from ..checkpoints import ABILITIES, load_checkpoint
    from ..checkpoints.catalogue import find_entry
    from . import report

    entry = find_entry(model)
    listed = {} if entry is None else _facts(entry)
    if entry is not None and (entry.kind != "sam" or listed["path"] is None):
        if as_json:
            report.print_json(listed)
            return
        row = dict(zip(COLUMNS, _row(listed), strict=True))
        row["can"] = ", ".join(listed["can"])
        del row["can also"]
        also = {key: listed[key] for key in ("description", "citation", "source", "needs")}
        report.print_facts("", {key: value for key, value in {**row, **also}.items() if value})
        return
    loaded = load_checkpoint(model)
    facts = {
        "name": loaded.name,
        "architecture": loaded.architecture,
        "fingerprint": loaded.fingerprint,
        "can": ", ".join(each for each in ABILITIES if each in loaded.network.abilities),
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
    from ..checkpoints import about_size, missing_packages, present

    path: Path | None = None
    where = "to be downloaded"
    try:
        path = present(entry)
    except CheckpointError:
        where = "missing: reinstall the package"
    if path is not None:
        where = "in this package" if entry.embedded else "downloaded"
    size = entry.size if path is None else _bytes(path)
    needs = missing_packages() if entry.needs_extra else []
    return {
        "name": entry.name,
        "aliases": list(entry.aliases),
        "group": entry.group,
        "kind": entry.kind,
        "architecture": entry.architecture,
        "description": entry.description,
        "can": list(entry.abilities),
        "gated": entry.gated,
        "needs": ", ".join(needs),
        "size": size,
        "about_size": about_size(entry)[1],
        "licence": entry.licence,
        "citation": entry.citation,
        "source": entry.source,
        "checked": entry.checked,
        "where": where,
        "path": None if path is None else str(path),
    }


def _bytes(path: Path) -> int:
    files = path.glob("*.safetensors") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
