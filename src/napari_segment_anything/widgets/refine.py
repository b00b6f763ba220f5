"""The widget "Refine objects": what another program found becomes prompts, then a review list."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import napari
from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ..bridge.runs.areas import Area, find_area
from ..bridge.runs.refining import objects_of, review_corners, run_refine, show_refined
from ..errors import PromptError, SegmentAnythingError
from ..formats import write_coco, write_table
from ..parameters import REFINING
from ..progress import Progress
from ..refining import Refined
from ..wording import counted
from .exports import ask_and_save
from .forms import plain
from .jobs import Jobs
from .layer_box import LayerBox, is_ours
from .panel import Panel
from .qt_helpers import RowTable, button, note, row, tight
from .seams import go_to

if TYPE_CHECKING:
    from napari.layers import Labels, Layer

MOST_ROWS = 1000
QWIDGETSIZE_MAX = (1 << 24) - 1
_HEADS = ("object", "doubt", "IoU", "size", "hint")


class RefineWidget(Panel):
    """Refines boxes, masks or labels of another program, and lists where the two disagree.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self._jobs = Jobs(self)
        self._area: Area | None = None
        self.refined: Refined | None = None
        """The last result."""
        self.layer: Labels | None = None
        """The layer that shows it."""
        self._build()
        self._jobs.progressed.connect(self.status.show_progress)
        self._jobs.finished.connect(self._on_finished)
        self._jobs.failed.connect(self._on_failed)
        self._jobs.ended.connect(lambda: self.run_button.setText("Refine"))
        self.at_the_end(self._jobs.close)

    def _build(self) -> None:
        from napari.layers import Labels, Layer, Shapes

        def offered() -> list[Layer]:
            return [
                layer
                for layer in self.viewer.layers
                if isinstance(layer, (Labels, Shapes)) and not is_ours(layer)
            ]

        self.objects = LayerBox(
            Layer,
            offered,
            name="objects",
            label="Objects",
            tooltip="<b>objects</b><br>Labels or Shapes of another program, or a file",
            none="a file",
        )
        self.file = FileEdit(
            name="file",
            label="File",
            mode=FileDialogMode.EXISTING_FILE,
            nullable=True,
            filter="Objects (*.csv *.json *.geojson *.tif *.tiff *.png *.npy *.npz)",
            tooltip="Boxes or outlines as CSV, COCO JSON or GeoJSON, or a label image",
        )
        self.prompt = plain("prompt", REFINING["prompt"])
        self.components = plain("components", REFINING["components"])
        self.run_button = button(
            "Refine", self.start, "Prompt the model with every object; they keep their labels"
        )
        self.summary = note()
        self.table = RowTable(_HEADS, 220)
        self.table.setMaximumHeight(QWIDGETSIZE_MAX)
        self.table.setMinimumHeight(150)
        self.table.setToolTip("What is most worth a look comes first; a click goes there")
        self.table.chosen.connect(self.show_object)
        self.save_buttons = (
            button("Save table …", self.save_table, "The review list as CSV"),
            button("Save COCO …", self.save_coco, "Masks with classes and scores"),
        )
        self.review = QWidget()
        inner = tight(QVBoxLayout(self.review))
        for item in (self.summary, self.table, row(*self.save_buttons, None)):
            inner.addWidget(item)
        self.review.setVisible(False)
        self.lay_out(
            (
                self.images,
                self.models,
                self.objects,
                self.file,
                self.prompt,
                self.components,
                self.run_button,
                self.review,
            ),
            "Refine objects",
            "Refine",
        )
        self.objects.changed.connect(self._show_file)
        self.follow(self.viewer.layers.selection.events.active, self._take_layer)
        self._take_layer()
        self._show_file()

    def _take_layer(self, *_: Any) -> None:
        """Take the layer that is selected, or the only one, while no objects are chosen."""
        self.objects.reset_choices()
        layers = [layer for layer in self.objects.choices if layer is not None]
        if self.objects.value is not None or self._file_is_named or not layers:
            return
        active = self.viewer.layers.selection.active
        if active in layers or len(layers) == 1:
            self.objects.value = active if active in layers else layers[0]

    def _show_file(self, *_: Any) -> None:
        self.file.enabled = self.objects.value is None

    @property
    def _file_is_named(self) -> bool:
        return self.file.value is not None and bool(str(self.file.value).strip("."))

    # -- what the user does ----------------------------------------------------------------------

    def start(self) -> None:
        """Refine the objects, on another thread; or stop."""
        if self._jobs.running:
            self._jobs.cancel()
            self.status.rest("Stopped.")
            return
        try:
            area = find_area(
                self.viewer, self.images.layers, "plane", channel_axis=self.images.channel_axis
            )
            objects = self._given(area)
        except SegmentAnythingError as error:
            self.status.warn(error)
            return
        prompt, components = self.prompt.value, self.components.value

        def begin() -> None:
            if self.is_shut or any(layer not in self.viewer.layers for layer in area.layers):
                return
            self._area = area
            self.run_button.setText("Stop")
            self.status.busy("Preparing …")
            predictor = self.session.predictor

            def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, Refined]:
                return (yield from run_refine(area, predictor, objects, prompt, components))

            self._jobs.start(job)

        self.shared.start(self.status, begin)

    def _given(self, area: Area) -> Any:
        if self.objects.value is not None:
            return objects_of(self.viewer, area, self.objects.value)
        if not self._file_is_named:
            raise PromptError("choose a layer with objects, or a file")
        return str(self.file.value)

    def show_object(self, number: int) -> None:
        """Move to an object of the list, and select its label."""
        area, refined, layer = self._area, self.refined, self.layer
        if area is None or refined is None or area.layers[0] not in self.viewer.layers:
            return
        go_to(self.viewer, area.layers[0], review_corners(area, refined, number))
        if layer is not None and layer in self.viewer.layers:
            layer.selected_label = number

    def save_table(self) -> None:
        """Save the review list."""
        refined = self.refined
        if refined is not None:
            ask_and_save(
                "review.csv",
                "Table (*.csv)",
                lambda path: write_table(path, refined.review()),
                self.status.say,
                self.status.warn,
                ending=".csv",
            )

    def save_coco(self) -> None:
        """Save the refined masks with their classes and scores."""
        refined, area = self.refined, self._area
        if refined is not None and area is not None:
            records = refined.image_records(area.source.path or area.source.name)
            ask_and_save(
                "refined.json",
                "COCO JSON (*.json)",
                lambda path: write_coco(path, [records], categories=refined.categories),
                self.status.say,
                self.status.warn,
                ending=".json",
            )

    # -- what the job says -----------------------------------------------------------------------

    def _on_finished(self, refined: Refined) -> None:
        area = self._area
        if area is None or area.layers[0] not in self.viewer.layers:
            self.status.rest("Done; the image was removed meanwhile.")
            return
        self.refined = refined
        self.layer = show_refined(self.viewer, area, refined)
        table = refined.review()
        self.table.fill(
            {
                int(number): (
                    str(number),
                    f"{doubt:.2f}",
                    f"{iou:.2f}",
                    f"× {size:.2f}",
                    f"{hint} {others}".strip() or "–",
                )
                for number, doubt, iou, size, hint, others in zip(
                    *(
                        table[name][:MOST_ROWS]
                        for name in ("object", "doubt", "iou", "size_change", "hint", "with")
                    ),
                    strict=True,
                )
            }
        )
        kinds = [hint.kind for hint in refined.hints]
        told = [
            f"{kinds.count(kind)} {word}"
            for kind, word in (("empty", "not found"), ("merge", "merged"), ("split", "split"))
            if kind in kinds
        ]
        self.summary.setText(
            f"{counted(len(refined), 'object')}, prompted with {refined.prompt}."
            + (f" Perhaps {', '.join(told)}." if told else "")
        )
        self.review.setVisible(True)
        self.status.rest(f"{counted(len(refined), 'object')} refined.")

    def _on_failed(self, error: BaseException) -> None:
        self.status.rest()
        self.status.warn(error)
