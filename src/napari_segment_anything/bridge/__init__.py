"""napari's layers and our plain arrays; no Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import names_on_first_use

if TYPE_CHECKING:
    from .console import attach
    from .viewer.runners import Background, JobRunner
    from .viewer_session import ViewerSession
else:  # opening a sample needs none of them, and no torch
    __getattr__, __dir__ = names_on_first_use(
        __name__,
        {
            "console": "attach",
            "viewer.runners": "Background JobRunner",
            "viewer_session": "ViewerSession",
        },
    )

__all__ = ["attach", "ViewerSession", "Background", "JobRunner"]
