"""Annotation sessions: objects with their prompts, undo, journal, recovery. No Qt, no napari."""

from typing import TYPE_CHECKING

from ..lazy import names_on_first_use

if TYPE_CHECKING:
    from .decoding import DecodedObject, DecodeRequest, DecodeResult, Preview, PreviewObject
    from .journal import (
        Journal,
        journal_directory,
        new_journal_path,
        recorded_objects,
        unfinished_journals,
    )
    from .objects import (
        Draft,
        DraftPoint,
        MadeBy,
        ObjectPrompts,
        Scribble,
        SessionObject,
        SuggestedMask,
    )
    from .precompute import Ahead, ahead_windows, embed_ahead
    from .recovery import PolicyWarning, recover
    from .replaying import Replay, recorded_model, replay, replay_steps
    from .scheduler import Delivery, LatestWins
    from .session import Session
    from .target import ArrayTarget, LabelTarget, PyramidTarget
    from .unsaved import UnsavedWork, discard, unsaved_work
else:
    __getattr__, __dir__ = names_on_first_use(
        __name__,
        {
            "decoding": "DecodedObject DecodeRequest DecodeResult Preview PreviewObject",
            "journal": "Journal journal_directory new_journal_path recorded_objects "
            "unfinished_journals",
            "objects": "Draft DraftPoint MadeBy ObjectPrompts Scribble SessionObject SuggestedMask",
            "precompute": "Ahead ahead_windows embed_ahead",
            "recovery": "PolicyWarning recover",
            "replaying": "Replay recorded_model replay replay_steps",
            "scheduler": "Delivery LatestWins",
            "session": "Session",
            "target": "ArrayTarget LabelTarget PyramidTarget",
            "unsaved": "UnsavedWork discard unsaved_work",
        },
    )

__all__ = [
    "Session",
    "LabelTarget",
    "ArrayTarget",
    "PyramidTarget",
    "Journal",
    "journal_directory",
    "new_journal_path",
    "unfinished_journals",
    "unsaved_work",
    "UnsavedWork",
    "discard",
    "recover",
    "PolicyWarning",
    "recorded_objects",
    "replay",
    "replay_steps",
    "recorded_model",
    "Replay",
    "SessionObject",
    "ObjectPrompts",
    "Scribble",
    "MadeBy",
    "SuggestedMask",
    "Draft",
    "DraftPoint",
    "DecodeRequest",
    "DecodeResult",
    "DecodedObject",
    "Preview",
    "PreviewObject",
    "Ahead",
    "ahead_windows",
    "embed_ahead",
    "LatestWins",
    "Delivery",
]
