"""What all tests share: a screen, where there is none but Xvfb is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_screens: list[subprocess.Popen[bytes]] = []

# napari must neither read nor write the settings of whoever runs the tests, nor sessions theirs
_OWN = Path(tempfile.mkdtemp(prefix="napari-tests-"))
os.environ.setdefault("NAPARI_CONFIG", str(_OWN / "settings.yaml"))
os.environ.setdefault("NAPARI_SEGMENT_ANYTHING_JOURNALS", str(_OWN / "journals"))
# what "auto" is depends on the machine, and masks on it
os.environ.setdefault("NAPARI_SEGMENT_ANYTHING_AUTO_PRECISION", "fp32")


def _start_screen() -> None:
    """Start a virtual screen for the tests of windows; before any other conftest looks for one."""
    if os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM") or not shutil.which("Xvfb"):
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
    os.environ["DISPLAY"] = f":{number}"


_start_screen()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop it."""
    for screen in _screens:
        screen.terminate()
        screen.wait()
