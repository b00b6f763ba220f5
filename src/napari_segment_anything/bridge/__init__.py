"""napari's layers and our plain arrays; no Qt."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .console import attach
    from .viewer.runners import Background, JobRunner
    from .viewer_session import ViewerSession

_HOME = {
    "attach": "console",
    "Background": "viewer.runners",
    "JobRunner": "viewer.runners",
    "ViewerSession": "viewer_session",
}

__all__ = ["attach", "ViewerSession", "Background", "JobRunner"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a name on first use: opening a sample needs none of them, and no torch."""
        try:
            home = _HOME[name]
        except KeyError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
        value = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value
