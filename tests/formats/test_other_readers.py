"""Label stores in the hands of others: five public readers of OME-Zarr open each of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_segment_anything.formats import create_labels
from napari_segment_anything.large import segment_large
from napari_segment_anything.progress import finish

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # theirs
    pytest.mark.slow,
]
SIZES = {"T": 2, "Q": 3, "Z": 4, "Y": 60, "X": 80}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    yield
    logging.disable(before)


def some_labels(shape: tuple[int, ...]) -> np.ndarray:
    labels = np.zeros(shape, np.uint32)
    labels[..., 5:40, 10:30] = 7
    labels[..., 45:55, 40:79] = 70_000
    return labels


def by_ngio(store: Path, name: str) -> np.ndarray:
    ngio = pytest.importorskip("ngio")
    container = ngio.open_ome_zarr_container(str(store))
    assert name in container.list_labels()
    assert container.get_image().shape[-2:] == container.get_label(name).shape[-2:]
    return container.get_label(name).get_as_numpy()


def by_bioio(store: Path, name: str) -> np.ndarray:
    pytest.importorskip("bioio")
    reader = pytest.importorskip("bioio_ome_zarr").Reader
    from bioio import BioImage

    assert BioImage(str(store), reader=reader).data.ndim == 5
    return BioImage(str(store / "labels" / name), reader=reader).data


def by_yaozarrs(store: Path, name: str) -> np.ndarray:
    yaozarrs = pytest.importorskip("yaozarrs")
    yaozarrs.validate_zarr_store(str(store))
    group = yaozarrs.open_group(str(store))
    assert type(group.ome_metadata()).__name__ == "Image"
    assert type(group["labels"][name].ome_metadata()).__name__ == "LabelImage"
    return np.asarray(group["labels"][name]["0"].to_zarr_python()[...])


def by_napari(store: Path, name: str) -> np.ndarray:
    plugin = pytest.importorskip("napari_ome_zarr")
    layers = plugin.napari_get_reader(str(store))(str(store))
    assert next(kind for _, _, kind in layers) == "image"
    (found,) = [data for data, about, kind in layers if kind == "labels" and name in about["name"]]
    return np.asarray(found[0] if isinstance(found, (list, tuple)) else found)


def by_ome_zarr(store: Path, name: str) -> np.ndarray:
    pytest.importorskip("ome_zarr")
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    nodes = list(Reader(parse_url(str(store)))())
    (found,) = [node for node in nodes if str(node.zarr).split(" ")[0].endswith(f"/{name}")]
    return np.asarray(found.data[0])


READERS = [by_ngio, by_bioio, by_yaozarrs, by_napari, by_ome_zarr]


def of_its_own(axes: str, form: int) -> Callable[[Path], np.ndarray]:
    """A store with nothing but labels, of an image elsewhere that is no Zarr."""

    def make(path: Path) -> np.ndarray:
        labels = some_labels(tuple(SIZES[axis] for axis in axes))
        group = create_labels(
            path, "cells", shape=labels.shape, axes=axes, zarr_format=form,
            source=str(path.parent / "slide.tif"),
            scale=[0.5] * labels.ndim, units=[{"T": "second"}.get(a, "micrometer") for a in axes],
        )  # fmt: skip
        group.array[...] = labels
        finish(group.build_pyramid(20))
        return labels

    return make


def of_an_image(version: str, levels: int) -> Callable[[Path], np.ndarray]:
    """Labels in an image's own store, named by its absolute path as a run names it."""

    def make(path: Path) -> np.ndarray:
        old = version == "0.4"
        group = zarr.create_group(path, zarr_format=2 if old else 3)
        pixels = np.arange(2 * 60 * 80, dtype=np.uint16).reshape(2, 60, 80)
        datasets = []
        for level in range(levels):
            names = {} if old else {"dimension_names": ("c", "y", "x")}
            options = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if old else {}
            data = pixels[:, :: 2**level, :: 2**level]
            group.create_array(f"s{level}", data=data, **names, **options)
            scale = {"type": "scale", "scale": [1, 0.5 * 2**level, 0.25 * 2**level]}
            datasets.append({"path": f"s{level}", "coordinateTransformations": [scale]})
        axes = [{"name": "c", "type": "channel"}]
        axes += [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
        entry = {"name": "image", "axes": axes, "datasets": datasets}
        if old:
            group.attrs["multiscales"] = [{**entry, "version": "0.4"}]
        else:
            group.attrs["ome"] = {"version": "0.5", "multiscales": [entry]}
        labels = some_labels((60, 80))
        cells = create_labels(path, "cells", shape=(60, 80), axes="YX", source=str(path))
        cells.array[...] = labels
        finish(cells.build_pyramid())
        assert len(cells.levels) == levels
        return labels

    return make


def of_two(path: Path) -> np.ndarray:
    labels = of_its_own("YX", 3)(path)
    second = create_labels(path, "nuclei", shape=(60, 80), axes="YX")
    second.array[...] = 3
    finish(second.build_pyramid(20))
    return labels


def of_replaced(path: Path) -> np.ndarray:
    """Labels that were made anew in another shape."""
    of_its_own("ZYX", 3)(path)
    labels = some_labels((60, 80))
    group = create_labels(path, "cells", shape=(60, 80), axes="YX", overwrite=True)
    group.array[...] = labels
    return labels


def of_a_run(path: Path) -> np.ndarray:
    rng = np.random.default_rng(2)
    rows, cols = np.indices((150, 180))
    image = 40 + 9 * rng.random((150, 180))
    for row, col in rng.integers(20, 130, (12, 2)):
        image[np.hypot(rows - row, cols - col) < 9] += 120
    result = segment_large(
        image.astype(np.uint8), path, label="cells", mode="instances", tile=128, overlap=32,
        crop_n_layers=0, reduced_n_layers=0,
    )  # fmt: skip
    assert result.count
    return np.asarray(result.labels[...])


STORES = {
    **{f"{axes} {form}": of_its_own(axes, form) for form in (2, 3)
       for axes in ("YX", "QYX", "TZYX", "QZYX", "TQZYX")},
    **{f"image {version}, {levels} levels": of_an_image(version, levels)
       for version in ("0.4", "0.5") for levels in (1, 3)},
    "two": of_two,
    "replaced": of_replaced,
    "run": of_a_run,
}  # fmt: skip


@pytest.mark.parametrize("kind", STORES)
def test_every_label_store_opens_in_five_readers(tmp_path, kind) -> None:
    path = tmp_path / "x.ome.zarr"
    labels = STORES[kind](path)
    for reader in READERS:
        found = reader(path, "cells")
        assert np.array_equal(found.reshape(labels.shape), labels), reader.__name__
    source = dict(zarr.open_group(path / "labels" / "cells", mode="r").attrs)
    source = source.get("ome", source)["image-label"]["source"]
    assert source["image"] == "../../"
    assert source.get("file", "../../../slide.tif") == "../../../slide.tif"
