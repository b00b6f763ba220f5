"""The tables of parameters, from which every face takes names, types, defaults, ranges and words.

A table is a ``dict[str, Parameter]`` in the order in which its parameters are shown. What is read
from it: defaults and range checks of the Python API, the options of the command line
(`cli/generated.py`), and the fields of the widgets. A parameter that is added to a table appears
on all of them.

================ ==================================================================
table            parameters of
================ ==================================================================
`EVERYTHING`     finding and filtering candidates: `segment_everything`, and with it
                 `segment_large` and `segment_stack`
`RUN`            what these three are told besides: ``mode`` and ``policy``
`LINKING`        joining planes: `segment_stack`
`FOLLOWING`      following prompted objects: `propagate`
`TILING`         cutting into tiles and working on them: `segment_large`
`PROMPTING`      masks of prompted objects: `Segmenter`, ``napari-sam segment``
================ ==================================================================

A form is made from `Parameter`'s fields: ``kind`` with ``optional`` gives the annotation,
``low``, ``high``, ``choices`` and ``step`` the editor, ``title`` the label, ``help`` and ``unit``
the tooltip. ``None`` as a value always means "not given": what acts then is ``default_in(mode)``,
or, where that is None too, what ``otherwise`` says.

The folder imports nothing but the standard library, so that ``napari-sam --help`` stays fast.
"""

from .parameter import Parameter, check_names, check_values
from .tables import EVERYTHING, FOLLOWING, LINKING, MODES, POLICIES, PROMPTING, RUN, TILING

__all__ = [
    "EVERYTHING",
    "FOLLOWING",
    "LINKING",
    "MODES",
    "POLICIES",
    "PROMPTING",
    "Parameter",
    "RUN",
    "TILING",
    "check_names",
    "check_values",
]
