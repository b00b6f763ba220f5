"""Write measured tables into pages of the documentation."""

from __future__ import annotations

from pathlib import Path


def write_between(page: Path, markers: tuple[str, str], text: str) -> None:
    """Replace the text between two markers of a page."""
    held = page.read_text("utf-8")
    start, end = (held.index(marker) for marker in markers)
    before, after = held[: start + len(markers[0])], held[end:]
    page.write_text(f"{before}\n\n{text.strip()}\n\n{after}", "utf-8")
