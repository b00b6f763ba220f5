"""The tools of the prompt widget: names, tooltips and hints."""

from __future__ import annotations

TOOLS = (
    ("points", "Click", "Click: inside the object. Right click or Shift-click: outside of it"),
    ("box", "Box", "Drag a box around the object (Shift-drag does so in every tool)"),
    ("scribble", "Scribble", "Draw along the object; with Shift, along what is not"),
    ("lasso", "Lasso", "Draw around the object"),
    ("off", "Off", "Leave the mouse to napari"),
)
"""Mode of the mouse, text and tooltip of its button."""

HINTS = {
    "points": "Click on an object; right-click on what does not belong to it.",
    "box": "Drag a box around an object; click, or right click, to correct its mask.",
    "scribble": "Draw along an object; with Shift, along what is not the object.",
    "lasso": "Draw around an object.",
    "off": "The mouse is left to napari; choose a tool to continue.",
}
"""Hints in the status line while no object is in progress."""
