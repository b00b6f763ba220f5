"""Settings: names and values of the API outside, plain values inside, kept by napari."""

from __future__ import annotations

import pytest

pytest.importorskip("napari", reason="napari is not installed")

from napari_segment_anything.errors import ParameterError
from napari_segment_anything.widgets import settings as module
from napari_segment_anything.widgets.settings import PluginSettings

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(params=["napari", "alone"])
def kept(request, monkeypatch) -> str:
    if request.param == "alone":
        monkeypatch.setattr(module, "_stored", lambda: None)
    return request.param


def test_defaults(kept) -> None:
    settings = PluginSettings()
    assert settings.get("engine")["device"] == "auto"
    assert settings.get("engine")["window_size"] is None
    assert settings.get("prompt")["multimask"] == "auto"
    everything = settings.get("everything")
    plain = {"mode": "auto", "region": "plane", "policy": "small"}
    assert {name: everything.pop(name) for name in plain} == plain
    assert set(everything.values()) == {None}


def test_values_as_the_api_has_them(kept) -> None:
    settings = PluginSettings()
    settings.set("everything", pred_iou_thresh=0.5, nms="mask", max_area=300, min_area=0)
    settings.set("prompt", multimask=True, min_mask_region_area=20)
    settings.set("engine", window_size=256, cache_directory="/somewhere")
    found = settings.get("everything")
    assert (found["pred_iou_thresh"], found["nms"], found["max_area"], found["min_area"]) == (
        0.5, "mask", 300, 0,
    )  # fmt: skip
    assert settings.get("prompt")["multimask"] is True
    assert settings.get("prompt")["min_mask_region_area"] == 20
    assert settings.get("engine")["window_size"] == 256
    if kept == "napari":
        assert PluginSettings().get("everything")["pred_iou_thresh"] == 0.5
    settings.set("everything", pred_iou_thresh=None, nms=None)
    settings.set("engine", window_size=None, cache_directory=None)
    assert settings.get("everything")["pred_iou_thresh"] is None
    assert settings.plain("everything")["nms"] == "model"
    assert settings.get("engine")["cache_directory"] is None


def test_survive_in_a_file(tmp_path) -> None:
    from napari import settings as of_napari

    PluginSettings().set("everything", points_per_side=17)
    of_napari._PLUGIN_SETTINGS.clear()  # as another start of napari
    assert PluginSettings().get("everything")["points_per_side"] == 17


def test_wrong_ones_are_refused(kept) -> None:
    settings = PluginSettings()
    with pytest.raises(ParameterError, match="no setting"):
        settings.set("prompt", colour="red")
    if kept == "napari":
        with pytest.raises(ParameterError, match="pred_iou_thresh"):
            settings.set("everything", pred_iou_thresh=7.0)
