"""The default model in the package has what its export gives."""

from __future__ import annotations

from napari_segment_anything import load_model
from napari_segment_anything.automatic.heads import dense_head
from napari_segment_anything.automatic.parameters import resolve
from napari_segment_anything.engine import Focus
from napari_segment_anything.training.export import EVERYTHING, FOCUS


def test_the_embedded_model_carries_these_parameters() -> None:
    model = load_model("default")
    assert model.metadata["everything"] == EVERYTHING
    assert model.focus == Focus(**FOCUS) and model.prompted_parts_only
    for mode, values in EVERYTHING.items():
        resolve(mode, values, {}, dense_head(model))
