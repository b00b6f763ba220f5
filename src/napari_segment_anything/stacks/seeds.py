"""Prompts on planes, as people give them, to masks that objects are followed from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import Ask, PlacedMask, Predictor, Prompts, Segmenter, Views, bounding_box
from ..errors import PromptError
from ..progress import finish
from .volume import Volume


@dataclass(frozen=True, slots=True)
class Seed:
    """What was given for one object on one plane: prompts to be decoded, or its mask.

    Parameters
    ----------
    prompts : Prompts or None
        Of one object, in pixels of the plane.
    mask : PlacedMask or None
        Not decoded again.
    key : str
        Equal for equal seeds.
    """

    prompts: Prompts | None
    mask: PlacedMask | None
    key: str

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Its row_min, col_min, row_max, col_max in pixels of the plane."""
        asks = [] if self.prompts is None else Ask.each(self.prompts)
        mask = [] if self.mask is None else [np.array(self.mask.window.box)]
        return bounding_box(*(np.array(ask.extent()) for ask in asks), *mask)


Seeds = dict[int, dict[int, Seed]]
"""Seeds of each plane and object: {plane: {object: seed}}."""
SeedSegmenter = Callable[[int, Mapping[int, Seed]], list[tuple[PlacedMask, float]]]
"""Segments what seeds with prompts name on a plane, by object; returns mask and predicted IoU of
each, an empty mask where nothing was found."""


def read_seeds(prompts_by_slice: Any, volume: Volume) -> Seeds:
    """Take prompts as users give them.

    Parameters
    ----------
    prompts_by_slice : mapping of int to Prompts, mapping, or array
        For a plane `Prompts`, whose first object is 1; or {object: prompts}, where prompts are
        `Prompts` of one object, a mapping with "points", "labels", "box", or a bool mask (rows,
        columns); or a label image (rows, columns), a bool one being object 1.
    volume : Volume
        Planes may be negative: counted from the end.

    Raises
    ------
    PromptError
        If they are something else, or do not fit the volume.
    """
    if not isinstance(prompts_by_slice, Mapping):
        raise PromptError(
            "prompts_by_slice maps planes to prompts, such as {12: Prompts.from_points(...)}, "
            f"not {type(prompts_by_slice).__name__}"
        )
    seeds: Seeds = {}
    for key, given in prompts_by_slice.items():
        plane = _whole(key, "a plane")
        if not -volume.count <= plane < volume.count:
            raise PromptError(f"plane {plane} lies outside the volume, which has {volume.count}")
        plane %= volume.count
        if plane in seeds:
            raise PromptError(f"plane {plane} has prompts twice")
        found = _plane_seeds(given, plane, volume)
        if found:
            seeds[plane] = found
    if not seeds:
        raise PromptError("there are no prompts; give points, a box or a mask on a plane")
    return dict(sorted(seeds.items()))


def _whole(value: Any, what: str) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise PromptError(f"{what} is a whole number, not {value!r}")
    return int(value)


def _plane_seeds(given: Any, plane: int, volume: Volume) -> dict[int, Seed]:
    shape = volume.plane_shape
    where = f"on plane {plane}"
    if isinstance(given, Prompts):
        return {
            number: _prompt_seed(one, shape, f"object {number} {where}")
            for number, one in enumerate(given, start=1)
        }
    if isinstance(given, Mapping):
        seeds = {}
        for key, value in given.items():
            number = _whole(key, "an object's id")
            if not 0 < number < 2**32:
                raise PromptError(f"an object's id is between 1 and 4294967295, not {number}")
            seeds[number] = _one_seed(value, shape, f"object {number} {where}")
        return seeds
    array = np.asarray(given)
    if array.dtype.kind not in "biu":
        raise PromptError(
            f"{where}: give Prompts, {{object: prompts}}, or a label image of integers, "
            f"not {type(given).__name__}"
        )
    if array.shape != shape:
        raise PromptError(f"the label image {where} has the shape {array.shape}, the plane {shape}")
    if array.dtype.kind == "i" and array.size and int(array.min()) < 0:
        raise PromptError(f"the label image {where} has negative labels")
    found = (_mask_seed(array == i) for i in np.unique(array) if i)
    ids = (int(i) for i in np.unique(array) if i)
    return {i: seed for i, seed in zip(ids, found, strict=True) if seed is not None}


def _one_seed(value: Any, shape: tuple[int, int], what: str) -> Seed:
    if isinstance(value, Prompts):
        return _prompt_seed(value, shape, what)
    if isinstance(value, Mapping):
        return _prompt_seed(Prompts.from_objects([value]), shape, what)
    array = np.asarray(value)
    if array.dtype != np.bool_ or array.shape != shape:
        raise PromptError(
            f"{what}: give Prompts, a mapping with points, labels and box, or a bool mask of shape "
            f"{shape}, not {array.dtype} of shape {array.shape}"
        )
    seed = _mask_seed(array)
    if seed is None:
        raise PromptError(f"{what}: the mask is empty")
    return seed


def _mask_seed(mask: NDArray[np.bool_]) -> Seed | None:
    cut = PlacedMask.of(mask)
    if cut.empty:
        return None
    return Seed(None, cut, f"mask {cut.window} {cut.bits.hex()}")


def _prompt_seed(prompts: Prompts, shape: tuple[int, int], what: str) -> Seed:
    from ..engine import Window

    if len(prompts) != 1:
        raise PromptError(f"{what}: these are prompts of {len(prompts)} objects; give one each")
    if prompts.has_masks.any():
        raise PromptError(f"{what}: give a bool mask in place of low-resolution logits")
    try:
        prompts.check(Window.full(shape), shape)
    except PromptError as error:
        raise PromptError(f"{what}: {error}") from error
    return Seed(prompts, None, "prompts " + json.dumps(prompts.to_dict(), sort_keys=True))


def segment_seeds(
    volume: Volume,
    stack: tuple[int, ...],
    predictor: Predictor,
    window_size: int | None,
    plane: int,
    seeds: Mapping[int, Seed],
) -> list[tuple[PlacedMask, float]]:
    """Segment what seeds with prompts name on a plane, as every face does; see `SeedSegmenter`.

    Parameters
    ----------
    volume : Volume
    stack : tuple of int
        Which stack of the volume.
    predictor : Predictor
    window_size : int, optional
        As for `Segmenter`.
    plane : int
    seeds : mapping of int to Seed
        With prompts, by object.
    """
    image, options = volume.bare(plane, stack)
    asks = Ask.each(Prompts.concatenate(s.prompts for s in seeds.values() if s.prompts))
    views = Views(predictor, image, **options)
    found = finish(Segmenter(predictor, window_size=window_size).steps(views, asks))
    return [(each.mask, each.score) for each in found or []]
