"""The labelled sets of the default model, for the benchmarks: one part of one set at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from napari_segment_anything.datasets import Entry, find_entries, select_split

SPLIT = Path(__file__).parents[1] / "scripts" / "split.json"


def entries(
    data: Path, name: str, part: str, where: Mapping[str, str] | None = None
) -> list[Entry]:
    """Images of one part ("train", "validation") of a set.

    Parameters
    ----------
    data : Path
        Folder of the sets, with their index.
    name, part : str
        Which set, which part.
    where : mapping of str to str, optional
        Columns of the index and their values, such as ``{"modality": "fluo"}``.
    """
    index = data / "index.json"
    found = find_entries([data / name], metadata=index if index.exists() else None, where=where)
    return select_split(found, part, SPLIT)
