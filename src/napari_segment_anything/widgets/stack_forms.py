"""Parameters of following, linking and tracking, by the names of the API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from ..automatic import MODES
from ..stacks.propagation import DIRECTIONS
from ..stacks.rules import Rules
from .choosers import LayerBox
from .forms import Number
from .parts import Fold, check, form, row, tight, wide

if TYPE_CHECKING:
    from napari.components import ViewerModel

_RULES = {
    "pred_iou_thresh": ("Score from", "An object ends where its predicted IoU is lower"),
    "overlap_thresh": (
        "Overlap from",
        "It ends where it overlaps less (IoU) with the plane before",
    ),
    "max_area_change": ("Area change", "It ends where its area grows or shrinks by more than this"),
    "likeness_thresh": (
        "Likeness from",
        "It ends where it looks less like the object on the planes with prompts",
    ),
    "stiffness": ("Stiffness", "How much the outline on the plane before counts; 0: not at all"),
}


class FollowForm(QWidget):
    """What `propagate` takes.

    Parameters
    ----------
    viewer : ViewerModel
    own : callable
        Returns the layer of the result, which is no source of prompts.
    """

    def __init__(self, viewer: ViewerModel, own: Callable[[], Any]) -> None:
        super().__init__()
        from napari.layers import Labels, Points, Shapes

        def offered() -> list[Any]:
            return [
                layer
                for layer in viewer.layers
                if isinstance(layer, (Points, Shapes, Labels))
                and not any(
                    str(key).startswith("napari-segment-anything") for key in layer.metadata
                )
                and layer is not own()
            ]

        first, rows = form()
        self.prompts = LayerBox(viewer, offered, "objects of Segment Anything")
        self.prompts.setToolTip(
            "<b>prompts_by_slice</b><br>Committed objects of Segment Anything, or a layer: points "
            "and boxes (each an object, unless a feature 'object' numbers them), polygons, labels."
            "<br>A prompt on another plane, in an object that was followed already, corrects it."
        )
        self.direction = wide(QComboBox())
        self.direction.addItems(list(DIRECTIONS))
        self.direction.setToolTip("<b>direction</b><br>Where to, from the planes with prompts")
        rows.addRow("Prompts", self.prompts)
        rows.addRow("Direction", self.direction)
        ends, more = form()
        self.rules: dict[str, Number] = {}
        for rule in fields(Rules):
            if not isinstance(rule.default, (int, float)):
                continue
            title, tip = _RULES.get(rule.name, (rule.name, ""))
            number = Number(0, 1 if rule.name.endswith("thresh") else 1000, 2)
            number.setValue(rule.default)
            number.setToolTip(f"<b>{rule.name}</b><br>{tip}")
            self.rules[rule.name] = number
            more.addRow(title, number)
        layout = tight(QVBoxLayout(self))
        layout.addWidget(first)
        layout.addWidget(Fold("Where objects end", ends))
        self.rows = [rows, more]

    def options(self) -> dict[str, Any]:
        """Return them by the API's names."""
        values: dict[str, Any] = {name: number.value() for name, number in self.rules.items()}
        return {**values, "direction": self.direction.currentText()}


class LinkForm(QWidget):
    """What `segment_stack` takes beside the parameters of everything mode."""

    def __init__(self) -> None:
        super().__init__()
        first, rows = form()
        self.mode = wide(QComboBox())
        self.mode.addItems(["auto", *MODES])
        self.mode.setToolTip(
            "<b>mode</b><br>How objects of a plane are found. Its parameters are those set in "
            "“Segment everything”"
        )
        rows.addRow("Mode", self.mode)
        self.numbers: dict[str, Number] = {}
        for name, title, number, tip in (
            ("link_thresh", "Overlap from", Number(0, 1, 2, none="auto"),
             "Least overlap (IoU) of an object's sections; tracks: with it, however far apart"),
            ("max_gap", "Gaps up to", Number(0, 100, 0), "Planes it may be missing from"),
            ("min_extent", "Planes from", Number(0, 100000, 0, none="auto"),
             "Objects on fewer planes are dropped"),
            ("anisotropy", "Anisotropy", Number(0, 1000, 2, none="auto"),
             "Distance of two planes in pixels of a plane; auto: as the image's scale says"),
            ("max_distance", "Moves up to", Number(0, 100000, 1, none="auto"),
             "Pixels an object may move in a frame; auto: found from the data"),
        ):  # fmt: skip
            number.setToolTip(f"<b>{name}</b><br>{tip}")
            self.numbers[name] = number
            rows.addRow(title, number)
        self.numbers["max_gap"].setValue(1)
        self.fill_gaps = check(
            "Fill gaps", "<b>fill_gaps</b><br>Draw objects where they are missing"
        )
        self.divisions = check("Divisions", "<b>divisions</b><br>Look for them")
        self.divisions.setChecked(True)
        layout = tight(QVBoxLayout(self))
        layout.addWidget(first)
        layout.addWidget(row(self.fill_gaps, self.divisions, None))
        self.rows = [rows]
        self._link = ""

    def show_link(self, link: str) -> None:
        """Show what belongs to "overlap" or "track"."""
        for name, only in (("anisotropy", "overlap"), ("max_distance", "track")):
            number = self.numbers[name]
            number.setVisible(link == only)
            self.rows[0].labelForField(number).setVisible(link == only)
        self.divisions.setVisible(link == "track")
        if link != self._link:
            self.fill_gaps.setChecked(link == "overlap")
            self._link = link

    def options(self, link: str) -> dict[str, Any]:
        """Return them by the API's names; what is left at "auto" is None."""
        numbers = self.numbers
        found: dict[str, Any] = {
            "link": link,
            "mode": self.mode.currentText(),
            "link_thresh": numbers["link_thresh"].value() or None,
            "max_gap": int(numbers["max_gap"].value()),
            "min_extent": int(numbers["min_extent"].value()) or None,
            "fill_gaps": self.fill_gaps.isChecked(),
        }
        if link == "overlap":
            return {**found, "anisotropy": numbers["anisotropy"].value() or None}
        found["max_distance"] = numbers["max_distance"].value() or None
        return {**found, "divisions": self.divisions.isChecked()}
