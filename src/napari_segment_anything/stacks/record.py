"""What a run over a stack has done, in the labels' own store: it goes on where it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..formats.ome_zarr import LabelsGroup
from ..formats.settings import check_same

GROUP = "stack"
_TODO, _DONE = 0, 1


class Record:
    """Every plane's own labels and scores, as they come.

    Group ``stack`` beside the labels' levels: ``attrs["run"]`` says what is run, ``sections`` has
    the labels of each plane before they are linked, ``status`` 1 where they are whole, and
    ``scores`` an array for each plane. A plane's status is written last. Linking writes the final
    labels from the sections: one that is killed begins again, without the model. When
    everything is written, the group is removed.

    Parameters
    ----------
    labels : LabelsGroup
        Where the labels go.
    """

    def __init__(self, labels: LabelsGroup) -> None:
        self.group: Any = labels.group[GROUP]
        self._sections: Any = self.group["sections"]
        self._status: Any = self.group["status"]
        self._scores: Any = self.group["scores"]
        self._done = np.asarray(self._status[...]) == _DONE

    @classmethod
    def create(cls, labels: LabelsGroup, planes: int, run: Mapping[str, Any]) -> Record:
        """Begin a record in a new label group."""
        group = labels.group.create_group(GROUP, overwrite=True)
        array = labels.array
        group.create_array(
            "sections", shape=array.shape, chunks=array.chunks, dtype=np.uint32, fill_value=0
        )
        group.create_array("status", shape=(planes,), chunks=(1,), dtype="u1", fill_value=_TODO)
        group.create_group("scores")
        group.attrs["run"] = dict(run)  # last: a record without it was never begun
        return cls(labels)

    @classmethod
    def resume(cls, labels: LabelsGroup, run: Mapping[str, Any]) -> Record | None:
        """Open the record of a run that was stopped; None where there is none.

        Raises
        ------
        ParameterError
            If that run had other settings.
        """
        group = labels.group
        if GROUP not in group:
            return None
        stored = group[GROUP].attrs.asdict().get("run")
        if not stored:
            return None
        check_same(stored, run, labels.path)
        return cls(labels)

    def has(self, number: int) -> bool:
        """Whether a plane is done."""
        return bool(self._done[number])

    def put(
        self,
        number: int,
        index: tuple[Any, ...],
        labels: NDArray[np.uint32],
        scores: Mapping[int, float],
    ) -> None:
        """Keep a plane: its number, its index in the labels, and what was found on it."""
        self._sections[index] = labels
        table = np.array(sorted(scores.items()), np.float64).reshape(-1, 2)
        self._scores.create_array(
            str(number), data=table, chunks=(max(1, len(table)), 2), overwrite=True
        )
        self._status[number] = _DONE

    def labels(self, index: tuple[Any, ...]) -> NDArray[np.uint32]:
        """Return the labels of a plane before they were linked."""
        found: NDArray[np.uint32] = np.asarray(self._sections[index])
        return found

    def scores(self, number: int) -> dict[int, float]:
        """Return the scores of a plane that is done."""
        try:
            table = np.asarray(self._scores[str(number)][...])
        except KeyError as error:
            raise FormatError(
                f"the record of plane {number} is damaged; begin anew with overwrite=True"
            ) from error
        return {int(label): float(score) for label, score in table}

    def finish(self, labels: LabelsGroup) -> None:
        """Remove the record: the labels are final."""
        group = labels.group
        del group[GROUP].attrs["run"]  # first: what is left of it is no record
        del group[GROUP]


def unfinished(labels: LabelsGroup) -> bool:
    """Whether a run over these labels was stopped."""
    group = labels.group
    return GROUP in group and bool(group[GROUP].attrs.asdict().get("run"))
