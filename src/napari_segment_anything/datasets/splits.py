"""Divide labelled images: recorded splits, shares by hash, evenly spread subsets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import TypedDict

from ..errors import ParameterError
from ..reading import read_json
from .finding import Entry


class _Part(TypedDict):
    part: str


def split_parts(file: str | Path) -> dict[str, str]:
    """Read a split: the part of each image, by its name "set/file".

    Parameters
    ----------
    file : path
        JSON ``{set: {file: {"part": name}}}``, or ``{set: {file: name}}``.

    Raises
    ------
    FormatError
        If the file is not one.
    """
    held = read_json(Path(file), dict[str, dict[str, _Part | str]], what="split of images")
    return {
        f"{group}/{name}": value if isinstance(value, str) else value["part"]
        for group, files in held.items()
        for name, value in files.items()
    }


def select_split(entries: Sequence[Entry], split: str, file: str | Path) -> list[Entry]:
    """Images of one part of a split.

    Parameters
    ----------
    entries : sequence of Entry
        All images.
    split : str
        The part, such as "validation".
    file : path
        For `split_parts`.

    Raises
    ------
    FormatError
        If the file is not a split.
    ParameterError
        If no image belongs to the part; the message lists the parts.
    """
    parts = split_parts(file)
    chosen = [entry for entry in entries if parts.get(entry.name) == split]
    if not chosen:
        raise ParameterError(
            f"none of the {len(entries)} images is in the part '{split}' of {Path(file).name}, "
            f"which has the parts {', '.join(sorted(set(parts.values())))}"
        )
    return chosen


def spread(entries: Sequence[Entry], limit: int | None) -> list[Entry]:
    """Limit the number of images of each set, spread evenly over it.

    Parameters
    ----------
    entries : sequence of Entry
    limit : int or None
        Images per set; None takes all.

    Raises
    ------
    ParameterError
        If the limit is below 1.
    """
    if limit is None:
        return list(entries)
    if limit < 1:
        raise ParameterError(f"a limit is at least 1 image of each set, not {limit}")
    sets: dict[str, list[Entry]] = {}
    for entry in entries:
        sets.setdefault(entry.set, []).append(entry)
    chosen: list[Entry] = []
    for members in sets.values():
        count = min(limit, len(members))
        chosen += [members[i * len(members) // count] for i in range(count)]
    return chosen


def rank(key: str) -> float:
    """A number in 0..1 from the hash of a name."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def held_out(
    names: Sequence[str],
    validation: float | tuple[str, ...],
    train: tuple[str, ...] = (),
    title: str = "",
) -> set[str]:
    """Names of the images of a set that are held out for validation.

    Parameters
    ----------
    names : sequence of str
        All images of the set.
    validation : float or tuple of str
        Their share, chosen by a hash of title and name; or their names.
    train : tuple of str
        Names to train on, which are not held out.
    title : str
        The set's name, for the hash and for messages.

    Raises
    ------
    ParameterError
        If a listed image is not there, or listed for both.
    """
    listed = validation if isinstance(validation, tuple) else ()
    unknown = sorted({*train, *listed} - set(names))
    if unknown:
        raise ParameterError(f"the set {title} has no image {unknown[0]}; it has {names[:5]} ...")
    if isinstance(validation, tuple):
        both = sorted(set(validation) & set(train))
        if both:
            raise ParameterError(f"{both[0]} of {title} is listed for training and for validation")
        return set(validation)
    free = sorted(set(names) - set(train), key=lambda name: rank(f"{title}/{name}"))
    count = max(round(validation * len(names)), 1 if validation > 0 else 0)
    if count and count >= len(names):
        raise ParameterError(
            f"the set {title} has {len(names)} image(s), too few to hold some out for validation; "
            "set validation = 0"
        )
    return set(free[:count])
