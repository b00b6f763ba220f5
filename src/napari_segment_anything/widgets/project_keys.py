"""Keys, tools and stages of the widget "Annotate a series"."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..bridge.project.suggestion_board import SuggestionBoard

if TYPE_CHECKING:
    from .project import ProjectWidget

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

OBJECT_TOOLS = (
    ("split", "Split", "Draw a line right across an object (K)"),
    ("merge", "Merge", "Draw a line through objects that belong together (J)"),
    ("delete", "Delete", "Draw a rectangle: objects in it by more than half are deleted (Shift-X)"),
    ("region", "Region ✓", "Draw a rectangle in which every object is labelled"),
)


"""Tools for objects: name, text and tooltip of the button."""

STAGES = (
    ("annotate", "Annotate", "Prompts, suggestions, classes"),
    ("learn", "Learn", "Fine-tune the model on what is annotated"),
    ("review", "Review", "Suggestions of all images, the most doubtful first"),
    ("audit", "Audit", "How wrong the automatic masks are, with intervals"),
)
"""What the widget shows besides the images: name, text and tooltip of the button."""


def bindings(widget: ProjectWidget) -> tuple[tuple[str, Callable[[], object]], ...]:
    """Return what each key does, as `Keys` takes it."""
    return (
        ("N", widget.next),
        ("Shift-N", widget.previous),
        ("Shift-Enter", widget.complete),
        ("Shift-S", widget.skip),
        ("Shift-F", widget.bar.ask_note),
        ("K", partial(widget.choose_object_tool, "split")),
        ("J", partial(widget.choose_object_tool, "merge")),
        ("Shift-X", partial(widget.choose_object_tool, "delete")),
        ("U", widget.accept),
        ("Shift-U", widget.suggestions.take_shown),
        ("W", widget.reject),
        ("Shift-W", partial(widget.on_suggestions, SuggestionBoard.bring_back)),
        ("G", widget.find_similar),
        ("Q", widget.review.later),
    )
