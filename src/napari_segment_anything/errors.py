"""The exceptions users meet: one clear line that says what is wrong and what to do."""

from __future__ import annotations


class SegmentAnythingError(Exception):
    """Base of all errors this package raises on purpose.

    The command line prints its message as one line and exits with code 2.
    """


class ImageError(SegmentAnythingError, ValueError):
    """The image cannot be used: wrong axes, dtype, size, or an unreadable file."""


class PromptError(SegmentAnythingError, ValueError):
    """A prompt is malformed or lies outside the image."""


class ParameterError(SegmentAnythingError, ValueError):
    """A parameter has a value outside its meaning."""


class CheckpointError(SegmentAnythingError, ValueError):
    """A checkpoint is unknown, corrupt, unsafe, or does not fit a known architecture."""


class FormatError(SegmentAnythingError, ValueError):
    """A file or record does not follow its format."""


class DownloadError(SegmentAnythingError, OSError):
    """A checkpoint could not be fetched, or what came is not what was expected."""


class ResourceError(SegmentAnythingError, RuntimeError):
    """Memory, disk or a device is missing or exhausted."""
