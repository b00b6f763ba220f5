"""What a run over labels has done, kept in the labels' own store so that it can be resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, ImageError, ParameterError
from .ome_zarr import LabelsGroup, create_labels, label_names, open_labels


class RunRecord:
    """Settings and progress of a run: a group beside the levels of its labels.

    ``attrs["run"]`` holds the settings and whatever is noted later, ``status`` a number for each
    unit of work (a tile, a plane): 0 is to be done, the others are up to the run. A unit's results
    are written before its status is, so a kill loses at most the units in progress.

    Parameters
    ----------
    labels : LabelsGroup
        What the run writes.
    name : str
        Of the group.
    """

    def __init__(self, labels: LabelsGroup, name: str) -> None:
        self.labels, self.name = labels, name
        self.group: Any = labels.group[name]
        self._status: Any = self.group["status"]

    @property
    def run(self) -> dict[str, Any]:
        """The settings, and what was noted."""
        return dict(self.group.attrs.asdict().get("run") or {})

    def note(self, **facts: Any) -> None:
        """Add to what is recorded of the run; arrays become lists."""
        self.group.attrs["run"] = {**self.run, **_plain(facts)}

    def status(self) -> NDArray[np.uint8]:
        """Return the status of every unit."""
        return np.asarray(self._status[...])

    def set_status(self, unit: Any, status: int) -> None:
        """Record the status of a unit, given by its index."""
        self._status[unit] = int(status)

    def remove(self) -> None:
        """Remove the group."""
        del self.group.attrs["run"]  # first: what is left of it is no record
        del self.labels.group[self.name]


def make_record(labels: LabelsGroup, name: str, units: Sequence[int], chunks: Sequence[int]) -> Any:
    """Make the group of a `RunRecord`; it counts as one from the first `RunRecord.note` on.

    Parameters
    ----------
    labels : LabelsGroup
    name : str
    units, chunks : sequence of int
        Shape of ``status``, and that of its chunks.

    Returns
    -------
    zarr.Group
    """
    group = labels.group.create_group(name, overwrite=True)
    group.create_array("status", shape=tuple(units), chunks=tuple(chunks), dtype="u1", fill_value=0)
    return group


def recorded_run(labels: LabelsGroup, name: str) -> dict[str, Any] | None:
    """Return settings and notes of the run that is on record, or None."""
    group = labels.group
    return (group[name].attrs.asdict().get("run") or None) if name in group else None


def resume_or_create(
    destination: str | Path,
    label: str,
    name: str,
    wanted: Mapping[str, Any],
    overwrite: bool,
    **layout: Any,
) -> tuple[LabelsGroup, bool]:
    """Open the labels of a run that was stopped, or make new ones.

    Parameters
    ----------
    destination : str or Path
        Path or URL of the store.
    label : str
        Name of the labels.
    name : str
        Name of the record.
    wanted : mapping
        Settings of the run.
    overwrite : bool
        Begin anew, whatever is there.
    **layout
        Of new labels, as for `create_labels`.

    Returns
    -------
    LabelsGroup
    bool
        Whether they hold a run with these settings.

    Raises
    ------
    ParameterError
        If a run with other settings is on record there.
    FormatError
        If there are labels of that name that no such run made, or none can be made.
    """
    if not overwrite and _exists(destination, label):
        labels = open_labels(destination, label, mode="r+")
        stored = recorded_run(labels, name)
        if stored is not None:
            check_same(stored, wanted, labels.path)
            return labels, True
        # without a pixel: killed after the labels were made, before the run was on record
        overwrite = labels.array.nchunks_initialized == 0
    return create_labels(destination, label, overwrite=overwrite, **layout), False


def check_same(stored: Mapping[str, Any], wanted: Mapping[str, Any], path: str) -> None:
    """Compare the settings of a run on record with those asked for now.

    Parameters
    ----------
    stored, wanted : mapping
        Further settings in `stored` do not matter.
    path : str
        Of the labels, for the message.

    Raises
    ------
    ParameterError
        If they differ; the message names what does.
    """
    differ = [
        f"{name} was {_short(stored.get(name))}, is {_short(value)}"
        for name, value in _plain(wanted).items()
        if stored.get(name) != value
    ]
    if differ:
        raise ParameterError(
            f"{path} holds a run with other settings ({'; '.join(differ)}): run it with those to "
            "resume it, give another label name, or overwrite=True to begin again"
        )


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they come back from JSON; those of NumPy as numbers and lists."""
    values: dict[str, Any] = json.loads(json.dumps(dict(facts), default=lambda v: v.tolist()))
    return values


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _exists(destination: str | Path, label: str) -> bool:
    try:
        return label in label_names(destination)
    except (FormatError, ImageError):  # create_labels says what is wrong with the place
        return False
