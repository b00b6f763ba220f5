"""What all tests share: which of them run, a screen of their own, and folders of their own."""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pytest

from .forked import Processes

if TYPE_CHECKING:
    from napari_segment_anything import Model

_WORKER = "PYTEST_XDIST_WORKER" in os.environ
_OWN = Path(tempfile.mkdtemp(prefix="napari-tests-"))
_screens: list[subprocess.Popen[bytes]] = []

_NOT_FAST = {"slow", "cluster", "qt", "weights"}
_MARK_OF_FIXTURE = {
    "cluster": "cluster",
    "default_model": "weights",
    "make_napari_viewer": "qt",
    "qapp": "qt",
}


def _own_environment() -> None:
    """Keep away from the settings, sessions and threads of the user and of other workers."""
    own = {
        "NAPARI_CONFIG": str(_OWN / "settings.yaml"),
        "NAPARI_SEGMENT_ANYTHING_JOURNALS": str(_OWN / "journals"),
        # what "auto" is depends on the machine, and masks on it
        "NAPARI_SEGMENT_ANYTHING_AUTO_PRECISION": "fp32",
    }
    for name, value in own.items():
        if _WORKER or name not in os.environ:
            os.environ[name] = value
    if _WORKER and "OMP_NUM_THREADS" not in os.environ:
        workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))


def _start_screen() -> None:
    """Start a virtual screen where there is none, before any other conftest looks for one.

    Workers of pytest-xdist get one each, so that their windows do not take each other's focus.
    """
    taken = os.environ.get("DISPLAY") and "NAPARI_TESTS_SCREEN" not in os.environ
    if taken or os.environ.get("QT_QPA_PLATFORM") or not shutil.which("Xvfb"):
        return
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"]
    try:
        screen = subprocess.Popen(
            command, pass_fds=(write,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    finally:
        os.close(write)
    with os.fdopen(read) as told:
        number = told.readline().strip()
    if not number:
        screen.kill()
        return
    _screens.append(screen)
    os.environ["DISPLAY"] = os.environ["NAPARI_TESTS_SCREEN"] = f":{number}"


def _keep_compiled() -> None:
    """Write bytecode even where the environment says not to.

    Else each worker, each process that a test starts, and the next run compile all of it again,
    which is up to ten seconds of processor time for each worker.
    """
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


_own_environment()
_keep_compiled()
_start_screen()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--all`."""
    parser.addoption(
        "--all",
        action="store_true",
        help="run every test, also those marked slow, cluster, qt or weights, which plain pytest "
        "leaves out (a path, -m or -k on the command line runs all that it names)",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tell a worker of pytest-xdist what it cannot see: whether paths were given."""
    node.workerinput["fast_only"] = _fast_only(node.config)  # type: ignore[attr-defined]


def _fast_only(config: pytest.Config) -> bool:
    if _WORKER:
        return config.workerinput["fast_only"]  # type: ignore[attr-defined]
    option = config.option
    named = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    return not (named or option.all or option.markexpr or option.keyword)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test by the fixtures it uses."""
    for fixture in getattr(item, "fixturenames", ()):
        if fixture in _MARK_OF_FIXTURE:
            item.add_marker(_MARK_OF_FIXTURE[fixture])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not fast, unless it was asked for."""
    if _fast_only(config):
        config.hook.pytest_deselected(items=[each for each in items if _marks(each) & _NOT_FAST])
        items[:] = [each for each in items if not _marks(each) & _NOT_FAST]
    if _WORKER:
        # the files that take longest first, so that no worker is left with one of them at the end:
        # those with many slow tests, or with one that was given more time than others
        slow_in = Counter(each.path for each in items if _marks(each) & _NOT_FAST)
        slow_in.update(each.path for each in items for _ in range(20 * ("timeout" in _marks(each))))
        items.sort(key=lambda each: -slow_in[each.path])


def pytest_collection_finish() -> None:
    """Collect garbage less often, and never among what the imports made: it is most of the heap."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 50)


def _marks(item: pytest.Item) -> set[str]:
    return {mark.name for mark in item.iter_markers()}


@pytest.fixture(autouse=True)
def threads_of_torch() -> Iterator[None]:
    """Give torch the number of threads back that it had.

    numba, which draws napari's labels, changes their number for the whole process; small networks
    then wait for each other's threads ten times longer than they compute.
    """
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    yield
    if torch and torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _disable_qt_warnings() -> None:
    """Do nothing in place of napari's fixture, which imports napari's window for every test.

    What it patches is patched in `qapp`.
    """


@pytest.fixture(scope="session")
def signatures() -> Iterator[None]:
    """Let napari inspect a signature once, not whenever it connects or disconnects a callback."""
    events = pytest.importorskip("napari.utils.events.event", reason="napari is not installed")
    inspected = events.EventEmitter._check_signature
    known: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()

    def inspected_once(callback: Any) -> bool:
        function = getattr(callback, "__func__", callback)
        if not isinstance(function, FunctionType):
            function = type(callback).__call__
        if not isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
            return inspected(callback)
        code = function.__code__  # closures are made anew for each layer
        if code not in known:
            known[code] = inspected(callback)
        return known[code]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events.EventEmitter, "_check_signature", staticmethod(inspected_once))
        yield


@pytest.fixture(scope="session")
def qapp(qapp: Any, signatures: None) -> Iterator[Any]:
    """Return pytest-qt's application, without what makes a viewer slow.

    Every new one reads the manifests of all installed plugins and prepares the same shaders, and
    napari writes all its settings whenever one changes, and collects garbage among all objects
    whenever a layer is removed: what imports made is kept out of that.
    """
    npe2 = pytest.importorskip("npe2", reason="napari is not installed")
    settings = pytest.importorskip("napari.settings", reason="napari is not installed")
    for module in ("torch", "napari._qt.qt_main_window"):
        importlib.import_module(module)
    shaders = importlib.import_module("vispy.visuals.shaders.function").Function
    gl = importlib.import_module("vispy.gloo.glir")
    clean = cache(partial(shaders._clean_code, None))
    plugins = list(npe2.PluginManifest.discover())
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari._qt.qt_main_window.SHOW_QT_WARNING", False)
        patch.setattr(npe2.PluginManifest, "discover", lambda paths=(): iter(plugins))
        patch.setattr(shaders, "_clean_code", lambda _, code: clean(code))
        patch.setattr(gl, "convert_shader", cache(gl.convert_shader))
        patch.setattr(settings.get_settings(), "_save_on_change", False)
        yield qapp


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    """Start processes that may be killed: `processes.start(code, *arguments)`."""
    server = Processes()
    yield server
    server.close()


@pytest.fixture(scope="session")
def default_model() -> Model:
    """Return the embedded model, loaded once in each process."""
    from napari_segment_anything import load_model

    return load_model("default", device="cpu", precision="fp32")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the screen."""
    for screen in _screens:
        screen.terminate()
        screen.wait()
    shutil.rmtree(_OWN, ignore_errors=True)
