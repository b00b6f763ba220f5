"""A small image in many tiles, and what a run without trouble makes of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from skimage.data import coins

from napari_segment_anything import load_model
from napari_segment_anything.large import segment_large

SETTINGS = {"tile": 128, "overlap": 32, "mode": "instances", "crop_n_layers": 0}


@pytest.fixture(scope="session")
def model():
    return load_model()


@pytest.fixture(scope="session")
def image():
    return coins()[:240, :200].copy()


@pytest.fixture(scope="session")
def stored(image, tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "coins.zarr"
    zarr.create_array(path, data=image, chunks=(60, 60))
    return path


@pytest.fixture(scope="session")
def calm(stored, model, tmp_path_factory):
    """The same image segmented without anything in the way."""
    result = segment_large(stored, tmp_path_factory.mktemp("calm") / "x.zarr", model, **SETTINGS)
    return SimpleNamespace(result=result, labels=np.asarray(result.labels[...]))


@pytest.fixture(scope="session")
def cluster():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as here,
        distributed.Client(here) as client,
    ):
        yield client
