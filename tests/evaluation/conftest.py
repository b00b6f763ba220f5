"""A model that answers with discs, and a folder of images of discs."""

from __future__ import annotations

import numpy as np
import pytest

from ..tiny import tiny_model


def discs(seed: int, shape=(96, 128), count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """An image of bright discs, and its labels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint16)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    for label in range(1, count + 1):
        row, col = rng.integers(12, shape[0] - 12), rng.integers(12, shape[1] - 12)
        disc = np.hypot(rows - row, cols - col) < rng.integers(6, 11)
        labels[disc & (labels == 0)] = label
    image = np.where(labels > 0, 180, 40) + rng.integers(0, 20, shape)
    return image.astype(np.uint8), labels


@pytest.fixture
def model():
    return tiny_model()


@pytest.fixture
def data(tmp_path):
    """Two sets with an index: one of two kinds, one with a stack."""
    import json

    root = tmp_path / "data"
    index = {"first": [], "second": []}
    for number in range(4):
        image, labels = discs(number)
        (root / "first").mkdir(parents=True, exist_ok=True)
        np.savez(root / "first" / f"{number}.npz", image=image, labels=labels)
        kind = "bright" if number < 2 else "dark"
        index["first"].append({"file": f"{number}.npz", "modality": kind, "shape": [96, 128]})
    stack = [discs(10 + number, (64, 64), 2) for number in range(5)]
    (root / "second").mkdir()
    np.savez(
        root / "second" / "stack.npz",
        image=np.stack([image for image, _ in stack]),
        labels=np.stack([labels for _, labels in stack]),
    )
    index["second"].append({"file": "stack.npz"})
    (root / "index.json").write_text(json.dumps(index))
    return root
