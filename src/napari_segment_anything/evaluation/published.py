"""Published figures, to stand beside ours."""

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
        Title of the group of images that comes nearest.
    method, source : str
        Whose.
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
    """All published figures known."""
    held = tomllib.loads(_FILE.read_text("utf-8"))["result"]
    return tuple(Published(**{**item, "ap": tuple(item.get("ap", ()))}) for item in held)


def beside(groups: Iterable[Group]) -> dict[Group, list[Published]]:
    """Published figures for each of the groups that has some.

    Figures for a part of a set (a modality) fall to the whole set where the part is not there.
    """
    groups = list(groups)
    titles = {group.value: group for group in groups}
    found: dict[Group, list[Published]] = {}
    for item in published():
        group = titles.get(item.value, titles.get(item.set))
        if group is not None:
            found.setdefault(group, []).append(item)
    return found
