"""The widget "Segment a stack": objects followed, linked or tracked through planes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import Any

import napari
import numpy as np
from magicgui.widgets import ComboBox
from napari.layers import Labels, Layer, Points, Shapes

from ..bridge.runs.large import LargeSource
from ..bridge.runs.stack_layers import StackLayers, middle_of, show_object
from ..bridge.runs.stack_prompts import gather_from
from ..bridge.runs.stacks import StackDone, StackSource, StackStep, propagate_run, segment_run
from ..bridge.viewer.coordinates import data_to_world
from ..bridge.viewer.images import axes_of, plane_of
from ..errors import ImageError, SegmentAnythingError
from ..parameters import EVERYTHING
from ..progress import Progress
from ..stacks.segment import SOLID
from ..wording import counted
from .choosers import StoreBox
from .forms import QtField, acting
from .jobs import Jobs
from .layer_box import is_ours
from .panel import Panel
from .qt_helpers import button, column
from .review import Review
from .stack_form import StackForm

_BUTTON = {
    "propagate": "Follow objects",
    "3d": "Segment in 3-D",
    "overlap": "Segment and link",
    "track": "Segment and track",
}
_NAMES = {
    "propagate": "followed",
    "3d": "segmented",
    "overlap": "linked",
    "track": "tracked",
}
_WHY = {
    "score": "predicted IoU",
    "overlap": "overlap with the plane before",
    "area": "change of area",
    "likeness": "looks different",
    "empty": "nothing found",
    "absent": "not there, as the model remembers it",
}
LOW_SCORE = 0.6


class StackWidget(Panel):
    """Segments objects through the planes of a volume or the frames of a time-lapse.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self._jobs = Jobs(self, name="segment-anything-stack")
        self.layers = StackLayers(self.viewer)
        self.stack: StackSource | None = None
        self.done: StackDone | None = None
        self._name = ""
        self._previous: tuple[StackSource, dict[str, Any], Any] | None = None
        self._listening: Any = None
        self._look = self.delayed(50, self._fill_axes)
        self._build()
        self._connect()
        self._show_task()
        self._fill_axes()
        self.session.when_loaded(self._fit)  # load it while the user chooses

    # -- layout ----------------------------------------------------------------------------------

    def _build(self) -> None:
        self.axis = ComboBox(
            name="axis",
            label="Along",
            choices=self._axes,
            tooltip="<b>axis</b><br>Along which planes, or frames, follow each other",
        )
        self.form = StackForm(self._sources_of_prompts)
        self.task = self.form.task
        self.store = QtField(
            "output",
            "Store",
            StoreBox("in memory"),
            tooltip="<b>output</b><br>OME-Zarr store for labels larger than memory; empty: in "
            "memory",
        )
        self.run_button = button("Follow objects", self.start)
        self.review = Review()
        self.review.setVisible(False)
        self.lay_out(
            (
                self.images,
                self.models,
                self.axis,
                *self.form.rows,
                self.store,
                self.run_button,
                column(self.review, None),
            ),
            "Segment a stack",
            "Stack",
        )

    def _connect(self) -> None:
        self.task.changed.connect(self._show_task)
        self.images.changed.connect(self._fill_axes)
        self.axis.changed.connect(self._choose_axis)
        self.review.asked.connect(self._go)
        self._jobs.progressed.connect(self._on_progress)
        self._jobs.finished.connect(self._on_finished)
        self._jobs.failed.connect(self._on_failed)
        self._jobs.ended.connect(self._show_task)
        self.follow(self.viewer.dims.events, self._on_dims)
        self.follow(self.session.model_changed, self._fit)
        self.at_the_end(self._jobs.close)
        self.at_the_end(lambda: self._listen(None))

    def _sources_of_prompts(self) -> list[Layer]:
        return [
            layer
            for layer in self.viewer.layers
            if isinstance(layer, (Points, Shapes, Labels))
            and not is_ours(layer)
            and layer is not self.layers.labels
        ]

    # -- what the user chooses -------------------------------------------------------------------

    def reset_choices(self, *_: Any) -> None:
        """Offer the viewer's current layers, and the image's axes."""
        with self.axis.changed.blocked():  # only the user, and scripts, turn the stack
            super().reset_choices()
            self._fill_axes()

    def _fit(self) -> None:
        if not self.is_shut and self.session.is_loaded:
            reason = self.form.fit(self.session.model)
            if reason:
                self.status.warn(reason)

    def _show_task(self, *_: Any) -> None:
        self.run_button.setText("Stop" if self._jobs.running else _BUTTON[self.task.value])

    def _on_dims(self, event: Any = None) -> None:
        if event is None or event.type in ("order", "ndisplay", "ndim"):
            self._look.start()
        elif event.type == "point" or event.type == "current_step":
            self._mark_plane()

    def _axes(self, box: Any = None) -> list[tuple[str, int]]:
        """Return the axes that a stack may have its planes along, each with its name."""
        layers = self.images.layers
        if not layers or layers[0].ndim < 3:
            return []
        image, found = layers[0], []
        shape = image.data[0].shape if image.multiscale else image.data.shape
        for axis in range(image.ndim):
            if axis != self.images.channel_axis:
                name = str(image.axis_labels[axis])
                name = f"axis {axis}" if name.lstrip("-").isdigit() else f"{name} (axis {axis})"
                found.append((f"{name}: {counted(shape[axis], 'plane')}", axis))
        return found

    def _fill_axes(self, *_: Any) -> None:
        """Offer the image's axes; keep the choice, or else take the first that is not displayed."""
        before = self.axis.value
        with self.axis.changed.blocked():
            self.axis.reset_choices()
            layers = self.images.layers
            if layers:
                shift = self.viewer.dims.ndim - layers[0].ndim
                shown = [axis - shift for axis in self.viewer.dims.displayed]
                hidden = [axis for axis in self.axis.choices if axis not in shown]
                if hidden:
                    self.axis.value = before if before in hidden else hidden[0]

    def _choose_axis(self, axis: int | None) -> None:
        """Make the viewer show planes across the axis."""
        layers = self.images.layers
        if axis is None or not layers:
            return
        world = axis + self.viewer.dims.ndim - layers[0].ndim
        if world in self.viewer.dims.displayed:
            rest = sorted(a for a in self.viewer.dims.order if a != world)
            channel = self.images.channel_axis
            if channel is not None:
                channel += self.viewer.dims.ndim - layers[0].ndim
                rest = [channel, *(a for a in rest if a != channel)]
            self.viewer.dims.order = (*rest[:-2], world, *rest[-2:])

    # -- runs ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the chosen task on another thread."""
        if self._jobs.running:
            self.stop()
            return
        try:
            stack, task, output = self._stack_now(), self.task.value, self._output()
            options = self.form.options()
        except SegmentAnythingError as error:
            self.status.warn(error)
            return
        prompts = self.form.prompts.value
        self.shared.start(
            self.status, lambda: self._begin(stack, task, {**options, **output}, prompts)
        )

    def _begin(
        self, stack: StackSource, task: str, options: dict[str, Any], prompts: Layer | None
    ) -> None:
        """Run what was chosen when the button was pressed, even if the choice has changed since."""
        if self.is_shut:
            return
        try:
            if task == "propagate":
                job = self._propagate(stack, options, prompts)
            else:
                job = self._segment(stack, options)
        except SegmentAnythingError as error:
            self.status.warn(error)
            return
        if not stack.same(self.stack) or _NAMES[task] != self._name:
            self.layers.forget()
        self.stack, self._name = stack, _NAMES[task]
        self.status.busy("Preparing …")
        self._jobs.start(job)
        self.run_button.setText("Stop")

    def _stack_now(self) -> StackSource:
        layers = self.images.layers
        if not layers:
            raise ImageError("open a stack first")
        axis = self.axis.value
        if axis is None:
            raise ImageError("this image is a single plane; open a stack")
        axes = axes_of(self.viewer, layers, self.images.channel_axis)
        plane = plane_of(self.viewer, layers[0], axes)
        old = self.stack
        image = LargeSource.of(layers, axes)
        if old is not None and old.image.layers == image.layers and old.image.axes == axes:
            image = old.image
        return StackSource(image, axis, plane)

    def _output(self) -> dict[str, Any]:
        store = self.store.value
        return (
            {"output": store, "label": _NAMES[self.task.value], "overwrite": True} if store else {}
        )

    def _propagate(
        self, stack: StackSource, options: dict[str, Any], prompts: Layer | None
    ) -> Callable[..., Generator[Progress, None, StackDone]]:
        session = self.session
        gather = gather_from(self.viewer, stack, session.planes, prompts)
        predictor = session.predictor
        known = {**options, "model": predictor.model.fingerprint, "prompts": prompts}
        previous = None
        if self._previous is not None:
            same, before, result = self._previous
            if stack.same(same) and before == known:
                previous = result
        self._known = known

        def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, StackDone]:
            return (yield from propagate_run(stack, gather, predictor, previous, **options))

        return job

    def _segment(
        self, stack: StackSource, options: dict[str, Any]
    ) -> Callable[..., Generator[Progress, None, StackDone]]:
        predictor = self.session.predictor
        kept = self.settings.get("everything")
        solid = options["link"] == "3d"
        if not solid:
            options["policy"] = kept["policy"]
        names = SOLID if solid else EVERYTHING
        given = {name: kept[name] for name in names if kept.get(name) is not None}

        def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, StackDone]:
            more = acting(predictor.model, "instances" if solid else options["mode"], given)
            return (yield from segment_run(stack, predictor, **options, **more))

        return job

    def stop(self) -> None:
        """Cancel the run; results so far are kept."""
        self._jobs.cancel()
        self.status.rest("Stopped.")

    # -- what the jobs say -----------------------------------------------------------------------

    def _on_progress(self, step: Progress) -> None:
        self.status.show_progress(step)
        if isinstance(step.partial, StackStep) and self.stack is not None:
            if any(layer not in self.viewer.layers for layer in self.stack.image.layers):
                self.stop()
                self.status.warn("the image was removed")
                return
            self.layers.show(self.stack, step.partial, self._name)

    def _on_finished(self, done: StackDone) -> None:
        stack = self.stack
        if stack is None or any(x not in self.viewer.layers for x in stack.image.layers):
            self.status.rest("Done; the image was removed meanwhile.")
            return
        self.done = done
        self.layers.finish(stack, done, self._name)
        self._listen(self.layers.labels)
        parents = None
        if done.tracks is not None:
            pairs = zip(done.table["label"], done.table["parent"], strict=True)
            parents = {int(label): int(parent) for label, parent in pairs}
        low = LOW_SCORE if done.measure == "score" else 0.0
        notes = {} if done.propagated is None else _ends(done.propagated.ends)
        self.review.fill(done.curves, stack.count, done.measure, done.prompted, parents, low, notes)
        self._mark_plane()
        count = len(done.table["label"])
        text = f"{counted(count, 'object')}."
        if done.propagated is not None:
            self._previous = (stack, self._known, done.propagated)
            decoded = counted(len(done.propagated.decoded), "plane")
            text = f"{counted(count, 'object')}; {decoded} decoded."
        elif done.tracks is not None:
            divisions = counted(len(done.tracks.divisions), "division")
            text = f"{counted(count, 'track')}, {divisions}."
        if done.failed:
            where, reason = next(iter(done.failed.items()))
            text = f"⚠ {text} {counted(len(done.failed), 'plane')} failed: {where}: {reason[:120]}"
        self.status.rest(text)

    def _on_failed(self, error: BaseException) -> None:
        self.status.rest()
        self.status.warn(error)

    # -- review ----------------------------------------------------------------------------------

    def _go(self, number: int, plane: int) -> None:
        """Show an object on a plane."""
        stack, done = self.stack, self.done
        if stack is None or done is None:
            return
        if any(layer not in self.viewer.layers for layer in stack.image.layers):
            return
        show_object(self.viewer, stack, self.layers.labels, number, plane)
        place = middle_of(stack, done, number, plane)
        if place is None:
            return
        world = data_to_world(self.viewer, stack.image.layers[0], place)
        camera = self.viewer.scene.camera if hasattr(self.viewer, "scene") else self.viewer.camera
        shown = np.array([float(world[axis]) for axis in self.viewer.dims.displayed])
        canvas = self.viewer.canvas.size if hasattr(self.viewer, "canvas") else (600, 800)
        away = np.abs(shown - np.array(camera.center)[-len(shown) :]) * camera.zoom
        if (away > 0.45 * np.array(canvas)[-len(shown) :]).any():
            camera.center = (*tuple(camera.center)[: -len(shown)], *map(float, shown))

    def _mark_plane(self) -> None:
        stack = self.stack
        if stack is None or any(x not in self.viewer.layers for x in stack.image.layers):
            return
        with contextlib.suppress(SegmentAnythingError):
            plane = plane_of(self.viewer, stack.image.layers[0], stack.image.axes)
            self.review.curve.show_plane(plane[stack.place])

    def _listen(self, layer: Any) -> None:
        """Listen to the label that is picked on the canvas."""
        if self._listening is not None:
            self._listening.events.selected_label.disconnect(self._on_picked)
        self._listening = layer
        if layer is not None:
            layer.events.selected_label.connect(self._on_picked)

    def _on_picked(self, event: Any = None) -> None:
        if self._listening is not None:
            self.review.select(int(self._listening.selected_label))


def _ends(ends: Mapping[int, Mapping[int, str]]) -> dict[int, str]:
    """Describe where objects end, and why."""
    return {
        number: "<br>".join(
            f"ends before plane {plane}: {_WHY.get(reason, reason)}"
            for plane, reason in sorted(found.items())
        )
        for number, found in ends.items()
    }
