"""Fixtures of the session tests: a tiny real model, and an image of noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from napari_segment_anything.engine import Predictor

from ..tiny import tiny_model


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model():
    return tiny_model()


@pytest.fixture
def predictor(model):
    return Predictor(model)


@pytest.fixture(scope="session")
def image():
    return np.random.default_rng(0).integers(0, 256, (120, 150), dtype=np.uint8)
