"""Clicks and drags on the canvas as prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ...errors import ParameterError, SegmentAnythingError
from ...session.objects import inside
from .coordinates import mixes_units
from .drafts import ordered
from .images import check_images, default_image, readable_images
from .plane_sessions import PlaneInView
from .prompt_editor import PromptEditor
from .runners import JobCallbacks
from .working_layers import corners

if TYPE_CHECKING:
    from napari.layers import Layer

    from ...session import DecodeResult

MouseMode = Literal["points", "box", "scribble", "lasso", "off"]
MODES: tuple[MouseMode, ...] = ("points", "box", "scribble", "lasso", "off")
Draw = Literal["box", "line"]
Claim = Callable[[PlaneInView, tuple[float, float], bool], bool]
"""Given what is shown, a (row, column) point, and whether it is a positive one."""
_STILL = 4.0  # canvas pixels within which a press and a release are a click


def no_claim(seen: PlaneInView, point: tuple[float, float], positive: bool) -> bool:
    """Leave a click to begin an object of its own."""
    return False


class UnitsWarning(SegmentAnythingError):
    """Layers of one viewer have different units."""


class MouseInput:
    """Listens to a viewer's mouse while a session wants prompts.

    A click is a positive point, a right click or Shift-click a negative one; Shift-drag draws a
    box. In the modes "box", "scribble" and "lasso" a plain drag draws (Shift: a negative scribble).
    napari's own use of the mouse stays: a drag pans, Alt-drag and the wheel zoom. While another
    layer's tool is in use, or the active layer is not one of the session's, a click is not a
    prompt, and `click_ignored` is emitted.

    Parameters
    ----------
    prompts : PromptEditor
    """

    def __init__(self, prompts: PromptEditor) -> None:
        self._prompts, self._canvas, self._planes = prompts, prompts.canvas, prompts.planes
        self._signals, self._viewer = self._canvas.signals, self._planes.viewer
        self._mode: MouseMode = "points"
        self.hover_preview = False
        """Whether the mask under the cursor is shown before any click."""
        self.followed: Layer | None = None
        """The layer that prompts are taken from: its tools are no reason for a message."""
        self.claim: Claim = no_claim
        """Asked before a click begins an object; returns whether it began one of its own."""
        self._warned_of_units = False
        self._tools: dict[str, tuple[Draw, Callable[[PlaneInView, np.ndarray], object]]] = {}
        self._tool = ""
        self._viewer.mouse_drag_callbacks.append(self._drag)
        self._viewer.mouse_move_callbacks.append(self._move)
        self._zooms = list(self._viewer.mouse_double_click_callbacks)
        self._viewer.mouse_double_click_callbacks[:] = [self._double_click]

    def close(self) -> None:
        """Stop listening."""
        for callbacks, function in (
            (self._viewer.mouse_drag_callbacks, self._drag),
            (self._viewer.mouse_move_callbacks, self._move),
        ):
            if function in callbacks:
                callbacks.remove(function)
        callbacks = self._viewer.mouse_double_click_callbacks
        callbacks[:] = [
            *self._zooms,
            *(item for item in callbacks if item != self._double_click and item not in self._zooms),
        ]

    @property
    def mode(self) -> MouseMode:
        """What a plain drag draws: "points" (nothing), "box", "scribble", "lasso"; or "off"."""
        return self._mode

    @mode.setter
    def mode(self, mode: MouseMode) -> None:
        if mode not in MODES:
            raise ParameterError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
        self._mode = mode

    def add_tool(
        self, name: str, draw: Draw, act: Callable[[PlaneInView, np.ndarray], object]
    ) -> None:
        """Add a tool for which a plain drag draws something that is no prompt.

        Parameters
        ----------
        name : str
        draw : {"box", "line"}
            What a drag draws.
        act : callable
            Called with the plane that is shown and the (row, column) points (k, 2) of the line, or
            two opposite corners of the box. Its errors are reported.
        """
        self._tools[name] = (draw, act)

    def remove_tool(self, name: str) -> None:
        """Remove a tool that was added."""
        self._tools.pop(name, None)
        if self._tool == name:
            self._tool = ""

    @property
    def tool(self) -> str:
        """The added tool in use; "" if a drag draws what `mode` says. Clicks stay prompts."""
        return self._tool

    @tool.setter
    def tool(self, name: str) -> None:
        if name and name not in self._tools:
            raise ParameterError(f"there is no tool {name!r}; there are {', '.join(self._tools)}")
        self._tool = name

    # -- whose the mouse is ----------------------------------------------------------------------

    def is_ours(self) -> bool:
        """Whether a layer of the session is active, and in pan/zoom mode."""
        active = self._viewer.layers.selection.active
        return active is not None and active.mode == "pan_zoom" and self._is_bound(active)

    def listens(self) -> bool:
        """Whether a click would be a prompt now."""
        return self._mode != "off" and self._viewer.dims.ndisplay == 2 and self.is_ours()

    def _is_bound(self, layer: Layer) -> bool:
        """Whether clicks on a layer are prompts: the image, the target, or a working layer.

        Without an image in use, any Image layer may become it.
        """
        from napari.layers import Image

        layers = self._planes.layers
        ours = (*layers.images, layers.target, *self._canvas.drawn)
        return layer in ours or (not layers.images and isinstance(layer, Image))

    def take(self) -> None:
        """Make clicks prompts: show two dimensions, activate the image in pan/zoom mode.

        Raises
        ------
        ImageError
            If there is no image.
        """
        image = self._planes.layers.image or default_image(self._viewer)
        check_images(self._viewer, (image,))
        self._viewer.dims.ndisplay = 2
        image.mode = "pan_zoom"
        self._viewer.layers.selection.active = image

    def _why_ignored(self) -> str | None:
        """Return why a click was not a prompt; None if the user clearly does something else."""
        active, image = self._viewer.layers.selection.active, self._planes.layers.image
        if image is None and not readable_images(self._viewer):
            return None
        if self._viewer.dims.ndisplay != 2:
            return "The viewer shows three dimensions; prompts are placed in two."
        if active is None:
            return "No layer is active, so the click was not a prompt."
        image = image or default_image(self._viewer)
        if active.mode == "pan_zoom":
            return (
                f"The click was not a prompt: the active layer is {active.name!r}, not "
                f"{image.name!r}."
            )
        if active is self.followed or (active is not image and self._is_bound(active)):
            return None
        return (
            f"The click went to the tool {str(active.mode)!r} of the layer {active.name!r}; it was "
            "not a prompt."
        )

    # -- events ----------------------------------------------------------------------------------

    def _move(self, viewer: Any, event: Any) -> None:
        if self.hover_preview and not event.modifiers and self.listens():
            self.hover(event.position)

    def _double_click(self, viewer: Any, event: Any) -> None:
        """Treat the second of two quick clicks as a click; otherwise zoom, as napari does."""
        if self.listens() and "Alt" not in event.modifiers:
            self.click(event.position, event.button == 1 and "Shift" not in event.modifiers)
            return
        for zoom in self._zooms:
            zoom(viewer, event)

    def _ignored(self, event: Any) -> Iterator[None]:
        """Follow a press that is not a prompt; if it becomes a click, emit `click_ignored`."""
        begin = np.asarray(event.pos, np.float64)
        away = 0.0
        yield
        while event.type == "mouse_move":
            away = max(away, _far(event, begin))
            yield
        why = self._why_ignored() if away <= _STILL else None
        if why is not None:
            self._signals.click_ignored.emit(why)

    def _drag(self, viewer: Any, event: Any) -> Iterator[None]:
        if set(event.modifiers) - {"Shift"} or event.button not in (1, 2) or self._mode == "off":
            return
        if not self.listens():
            yield from self._ignored(event)
            return
        shift = "Shift" in event.modifiers
        positive = event.button == 1 and not shift
        tool = "" if shift else self._tool
        drawing = event.button == 1 and bool(shift or tool or self._mode != "points")
        kind = self._mode if self._mode != "points" else "box"
        if tool:
            kind = "box" if self._tools[tool][0] == "box" else "scribble"
        path = [np.asarray(event.position, np.float64)]
        begin = np.asarray(event.pos, np.float64)
        away = 0.0
        camera = viewer.scene.camera
        pans = camera.mouse_pan
        if drawing:
            camera.mouse_pan = False
        try:
            yield
            while event.type == "mouse_move":
                away = max(away, _far(event, begin))
                if drawing and away > _STILL:
                    path.append(np.asarray(event.position, np.float64))
                    self._draw(kind, np.array(path))
                yield
        finally:
            if drawing:
                camera.mouse_pan = pans
        if away <= _STILL:
            self.click(path[0], positive=positive)
        elif drawing:
            drawn = np.array(path)
            if tool:
                self._canvas.models.ask(lambda: self._use_tool(tool, drawn), "edit")
            else:
                self._canvas.models.ask(lambda: self._take_drawn(kind, drawn, positive), "prompt")

    # -- prompts ---------------------------------------------------------------------------------

    def click(self, position: npt.ArrayLike, positive: bool = True) -> None:
        """Add a click as a prompt; errors are reported, not raised.

        Parameters
        ----------
        position : array-like (m,)
            In the world, in all of the viewer's axes.
        positive : bool
            Whether it lies inside the object.
        """
        where = np.array(position, np.float64)

        def act() -> None:
            with self._signals.reporting():
                seen = self._planes.look()
                row, col = map(float, seen.points(where))
                if not inside((row, col), seen.on.axes.rows_cols):
                    return
                if seen.on.session.draft is None:
                    self._warn_of_units()
                    if self.claim(seen, (row, col), positive) and positive:
                        return
                self._prompts.put_point(seen.on, seen.plane, (row, col), positive)

        self._canvas.models.ask(act, "prompt")

    def _draw(self, kind: str, path: np.ndarray) -> None:
        """Show a shape while it is drawn along world positions (k, ndim)."""
        if not self._canvas.models.is_loaded:
            return
        with self._signals.reporting():
            seen = self._planes.look()
            line = seen.points(path)
            if kind == "box":
                line = corners(ordered((*line[0], *line[-1])))[[0, 1, 2, 3, 0]]
            elif kind == "lasso":
                line = np.concatenate([line, line[:1]])
            drawn = seen.on.axes.position(seen.plane, line)
            self._canvas.working_on(seen.on).show(seen.on.session.draft, drawn)

    def _take_drawn(self, kind: str, path: np.ndarray, positive: bool) -> None:
        """Add a shape drawn along world positions (k, ndim) as a prompt."""
        with self._signals.reporting():
            try:
                self._warn_of_units()
                seen = self._planes.look()
                flat = seen.points(path)
                if kind == "box":
                    self._prompts.set_box((*flat[0], *flat[-1]), seen.plane)
                elif kind == "lasso":
                    self._prompts.lasso(flat, seen.plane)
                else:
                    self._prompts.scribble(flat, positive, seen.plane)
            except SegmentAnythingError:
                self._canvas.show_prompts()
                raise

    def _use_tool(self, name: str, path: np.ndarray) -> None:
        """Do what an added tool does with what was drawn along world positions (k, ndim)."""
        self._canvas.show_prompts()
        if name not in self._tools:
            return
        draw, act = self._tools[name]
        with self._signals.reporting():
            seen = self._planes.look()
            flat = seen.points(path)
            act(seen, flat[[0, -1]] if draw == "box" else flat)

    def hover(self, position: npt.ArrayLike) -> None:
        """Show the mask under a world position before any click, if its window is encoded."""
        planes, canvas = self._planes, self._canvas
        if not canvas.models.is_loaded or not planes.layers.images:
            return
        if planes.draft is not None or canvas.queue.users:
            return
        try:
            seen = planes.look()
            on = seen.on
            row, col = map(float, seen.points(position))
            if not inside((row, col), on.axes.rows_cols):
                canvas.show_preview()
                return
            request = on.session.hover_request(seen.plane, (row, col))
            if not request.is_encoded:
                return  # only clicks encode
        except SegmentAnythingError:
            return  # nothing to show there

        def show(result: DecodeResult | None) -> None:
            if result is not None and on is planes.current and planes.draft is None:
                canvas.draw_masks(on, result.preview())

        callbacks = JobCallbacks(show, self._signals.report, lambda step: None, lambda: None)
        canvas.worker.runner.submit(
            lambda cancelled: on.session.decode(request, cancelled), callbacks
        )

    def _warn_of_units(self) -> None:
        """Warn once if layers have different units, which napari's own tools ignore."""
        if not self._warned_of_units and mixes_units(self._viewer):
            self._warned_of_units = True
            self._signals.report(
                UnitsWarning(
                    "the layers have different units: napari's brush and its point tool ignore "
                    "that, and draw elsewhere; clicks of this plugin are right"
                )
            )


def _far(event: Any, begin: np.ndarray) -> float:
    """Canvas pixels between the mouse and where it was pressed."""
    return float(np.abs(np.asarray(event.pos) - begin).max())
