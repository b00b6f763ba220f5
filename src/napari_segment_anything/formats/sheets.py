"""Tables that people wrote, read strictly: every fault is named with its line.

Cells are separated by commas, semicolons or tabs, as the header is; numbers have a decimal point.
The text is UTF-8, or UTF-16 as Excel's "Unicode text".
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import PromptError
from ..limits import RECORDS_BYTES
from ..reading import number, read_bytes

Row = dict[str, str]
"""A row's cells by column."""


def read_rows(path: Path) -> tuple[list[str], list[tuple[int, Row]]]:
    """Return column names, and the rows that are not empty with their lines' numbers.

    Raises
    ------
    PromptError
        If it is no such table.
    """
    text = _text(path)
    header = text.lstrip("\r\n").partition("\n")[0]
    delimiter = next((mark for mark in ",;\t" if mark in header), ",")
    lines = list(_lines(csv.reader(io.StringIO(text, ""), delimiter=delimiter, strict=True), path))
    if not lines:
        return [], []
    first, names = lines[0]
    # spreadsheets may save empty columns on the right
    used = max((i for _, cells in lines for i, cell in enumerate(cells, 1) if cell), default=0)
    names = names[: max(used, len([name for name in names if name]))]
    for place, name in enumerate(names, start=1):
        if not name:
            raise PromptError(f"{path.name}, line {first}: column {place} has no name")
        if names.index(name) != place - 1:
            raise PromptError(f"{path.name}, line {first}: the column {name!r} is there twice")
    rows = []
    for line, cells in lines[1:]:
        if len(cells) != len(lines[0][1]):
            raise PromptError(
                f"{path.name}, line {line}: {len(cells)} cells under {len(lines[0][1])} columns; "
                "numbers are written with a decimal point, and empty cells keep their separators"
            )
        rows.append((line, dict(zip(names, cells, strict=False))))
    return names, rows


def cell_number(row: Row, name: str, where: str) -> float:
    """Return the number in a cell.

    Parameters
    ----------
    row : dict
    name : str
        The column.
    where : str
        Start of the message.

    Raises
    ------
    PromptError
        If there is none.
    """
    text = row.get(name, "")
    value = number(text)
    if value is None:
        hint = "; write it with a decimal point" if number(text.replace(",", ".")) else ""
        raise PromptError(f"{where}: {name} must be a number, not {text!r}{hint}")
    return value


def meant(name: str, known: Sequence[str]) -> str:
    """Return " (meant 'row'?)" for a name that is close to a known one, else ""."""
    close = get_close_matches(name.lower(), known, 1, 0.5)
    return f" (meant {close[0]!r}?)" if close else ""


def _lines(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise PromptError(f"{path.name}, line {reader.line_num}: {error}") from None


def _text(path: Path) -> str:
    content = read_bytes(path, RECORDS_BYTES, what="prompt file", error=PromptError)
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].count(b"\n") + 1
        raise PromptError(
            f"{path.name}, {'text' if wide else f'line {before}'} is not "
            f"{'UTF-16' if wide else 'UTF-8'}: save it as CSV UTF-8"
        ) from None
    if "\0" in text:
        raise PromptError(f"{path.name} is no text: save it as CSV UTF-8")
    return text
