"""The manifest, and the samples in a viewer, without a window and in a real one."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_segment_anything.bridge.sample_data import layers_of
from napari_segment_anything.samples import sample

npe2 = pytest.importorskip("npe2", reason="npe2 is not installed (it comes with napari)")
yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (it comes with npe2)")

# napari's own imports warn of this and that; what is tested here is that it takes our layers.
pytestmark = pytest.mark.filterwarnings("default")

NAME = "segment-anything-napari"
IN_A_WINDOW = """
import sys
import napari
from napari.settings import get_settings

viewer = napari.Viewer(show=True)
for key in sys.argv[2:]:
    viewer.open_sample("segment-anything-napari", key)
names = [layer.name for layer in viewer.layers]
viewer.screenshot(sys.argv[1], canvas_only=False, flash=False)
viewer.close()
print(names)
"""


@pytest.fixture
def manifest() -> npe2.PluginManifest:
    return npe2.PluginManifest.from_distribution(NAME)


def test_manifest_is_valid_and_every_command_imports(manifest) -> None:
    manifest.validate_imports()
    assert manifest.display_name == "Segment Anything"
    commands = {command.id for command in manifest.contributions.commands}
    assert all(command.startswith(f"{NAME}.") for command in commands)
    assert {item.command for item in manifest.contributions.sample_data} <= commands
    path = Path(importlib.util.find_spec("napari_segment_anything").origin).with_name("napari.yaml")
    written = set(yaml.safe_load(path.read_text(encoding="utf-8"))["contributions"])
    shown = set(type(manifest.contributions).model_fields)
    assert written <= shown, "npe2 ignores contributions it does not know"


@pytest.mark.slow
def test_every_sample_opens_as_layers(manifest) -> None:
    for item in manifest.contributions.sample_data:
        command = next(c for c in manifest.contributions.commands if c.id == item.command)
        module, _, function = command.python_name.partition(":")
        made = getattr(importlib.import_module(module), function)()
        assert made[0][2] == "image"
        assert made[0][0].size


def test_layers_share_the_images_grid() -> None:
    image, truth, tracks = layers_of(sample("divisions"))
    assert image[1]["units"] == truth[1]["units"] == tracks[1]["units"]
    assert image[1]["scale"] == truth[1]["scale"] == [10.0, 0.65, 0.65]
    ids, frames = tracks[0][:, 0], tracks[0][:, 1]
    assert set(np.unique(ids)) == set(np.unique(truth[0])) - {0}
    assert (np.diff(frames)[np.diff(ids) == 0] > 0).all()
    assert set(tracks[1]["graph"]) <= set(ids.astype(int))


@pytest.mark.slow
def test_layers_of_a_viewer_without_a_window(npe2pm, manifest) -> None:
    pytest.importorskip("napari", reason="napari is not installed")
    from napari.components import ViewerModel

    npe2pm.register(manifest)
    viewer = ViewerModel()
    for key in ("cells_2ch", "ihc", "divisions"):
        viewer.open_sample(NAME, key)
    kinds = [type(layer).__name__ for layer in viewer.layers]
    assert kinds == ["Image", "Image", "Labels", "Image", "Image", "Labels", "Tracks"]
    assert [str(unit) for unit in viewer.layers[-1].units] == ["minute", "micrometer", "micrometer"]


@pytest.mark.slow
def test_in_a_real_window(tmp_path: Path) -> None:
    if importlib.util.find_spec("napari") is None or importlib.util.find_spec("qtpy") is None:
        pytest.skip("napari with a Qt binding is not installed")
    if shutil.which("xvfb-run") is None:
        pytest.skip("xvfb-run is not installed")
    picture = tmp_path / "window.png"
    command = ["xvfb-run", "-a", "-s", "-screen 0 1280x1024x24", sys.executable, "-c", IN_A_WINDOW]
    environment = {k: v for k, v in os.environ.items() if k != "QT_QPA_PLATFORM"}
    environment["NAPARI_CONFIG"] = str(tmp_path / "settings.yaml")
    done = subprocess.run(
        [*command, str(picture), "nuclei", "nuclei_3d"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "nuclei_3d ground truth" in done.stdout
    from skimage.io import imread

    assert np.ptp(imread(picture)) > 100
