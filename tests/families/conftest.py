from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_segment_anything.engine import Embedding, Model, Predictor, load_model
from tests.families.cases import CASES
from tests.families.pipeline import Pipeline


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """Not square, RGB, with structure at several scales."""
    rng = np.random.default_rng(3)
    coarse = np.kron(rng.integers(0, 200, (9, 15, 3)), np.ones((10, 10, 1)))
    return (coarse + rng.integers(0, 56, coarse.shape)).astype(np.uint8)


SLOW = ("edgetam_video", "sam2_video", "sam3_tracker_video")
"""Images go through the same modules as in the model of the same name without memory."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(c, marks=pytest.mark.slow if c in SLOW else ()) for c in CASES],
)
def case(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(case: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return CASES[case].write(tmp_path_factory.mktemp("models") / case)


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def predictor(model: Model) -> Predictor:
    return Predictor(model)


@pytest.fixture(scope="module")
def embedding(predictor: Predictor, photo: np.ndarray) -> Embedding:
    return predictor.embed(photo, contrast_limits=(0, 255))


@pytest.fixture(scope="module")
def pipeline(case: str, folder: Path) -> Pipeline:
    return CASES[case].pipeline(folder)
