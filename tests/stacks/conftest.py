"""What the tests of stacks share."""

from __future__ import annotations

import pytest

from ..bright import bright_model


@pytest.fixture
def model():
    return bright_model()
