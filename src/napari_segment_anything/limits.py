"""Limits on sizes, numbers and times that files, servers and options may request.

Declared sizes are compared with these limits before memory is allocated. Each limit can be raised
by an environment variable, ``NAPARI_SEGMENT_ANYTHING_MAX_`` followed by its name in capitals.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from .errors import FormatError, ParameterError, SegmentAnythingError

_PREFIX = "NAPARI_SEGMENT_ANYTHING_MAX_"


@dataclass(frozen=True, slots=True)
class Limit:
    """An upper limit for values from outside.

    Parameters
    ----------
    name : str
        Last part of its environment variable, in lower case.
    default : int
    unit : str
        "bytes", "s", or what is counted.
    bounds : str
        What it limits, for the documentation.
    """

    name: str
    default: int
    unit: str
    bounds: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return _PREFIX + self.name.upper()

    @property
    def value(self) -> int:
        """The current value of the limit.

        Raises
        ------
        ParameterError
            If the environment variable is not a number above 0.
        """
        text = os.environ.get(self.variable, "").strip()
        if not text:
            return self.default
        try:
            value = int(float(text))
        except (ValueError, OverflowError):
            value = 0
        if value < 1:
            raise ParameterError(f"{self.variable} must be a positive number, not {text!r}")
        return value

    def shown(self, amount: float) -> str:
        """Format an amount, such as "1,074 MB"."""
        if self.unit == "bytes" and amount >= 1e6:
            return f"{amount / 1e6:,.0f} MB"
        return f"{int(amount):,} {self.unit}".rstrip()

    def check(
        self, amount: float, what: str, error: type[SegmentAnythingError] = FormatError
    ) -> None:
        """Raise `error` if an amount is above the limit; `what` begins the message.

        Parameters
        ----------
        amount : float
            The requested amount.
        what : str
            Start of the message.
        error : type
            Raised if the amount is above the limit.
        """
        most = self.value
        if amount > most:
            raise error(
                f"{what}: {self.shown(amount)}; at most {self.shown(most)} are allowed. If this is "
                f"intended, set {self.variable}={int(amount)}"
            )


CONFIGURATION_BYTES = Limit(
    "configuration_bytes", 16 * 2**20, "bytes", "a configuration, index or other small text file"
)
JOURNAL_BYTES = Limit("journal_bytes", 512 * 2**20, "bytes", "a session's journal")
RECORDS_BYTES = Limit("records_bytes", 512 * 2**20, "bytes", "a file of masks or of prompts")
ARRAY_BYTES = Limit(
    "array_bytes",
    2**30,
    "bytes",
    "an array that is unpacked in one piece: from NPZ, a Zarr chunk, the labels of a journal",
)
LABELS_BYTES = Limit(
    "labels_bytes", 64 * 2**30, "bytes", "labels of a stack that are kept in memory"
)
MASK_PIXELS = Limit("mask_pixels", 2**27, "pixels", "a mask or a change of labels in a journal")
TENSORS = Limit("tensors", 20_000, "tensors", "tensors of a checkpoint")
PICKLE_BYTES = Limit(
    "pickle_bytes", 64 * 2**20, "bytes", "what a .pt file holds besides its weights"
)
NETWORK_SIDE = Limit(
    "network_side", 16_384, "", "any size in the header of a checkpoint: channels, frame side"
)
THREADS = Limit("threads", 512, "threads", "threads, asked for by an option or by a journal")
TILES = Limit("tiles", 20_000_000, "tiles", "tiles of a large run; planes and windows to embed")
DOWNLOAD_BYTES = Limit("download_bytes", 16 * 2**30, "bytes", "a downloaded file")
DOWNLOAD_SECONDS = Limit(
    "download_seconds", 7200, "s", "the time that a download may take; what came is kept"
)
CONNECT_SECONDS = Limit(
    "connect_seconds", 15, "s", "the wait for a connection to a server or a Dask scheduler"
)
READ_SECONDS = Limit("read_seconds", 60, "s", "the wait between two packets from a server")

LIMITS = (
    CONFIGURATION_BYTES,
    JOURNAL_BYTES,
    RECORDS_BYTES,
    ARRAY_BYTES,
    LABELS_BYTES,
    MASK_PIXELS,
    TENSORS,
    PICKLE_BYTES,
    NETWORK_SIDE,
    THREADS,
    TILES,
    DOWNLOAD_BYTES,
    DOWNLOAD_SECONDS,
    CONNECT_SECONDS,
    READ_SECONDS,
)
