"""Progress of a run over labels, stored with the labels so that the run can be resumed."""

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
    """Settings and progress of a run, in a group next to the levels of its labels.

    ``attrs["run"]`` contains the settings and later notes, ``status`` a number for each unit of
    work (a tile, a plane): 0 is unfinished, other values are defined by the run. The results of a
    unit are written before its status, so a kill loses at most the units in progress.

    Parameters
    ----------
    labels : LabelsGroup
        The labels that the run writes.
    name : str
        Name of the group.
    """

    def __init__(self, labels: LabelsGroup, name: str) -> None:
        self.labels, self.name = labels, name
        self.group: Any = labels.group[name]
        self._status: Any = self.group["status"]

    @property
    def run(self) -> dict[str, Any]:
        """The settings and notes."""
        return dict(self.group.attrs.asdict().get("run") or {})

    def note(self, **facts: Any) -> None:
        """Add notes to the run; arrays are stored as lists."""
        self.group.attrs["run"] = {**self.run, **_plain(facts)}

    def status(self) -> NDArray[np.uint8]:
        """Return the status of every unit."""
        return np.asarray(self._status[...])

    def set_status(self, unit: Any, status: int) -> None:
        """Record the status of a unit, given by its index."""
        self._status[unit] = int(status)

    def remove(self) -> None:
        """Remove the group."""
        del self.group.attrs["run"]  # first, so that a partly removed group is not a record
        del self.labels.group[self.name]


def make_record(labels: LabelsGroup, name: str, units: Sequence[int], chunks: Sequence[int]) -> Any:
    """Create the group of a `RunRecord`; it is a record from the first `RunRecord.note` on.

    Parameters
    ----------
    labels : LabelsGroup
    name : str
    units, chunks : sequence of int
        Shape of ``status``, and of its chunks.

    Returns
    -------
    zarr.Group
    """
    group = labels.group.create_group(name, overwrite=True)
    group.create_array("status", shape=tuple(units), chunks=tuple(chunks), dtype="u1", fill_value=0)
    return group


def recorded_run(labels: LabelsGroup, name: str) -> dict[str, Any] | None:
    """Return settings and notes of the recorded run, or None."""
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
    """Open the labels of an interrupted run, or create new ones.

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
        Create new labels in any case.
    **layout
        Options for new labels, as for `create_labels`.

    Returns
    -------
    LabelsGroup
    bool
        Whether they belong to a run with these settings.

    Raises
    ------
    ParameterError
        If they belong to a run with other settings.
    FormatError
        If labels of that name are not of such a run, or labels cannot be created.
    """
    if not overwrite and _exists(destination, label):
        labels = open_labels(destination, label, mode="r+")
        stored = recorded_run(labels, name)
        if stored is not None:
            check_same(stored, wanted, labels.path)
            return labels, True
        # labels without pixels: a run was killed before it was recorded
        overwrite = labels.array.nchunks_initialized == 0
    return create_labels(destination, label, overwrite=overwrite, **layout), False


def check_same(stored: Mapping[str, Any], wanted: Mapping[str, Any], path: str) -> None:
    """Compare the settings of a recorded run with the present ones.

    Parameters
    ----------
    stored, wanted : mapping
        Additional settings in `stored` are ignored.
    path : str
        Path of the labels, for the message.

    Raises
    ------
    ParameterError
        If they differ; the message names the differences.
    """
    differ = [
        f"{name} was {_short(stored.get(name))}, is {_short(value)}"
        for name, value in _plain(wanted).items()
        if stored.get(name) != value
    ]
    if differ:
        raise ParameterError(
            f"{path} contains a run with other settings ({'; '.join(differ)}): resume it with "
            "those, give another label name, or overwrite=True to begin again"
        )


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they are after storing as JSON; NumPy values become numbers and lists."""
    values: dict[str, Any] = json.loads(json.dumps(dict(facts), default=lambda v: v.tolist()))
    return values


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _exists(destination: str | Path, label: str) -> bool:
    try:
        return label in label_names(destination)
    except (FormatError, ImageError):  # create_labels raises a suitable error
        return False
