"""Exceptions for users: each has one line that says what is wrong and what to do."""

from __future__ import annotations


class SegmentAnythingError(Exception):
    """Base class of the errors that this package raises.

    The command line prints the message as one line and exits with code 2.
    """


class ImageError(SegmentAnythingError, ValueError):
    """The image cannot be used: wrong axes, dtype, size, or an unreadable file."""


class PromptError(SegmentAnythingError, ValueError):
    """A prompt is malformed or outside the image."""


class ParameterError(SegmentAnythingError, ValueError):
    """A parameter is unknown, out of range, or has no effect."""


class CheckpointError(SegmentAnythingError, ValueError):
    """A checkpoint is unknown, corrupt, unsafe, or of an unknown architecture."""


class FormatError(SegmentAnythingError, ValueError):
    """A file or record does not follow its format."""


class DownloadError(SegmentAnythingError, OSError):
    """A checkpoint could not be downloaded, or is not the expected file."""


class ResourceError(SegmentAnythingError, RuntimeError):
    """Memory, disk space or a device is missing or exhausted."""
