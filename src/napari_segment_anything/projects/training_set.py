"""Write a project's annotations as a training set for `train`."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ParameterError
from ..formats import write_labels
from ..formats.atomic import replacing
from ..formats.tiff_writing import write_image
from ..progress import Progress
from ..reading import one_line
from .files import json_writer
from .learning_data import Known
from .learning_options import options_for

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

    Complete images are one set. The others are another: in it, each pixel has a level that says
    what is known about it, the same as when a model learns from the project. Held-out images are
    left out of it, since nothing can be measured on them.

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
    yield Progress(0, total, message="loading the model")
    network, options = _learner(project)
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
            levels = Known(image, one.labels, network).all_levels()
            with replacing(place / "labels" / f"{image.key}.npz") as path, path.open("wb") as file:
                np.savez_compressed(file, labels=one.labels, levels=levels)
        part = "validation" if image.held_out else "train"
        parts.setdefault(group, {})[f"{image.key}.tif"] = {"part": part}
    text = _configuration(project, parts, folder, options if PARTIAL in parts else ())
    (folder / "train.toml").write_text(text, "utf-8")


def _learner(project: Project) -> tuple[Any, list[str]]:
    """The network that learns, and lines of options that learning from the project has as well.

    Of a model that cannot be trained here, None and a comment that says so.
    """
    from ..engine import load_model
    from ..training.initial import trainable

    loaded = load_model(project.model_path(), device="cpu")
    try:
        network = trainable(loaded.network, loaded.name)
    except ParameterError as error:
        return None, [f"# {one_line(error)}"]
    train, options = options_for(network)
    lines = [f"train = {json.dumps(train)}"]
    if "assume" in options:
        share = options["assume"]
        lines.append(
            f"assume = {share}  # from this share of the steps on, the model labels the rest"
        )
    return network, lines


def _configuration(
    project: Project,
    parts: dict[str, dict[str, dict[str, str]]],
    folder: Path,
    options: Sequence[str],
) -> str:
    held_out = any(p["part"] == "validation" for p in parts.get(COMPLETE, {}).values())
    if held_out:
        json_writer(parts)(folder / "split.json")
    lines = [
        "# napari-sam train train.toml",
        f"model = {json.dumps(project.model_path(), ensure_ascii=False)}",
        'output = "run"',
        *options,
    ]
    for group in sorted(parts):
        lines += ["", "[[data]]", f'folder = "{group}"']
        if group == PARTIAL:
            lines += ["complete = false", 'levels = "levels"  # what is known about each pixel']
        share = project.settings["held_out_share"]
        if held_out:
            lines.append('split = "split.json"')
        elif group == COMPLETE and len(parts[group]) >= _FEWEST and share > 0:
            lines.append(f"validation = {share}")
    return "\n".join(lines) + "\n"
