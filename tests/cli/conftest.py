"""What the tests of the command line share."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import napari_segment_anything as nsa
import napari_segment_anything.engine as engine
import napari_segment_anything.large  # takes the loader when imported: not the one below

from ..tiny import tiny_model


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A tiny model whatever is asked for, and a cache folder of our own.

    Gives the list of what was asked for: (source, device, precision).
    """
    asked = []

    def load_model(source="default", device="auto", precision="auto", **options):
        asked.append((source, device, precision))
        return tiny_model()

    _ = nsa.load_model  # likewise, when first asked for
    monkeypatch.setattr(engine, "load_model", load_model)
    monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_CACHE", str(tmp_path / "cache"))
    return asked


def summary_rows(out: Path) -> dict[str, dict[str, str]]:
    """The rows of a run's summary by image."""
    with (out / "summary.csv").open(newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}
