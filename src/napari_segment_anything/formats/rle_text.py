"""COCO's compressed run lengths: the ASCII string of pycocotools."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FormatError


def compress(counts: ArrayLike) -> str:
    """Write run lengths as pycocotools' ASCII string.

    From the fourth run on, the difference to the run two positions before is stored. Each character
    has five bits, lowest first, and a bit that tells whether more follow.
    """
    value = np.array(counts, np.int64)
    value[3:] -= value[1:-2].copy()
    characters = np.zeros((len(value), 8), np.uint8)
    used = np.zeros((len(value), 8), bool)
    active = np.ones(len(value), bool)
    for place in range(8):
        digit = value & 31
        value >>= 5
        more = np.where(digit & 16, value != -1, value != 0)
        characters[:, place] = digit + 48 + 32 * more
        used[:, place] = active
        active &= more
        if not active.any():
            break
    return characters[used].tobytes().decode("ascii")


def decompress(text: str | bytes) -> NDArray[np.int64]:
    """Read pycocotools' ASCII string into run lengths.

    Raises
    ------
    FormatError
        If the string has characters outside the code or ends within a number.
    """
    try:
        raw = text.encode("ascii") if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError as error:
        raise FormatError("A compressed run-length code has only ASCII characters.") from error
    code = np.frombuffer(raw, np.uint8).astype(np.int64) - 48
    if not len(code):
        return np.zeros(0, np.int64)
    if code.min() < 0 or code.max() > 63:
        raise FormatError("A compressed run-length code has a character outside its alphabet.")
    last = np.flatnonzero(code < 32)
    if not len(last) or last[-1] != len(code) - 1:
        raise FormatError("A compressed run-length code is truncated within a number.")
    first = np.concatenate([[0], last[:-1] + 1])
    length = last - first + 1
    if length.max() > 8:
        raise FormatError("A compressed run-length code holds a number that is too long.")
    place = np.arange(len(code)) - np.repeat(first, length)
    value = np.add.reduceat((code & 31) << (5 * place), first)
    value -= np.where(code[last] & 16, np.int64(1) << (5 * length), 0)
    value[1::2] = np.cumsum(value[1::2])
    value[2::2] = np.cumsum(value[2::2])
    return value
