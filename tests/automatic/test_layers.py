"""Which layers of an image are looked at, and how they are covered."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from napari_segment_anything.automatic.layers import LayerFound, next_layer, plan_layer


@pytest.mark.parametrize("shape", [(520, 696), (1024, 1024), (2048, 2048), (300, 2000), (40, 1030)])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_layer_covers_the_image_in_passes_of_one_size_that_overlap(shape, number) -> None:
    layer = plan_layer(number, shape, 512, 512 / 1500)
    seen = np.zeros(shape, int)
    for window in layer.windows:
        assert window.shape == layer.windows[0].shape
        seen[window.slices] += 1
    assert seen.min() == 1
    scale = layer.side / max(layer.windows[0].shape)
    assert max(layer.windows[0].shape) * scale <= 784 + 2
    for axis, start in enumerate(("row", "col")):
        starts = sorted({getattr(window, start) for window in layer.windows})
        side = layer.windows[0].shape[axis]
        assert all((a + side - b) * scale > 100 for a, b in itertools.pairwise(starts))


def test_reduced_layers_take_small_frames() -> None:
    whole = plan_layer(0, (256, 320), 512, 0.3)
    assert (whole.side, whole.mirrored) == (None, 0)
    assert [plan_layer(n, (256, 320), 512, 0.3).side for n in (-1, -2)] == [256, 128]


def test_layers_are_tried_where_the_sizes_of_objects_ask_for_them() -> None:
    small, medium, large = (
        LayerFound(10, typical, typical, typical) for typical in (12.0, 40.0, 90.0)
    )
    assert next_layer({0: medium}, -2, 2) is None
    assert next_layer({0: small}, -2, 2) == 1
    assert next_layer({0: large}, -2, 2) == -1
    assert next_layer({0: small}, -2, 0) is None
    assert next_layer({0: LayerFound(10, 8, 40, 90)}, 0, 2) == 1  # a few are tiny
    # on from the better of two, and not beyond the worse
    assert next_layer({0: small, 1: LayerFound(20, 15, 18, 25)}, -2, 2) == 2
    assert next_layer({0: small, 1: LayerFound(5, 15, 18, 25)}, -2, 2) is None
    # next to nothing found says little about sizes
    assert next_layer({0: LayerFound(0.1, 12, 12, 12)}, -2, 2) == 1
    nothing = LayerFound(0.1, 40, 40, 40)
    tried = {0: nothing}
    while (number := next_layer(tried, -2, 3)) is not None:
        tried[number] = nothing
    assert set(tried) == {-2, -1, 0, 1, 2, 3}
