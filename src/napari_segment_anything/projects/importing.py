"""Read annotations from elsewhere into a project."""

from __future__ import annotations

from ..errors import FormatError
from ..formats import read_labels
from .images import ProjectImage


def read_table_labels(image: ProjectImage, path: str) -> None:
    """Take the label image that a table names for an image.

    Parameters
    ----------
    image : ProjectImage
    path : str
        The file.

    Raises
    ------
    FormatError
        If it cannot be read, or is of another size than the image.
    """
    labels = read_labels(path)
    if labels.ndim > 2:
        index = tuple(image.plane.values())
        if labels.shape[: len(index)] and len(index) == labels.ndim - 2:
            labels = labels[index]
    if labels.shape != image.shape:
        raise FormatError(f"{path} has shape {labels.shape}, the image {image.key} {image.shape}")
    with image.lock() as editing:
        editing.write(labels=labels, state="in_progress")
