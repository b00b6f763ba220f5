from __future__ import annotations

import pytest

from napari_segment_anything.engine import Predictor
from tests.tiny import tiny_model


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    return Predictor(tiny_model())
