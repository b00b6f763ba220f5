"""Write a project's annotations as a training set for `train`."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..formats import write_labels
from ..formats.atomic import replacing
from ..formats.tiff_writing import write_image
from ..progress import Progress
from .files import json_writer
from .learning_data import mark_background

if TYPE_CHECKING:
    from .exporting import ExportedImage
    from .project import Project

COMPLETE, PARTIAL = "complete", "partial"
_FEWEST = 5
"""Complete images from which on some are held out, where the project has not decided."""


def write_training_set(
    project: Project, images: Iterator[ExportedImage], folder: Path, total: int
) -> Generator[Progress, None, None]:
    """Write images, labels, ``train.toml`` and, if images are held out, ``split.json``.

    Complete images are one set. The others are another: in it, what is not labelled is background
    only in regions that are complete and around negative clicks. Held-out images are left out of
    it, since nothing can be measured on them.

    Parameters
    ----------
    project : Project
    images : iterator of ExportedImage
    folder : Path
    total : int
        Number of images.

    Yields
    ------
    Progress
        For each image.
    """
    parts: dict[str, dict[str, dict[str, str]]] = {}
    for number, one in enumerate(images):
        image = one.image
        yield Progress(number, total, message=image.key)
        group = COMPLETE if image.state == "complete" else PARTIAL
        if group == PARTIAL and (image.held_out or not np.any(one.labels)):
            continue
        place = folder / group
        write_image(place / "images" / f"{image.key}.tif", one.data, image.channels)
        if group == COMPLETE:
            write_labels(place / "labels" / f"{image.key}.tif", one.labels)
        else:
            seen = image.seen()
            for row, col in image.negatives():
                mark_background(seen, row, col, one.labels)
            with replacing(place / "labels" / f"{image.key}.npz") as path, path.open("wb") as file:
                np.savez_compressed(file, labels=one.labels, seen=seen)
        part = "validation" if image.held_out else "train"
        parts.setdefault(group, {})[f"{image.key}.tif"] = {"part": part}
    (folder / "train.toml").write_text(_configuration(project, parts, folder), "utf-8")


def _configuration(
    project: Project, parts: dict[str, dict[str, dict[str, str]]], folder: Path
) -> str:
    held_out = any(p["part"] == "validation" for p in parts.get(COMPLETE, {}).values())
    if held_out:
        json_writer(parts)(folder / "split.json")
    lines = [
        "# napari-sam train train.toml",
        f"model = {json.dumps(project.model_path(), ensure_ascii=False)}",
        'output = "run"',
    ]
    for group in sorted(parts):
        lines += ["", "[[data]]", f'folder = "{group}"']
        if group == PARTIAL:
            lines += ["complete = false", 'seen = "seen"  # background is known only there']
        share = project.settings["held_out_share"]
        if held_out:
            lines.append('split = "split.json"')
        elif group == COMPLETE and len(parts[group]) >= _FEWEST and share > 0:
            lines.append(f"validation = {share}")
    return "\n".join(lines) + "\n"
