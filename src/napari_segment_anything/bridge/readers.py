"""OME-Zarr stores as napari layers: the image with its channels, and all of its labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import FormatError
from ..formats.zarr_images import Pyramid, read_scene

LayerTuple = tuple[Any, dict[str, Any], str]


def ome_zarr_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerTuple]] | None:
    """Return a reader of OME-Zarr images with their labels, or None for other Zarr stores."""
    if not isinstance(path, str):
        return None
    try:
        return None if read_scene(path) is None else _read
    except FormatError:
        return _read  # which raises an error that says what is wrong


def _read(path: str) -> list[LayerTuple]:
    """Open a store lazily, the image below its labels.

    Raises
    ------
    FormatError
        If it is damaged.
    """
    scene = read_scene(path)
    if scene is None:
        return []
    layers = [] if scene.image is None else [_image(scene.image)]
    for labels in scene.labels:
        name = labels.name if scene.image is None else f"{scene.image.name} {labels.name}"
        meta = {**_placed(labels), "name": name}
        del meta["rgb"]
        layers.append((_levels(labels.levels), meta, "labels"))
    return layers


def _image(image: Pyramid) -> LayerTuple:
    channel = image.axes.find("C")
    if channel < 0:
        return _levels(image.levels), {**_placed(image), "name": image.name}, "image"
    import dask.array  # a dependency of napari; splits channels without reading them

    levels = [dask.array.from_array(level, chunks=level.chunks) for level in image.levels]
    meta: dict[str, Any] = {"channel_axis": channel, **_placed(image)}
    count = int(image.levels[0].shape[channel])
    names = [channel.name for channel in image.channels] or [None] * count
    meta["name"] = [
        f"{image.name} {name or f'channel {number}'}" for number, name in enumerate(names)
    ]
    if image.channels:
        meta["visible"] = [item.visible for item in image.channels]
        if all(item.limits for item in image.channels):
            meta["contrast_limits"] = [item.limits for item in image.channels]
        if all(item.colour for item in image.channels):
            meta["colormap"] = [item.colour for item in image.channels]
    return _levels(levels), meta, "image"


def _levels(levels: Sequence[Any]) -> Any:
    return list(levels) if len(levels) > 1 else levels[0]


def _placed(item: Pyramid) -> dict[str, Any]:
    """Return the placement of a layer along all axes except that of channels."""
    kept = [index for index, axis in enumerate(item.axes) if axis != "C"]
    return {
        "multiscale": len(item.levels) > 1,
        "rgb": False,
        "scale": [item.scale[i] for i in kept],
        "translate": [item.translation[i] for i in kept],
        "units": [item.units[i] or "pixel" for i in kept],
        "axis_labels": [item.axes[i].lower() for i in kept],
    }
