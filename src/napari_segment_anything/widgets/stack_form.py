"""The parameters of following, linking and tracking, by the API's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari.layers import Layer

from ..engine import Model
from ..parameters import FOLLOWING, LINKING, RUN
from ..stacks.methods import METHODS, resolve_method, why_not
from ..stacks.segment import no_solids
from .forms import QtField, fields, plain
from .layer_box import LayerBox
from .qt_helpers import ChoiceButtons
from .sections import Section

TASKS = (
    ("propagate", "Follow", "propagate: follow objects from prompts on some planes, both ways"),
    ("3d", "3-D", "segment_stack, link='3d': every object, from planes along all three axes"),
    ("overlap", "Link", "segment_stack, link='overlap': every object of every plane, linked"),
    ("track", "Track", "segment_stack, link='track': every object of every frame, with divisions"),
)


class StackForm:
    """What to do with a stack, and the parameters of that.

    Parameters
    ----------
    sources : callable
        Returns the layers that prompts may come from.
    """

    def __init__(self, sources: Callable[[], Sequence[Layer]]) -> None:
        self.task = QtField("task", "", ChoiceButtons(TASKS))
        self.task.value = "propagate"
        self.prompts = LayerBox(
            Layer,
            sources,
            name="prompts_by_slice",
            label="Prompts",
            tooltip="<b>prompts_by_slice</b><br>Committed objects of Segment Anything, or a layer: "
            "points and boxes (each an object, unless a feature 'object' numbers them), polygons, "
            "labels.<br>A prompt on another plane, in an object that was followed already, "
            "corrects it.",
            none="objects of Segment Anything",
        )
        self._direction = plain("direction", FOLLOWING["direction"])
        self._method = plain("method", FOLLOWING["method"])
        self._mode = plain("mode", RUN["mode"])
        own = ("direction", "method", "link", "anisotropy")
        self._rules = fields(FOLLOWING, [name for name in FOLLOWING if name not in own])
        self._linking = fields(LINKING, [name for name in LINKING if name not in own])
        (self._anisotropy,) = fields(LINKING, ["anisotropy"])  # of following, too
        self._how = Section([self._method, *self._rules], "How objects are followed")
        self._model: Model | None = None
        self._sections = (
            Section([self.prompts, self._direction, self._how]),
            Section([self._mode, *self._linking]),
            Section([self._anisotropy]),
        )
        self.rows = ((self.task,), *self._sections)
        self.task.changed.connect(self.show)
        self._method.changed.connect(self.show)
        self.show()

    def fit(self, model: Model) -> str:
        """Grey out what a model cannot do, and say why in the tooltip.

        Returns
        -------
        str
            Why it cannot do what is chosen; "" if it can.
        """
        self._model = model
        items = self._method.native.model()
        for index, method in enumerate(self._method.choices):
            reason = why_not(model, method) if method in METHODS else ""
            items.item(index).setEnabled(not reason)
            items.item(index).setToolTip(reason)
        flat = no_solids(model)
        solid = self.task.qt.button("3d")
        solid.setEnabled(not flat)
        solid.setToolTip(flat or next(tip for task, _, tip in TASKS if task == "3d"))
        self.show()
        if self.task.value == "3d":
            return flat
        return why_not(model, self._resolved) if self.task.value == "propagate" else ""

    @property
    def _resolved(self) -> str:
        """The method that objects are followed by; "auto" while the model is not known."""
        method: str = self._method.value
        return method if self._model is None else resolve_method(self._model, method)

    def _acts(self, name: str) -> bool:
        """Whether a parameter of following has an effect."""
        return self._resolved == "auto" or FOLLOWING[name].acts_in(self._resolved)

    def show(self, *_: Any) -> None:
        """Show the parameters of the chosen task."""
        task = self.task.value
        following, linking, spacing = self._sections
        following.shown = task == "propagate"
        linking.shown = task != "propagate"
        self._how.show_only(["method", *(f.name for f in self._rules if self._acts(f.name))])
        spacing.shown = (
            self._acts("anisotropy") if task == "propagate" else LINKING["anisotropy"].acts_in(task)
        )
        if task != "propagate":
            mode = [] if task == "3d" else ["mode"]
            linking.show_only([*mode, *(n for n, p in LINKING.items() if p.acts_in(task))])
            for field in self._linking:
                if field.parameter.kind is bool:
                    field.set_own(field.name == "divisions" or task == "overlap")

    def options(self) -> dict[str, Any]:
        """Return what was set by hand for the chosen task, under the API's names."""
        task = self.task.value
        if task == "propagate":
            first = {"direction": self._direction.value, "method": self._method.value}
            chosen = [f for f in (*self._rules, self._anisotropy) if self._acts(f.name)]
        else:
            first = {"link": task} | ({} if task == "3d" else {"mode": self._mode.value})
            every = (*self._linking, self._anisotropy)
            chosen = [field for field in every if field.parameter.acts_in(task)]
        return first | {field.name: field.value for field in chosen if field.explicit}
