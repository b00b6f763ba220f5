"""What a large run begins with: model, image, grid, labels and ledger."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Model, Window, load_model
from ..errors import FormatError, ImageError, ParameterError
from ..formats.ome_zarr import LabelsGroup, create_labels, is_url, label_names, open_labels
from ..progress import Progress
from ..reading import require
from .grid import TileGrid
from .image import LargeImage
from .ledger import Ledger, check_same
from .tiles import ModelSpec, settled_precision

OVERLAP = 1 / 8


def tiles_over(
    image: LargeImage, model: Model, tile: int | None, overlap: int | None, region: Window | None
) -> TileGrid:
    """Return the grid of a run; a tile is the model's frame, unless told."""
    side = model.image_size if tile is None else int(tile)
    shared = max(0, round(side * OVERLAP)) if overlap is None else int(overlap)
    return TileGrid.over(image.planes.shape, image.planes.plane_shape, side, shared, region)


def precision_there(
    runner: Any, spec: ModelSpec, model: Model
) -> Generator[Progress, None, ModelSpec]:
    """Settle the precision where tiles are worked on, which need not be a machine like this."""
    kind = model.network.config.encoder.kind
    answers = runner.ask(settled_precision, spec.device, spec.precision, kind)
    try:
        while True:
            next(answers)
            yield Progress(0, 1, message="waiting for a worker")
    except StopIteration as answer:
        return replace(spec, precision=str(answer.value))


def model_and_spec(
    model: Model | str | Path,
    device: str,
    precision: str,
    remote: bool,
    instance_decoder: str | Path | None = None,
) -> tuple[Model, ModelSpec]:
    """Return a loaded model, and what tells other processes how to load it."""
    if isinstance(model, Model):
        loaded = model
        source = model.source
        if remote and source is None:
            raise ParameterError(
                "workers of a cluster cannot load this model: give its name or file "
                "(model='vit_b' or a path) in place of a model made in this process"
            )
        place = "auto" if remote else str(model.device)
        return loaded, ModelSpec(
            source or "", model.fingerprint, place, model.precision, model.instance_decoder_source
        )
    options = {} if instance_decoder is None else {"instance_decoder": instance_decoder}
    # a driver of a cluster only asks what the model is
    loaded = load_model(
        model, "cpu" if remote else device, "fp32" if remote else precision, **options
    )
    return loaded, ModelSpec(
        loaded.source or str(model),
        loaded.fingerprint,
        device,
        precision if remote else loaded.precision,
        loaded.instance_decoder_source,
    )


def signature(image: LargeImage) -> dict[str, Any]:
    """Return what tells an image from others, wherever it lies."""
    found = image.planes.signature()
    for name in ("path", "name", "contrast_limits"):  # a moved image is the same image
        found.pop(name, None)
    fields: dict[str, Any] = plain(found)
    return fields


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def destination_of(image: Any, output: str | Path | None) -> str:
    """Return path or URL of the store that labels go into."""
    if output is not None:
        require(output, (str, Path), "the output", "give the path or URL of an OME-Zarr store")
        text = str(output)
        return text if is_url(text) else str(Path(text).expanduser().absolute())
    if isinstance(image, (str, Path)):
        text = str(image)
        return text if is_url(text) else str(Path(text).expanduser().absolute())
    raise ParameterError("give output: where the labels go (an OME-Zarr store, new or existing)")


def open_run(
    image: LargeImage,
    destination: str,
    label: str,
    grid: TileGrid,
    wanted: Mapping[str, Any],
    overwrite: bool,
) -> tuple[LabelsGroup, Ledger]:
    """Open the run's labels and ledger, or begin them."""
    if not overwrite and _exists(destination, label):
        group = open_labels(destination, label, mode="r+")
        stored = Ledger.present(group)
        if stored is None and group.array.nchunks_initialized == 0:
            # killed after the labels were made, before the run was on record
            return open_run(image, destination, label, grid, wanted, True)
        if stored is None:
            raise FormatError(
                f"{destination} has labels '{label}' that no run made: give another label name, "
                "or overwrite=True to replace them"
            )
        check_same(stored, wanted, group.path)
        return group, Ledger(group, grid)
    limits = image.settle_contrast()
    data = image.data
    kept = image.label_axes
    scale, units = image.pixel_size
    group = create_labels(
        destination,
        label,
        shape=tuple(data.shape[i] for i in kept),
        axes="".join(data.axes[i] for i in kept),
        dtype=np.uint32,
        chunks=tuple(grid.stride if data.axes[i] in "YX" else 1 for i in kept),
        scale=scale,
        units=units,
        source=image.source if isinstance(image.source, str) else None,
        overwrite=overwrite,
    )
    ledger = Ledger.create(
        group, grid, {**wanted, "limits": plain(limits), "failed": {}, "opened": image.opened()}
    )
    return group, ledger


def _exists(destination: str, label: str) -> bool:
    try:
        return label in label_names(destination)
    except (FormatError, ImageError):
        return False
