"""Tables of parameters: names, types, defaults, ranges and descriptions, for every interface.

A table is a ``dict[str, Parameter]`` in display order. The Python API takes defaults and range
checks from it, the command line its options (`cli/generated.py`), and the widgets their fields. A
parameter that is added to a table appears in all of them.

================ ==================================================================
table            parameters of
================ ==================================================================
`EVERYTHING`     finding and filtering candidates: `segment_everything`, and with it
                 `segment_large` and `segment_stack`
`FINDING`        likeness to words or examples: `find`
`RUN`            ``mode`` and ``policy`` of these three
`LINKING`        joining planes: `segment_stack`
`FOLLOWING`      following prompted objects: `propagate`
`TILING`         tiles, and where they are segmented: `segment_large`
`PROMPTING`      masks of prompted objects: `Segmenter`, ``napari-sam segment``
`REFINING`       objects of other programs as prompts: `refine`, ``napari-sam refine``
`PROJECT`        settings of a project: `Project`, ``napari-sam project``
`AUDIT`          drawing an audit: `Audit.draw`, ``napari-sam project audit``
`LEARNING`       learning from a project: `learn_steps`, ``napari-sam project learn``
================ ==================================================================

Forms are made from the fields of `Parameter`: the annotation from ``kind`` and ``optional``, the
editor from ``low``, ``high``, ``choices`` and ``step``, the label from ``title``, the tooltip from
``help`` and ``unit``. The value ``None`` always means "not given": then ``default_in(mode)`` is
used, or, if that is None as well, what ``otherwise`` describes.

The folder imports only the standard library, so that ``napari-sam --help`` is fast.
"""

from .parameter import Parameter, check_names, check_values
from .project_tables import AUDIT, LEARNING, PROJECT
from .tables import (
    EVERYTHING,
    FINDING,
    FOLLOWING,
    LINKING,
    MODES,
    POLICIES,
    PROMPTING,
    REFINING,
    RUN,
    TILING,
)

__all__ = [
    "AUDIT",
    "EVERYTHING",
    "FINDING",
    "FOLLOWING",
    "LEARNING",
    "LINKING",
    "MODES",
    "POLICIES",
    "PROJECT",
    "PROMPTING",
    "Parameter",
    "REFINING",
    "RUN",
    "TILING",
    "check_names",
    "check_values",
]
