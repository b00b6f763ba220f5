"""The overlay picture of a result."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.cli.picture import draw


@pytest.mark.parametrize("shape", [(2, 16_000), (16_000, 2), (1, 5000), (3, 3)])
def test_long_thin_images_are_drawn(shape):
    picture = draw(np.zeros((*shape, 3), np.float32), np.zeros(shape, np.uint8), [])
    assert min(picture.shape[:2]) >= 1 and picture.shape[2] == 3
