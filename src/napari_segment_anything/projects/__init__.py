"""The data engine: a series of images, annotated with a model's help, on disk."""

from .audit import Audit, audit_names
from .audit_figures import AuditFigure, AuditFigures
from .classes import ObjectClass
from .describe import DatasetDescription, describe_dataset
from .editing import ImageEditing
from .images import ProjectImage
from .objects import ObjectEntry
from .project import Project
from .sources import ImageSource
from .status import STATES, ImageStatus, State
from .versions import ModelVersion

__all__ = [
    "STATES",
    "Audit",
    "AuditFigure",
    "AuditFigures",
    "DatasetDescription",
    "ImageEditing",
    "ImageSource",
    "ImageStatus",
    "ModelVersion",
    "ObjectClass",
    "ObjectEntry",
    "Project",
    "ProjectImage",
    "State",
    "audit_names",
    "describe_dataset",
]
