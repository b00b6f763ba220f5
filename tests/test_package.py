"""The package as installed: what importing costs, what it brings, what it says of itself."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

import napari_segment_anything as nsa

ROOT = Path(__file__).parents[1]
DISTRIBUTION = "segment-anything-napari"
HEAVY = ("torch", "napari", "qtpy", "PyQt5", "PyQt6", "PySide6", "magicgui", "numpy", "skimage")
PUBLIC = [name for names in nsa._HOMES.values() for name in names]
FAMILIES = ("transformers", "huggingface_hub", "tokenizers")


def python(code: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_import_brings_nothing_heavy():
    loaded = python(
        f"import sys, napari_segment_anything; print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    assert loaded.strip() == "[]"


@pytest.mark.slow
def test_no_module_needs_the_extra_models():
    """Every module can be imported, and the embedded model loaded, without transformers."""
    code = (
        "import sys, pkgutil, importlib, napari_segment_anything as nsa\n"
        f"sys.modules.update(dict.fromkeys({FAMILIES!r}))\n"  # importing these fails
        "for module in pkgutil.walk_packages(nsa.__path__, nsa.__name__ + '.'):\n"
        "    if '.widgets' not in module.name and '.bridge' not in module.name:\n"
        "        importlib.import_module(module.name)\n"
        "print(sorted(nsa.load_model('default').abilities))"
    )
    assert python(code).strip() == "['everything', 'prompt', 'train']"


def test_import_is_quick():
    # processor time, so that a busy machine does not matter
    code = (
        "import time; t = time.process_time(); import napari_segment_anything; "
        "print(time.process_time() - t)"
    )
    assert any(float(python(code)) < 0.3 for _ in range(3))


@pytest.mark.parametrize("arguments", [["--help"], ["everything", "--help"], ["--version"]])
def test_help_brings_nothing_heavy_and_is_quick(arguments):
    code = (
        "import sys, time\n"
        "from napari_segment_anything.cli.main import run\n"
        f"assert run({arguments!r}) == 0\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], time.process_time())"
    )
    for _ in range(3):
        loaded, seconds = python(code).splitlines()[-1].rsplit(" ", 1)
        assert loaded == "[]"
        if float(seconds) < 0.5:
            break
    else:
        pytest.fail(f"it takes {seconds} s")


@pytest.mark.slow
def test_a_project_is_opened_without_the_network(tmp_path):
    nsa.Project.create(tmp_path / "cells", [nsa.ImageSource("sample:coins")])
    unneeded = ("torch", "skimage", "scipy", "tifffile", "zarr", "PIL", "pandas", "requests")
    code = (
        "import sys\n"
        "from napari_segment_anything.cli.main import run\n"
        f"assert run(['project', 'status', {str(tmp_path / 'cells')!r}]) == 0\n"
        f"print([m for m in {unneeded!r} if m in sys.modules])"
    )
    assert python(code).splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "name", ["engine", "automatic", "session", "projects", "finding", "samples"]
)
def test_names_imported_on_first_use_are_those_of_the_package(name):
    package = importlib.import_module(f"napari_segment_anything.{name}")
    assert set(package.__all__) <= set(dir(package))
    for each in package.__all__:
        assert not inspect.ismodule(getattr(package, each))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


@pytest.mark.slow
def test_everything_mode_brings_no_compiler_and_no_statistics():
    unneeded = ("torch._dynamo", "sympy", "scipy.stats", "pandas", "zarr", "matplotlib", "requests")
    code = (
        "import sys, napari_segment_anything as nsa\n"
        "image = nsa.sample('coins').image[:96, :96]\n"
        "nsa.segment_everything(image, nsa.load_model('default')).to_labels()\n"
        f"print([m for m in {unneeded!r} if m in sys.modules])"
    )
    assert python(code).strip() == "[]"


def test_every_public_name_is_there():
    assert sorted(nsa.__all__) == sorted([*PUBLIC, "__version__"])
    for name in nsa.__all__:
        assert getattr(nsa, name) is not None
        assert name in dir(nsa)


def test_type_checkers_see_the_same_names():
    text = (ROOT / "src/napari_segment_anything/__init__.py").read_text("utf-8")
    block = re.search(r"^if TYPE_CHECKING:\n(.*?)^_HOMES", text, re.S | re.M)
    assert block is not None
    typed: dict[str, set[str]] = {}
    for home, names in re.findall(r"from \.(\w+) import \(?([^)]*?)\)?\n(?=    from|\n)", block[1]):
        typed[home] = set(re.findall(r"\w+", names))
    assert typed == {home: set(names) for home, names in nsa._HOMES.items()}


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = nsa.no_such_thing


def test_version_is_said_once():
    assert f"version: {nsa.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    from importlib.metadata import version

    assert version(DISTRIBUTION) == nsa.__version__


def test_the_distribution_has_one_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == DISTRIBUTION
    assert list(project["entry-points"]["napari.manifest"]) == [DISTRIBUTION]
    assert {"Homepage", "Documentation", "Bug Tracker", "User Support", "Source Code"} <= set(
        project["urls"]
    )


def test_nobody_is_told_to_install_another_plugin():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for page in [*pages, *(ROOT / "src").rglob("*.py")]:
        told = re.findall(r"pip install [^\n]*napari-segment-anything", page.read_text("utf-8"))
        assert told == [], page


def requirements(texts: list[str]) -> dict[str, str]:
    """Return the least version of each package."""
    found = {}
    for text in texts:
        name, least = re.fullmatch(r"([\w.-]+) ?>=([\d.]+)", text).groups()
        found[name.replace("_", "-")] = least
    return found


def test_the_conda_recipe_asks_for_the_same_packages():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (it comes with napari)")
    recipe = yaml.safe_load((ROOT / "recipe/recipe.yaml").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert recipe["context"]["version"] == nsa.__version__
    assert project["requires-python"] == f">={recipe['context']['python_min']}"
    run = requirements([text for text in recipe["requirements"]["run"] if "python_min" not in text])
    names = {"python-xxhash": "xxhash", "pytorch": "torch"}
    assert {names.get(name, name): least for name, least in run.items()} == requirements(
        project["dependencies"]
    )


def test_pre_commit_uses_the_pinned_ruff():
    pinned = re.search(r"^ruff==(.*)$", (ROOT / "constraints.txt").read_text("utf-8"), re.M)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    assert f"rev: v{pinned[1]}\n" in hooks


def test_every_public_name_is_in_the_reference():
    pages = sorted((ROOT / "docs" / "api").glob("*.md"))
    text = "".join(page.read_text("utf-8") for page in pages)
    described = re.findall(r"^::: napari_segment_anything\.(\w+)$", text, re.M)
    assert sorted(described) == sorted(PUBLIC)


def test_data_files_are_in_the_package():
    package = files("napari_segment_anything")
    assert package.joinpath("py.typed").is_file()
    assert package.joinpath("checkpoints/catalogue.toml").is_file()
    assert package.joinpath("checkpoints/data/default.safetensors").is_file()


def test_no_window_toolkit_among_the_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    text = " ".join(project["dependencies"]).lower()
    assert not any(name in text for name in ("napari", "qt", "pyside", "torchvision"))


@pytest.mark.parametrize("heading", ["Run it", "Test it"])
def test_readme_commands_are_one_line(heading):
    text = (ROOT / "README.md").read_text("utf-8")
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.S | re.M)
    assert section is not None
    blocks = re.findall(r"^```bash\n(.*?)^```", section[1], re.S | re.M)
    assert len(blocks) == 1
    assert len(blocks[0].strip().splitlines()) == 1


def test_files_that_the_architecture_names_exist():
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    named = set(re.findall(r"`([\w./-]+\.(?:py|toml|yaml))(?:::\w+)?`", text))
    assert len(named) > 20
    files = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("*.toml")]
    for folder in ("src", "tests", "benchmarks", "docs", "scripts"):
        files += [path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.*")]
    lost = {name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)}
    assert lost == set()
