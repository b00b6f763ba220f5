"""Sample images: what they are, that they repeat, and that their ground truth is sound."""

from __future__ import annotations

import functools
import subprocess
import sys

import numpy as np
import pytest
from skimage.measure import label as connected

from napari_segment_anything.errors import ImageError, ParameterError
from napari_segment_anything.samples import (
    Sample,
    generate,
    generator_names,
    real,
    sample,
    sample_names,
)
from napari_segment_anything.samples.generators import GENERATORS

whole = functools.cache(sample)
"""A sample of its full size, made once for all tests that only look at it."""
SMALL = {2: (150, 170), 3: (6, 120, 130)}


@pytest.mark.parametrize("name", sample_names())
def test_a_sample_is_what_it_says(name: str) -> None:
    made = whole(f"sample:{name}")
    assert made.name == name
    assert made.image.ndim == len(made.axes) == len(made.scale) == len(made.units)
    assert made.image.dtype in (np.uint8, np.uint16)
    assert made.rgb == made.axes.endswith("S")
    assert made.channel_axis == (made.axes.index("C") if "C" in made.axes else None)
    assert np.ptp(made.image) > 50
    assert made.description
    assert made.licence
    assert made.source
    if made.labels is None:
        assert name not in generator_names()
    else:
        grid = [n for n, a in zip(made.image.shape, made.axes, strict=True) if a in "TZYX"]
        assert list(made.labels.shape) == grid
        assert made.labels.max() >= 10


def check_truth(made: Sample) -> None:
    labels = made.labels
    assert labels is not None
    assert labels.dtype == np.int32
    ids = np.unique(labels)
    assert np.array_equal(ids[ids > 0], np.arange(1, labels.max() + 1))
    planes = labels if made.axes == "TYX" else labels[None]
    for plane in planes:
        pieces = connected(plane, connectivity=1, background=0)
        assert pieces.max() == len(np.unique(plane[plane > 0]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", generator_names())
def test_ground_truth_is_connected_and_numbered(name: str, seed: int) -> None:
    shape = SMALL[len(GENERATORS[name].shape)]
    made = generate(name, shape, seed)
    assert made.labels is not None
    assert made.labels.shape == shape
    check_truth(made)


@pytest.mark.parametrize("name", generator_names())
def test_seeds_repeat_and_differ(name: str) -> None:
    shape = SMALL[len(GENERATORS[name].shape)]
    first, again, other = (generate(name, shape, seed) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert first.lineage == again.lineage
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("name", generator_names())
def test_objects_stand_out_from_the_background(name: str) -> None:
    made = whole(f"sample:{name}")
    assert made.labels is not None
    image = made.image.astype(float)
    if made.rgb or made.channel_axis is not None:
        image = image.mean(axis=2 if made.rgb else 0)
    inside, outside = image[made.labels > 0], image[made.labels == 0]
    assert abs(inside.mean() - outside.mean()) > 0.2 * outside.std() or (
        inside.std() > 1.5 * outside.std()
    )


def test_smallest_shape() -> None:
    for name in generator_names():
        shape = (33, 32) if len(GENERATORS[name].shape) == 2 else (1, 33, 32)
        made = generate(name, shape, 1)
        assert made.labels is not None
        assert made.labels.shape == shape


def test_divisions_have_a_lineage_that_fits_the_tracks() -> None:
    made = sample("divisions")
    assert made.labels is not None
    assert made.lineage
    seen = {
        i: np.flatnonzero((made.labels == i).any(axis=(1, 2)))
        for i in range(1, made.labels.max() + 1)
    }
    children: dict[int, int] = {}
    for child, parents in made.lineage.items():
        (parent,) = parents
        children[parent] = children.get(parent, 0) + 1
        assert seen[child].min() - seen[parent].max() == 1
    assert max(children.values()) == 2
    assert 2 in children.values()


def test_options_are_kept_and_checked() -> None:
    few = generate("nuclei", (200, 200), 0, density=0.05, diameter=20)
    many = generate("nuclei", (200, 200), 0, density=0.3, diameter=20)
    assert few.labels is not None
    assert many.labels is not None
    assert many.labels.max() > 2 * few.labels.max()
    with pytest.raises(ParameterError, match="no option 'size'; it has diameter"):
        generate("nuclei", size=3)
    with pytest.raises(ParameterError, match="'phase' or 'fluorescence'"):
        generate("bacteria", (64, 64), contrast="x")
    with pytest.raises(ParameterError, match="2 sizes"):
        generate("nuclei", (5, 64, 64))
    with pytest.raises(ParameterError, match="at least 32"):
        generate("nuclei", (16, 64))
    with pytest.raises(ParameterError, match="choose one of"):
        generate("nucleii")
    with pytest.raises(ParameterError, match="choose one of coins"):
        sample("coin")


def test_a_picture_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = real._PICTURES["coins"]
    monkeypatch.setitem(
        real._PICTURES, "coins", type(picture)("gone.png", "", "", "")
    )  # fmt: skip
    with pytest.raises(ImageError, match=r"does not include gone\.png"):
        sample("coins")


def test_importing_is_light() -> None:
    code = (
        "import sys, napari_segment_anything.samples, napari_segment_anything.formats;"
        "print([m for m in ('torch', 'napari', 'qtpy', 'pooch') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
