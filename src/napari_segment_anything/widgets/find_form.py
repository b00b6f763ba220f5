"""What to look for, and by which model: words and examples."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, LineEdit
from napari.layers import Labels, Shapes
from qtpy.QtWidgets import QFileDialog

from ..bridge.runs.areas import Area
from ..bridge.runs.finding import draw_examples, examples_from
from ..checkpoints import INSTALL_EXTRA, catalogue, is_here, missing_packages
from ..engine import Model
from ..errors import PromptError
from ..finding import finder_here, finders, load_finder, takes_of
from ..progress import Progress, following
from .layer_box import is_ours
from .sections import Section

if TYPE_CHECKING:
    from .panel import Panel

NONE, SELECTED, DRAW = "none", "selected objects", "rectangles to draw …"
AUTOMATIC, FOLDER = "automatic", "from a folder …"


class FindForm:
    """Fields for words, examples and the finder.

    Parameters
    ----------
    panel : Panel
        Whose image and session are used.
    changed : callable
        Called when a field was changed.
    """

    def __init__(self, panel: Panel, changed: Callable[[], object]) -> None:
        self._panel, self._changed = panel, changed
        self._loaded: tuple[str, Any] | None = None
        self._folder = ""
        self.words = LineEdit(
            name="words",
            label="Words",
            tooltip="<b>words</b><br>What to look for, such as nucleus",
        )
        self.words.native.setPlaceholderText("nucleus")
        self.examples = ComboBox(
            name="examples",
            label="Examples",
            choices=lambda box: self._sources(),
            tooltip="<b>examples</b><br>Objects like which others are looked for: those selected "
            "in the list of objects, all of a Labels layer, or the shapes of a layer",
        )
        self.finder = ComboBox(
            name="finder",
            label="Finder",
            choices=lambda box: self._finders(),
            tooltip="<b>finder</b><br>The model that looks. Automatic: the model itself, if it "
            "can; for examples its own features; for words one that is on this machine",
        )
        self.section = Section([self.words, self.examples, self.finder])
        self.words.changed.connect(lambda *_: changed())
        self.examples.changed.connect(self._choose_examples)
        self.finder.changed.connect(self._choose_finder)

    def show(self, shown: bool) -> None:
        """Show or hide the fields."""
        self.section.shown = shown
        if shown:
            self.mark()

    def mark(self) -> None:
        """Grey out finders that do not understand what is given, and say why."""
        items = self.finder.native.model()
        for index, name in enumerate(self.finder.choices):
            reason = "" if name in (AUTOMATIC, FOLDER) else self._unable(str(name))
            items.item(index).setEnabled(not reason)
            items.item(index).setToolTip(reason)

    def reason(self, model: Model | None) -> str:
        """Return why nothing can be looked for now; "" if it can.

        Parameters
        ----------
        model : Model, optional
            The one that segments, if it is loaded.
        """
        needs = self._needs()
        if not needs:
            return "Say what to look for: words, or examples."
        chosen = str(self.finder.value)
        if chosen != AUTOMATIC:
            return self._unable(chosen)
        if model is None or needs <= model.abilities or "words" not in needs:
            return ""
        if finder_here(needs) is None:
            return (
                f"{model.name} does not find by words, and no model that does is on this "
                f"machine: choose one as the finder ({', '.join(finders(needs))})."
            )
        return ""

    def query(self, area: Area) -> tuple[str, list[Any]]:
        """Return the words and the examples on the plane of an area.

        Raises
        ------
        PromptError
            If examples were chosen and there is none.
        """
        panel, source = self._panel, self.examples.value
        words = self.words.value.strip()
        if source in (None, NONE):
            return words, []
        if source == SELECTED:
            target, labels = panel.session.target, panel.shared.selected_objects()
            if target is None or not labels:
                raise PromptError("select objects in the list of the widget Segment Anything first")
            return words, examples_from(panel.viewer, target, area, labels)
        return words, examples_from(panel.viewer, source, area)

    def finder_steps(self, model: Model) -> Generator[Progress, None, Any]:
        """Load the finder that is chosen, unless it is in memory; None leaves it to `find`."""
        source, needs = self.finder.value, self._needs()
        if source == AUTOMATIC:
            if needs <= model.abilities or "words" not in needs:
                return None
            source = finder_here(needs)
        elif source in (model.name, model.source) and needs <= model.abilities:
            return None
        if self._loaded is None or self._loaded[0] != source:
            first = Progress(0, 1, message=f"loading {Path(source).name}")
            device = str(model.device)
            found = yield from following(lambda report: load_finder(source, device, report), first)
            self._loaded = (source, found)
        return self._loaded[1]

    def _needs(self) -> frozenset[str]:
        words, examples = bool(self.words.value.strip()), self.examples.value not in (None, NONE)
        return frozenset(n for n, there in (("words", words), ("examples", examples)) if there)

    def _unable(self, name: str) -> str:
        missing = " and ".join(sorted(self._needs() - takes_of(name)))
        if missing:
            return f"{Path(name).name} does not find by {missing}."
        packages = " and ".join(missing_packages())
        return f"{Path(name).name} needs {packages}: {INSTALL_EXTRA}" if packages else ""

    def _sources(self) -> list[tuple[str, Any]]:
        layers = [
            (layer.name, layer)
            for layer in reversed(self._panel.viewer.layers)
            if (isinstance(layer, Labels) and not is_ours(layer, exactly=True))
            or (isinstance(layer, Shapes) and layer.data)
        ]
        return [(NONE, NONE), (SELECTED, SELECTED), *layers, (DRAW, DRAW)]

    def _finders(self) -> list[tuple[str, str]]:
        names = finders(frozenset({"words"}))
        where = {n: "here" if is_here(catalogue()[n]) else "to download" for n in names}
        listed = [(f"{name} ({where[name]})", name) for name in names]
        own = [(Path(self._folder).name, self._folder)] if self._folder else []
        return [(AUTOMATIC, AUTOMATIC), *listed, *own, (FOLDER, FOLDER)]

    def _choose_examples(self, source: Any) -> None:
        images = self._panel.images.layers
        if source == DRAW:
            if not images:
                self.examples.value = NONE
                return
            layer = draw_examples(self._panel.viewer, images[0])
            self._panel.status.say("Draw rectangles around a few examples, then press Find.")
            layer.events.data.connect(self._on_drawn)
        self._changed()
        self.mark()

    def _on_drawn(self, event: Any = None) -> None:
        """Take the layer that rectangles are drawn on, once there is one."""
        layer = getattr(event, "source", None)
        if self._panel.is_shut or layer is None or not layer.data:
            return
        layer.events.data.disconnect(self._on_drawn)
        self.examples.reset_choices()
        self.examples.value = layer

    def _choose_finder(self, source: Any) -> None:
        if source == FOLDER:
            text = QFileDialog.getExistingDirectory(self._panel, "Open a folder with a model")
            self._folder = text or self._folder
            self.finder.reset_choices()
            self.finder.value = text or AUTOMATIC
        self._changed()
