"""The tools of the prompt widget: what they are called, and how each begins an object."""

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
    "points": "Click on an object. Right click says: not this.",
    "box": "Drag a box around an object; click, or right click, to correct its mask.",
    "scribble": "Draw along an object; with Shift, along what is not the object.",
    "lasso": "Draw around an object.",
    "off": "The mouse is napari's own; choose a tool to go on.",
}
"""What the status says while nothing is in progress."""
