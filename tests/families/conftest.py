from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch


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
