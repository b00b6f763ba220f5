"""Packages: what is imported is declared where it is needed, and what is declared is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "napari_segment_anything"
BROUGHT_BY = {
    "app-model": "napari",
    "numcodecs": "zarr",
    "pandas": "napari",
    "pydantic-core": "pydantic",
}
"""Packages that another one is built on, and always brings along."""


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def declared() -> dict[str, set[str]]:
    """Return the distributions of each group; "" is what everybody gets."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        group: {plain(re.match(r"[A-Za-z0-9._-]+", line)[0]) for line in lines}
        for group, lines in groups.items()
    }


@cache
def distributions() -> dict[str, list[str]]:
    return {module: [plain(n) for n in names] for module, names in packages_distributions().items()}


def imports(folder: Path) -> Iterator[tuple[Path, str, bool]]:
    """Give each import from elsewhere: file, distribution, and whether types alone need it."""
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text())
        typing = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            else:
                continue
            for module in {name.partition(".")[0] for name in modules}:
                for name in distributions().get(module, ()):
                    if module not in sys.stdlib_module_names:
                        yield path, name, node in typing


@cache
def used() -> dict[str, set[str]]:
    """Return the folders of the source that import each distribution."""
    found: dict[str, set[str]] = {}
    for path, name, _ in imports(SOURCE):
        found.setdefault(name, set()).add(path.relative_to(SOURCE).parts[0])
    return found


@pytest.mark.parametrize("name", ["torch", "numpy", "scikit-image", "zarr"])
def test_the_engine_stands_on_what_everybody_gets(name) -> None:
    assert name in declared()[""]
    assert used()[name] - {"bridge", "widgets"}


@pytest.mark.parametrize("name", ["napari", "magicgui", "npe2", "qtpy"])
def test_the_plugin_stands_on_its_extra(name) -> None:
    assert name in declared()["napari"] and name not in declared()[""]
    assert used()[name] <= {"bridge", "widgets"}


def test_windows_are_tested_with_pytest_qt() -> None:
    pytest.importorskip("pytestqt")
    assert "pytest-qt" in declared()["test"]
    tests = [path.read_text() for path in (ROOT / "tests" / "widgets").glob("test_*.py")]
    robots = [text for text in tests if "qtbot" in text]
    assert len(robots) > len(tests) / 2
    assert "make_napari_viewer" in (ROOT / "tests" / "widgets" / "conftest.py").read_text()


def test_what_is_imported_is_declared() -> None:
    every = set().union(*declared().values())
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, name, for_types in imports(SOURCE)
        if BROUGHT_BY.get(name, name) not in every and not for_types
    }
    assert missing == set()


@pytest.mark.parametrize("group", ["", "napari"])
def test_what_is_declared_is_imported(group) -> None:
    assert declared()[group] <= set(used())
