from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from napari_segment_anything.engine import Model, Predictor
from napari_segment_anything.network import Sam, SamConfig, ViTConfig

TINY = ViTConfig(
    width=32, depth=2, heads=2, global_blocks=(1,), image_size=128, patch_size=16, window=4
)


class CountingArray:
    """An array that must be indexed, and remembers how many pixels were taken."""

    def __init__(self, array: np.ndarray, chunks: tuple[int, ...] | None = None) -> None:
        self._array = array
        self.shape = array.shape
        self.dtype = array.dtype
        self.reads: list[tuple] = []
        self.pixels = 0
        if chunks is not None:
            self.chunks = chunks

    def __getitem__(self, index: tuple) -> np.ndarray:
        part = self._array[index]
        self.reads.append(index)
        self.pixels += part.size
        return part

    def __array__(self, *args: object, **kwargs: object) -> np.ndarray:
        raise AssertionError("the whole array was asked for")


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Nets this small lose more by waiting for a second thread than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def counting() -> type[CountingArray]:
    return CountingArray


@pytest.fixture(scope="session")
def network() -> Sam:
    torch.manual_seed(0)
    sam = Sam(SamConfig(TINY)).eval().requires_grad_(False)
    for parameter in sam.parameters():  # no tensor zero, so that nothing hides
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return sam


@pytest.fixture(scope="session")
def model(network: Sam) -> Model:
    return Model(network, "tiny", "vit_tiny", "f" * 32, torch.device("cpu"))


@pytest.fixture
def predictor(model: Model) -> Predictor:
    return Predictor(model)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def photo(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (90, 150, 3), dtype=np.uint8)
