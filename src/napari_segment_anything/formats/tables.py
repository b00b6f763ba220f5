"""Tables as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..reading import require_file
from .atomic import replacing

Table = dict[str, NDArray[Any]]


def write_table(path: str | Path, table: Mapping[str, Sequence[Any] | NDArray[Any]]) -> None:
    """Write columns as CSV.

    Parameters
    ----------
    path : str or Path
        The CSV file.
    table : mapping of str to sequence
        Columns of equal length. NaN is written as an empty field.

    Raises
    ------
    FormatError
        If columns differ in length or the file cannot be written.
    """
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise FormatError(f"The table's columns differ in length: {lengths}.")
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(table)
        for row in zip(*table.values(), strict=True):
            writer.writerow([_text(value) for value in row])


def read_table(path: str | Path) -> Table:
    """Read a CSV file with a header: columns of integers, numbers or text.

    Raises
    ------
    FormatError
        If the file is missing, has no header, or a row has too few or too many fields.
    """
    path = Path(path)
    try:
        with require_file(path, "table").open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except FormatError:
        raise
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path.name} cannot be read as CSV: {error}.") from error
    if not rows:
        raise FormatError(f"{path.name} is empty; a table has a header line.")
    header = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise FormatError(
                f"{path.name}, row {number}: {len(row)} fields, but the header has {len(header)}."
            )
    return {name: _typed([row[i] for row in rows[1:]]) for i, name in enumerate(header)}


def _text(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{float(value):.9g}"
    return str(value)


def _typed(column: list[str]) -> NDArray[Any]:
    try:
        return np.array([int(v) for v in column], np.int64)
    except ValueError:
        pass
    try:
        return np.array([float(v) if v.strip() else np.nan for v in column], float)
    except ValueError:
        return np.array(column, dtype=str)
