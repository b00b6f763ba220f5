"""What the code imports is declared, what is declared is imported, in src and in the tests."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DISTRIBUTION = {"PIL": "pillow", "skimage": "scikit-image", "pydantic_core": "pydantic"}
THROUGH_OTHERS = {"fsspec": "zarr", "s3fs": "zarr"}
"""Declared packages that another package imports."""
CORNERSTONES = ("magicgui", "napari", "npe2", "numpy", "scikit-image", "torch", "zarr")


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all statements in a module, without their expressions."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for each in getattr(node, field, ()):
            yield each
            yield from statements(each)


@cache
def imports(folder: Path) -> list[tuple[Path, str]]:
    """Return each file with each outside package that it imports."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        for node in statements(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            else:
                continue
            for module in modules:
                name = module.partition(".")[0]
                if name not in sys.stdlib_module_names:
                    found.append((path, DISTRIBUTION.get(name, name.replace("_", "-"))))
    return found


def names(requirements: list[str]) -> set[str]:
    """Return the packages of requirements."""
    return {re.match(r"[\w.-]+", text)[0].lower() for text in requirements}


def extras(*chosen: str) -> set[str]:
    return names([text for extra in chosen for text in PROJECT["optional-dependencies"][extra]])


CORE = names(PROJECT["dependencies"])
OURS = {"napari-segment-anything", "tests"}


def test_what_src_imports_is_declared() -> None:
    optional = extras("napari", "dask", "models", "remote", "evaluate", "train")
    source = ROOT / "src/napari_segment_anything"
    for path, package in imports(ROOT / "src"):
        plugin = path.relative_to(source).parts[0] in ("bridge", "widgets")
        allowed = CORE | optional if plugin else CORE | (optional - extras("napari"))
        assert package in allowed | OURS, (path, package)


@pytest.mark.parametrize("extra", ["", "napari", "dask", "models", "remote", "evaluate", "train"])
def test_what_is_declared_is_imported(extra: str) -> None:
    imported = {package for _, package in imports(ROOT / "src")}
    for package in extras(extra) if extra else CORE:
        assert THROUGH_OTHERS.get(package, package) in imported, package


def test_what_the_plugin_stands_on_is_in_use() -> None:
    imported = {package for _, package in imports(ROOT / "src")}
    declared = CORE | extras("napari")
    for package in CORNERSTONES:
        assert package in declared
        assert package in imported, package


def test_window_tests_use_pytest_qt() -> None:
    assert "pytest-qt" in extras("test")
    text = "".join(path.read_text("utf-8") for path in (ROOT / "tests/widgets").glob("*.py"))
    for used in ("qtbot.waitUntil", "qtbot.waitSignal", "qtbot.mouse", "make_napari_viewer"):
        assert used in text, used
