"""The data engine: a series of images, annotated with a model's help, on disk."""

from typing import TYPE_CHECKING

from ..lazy import names_on_first_use
from .learning_process import cancel_learning, learning_status, start_learning

if TYPE_CHECKING:
    from ..datasets.sources import ImageSource
    from ..finding import Traits
    from .audit import Audit, audit_names
    from .audit_domain import AuditFigure
    from .audit_figures import AuditFigures, ClassFigures
    from .classes import ObjectClass
    from .describe import DatasetDescription, describe_dataset
    from .editing import ImageEditing
    from .images import ProjectImage
    from .learning import learn_steps
    from .objects import ObjectEntry
    from .project import Project
    from .review import ReviewItem, review_queue
    from .similar_series import example_steps, similar_series_steps, similar_steps
    from .status import STATES, ImageStatus, State
    from .suggesting import SeriesReport, suggest_series_steps, suggest_steps
    from .suggestions import Suggestion, Suggestions
    from .taking import TakingReport, take_suggestions_steps
    from .versions import ModelVersion
else:
    __getattr__, __dir__ = names_on_first_use(
        __name__,
        {
            ".datasets.sources": "ImageSource",
            ".finding": "Traits",
            "audit": "Audit audit_names",
            "audit_domain": "AuditFigure",
            "audit_figures": "AuditFigures ClassFigures",
            "classes": "ObjectClass",
            "describe": "DatasetDescription describe_dataset",
            "editing": "ImageEditing",
            "images": "ProjectImage",
            "learning": "learn_steps",
            "objects": "ObjectEntry",
            "project": "Project",
            "review": "ReviewItem review_queue",
            "similar_series": "example_steps similar_series_steps similar_steps",
            "status": "STATES ImageStatus State",
            "suggesting": "SeriesReport suggest_series_steps suggest_steps",
            "suggestions": "Suggestion Suggestions",
            "taking": "TakingReport take_suggestions_steps",
            "versions": "ModelVersion",
        },
    )

__all__ = [
    "STATES",
    "Audit",
    "AuditFigure",
    "AuditFigures",
    "ClassFigures",
    "DatasetDescription",
    "ImageEditing",
    "ImageSource",
    "ImageStatus",
    "ModelVersion",
    "ObjectClass",
    "ObjectEntry",
    "Project",
    "ProjectImage",
    "ReviewItem",
    "SeriesReport",
    "State",
    "Suggestion",
    "Suggestions",
    "TakingReport",
    "Traits",
    "audit_names",
    "cancel_learning",
    "describe_dataset",
    "example_steps",
    "learn_steps",
    "learning_status",
    "review_queue",
    "similar_series_steps",
    "similar_steps",
    "start_learning",
    "suggest_series_steps",
    "suggest_steps",
    "take_suggestions_steps",
]
