"""Every face has the parameters of the tables: the Python API and the command line."""

from __future__ import annotations

import inspect
import math
import re
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

from napari_segment_anything.automatic import CandidateTable, segment_everything
from napari_segment_anything.automatic.parameters import Filters
from napari_segment_anything.cli.everything import everything
from napari_segment_anything.cli.generated import default_text
from napari_segment_anything.cli.large import large
from napari_segment_anything.cli.segment import segment
from napari_segment_anything.cli.stack import stack
from napari_segment_anything.engine import Segmenter
from napari_segment_anything.large import segment_large_steps
from napari_segment_anything.parameters import (
    EVERYTHING,
    FOLLOWING,
    LINKING,
    PROMPTING,
    REFINING,
    RUN,
    TILING,
)
from napari_segment_anything.refining import refine_steps
from napari_segment_anything.stacks.propagation import propagate_steps
from napari_segment_anything.stacks.segment import segment_stack_steps

TABLES = {
    "everything": EVERYTHING, "run": RUN, "linking": LINKING, "following": FOLLOWING,
    "tiling": TILING, "prompting": PROMPTING, "refining": REFINING,
}  # fmt: skip
IMAGE = {"axes", "channel_axis", "rgb", "channels", "contrast_limits", "predictor", "parameters"}
STORE = {"output", "label", "overwrite"}


@pytest.mark.parametrize(
    ("function", "tables", "others"),
    [
        (
            segment_stack_steps,
            (RUN, LINKING),
            IMAGE | STORE | {"volume", "model", "axis", "finder"},
        ),
        (
            propagate_steps,
            (FOLLOWING,),
            IMAGE - {"parameters"}
            | STORE
            | {"volume", "prompts_by_slice", "model", "axis", "at", "objects", "previous"},
        ),
        (
            segment_large_steps,
            (RUN, TILING),
            IMAGE - {"rgb", "predictor"}
            | STORE
            | {"image", "model", "device", "precision", "instance_decoder"},
        ),
        (Segmenter, (PROMPTING,), {"predictor"}),
        (
            refine_steps,
            (REFINING,),
            {"image", "objects", "model", "predictor", "min_mask_region_area", "window_size"}
            | {"image_name", "options"},
        ),
    ],
)
def test_the_python_api_has_the_tables(function, tables, others) -> None:
    """Names and defaults are those of the tables; nothing else is a parameter of the method."""
    signature = inspect.signature(function).parameters
    names = [name for table in tables for name in table]
    assert set(signature) == {*names, *others}
    for table in tables:
        for name, parameter in table.items():
            assert signature[name].default == parameter.default, name


def test_everything_mode_has_them_by_name() -> None:
    assert inspect.signature(segment_everything).parameters["mode"].default == RUN["mode"].default
    policy = inspect.signature(CandidateTable.resolve).parameters["policy"]
    assert policy.default == RUN["policy"].default
    for name, parameter in EVERYTHING.items():
        assert (name in Filters.__dataclass_fields__) == parameter.filter


@pytest.mark.parametrize(
    ("verb", "tables"),
    [
        (everything, (RUN, EVERYTHING)),
        (large, (RUN, EVERYTHING, TILING)),
        (stack, (LINKING, FOLLOWING, RUN, EVERYTHING)),
        (segment, (PROMPTING,)),
    ],
)
def test_every_parameter_has_its_option(verb, tables) -> None:
    """Names, kinds and meaning are those of the Python interface."""
    options = inspect.signature(verb).parameters
    seen: set[str] = set()
    for table in tables:
        for name, parameter in table.items():
            # floors keep rejected masks for a later refilter, which a finished program has none of
            if name.endswith("_floor"):
                assert name not in options
                continue
            annotation = options[name].annotation
            option = annotation.__metadata__[0]
            kinds = [kind for kind in get_args(annotation.__origin__) if kind is not type(None)]
            if name == "multimask":
                continue
            assert options[name].default is None
            if parameter.choices:
                assert get_origin(kinds[0]) is Literal
                assert get_args(kinds[0]) == parameter.choices
            elif parameter.kind is object:
                assert kinds[0] in (str, Path)
            else:
                assert kinds == [parameter.kind]
            if name not in seen:  # its option begins with what the first table says
                text = f"{parameter.help} [default: {default_text(parameter)}]"
                dashed = re.sub("(?<=[a-z])_(?=[a-z])", "-", text)
                assert option.help.removeprefix("JSON file. ").startswith(dashed[:20])
            seen.add(name)


@pytest.mark.parametrize("name", list(TABLES))
def test_every_parameter_is_fit_for_a_form(name) -> None:
    for parameter in TABLES[name].values():
        assert parameter.help.endswith("."), parameter
        assert parameter.title
        assert not parameter.title.endswith(".")
        assert parameter.default is not None or parameter.otherwise
        if parameter.kind in (int, float):
            assert not math.isinf(parameter.low)
            parameter.check("it", parameter.default)
