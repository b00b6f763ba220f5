"""`napari-sam models`: what can be loaded by name."""

from __future__ import annotations

from . import options


def models(as_json: options.JsonOption = False, debug: options.DebugOption = False) -> None:
    """List the models that --model knows by name.

    Any other SAM checkpoint is loaded from its file or URL.

    Examples:

    napari-sam models

    napari-sam models --json
    """
    from ..checkpoints import cache_directory, catalogue
    from . import report

    directory = cache_directory()
    entries = [_facts(entry, directory) for entry in catalogue().values()]
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
