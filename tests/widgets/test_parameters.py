"""Parameters of the widgets: magicgui widgets, read and set from the console."""

from __future__ import annotations

import numpy as np
import pytest
from magicgui.widgets import ComboBox, Container, FloatSlider, FloatSpinBox, SpinBox
from napari.layers import Image, Labels

from napari_segment_anything.errors import ParameterError
from napari_segment_anything.parameters import EVERYTHING, FOLLOWING, LINKING, TILING
from napari_segment_anything.widgets.forms import ParameterField, fields
from napari_segment_anything.widgets.settings import PluginSettings

from .conftest import picture

pytestmark = pytest.mark.filterwarnings("default")


def test_types_and_ranges_come_from_the_table(qtbot) -> None:
    made = {field.name: field for field in fields(EVERYTHING, by_model=True)}
    assert list(made) == [name for name in EVERYTHING if name != "point_grids"]
    assert isinstance(made["pred_iou_thresh"].editor, FloatSlider)
    assert isinstance(made["crop_n_layers"].editor, SpinBox)
    assert isinstance(made["nms"].editor, ComboBox)
    assert isinstance(made["max_area"].editor, FloatSpinBox)  # which can say "no limit"
    for name, field in made.items():
        parameter = EVERYTHING[name]
        assert field.label == parameter.title and parameter.help in field.tooltip
        if parameter.choices:
            assert field.editor.choices == parameter.choices
        elif not parameter.optional:
            assert field.editor.min == parameter.low
            assert field.editor.max == min(parameter.high, 2**40)
        assert field.value is None and not field.editor.native.isVisibleTo(field.native)


def test_a_value_of_the_model_is_shown_until_another_is_set(qtbot) -> None:
    field = ParameterField("min_area", EVERYTHING["min_area"], by_model=True)
    field.set_own(16)
    assert (field.value, field.acting, field.editor.value) == (None, 16, 16)
    with qtbot.waitSignal(field.changed, check_params_cb=lambda value: value == 40):
        field.editor.value = 40  # as the user does
    assert (field.value, field.acting, field.explicit) == (40, 40, True)
    field.set_own(20)
    assert field.value == 40
    field.value = None
    assert (field.value, field.acting, field.editor.value) == (None, 20, 20)
    with pytest.raises(ParameterError, match="min_area"):
        field.value = -3


def test_what_is_left_open_has_words(qtbot) -> None:
    tile, overlap = fields(TILING, ("tile", "overlap"))
    assert tile.value is None and tile.editor.native.text() == "auto"
    tile.value, overlap.value = 256, 0
    assert (tile.value, overlap.value) == (256, 0)
    tile.editor.value = tile.editor.min
    assert tile.value is None and not tile.explicit
    (limit,) = fields(EVERYTHING, ("max_area",), by_model=True)
    limit.set_own(None)
    assert limit.editor.native.text() == "no limit"
    (stiffness,) = fields(FOLLOWING, ("stiffness",))
    assert stiffness.value == FOLLOWING["stiffness"].default and not stiffness.explicit
    (gaps,) = fields(LINKING, ("fill_gaps",))
    gaps.set_own(True)
    assert gaps.value is None and gaps.acting is True


@pytest.mark.weights
def test_everything_is_set_from_the_console(qtbot, viewer, window) -> None:
    viewer.add_image(picture(), name="disks")
    widget = window.add("Segment everything")
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    parameters = widget.parameters
    assert isinstance(parameters, Container)
    parameters.pred_iou_thresh.value = 0.9
    assert parameters.pred_iou_thresh.editor.value == pytest.approx(0.9)
    assert PluginSettings().get("everything")["pred_iou_thresh"] == 0.9
    parameters.update(min_area=100, mode="instances", region="view", policy="score")
    kept = PluginSettings().get("everything")
    assert [kept[n] for n in ("min_area", "mode", "region", "policy")] == [
        100, "instances", "view", "score",
    ]  # fmt: skip
    told = parameters.asdict()
    assert told["image"] is viewer.layers["disks"] and told["model"] == "default"
    assert told["pred_iou_thresh"] == 0.9 and told["nms"] is None
    assert {n for n in EVERYTHING if n != "point_grids"} <= set(told)
    widget.start()
    qtbot.waitUntil(lambda: widget._drawn is not None and not widget._jobs.running)
    used = widget._drawn.table.parameters
    assert used["pred_iou_thresh"] == 0.9 and used["min_area"] == 100
    assert widget._drawn.table.mode == "instances"


def test_prompts_are_set_from_the_console(qtbot, viewer, window) -> None:
    viewer.add_image(picture(), name="disks")
    widget = window.add("Segment Anything")
    widget.parameters.update(mode="box", batch=True, multimask=False, min_mask_region_area=12)
    session = widget.session
    assert session.mode == "box" and session.batch
    assert widget.tools.qt.value == "box"
    assert session.options["multimask"] is False
    assert session.options["min_mask_region_area"] == 12
    widget.parameters.min_mask_region_area.value = None
    assert session.options["min_mask_region_area"] is None


def test_boxes_of_layers_follow_the_viewer(qtbot, viewer, window) -> None:
    first = viewer.add_image(picture(), name="disks")
    widget = window.add("Segment everything")
    image, target = widget.parameters.image, widget.parameters.target
    assert image._box.annotation is Image and target.annotation is Labels
    second = viewer.add_image(picture(), name="second")
    labels = viewer.add_labels(np.zeros((160, 160), np.uint8), name="mine")
    assert image.value is first and target.choices == (None, labels)
    target.value = labels
    labels.name = "renamed"
    viewer.layers.move(2, 0)
    assert target.value is labels and target.current_choice == "renamed"
    image.value = second
    viewer.layers.remove(first)
    assert image.value is second
    viewer.layers.clear()
    assert image.value is None and target.value is None
