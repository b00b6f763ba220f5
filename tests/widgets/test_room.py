"""Panels in a window of 1280 x 720: nothing is pushed off the screen, and nothing is cut."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QObject, QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QHeaderView,
    QLabel,
    QSlider,
    QTabBar,
)

from napari_segment_anything.widgets.docking import Scroll
from napari_segment_anything.widgets.sections import Fold

from .conftest import PLUGIN, at_rest, picture

pytestmark = pytest.mark.filterwarnings("default")
WIDGETS = ("Segment Anything", "Segment everything", "Segment a stack")


@pytest.fixture
def docks(qtbot, viewer):
    """Return the three widgets of a window of 1280 x 720, all opened."""
    viewer.window.resize(1280, 720)
    stack = np.stack([picture(96)] * 3)
    for name in ("red", "green"):
        viewer.add_image(stack, name=name)
    made = [viewer.window.add_plugin_dock_widget(PLUGIN, name) for name in WIDGETS]
    qtbot.waitUntil(lambda: made[0][1].session.is_loaded and size(viewer) == (1280, 720))
    at_rest(qtbot, viewer)
    return viewer, made


def size(viewer) -> tuple[int, int]:
    window = viewer.window._qt_window
    return window.width(), window.height()


def words(item) -> tuple[str, int] | None:
    """Return the text that a widget shows and the pixels there are for it."""
    if isinstance(item, QLabel):
        if item.wordWrap() or (item.pixmap() is not None and not item.pixmap().isNull()):
            return None
        plain = item.text().replace("<b>", "").replace("</b>", "")
        return plain, item.contentsRect().width()
    if isinstance(item, QAbstractButton):
        return item.text().replace("&", ""), item.width() - 4
    if isinstance(item, QComboBox):
        return item.currentText(), item.width() - 24
    if isinstance(item, QAbstractSpinBox):
        return item.lineEdit().text(), item.lineEdit().width() - 2
    return None


def cut(widget) -> list[str]:
    """Return the texts that are not seen whole, and widgets that reach beyond their parent."""
    found = []
    for kind in (QLabel, QAbstractButton, QComboBox, QAbstractSpinBox):
        for item in widget.findChildren(kind):
            shown = words(item) if item.isVisible() else None
            if shown is None or not shown[0]:
                continue
            text, width = shown
            if item.fontMetrics().horizontalAdvance(text) > width:
                found.append(
                    f"{text!r} needs {item.fontMetrics().horizontalAdvance(text)}: {width}"
                )
            right = item.mapTo(widget, QPoint(item.width(), 0)).x()
            if right > widget.width():
                found.append(f"{text!r} ends at {right} of {widget.width()}")
            if item.height() < item.fontMetrics().height():
                found.append(f"{text!r} is {item.height()} high")
    for head in widget.findChildren(QHeaderView):
        model = head.model()
        for index in range(head.count() if head.isVisible() and head.orientation() == 1 else 0):
            text = str(model.headerData(index, Qt.Orientation.Horizontal))
            if head.fontMetrics().horizontalAdvance(text) > head.sectionSize(index) - 4:
                found.append(f"head {text!r}")
    return found


def test_three_docks_leave_the_window_as_large_as_it_was(qtbot, docks) -> None:
    viewer, made = docks
    assert size(viewer) == (1280, 720)
    assert made[0][1].width() <= 370  # the rest is the canvas'
    for theme in ("dark", "light"):
        viewer.theme = theme
        for _dock, widget in made:
            for fold in widget.findChildren(Fold):
                fold.opened = True
        made[1][1].region.qt.button("all").click()
        qtbot.wait(300)
        assert size(viewer) == (1280, 720)
        window = viewer.window._qt_window
        assert window.minimumSizeHint().height() <= 720
        first = made[0][0]
        assert set(window.tabifiedDockWidgets(first)) == {dock for dock, _ in made[1:]}
        for dock, widget in made:
            dock.raise_()
            qtbot.wait(50)
            bottom = widget.mapTo(window, QPoint(0, widget.height())).y()
            assert widget.isVisible() and bottom <= 720


def test_no_text_is_cut(qtbot, docks) -> None:
    viewer, made = docks
    found: dict[tuple[str, ...], list[str]] = {}
    for dock, widget in made:
        dock.raise_()
        for fold in widget.findChildren(Fold):
            fold.opened = True
        ways = {"region": ("plane", "all"), "task": ("propagate", "3d", "overlap", "track")}
        choices = [(getattr(widget, name), ways[name]) for name in ways if hasattr(widget, name)]
        for theme in ("dark", "light"):
            viewer.theme = theme
            for choice, values in choices or [(None, ("",))]:
                for value in values:
                    if choice is not None:
                        choice.qt.button(value).click()
                    qtbot.wait(100)
                    found[(theme, dock.windowTitle(), value)] = cut(widget)
        found[(dock.windowTitle(), "title")] = cut(dock.titleBarWidget())
    assert not {where: what for where, what in found.items() if what}


def test_tabs_and_docks_have_titles_that_fit(qtbot, docks) -> None:
    viewer, made = docks
    titles = [dock.titleBarWidget().findChild(QLabel).text() for dock, _ in made]
    assert titles == list(WIDGETS)
    bars = [bar for bar in viewer.window._qt_window.findChildren(QTabBar) if bar.count() == 3]
    assert len(bars) == 1
    (bar,) = bars
    assert {bar.tabText(i) for i in range(3)} == {"Prompts", "Everything", "Stack"}
    assert bar.tabRect(2).right() <= bar.width()
    dock = made[0][0]
    dock.setFloating(True)
    qtbot.wait(100)
    assert dock.titleBarWidget().findChild(QLabel).text() == WIDGETS[0]
    dock.setFloating(False)


def settled(qtbot, buttons) -> list[QPoint]:
    """Return where buttons are, once the layout of a window just opened has come to rest."""
    places: list[QPoint] = []
    for _ in range(25):
        now = [item.mapToGlobal(QPoint(0, 0)) for item in buttons]
        if now == places:
            break
        places = now
        qtbot.wait(400)
    return places


def test_what_is_said_moves_no_button(qtbot, docks) -> None:
    _viewer, made = docks
    long = "This is what an error may say: it names a file, why it cannot be had, what to do. " * 2
    for dock, widget in made:
        dock.raise_()
        qtbot.wait(100)
        buttons = [b for b in widget.findChildren(QAbstractButton) if b.isVisible()]
        buttons = [b for b in buttons if b is not widget.status._stop]
        places = settled(qtbot, buttons)
        if widget is made[0][1]:
            widget.prompting.candidates.show_scores((0.5, 0.6, 0.7), 1)
            widget.prompting.commit_button.setEnabled(True)
            qtbot.wait(50)
            assert [b.mapToGlobal(QPoint(0, 0)) for b in buttons] == places
        for text in ("Short.", "Two lines of text are needed for what is said here, often.", long):
            widget.status.say(text)
            qtbot.wait(50)
            assert [b.mapToGlobal(QPoint(0, 0)) for b in buttons] == places, text
        label = widget.status._text._label
        qtbot.waitUntil(lambda label=label: label.height() >= label.heightForWidth(label.width()))
        assert [b.mapToGlobal(QPoint(0, 0)) for b in buttons] == places
        widget.status.say("")


class LayoutWatch(QObject):
    """Collects the widgets that Qt lays out again."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[QObject] = []

    def eventFilter(self, item: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:
            self.seen.append(item)
        return False


def test_what_a_click_says_is_no_new_layout_of_the_window(qtbot, docks) -> None:
    viewer, made = docks
    dock, widget = made[0]
    dock.raise_()
    watch = LayoutWatch()
    QApplication.instance().installEventFilter(watch)
    for _ in range(25):  # until what opened the window has been laid out
        watch.seen.clear()
        qtbot.wait(200)
        if not watch.seen:
            break
    widget.prompting.candidates.show_scores((0.5, 0.6, 0.7), 1)
    widget.status.rest("Enter commits; right-click on what does not belong to it.")
    qtbot.wait(100)
    QApplication.instance().removeEventFilter(watch)
    assert widget.prompting.candidates.button("2").text() == "3:  0.70"
    assert not {widget, viewer.window._qt_window}.intersection(watch.seen)


def test_the_wheel_scrolls_and_chooses_nothing(qtbot, docks) -> None:
    viewer, made = docks
    dock, widget = made[1]
    dock.raise_()
    for fold in widget.findChildren(Fold):
        fold.opened = True
    qtbot.wait(200)
    scroll = widget.findChild(Scroll)
    before = (widget.mode.value, widget.models.value, scroll.verticalScrollBar().value())
    slider = widget.parameters.pred_iou_thresh.editor.native.findChild(QSlider)
    value = slider.value()
    for item in (widget.mode.native, widget.models.qt, slider):
        at = QPointF(item.rect().center())
        event = QWheelEvent(
            at, QPointF(item.mapToGlobal(item.rect().center())), QPoint(0, -120), QPoint(0, -120),
            Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase,
            False,
        )  # fmt: skip
        QApplication.sendEvent(item, event)
    after = (widget.mode.value, widget.models.value, scroll.verticalScrollBar().value())
    assert after[:2] == before[:2] and slider.value() == value
    assert after[2] > before[2]
    assert size(viewer) == (1280, 720)


def test_a_dock_that_was_closed_and_opened_again_lies_behind_its_siblings(qtbot, docks) -> None:
    viewer, made = docks
    dock, widget = made.pop(1)
    viewer.window.remove_dock_widget(dock)
    widget.deleteLater()  # napari leaves the widget of a removed dock to whoever holds it
    qtbot.wait(100)
    again, _ = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGETS[1])
    main = viewer.window._qt_window
    assert isinstance(again, QDockWidget) and again is not dock
    qtbot.waitUntil(lambda: made[0][0] in main.tabifiedDockWidgets(again))
    assert size(viewer) == (1280, 720)


def test_the_image_and_the_model_are_chosen_once_for_all_widgets(qtbot, docks, offline) -> None:
    viewer, made = docks
    prompt, everything, stack = (widget for _, widget in made)
    red, green = viewer.layers["red"], viewer.layers["green"]
    everything.images.value = red
    assert [w.images.layers for w in (prompt, everything, stack)] == [(red,)] * 3
    assert [w.images.value for w in (prompt, everything, stack)] == [red] * 3
    assert prompt.session.image is red
    stack.images.use_channel(green, True)
    assert prompt.images.layers == (red, green) and "2 channels" in prompt.images.button.text()
    viewer.layers.remove(green)
    assert everything.images.layers == (red,)
    stack.images.use_axis(0)
    assert everything.images.channel_axis == 0
    assert prompt.session.options["channel_axis"] == 0
    viewer.layers.remove(red)
    assert prompt.images.layers == () and prompt.session.image is None
    blue = viewer.add_image(picture(), name="blue")
    assert [w.images.layers for w in (prompt, everything, stack)] == [(blue,)] * 3
    assert everything.images.channel_axis is None
    widget = made[2][1]
    widget.models.value = "vit_t"
    assert [w.models.value for w in (prompt, everything, stack)] == ["vit_t"] * 3
    widget.models.value = "default"
    qtbot.waitUntil(lambda: prompt.session.is_loaded)
