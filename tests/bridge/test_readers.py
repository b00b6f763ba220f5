"""OME-Zarr stores that hold labels beside their image: opened by the plugin, and by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

pytest.importorskip("napari", reason="napari is not installed")

from napari_segment_anything.bridge.readers import ome_zarr_reader
from napari_segment_anything.engine import Predictor
from napari_segment_anything.errors import FormatError
from napari_segment_anything.formats.ome_zarr import create_labels
from napari_segment_anything.large import segment_large

from ..bright import bright_model
from ..large.helpers import bright_objects

pytestmark = pytest.mark.filterwarnings("default")

PLUGIN = "segment-anything-napari"
SIZE = {"z": 0.5, "y": 0.25, "x": 0.25}


def disks(size: int = 192) -> np.ndarray:
    rows, cols = np.mgrid[:size, :size]
    centre = (np.arange(size // 48) * 48 + 24)[None]
    away = [np.abs(axis[..., None] - centre).min(-1) for axis in (rows, cols)]
    return np.where(np.hypot(*away) < 15, 180, 30).astype(np.uint8)


def store(path: Path, version: str, axes: str, pixels: np.ndarray, **more) -> str:
    """Write an OME-Zarr image with two levels, as other programs do."""
    form = 3 if version == "0.5" else 2
    group = zarr.open_group(str(path), mode="w", zarr_format=form)
    kinds = {"t": "time", "c": "channel"}
    datasets = []
    for level, step in enumerate((1, 2)):
        data = pixels[..., ::step, ::step]
        chunks = (*(1 for _ in data.shape[:-2]), 64, 64)
        extra = {"dimension_names": list(axes)} if form == 3 else {}
        keys = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if form == 2 else {}
        array = group.create_array(
            str(level), shape=data.shape, chunks=chunks, dtype=data.dtype, **extra, **keys
        )
        array[...] = data
        scale = [SIZE.get(a, 1.0) * (step if a in "yx" else 1) for a in axes]
        moved = [float(10 * (a in "yx")) for a in axes]
        datasets.append(
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": scale},
                    {"type": "translation", "translation": moved},
                ],
            }
        )
    entries = [{"name": a, "type": kinds.get(a, "space")} for a in axes]
    for entry in entries:
        if entry["type"] == "space":
            entry["unit"] = "micrometer"
    fields = {"multiscales": [{"name": "cells", "axes": entries, "datasets": datasets}], **more}
    if form == 3:
        group.attrs["ome"] = {"version": "0.5", **fields}
    else:
        fields["multiscales"][0]["version"] = "0.4"
        group.attrs.update(fields)
    return str(path)


OMERO = {
    "channels": [
        {"label": "DAPI", "color": "0000FF", "window": {"start": 10, "end": 200}, "active": True},
        {"label": "GFP", "color": "00FF00", "window": {"start": 0, "end": 90}, "active": False},
    ]
}


@pytest.fixture(scope="module", params=["0.4", "0.5"])
def segmented(request, tmp_path_factory) -> str:
    """Return an image in which a tiled run has left its labels."""
    path = tmp_path_factory.mktemp("stores") / "cells.ome.zarr"
    place = store(path, request.param, "yx", disks())
    result = segment_large(place, place, bright_objects, tile=128, overlap=32, workers=1)
    assert result.count >= 9
    return place


@pytest.fixture(autouse=True)
def known():
    """Return npe2's plugins, as napari finds them when it starts."""
    npe2 = pytest.importorskip("npe2")
    plugins = npe2.PluginManager.instance()
    plugins.discover()
    return plugins


def placed_alike(image, labels) -> None:
    assert np.allclose(image.scale[-2:], 0.25) and np.allclose(labels.scale[-2:], 0.25)
    assert np.allclose(image.translate[-2:], labels.translate[-2:])
    assert np.allclose(labels.translate[-2:], 10)


def test_the_plugin_reads_the_image_and_its_labels(segmented, viewer, known) -> None:
    assert PLUGIN in {reader.plugin_name for reader in known.iter_compatible_readers([segmented])}
    image, labels = viewer.open(segmented, plugin=PLUGIN)
    assert (image.name, labels.name) == ("cells", "cells segment_anything")
    assert type(labels).__name__ == "Labels" and image.multiscale
    placed_alike(image, labels)
    assert {str(unit) for unit in labels.units} == {"micrometer"}
    assert np.array_equal(np.asarray(image.data[0]), disks())
    assert len(np.unique(np.asarray(labels.data[0] if labels.multiscale else labels.data))) > 9
    assert image.source.path == segmented


def test_napari_ome_zarr_reads_it_too(segmented, viewer) -> None:
    pytest.importorskip("napari_ome_zarr", reason="napari-ome-zarr is not installed")
    layers = viewer.open(segmented, plugin="napari-ome-zarr")
    kinds = [type(layer).__name__ for layer in layers]
    assert sorted(kinds) == ["Image", "Labels"]
    image, labels = (layers[kinds.index(kind)] for kind in ("Image", "Labels"))
    assert np.array_equal(np.asarray(image.data[0]), disks())
    assert len(np.unique(np.asarray(labels.data[0] if labels.multiscale else labels.data))) > 9
    assert np.allclose(image.scale[-2:], labels.scale[-2:])


def test_what_is_open_can_be_segmented_again(segmented, viewer) -> None:
    from napari_segment_anything.bridge import attach
    from napari_segment_anything.bridge.runs.large import default_store

    image, _ = viewer.open(segmented, plugin=PLUGIN)
    assert default_store(image) == segmented
    session = attach(viewer, predictor=Predictor(bright_model()), image=image)
    session.add_point((72, 72))
    assert session.preview.mask.any()
    session.close()


def test_channels_labels_and_their_places(viewer, tmp_path) -> None:
    pixels = np.stack([[disks(), disks() // 2]] * 3)
    place = store(tmp_path / "stack.zarr", "0.5", "zcyx", pixels, omero=OMERO)
    create_labels(place, "nuclei", shape=(3, 192, 192), axes="zyx").array[:, 5:9, 5:9] = 7
    create_labels(place, "cells", shape=(3, 192, 192), axes="zyx")
    first, second, nuclei, cells = viewer.open(place, plugin=PLUGIN)
    assert (first.name, second.name) == ("stack DAPI", "stack GFP")
    assert first.visible and not second.visible
    assert tuple(first.contrast_limits) == (10, 200)
    assert first.data[0].shape == (3, 192, 192) and np.allclose(first.scale, (0.5, 0.25, 0.25))
    assert type(first.data[0]).__module__.startswith("dask")
    assert np.array_equal(np.asarray(second.data[0][1]), disks() // 2)
    assert (nuclei.name, cells.name) == ("stack nuclei", "stack cells")
    assert np.allclose(nuclei.scale, first.scale) and np.allclose(nuclei.translate, first.translate)
    assert np.asarray(nuclei.data)[0, 6, 6] == 7


def test_stores_that_are_no_image(tmp_path) -> None:
    zarr.open_array(str(tmp_path / "plain.zarr"), mode="w", shape=(8, 8), chunks=(8, 8))
    zarr.open_group(str(tmp_path / "plate.zarr"), mode="w").attrs["plate"] = {"wells": []}
    (tmp_path / "empty.zarr").mkdir()
    for name in ("plain.zarr", "plate.zarr", "empty.zarr", "none.zarr"):
        assert ome_zarr_reader(str(tmp_path / name)) is None
    assert ome_zarr_reader([str(tmp_path / "plain.zarr")]) is None
    create_labels(tmp_path / "only.zarr", "cells", shape=(16, 16), axes="yx")
    for place in ("only.zarr", "only.zarr/labels", "only.zarr/labels/cells"):
        ((_, meta, kind),) = ome_zarr_reader(str(tmp_path / place))(str(tmp_path / place))
        assert (meta["name"], kind) == ("cells", "labels")
    broken = zarr.open_group(str(tmp_path / "broken.zarr"), mode="w")
    broken.attrs["ome"] = {"version": "0.5", "multiscales": [{"datasets": [{"path": "9"}]}]}
    reader = ome_zarr_reader(str(tmp_path / "broken.zarr"))
    with pytest.raises(FormatError, match="damaged"):
        reader(str(tmp_path / "broken.zarr"))
