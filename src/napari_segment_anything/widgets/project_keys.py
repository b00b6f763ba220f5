"""Keys of the widget "Annotate a series"."""

from __future__ import annotations

SHOWN = (
    ("N", "next image; Shift-N: the one before"),
    ("Shift-Enter", "image complete, and next"),
    ("Shift-S", "skip the image"),
    ("Shift-F", "flag it, with a note"),
    ("1 … 9", "class of the object under the mouse, or of new ones; 0: none"),
    ("U", "use the suggestion under the mouse; Shift-U: all shown"),
    ("W", "reject the one under the mouse; Shift-W: bring it back"),
    ("Click", "into a suggestion: correct it with further clicks"),
    ("G", "find all objects like the one under the mouse"),
    ("K", "split an object with a line"),
    ("J", "join objects with a line"),
    ("Shift-X", "delete objects in a rectangle"),
)
"""Keys and their meaning, as the widget lists them."""
