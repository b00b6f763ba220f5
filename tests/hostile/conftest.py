"""Long fuzzing runs only where it is asked for: pytest -m fuzz tests/hostile."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what is marked `fuzz`, unless the marker is asked for."""
    if "fuzz" in (config.option.markexpr or ""):
        return
    for item in items:
        if item.get_closest_marker("fuzz"):
            item.add_marker(pytest.mark.skip(reason="long: ask for it with -m fuzz"))
