"""The samples as napari layers: File > Open Sample > Segment Anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from skimage.measure import regionprops

from ..samples import Sample, sample, sample_names

PLUGIN = "segment-anything-napari"
LayerTuple = tuple[Any, dict[str, Any], str]


def layers_of(item: Sample) -> list[LayerTuple]:
    """Turn a sample into layers.

    Parameters
    ----------
    item : Sample
        From `napari_segment_anything.samples.sample`.

    Returns
    -------
    list of (data, parameters, layer type)
        The image, its ground truth as hidden Labels where there is one, and the Tracks of a
        time-lapse. All have the image's scale and units.
    """
    colour = item.axes.index("S") if item.rgb else None
    spatial = [i for i in range(len(item.axes)) if i not in (colour, item.channel_axis)]
    placed: dict[str, Any] = {
        "scale": [item.scale[i] for i in spatial],
        "units": [item.units[i] or "pixel" for i in spatial],
        "axis_labels": [item.axes[i].lower() for i in spatial],
    }
    about = {"description": item.description, "licence": item.licence, "source": item.source}
    image: dict[str, Any] = {"name": item.name, "metadata": about, **placed}
    if item.rgb:
        image["rgb"] = True
    if item.channel_axis is not None:
        channels = range(item.image.shape[item.channel_axis])
        image["channel_axis"] = item.channel_axis
        image["name"] = [f"{item.name} channel {i}" for i in channels]
        image["metadata"] = [about for _ in channels]
    layers: list[LayerTuple] = [(item.image, image, "image")]
    if item.labels is not None:
        truth = {"name": f"{item.name} ground truth", "visible": False, "metadata": about, **placed}
        layers.append((item.labels, truth, "labels"))
    if item.lineage is not None and item.labels is not None:
        tracks = {"name": f"{item.name} tracks", "visible": False, "graph": item.lineage, **placed}
        layers.append((_tracks(item.labels), tracks, "tracks"))
    return layers


def _tracks(labels: np.ndarray) -> np.ndarray:
    """Return rows of id, frame, row, column: the centre of each object in each frame."""
    rows = [
        (region.label, frame, *region.centroid)
        for frame, plane in enumerate(labels)
        for region in regionprops(plane)
    ]
    table = np.array(rows, dtype=float)
    return table[np.lexsort((table[:, 1], table[:, 0]))]


def _opener(name: str) -> Callable[[], list[LayerTuple]]:
    def open_sample() -> list[LayerTuple]:
        layers = layers_of(sample(name))
        if layers[-1][2] != "image":
            _keep_image_active(name, layers[-1][1]["name"])
        return layers

    open_sample.__name__ = name
    open_sample.__doc__ = f"Open the sample '{name}' as layers."
    return open_sample


def _keep_image_active(sample: str, last: str) -> None:
    """When napari has added a sample's last layer, which it makes active, go back to the image.

    Otherwise a hidden layer would be the one that gets every click.
    """
    import napari
    from napari.layers import Image

    viewer = napari.current_viewer()
    if viewer is None:
        return
    selection = viewer.layers.selection

    def activated(event: Any) -> None:
        layer = event.value
        made = None if layer is None else layer.source.sample
        if made is None or tuple(made) != (PLUGIN, sample) or not layer.name.startswith(last):
            return
        selection.events.active.disconnect(activated)
        images = [x for x in viewer.layers if isinstance(x, Image) and x.source.sample == made]
        if images:
            selection.active = images[0]

    selection.events.active.connect(activated, position="last")


def __getattr__(name: str) -> Callable[[], list[LayerTuple]]:
    """Return the opener of a sample, by the name that the manifest has."""
    if name not in sample_names():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _opener(name)
