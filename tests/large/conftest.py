"""A small image in many tiles, and what a run without trouble makes of it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from skimage.data import coins

from napari_segment_anything.large import segment_large

from ..tiny import tiny_model
from .helpers import bright_objects

SETTINGS = {"tile": 128, "overlap": 32}
INSTANCES = {**SETTINGS, "mode": "instances", "crop_n_layers": 0}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def model():
    return tiny_model()


@pytest.fixture(scope="session")
def segment():
    """What segments windows in most tests: no network, but a function."""
    return bright_objects


@pytest.fixture(scope="session")
def image():
    return coins()[:240, :200].copy()


@pytest.fixture(scope="session")
def stored(image, tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "coins.zarr"
    zarr.create_array(path, data=image, chunks=(60, 60))
    return path


@pytest.fixture(scope="session")
def calm(stored, segment, tmp_path_factory):
    """The same image segmented without anything in the way."""
    result = segment_large(stored, tmp_path_factory.mktemp("calm") / "x.zarr", segment, **SETTINGS)
    return SimpleNamespace(result=result, labels=np.asarray(result.labels[...]))


@pytest.fixture(scope="package")
def cluster():
    """Two workers, no longer than they are needed: idle ones keep the processor busy, too."""
    distributed = pytest.importorskip("distributed")
    with pytest.MonkeyPatch.context() as patch:
        # workers import functions of the tests
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), str(ROOT)]))
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
            ) as here,
            distributed.Client(here) as client,
        ):
            yield client
