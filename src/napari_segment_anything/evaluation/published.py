"""Published figures for comparison."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .summary import Group

_FILE = Path(__file__).with_name("published.toml")


@dataclass(frozen=True, slots=True)
class Published:
    """Figures of one method on one data set.

    Parameters
    ----------
    set : str
        The data set.
    value : str
        Title of the group of images that is most similar.
    method, source : str
        Method, and where it was published.
    ap : tuple of float
        AP at IoU .50, .55 and so on; may be empty.
    mean : float or None
        Mean of AP at IoU .50 to .95.
    """

    set: str
    value: str
    method: str
    source: str
    ap: tuple[float, ...] = ()
    mean: float | None = None


@cache
def published() -> tuple[Published, ...]:
    """All published figures in the package."""
    held = tomllib.loads(_FILE.read_text("utf-8"))["result"]
    return tuple(Published(**{**item, "ap": tuple(item.get("ap", ()))}) for item in held)


def published_for(groups: Iterable[Group]) -> dict[Group, list[Published]]:
    """Published figures for each group that has some.

    Figures for a part of a set, such as a modality, go to the whole set if there is no group for
    the part.
    """
    groups = list(groups)
    titles = {group.value: group for group in groups}
    found: dict[Group, list[Published]] = {}
    for item in published():
        group = titles.get(item.value, titles.get(item.set))
        if group is not None:
            found.setdefault(group, []).append(item)
    return found
