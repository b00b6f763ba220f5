"""The list of models, and downloads: what is shown, and that they can be stopped."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from napari_segment_anything.checkpoints import INSTALL_EXTRA, catalogue, checkpoint_directory
from napari_segment_anything.progress import Progress, finish, following
from napari_segment_anything.widgets import model_box
from napari_segment_anything.widgets.model_box import HEADS, ModelBox

from .conftest import picture

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.weights]


class Slow(BaseHTTPRequestHandler):
    """Gives 40 MB, half a MB every twentieth of a second."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(40_000_000))
        self.end_headers()
        try:
            for _ in range(80):
                self.wfile.write(b"0" * 500_000)
                time.sleep(0.05)
        except OSError:
            self.server.broken.set()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def slow():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.broken = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def listed(box: ModelBox) -> dict[str, list[str]]:
    """Return the texts of each row by the first."""
    model = box.model()
    return {
        box.itemText(row): [model.index(row, column).data() for column in range(1, len(HEADS))]
        for row in range(box.count())
    }


def enabled(box: ModelBox, name: str) -> bool:
    return bool(box.model().item(box.findText(name), 0).isEnabled())


def tip(box: ModelBox, name: str) -> str:
    return str(box.model().item(box.findText(name), 0).toolTip())


def test_the_list_says_size_purpose_licence_and_whether_it_is_here(qtbot, viewer) -> None:
    box = ModelBox()
    viewer.window.add_dock_widget(box)
    texts = listed(box)
    assert box.value == "default"
    assert [name for name in texts if name in catalogue()] == [
        name for name, entry in catalogue().items() if entry.kind == "sam"
    ]
    assert list(texts)[-3:] == ["From a file …", "From a folder …", "From the hub …"]
    assert texts["default"][1:3] == ["in the package", "BSD-3-Clause"]
    assert texts["vit_b"][:4] == ["375 MB", "to download", "Apache-2.0", "training"]
    assert "natural images" in texts["vit_b"][4]
    assert texts["vit_b_lm"][0] == "about 375 MB" and "light microscopy" in texts["vit_b_lm"][4]
    assert texts["sam3"][1:4] == ["gated", "SAM License", "memory, words, examples"]
    groups = list(dict.fromkeys(e.group for e in catalogue().values() if e.kind == "sam"))
    titles = [name for name in texts if not enabled(box, name)]
    assert titles == [*groups, "Others"], "a heading cannot be chosen"
    file = checkpoint_directory() / catalogue()["vit_t"].file
    file.parent.mkdir(parents=True)
    with file.open("wb") as holes:
        holes.truncate(catalogue()["vit_t"].size)
    box.showPopup()
    qtbot.wait(200)
    row = list(texts).index("vit_t")
    assert box.view().model().index(row, 2).data() == "downloaded"
    popup, screen = box.view().window(), box.screen().availableGeometry()
    assert screen.contains(popup.geometry())
    head = box.view().horizontalHeader()
    assert head.length() <= box.view().viewport().width()  # every column is seen whole
    assert box.view().verticalHeader().length() <= box.view().viewport().height()  # and every row
    box.hidePopup()


def test_what_cannot_be_chosen_says_why(qtbot, monkeypatch) -> None:
    box = ModelBox()
    qtbot.addWidget(box)
    assert "arXiv:2408.00714" in tip(box, "sam2.1_hiera_tiny")
    box.require("memory")
    assert not enabled(box, "vit_b")
    assert tip(box, "vit_b").startswith("vit_b cannot follow objects by memory; ")
    assert enabled(box, "edgetam")
    monkeypatch.setattr(model_box, "missing_packages", lambda: ["transformers"])
    box.require("prompt")
    assert enabled(box, "vit_b") and not enabled(box, "edgetam")
    assert tip(box, "edgetam") == f"edgetam needs transformers: {INSTALL_EXTRA}"
    words = ModelBox("words", ("sam", "detector", "likeness"))
    qtbot.addWidget(words)
    assert not enabled(words, "default")
    monkeypatch.setattr(model_box, "missing_packages", list)
    words.require("words")
    able = [name for name, entry in catalogue().items() if "words" in entry.abilities]
    assert [name for name in listed(words) if name in catalogue() and enabled(words, name)] == able


def test_a_folder_and_a_model_of_the_hub_are_chosen(qtbot, monkeypatch, tmp_path) -> None:
    box, chosen = ModelBox(), []
    qtbot.addWidget(box)
    box.changed.connect(chosen.append)
    answers = {"folder": str(tmp_path), "hub": "owner/name"}
    monkeypatch.setattr(model_box.QFileDialog, "getExistingDirectory", lambda *_: answers["folder"])
    monkeypatch.setattr(model_box.QInputDialog, "getText", lambda *_: (answers["hub"], True))
    for text in ("From a folder …", "From the hub …"):
        box.activated.emit(box.findText(text))
    assert chosen == [str(tmp_path), "owner/name"]
    assert box.value == "owner/name"
    answers["folder"] = ""
    box.activated.emit(box.findText("From a folder …"))
    assert chosen[2:] == [] and box.value == "owner/name", "nothing was chosen"
    (tmp_path / "config.json").write_text("{}")
    file = str(tmp_path / "model.safetensors")
    monkeypatch.setattr(model_box.QFileDialog, "getOpenFileName", lambda *_: (file, ""))
    box.activated.emit(box.findText("From a file …"))
    assert chosen[2:] == [str(tmp_path)], "a file of a folder stands for the folder"


def test_a_download_shows_its_progress_and_can_be_stopped(qtbot, viewer, window, slow) -> None:
    viewer.add_image(picture())
    prompt = window.add("Segment Anything")
    everything = window.add("Segment everything")
    qtbot.waitUntil(lambda: prompt.session.is_loaded)
    url = f"http://127.0.0.1:{slow.server_port}/large.pth"
    everything.models.value = url
    qtbot.waitUntil(lambda: " of 40 MB" in everything.status.text)
    assert " of 40 MB" in prompt.status.text
    assert everything.status._stop.isVisible() and everything.run_button.text() != "Stop"
    before = time.monotonic()
    everything.status._stop.click()
    assert not prompt.session.models.is_loading
    qtbot.waitUntil(slow.broken.is_set)
    assert time.monotonic() - before < 5
    assert "stopped" in everything.notices.topics["model"]
    assert prompt.models.value == everything.models.value == "default"
    assert not everything.status._stop.isVisible() and not everything.status._bar.isVisible()
    prompt.session.add_point((72, 72))  # the model in use works on
    qtbot.waitUntil(lambda: prompt.session.preview is not None and not prompt.session.busy)
    qtbot.waitUntil(lambda: not any("followed" in t.name for t in threading.enumerate()))


def test_a_function_is_followed_and_stopped() -> None:
    ended = threading.Event()

    def work(report):
        try:
            for number in range(1000):
                report(Progress(number, 1000))
                time.sleep(0.01)
        finally:
            ended.set()

    steps = following(work, Progress(0, 1), pause=0.02)
    seen = [next(steps).done for _ in range(5)]
    assert seen == sorted(seen) and seen[-1] > 0
    steps.close()
    assert ended.wait(30)
    steps = following(lambda report: report(Progress(1, 1)) or 7, Progress(0, 1))
    assert finish(steps) == 7
    with pytest.raises(ValueError, match="bad"):
        finish(following(lambda report: int("bad"), Progress(0, 1)))
