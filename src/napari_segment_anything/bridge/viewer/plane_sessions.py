"""A session for each orientation of an image's planes, and what the viewer shows of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...engine import Predictor
from ...errors import ParameterError, PromptError, ResourceError
from ...session import Session, recover
from ...session.schema import Plane
from .coordinates import (
    LayerTransform,
    current_index,
    data_to_world,
    displayed_axes,
    point_from_data,
    transform_of,
)
from .images import ImageAxes, SessionLayers, axes_of, source_of
from .model_holder import ModelHolder
from .signals import Notice, ViewerSignals
from .targets import LayerTarget

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from ...session import Draft

_LIVE = ("overwrite", "multimask", "min_mask_region_area")


@dataclass(frozen=True, slots=True, eq=False)
class PlaneSession:
    """A session on the planes of one orientation: those spanned by two axes of the image.

    Parameters
    ----------
    axes : ImageAxes
    target : LayerTarget
    session : Session
    dropped : callable, optional
        Given if the session belongs to somebody else, who closes it: called when it is not used
        any more.
    """

    axes: ImageAxes
    target: LayerTarget
    session: Session
    dropped: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PlaneInView:
    """What the viewer shows of an image: resolved once for an event and then passed on.

    Parameters
    ----------
    on : PlaneSession
        The session on planes of this orientation.
    plane : tuple of int
        An index for each axis neither displayed nor of channels.
    transform : LayerTransform
        From the image's data to the world.
    """

    on: PlaneSession
    plane: Plane
    transform: LayerTransform

    def points(self, positions: npt.ArrayLike) -> np.ndarray:
        """Return the (row, column) points (..., 2) at world positions (..., m)."""
        world = np.asarray(positions, np.float64)[..., -len(self.transform.offset) :]
        return self.transform.to_data(world)[..., list(self.on.axes.displayed)]


class PlaneSessions:
    """Finds the session on the planes that are shown, and creates it if necessary.

    Parameters
    ----------
    layers : SessionLayers
        Image and target.
    models : ModelHolder
    signals : ViewerSignals
    """

    OPTIONS: ClassVar[dict[str, Any]] = {
        "channel_axis": None,
        "channels": None,
        "contrast_limits": "auto",
        "window_size": None,
        "overwrite": False,
        "multimask": "auto",
        "min_mask_region_area": None,
        "journal": None,
    }

    def __init__(self, layers: SessionLayers, models: ModelHolder, signals: ViewerSignals) -> None:
        self.viewer, self.layers, self.signals = layers.viewer, layers, signals
        self.options = dict(self.OPTIONS)
        self.all: tuple[PlaneSession, ...] = ()
        """The sessions there are, one for the planes of each orientation."""
        self.current: PlaneSession | None = None
        """The session that was found last."""
        self.made: Callable[[PlaneSession], object] = lambda new: None
        """Called with a new session."""
        self.switched: Callable[[], object] = lambda: None
        """Called when another session, or none, is current."""
        self._models = models
        self._closed = False
        self._left: list[Session] = []  # dropped ones; their journals stay open until the end

    @property
    def draft(self) -> Draft | None:
        """The object in progress, or the batch; None if there is none."""
        return None if self.current is None else self.current.session.draft

    # -- what is shown ---------------------------------------------------------------------------

    def find(self) -> PlaneSession:
        """Return the session on the planes that are shown, created if necessary.

        Raises
        ------
        ImageError
            If there is no image, it was removed, or the viewer shows no plane of it.
        ParameterError
            If the target was removed or cannot be written to.
        """
        if self._closed:
            raise ParameterError("this session was closed; attach to the viewer again")
        images = self.layers.present()
        if images is not self.layers.images:
            self.layers.choose(images)
            self.signals.layers_changed.emit()
        shown = displayed_axes(self.viewer, images[0])
        found = next((one for one in self.all if one.axes.displayed == shown), None)
        if found is None:
            found = self._add(images, self._axes_of(images))
        found.target.check()
        if self.current is not found:
            self.current = found
            self.switched()
        return found

    def look(self) -> PlaneInView:
        """Return what is shown now: a plane of the image, its session, and where it lies.

        Raises
        ------
        ImageError, ParameterError
            As for `find`, or if sliders are beyond the image, or the viewer cuts it obliquely.
        """
        on = self.find()
        image = self.layers.images[0]
        transform = transform_of(self.viewer, image)
        index = current_index(self.viewer, image, transform, on.axes.displayed)
        return PlaneInView(on, on.axes.plane(index), transform)

    @property
    def plane(self) -> Plane:
        """The plane that is shown: an index for each axis neither displayed nor of channels."""
        return self.look().plane

    def place(self, point: npt.ArrayLike, plane: Sequence[int] | None = None) -> tuple[Plane, Any]:
        """Return plane and (row, column) of a point with two or all coordinates.

        Raises
        ------
        PromptError
            If it has another number of coordinates.
        """
        values = np.asarray(point, np.float64)
        if values.shape == (2,):
            where = self.plane if plane is None else tuple(plane)
            return where, (float(values[0]), float(values[1]))
        axes = self.find().axes
        if values.shape != (len(axes.shape),) or plane is not None:
            raise PromptError(
                f"a point is [row, column], or {len(axes.shape)} data coordinates of the "
                f"image; not {point!r}"
            )
        row, col = axes.displayed
        return axes.plane(values), (float(values[row]), float(values[col]))

    def show_plane(self, plane: Sequence[int]) -> None:
        """Move the viewer's sliders to a plane."""
        axes = self.find().axes
        values = dict(zip(axes.planes, (float(i) for i in plane), strict=True))
        shown = point_from_data(self.viewer, self.layers.images[0], values)
        for axis, value in shown.items():
            self.viewer.dims.set_point(axis, value)

    def centre(self, point: npt.ArrayLike, plane: Sequence[int] | None = None) -> None:
        """Move the camera to a (row, column) point, and the sliders to its plane."""
        there = self.plane if plane is None else tuple(plane)
        self.show_plane(there)
        position = self.find().axes.position(there, point)
        world = data_to_world(self.viewer, self.layers.images[0], position)
        shown = [float(world[axis]) for axis in self.viewer.dims.displayed]
        self.viewer.scene.camera.center = (0.0, *shown)

    def go_to(self, on: PlaneSession, plane: Plane | None) -> None:
        """Show the planes of a session, and one of them."""
        if on is not self.current:
            shift = self.viewer.dims.ndim - len(on.axes.shape)
            shown = [axis + shift for axis in on.axes.displayed]
            rest = [axis for axis in self.viewer.dims.order if axis not in shown]
            self.viewer.dims.order = (*rest, *shown)
        if plane is not None and self.find() is on:
            self.show_plane(plane)

    def tell_of_hidden(self) -> None:
        """Emit a notice if an object in progress lies on planes that are not shown."""
        for other in self.all:
            draft = other.session.draft
            if other is not self.current and draft is not None and not draft.empty:
                text = "The object in progress is on planes along other axes, which are not shown."
                action = ("Show them", partial(self.go_to, other, draft.plane))
                self.signals.notice(Notice("axes", text, action))
                return
        if len(self.all) > 1:
            self.signals.notice(Notice("axes"))

    # -- making and dropping ---------------------------------------------------------------------

    def check_target(self, layer: Labels) -> None:
        """Raise a ParameterError if objects cannot go to a layer."""
        images = self.layers.present()
        LayerTarget(self.viewer, images[0], self._axes_of(images), layer)

    def recover(self, path: Path) -> PlaneSession:
        """Replace the sessions by one recovered from its journal."""
        images = self.layers.present()
        if images is not self.layers.images:
            self.layers.choose(images)
        self.current = self._add(images, self._axes_of(images), path)
        self.switched()
        return self.current

    def lend(self, session: Session, dropped: Callable[[], object]) -> PlaneSession:
        """Use a session that was made elsewhere, on what is shown of the image.

        Parameters
        ----------
        session : Session
            Its labels are those of the chosen target already.
        dropped : callable
            Called when it is not used any more, to close it.
        """
        images = self.layers.present()
        axes = self._axes_of(images)
        target = LayerTarget(
            self.viewer, images[0], axes, self.layers.target, wide=session.target.dtype
        )
        session.bind(target)
        for name in _LIVE:
            setattr(session, name, self.options[name])
        new = PlaneSession(axes, target, session, dropped)
        self.all = (*self.all, new)
        self.made(new)
        self.current = new
        self.switched()
        return new

    def _axes_of(self, images: tuple[Image, ...]) -> ImageAxes:
        return axes_of(self.viewer, images, self.options["channel_axis"])

    def _add(
        self, images: tuple[Image, ...], axes: ImageAxes, recovered: Path | None = None
    ) -> PlaneSession:
        options = self.options
        limits = options["contrast_limits"]
        source = source_of(images, axes, channels=options["channels"], contrast_limits=limits)
        chosen = self.layers.target
        target = LayerTarget(self.viewer, images[0], axes, chosen, on_made=self._on_made)
        kept: dict[str, Any] = {name: options[name] for name in _LIVE}
        # losing an automatic journal must not interrupt work; losing one that was asked for must
        kept["on_journal_lost"] = self._on_journal_lost if callable(options["journal"]) else None
        predictor = self._models.predictor
        if recovered is not None:
            session = recover(recovered, predictor, source, target, **kept)
        else:
            kept |= {"journal": self._journal(images[0].name, axes)}
            kept |= {"window_size": options["window_size"]}
            session = Session(predictor, source, target, **kept)
        new = PlaneSession(axes, target, session)
        self.all = (*self.all, new)
        self.made(new)
        return new

    def _journal(self, image: str, axes: ImageAxes) -> Any:
        journal = self.options["journal"]
        if callable(journal):
            return journal(image)
        if journal is None or not self.all:
            return journal
        first = Path(journal)  # planes along other axes: a file of their own
        rows, cols = axes.displayed
        return first.with_name(f"{first.stem}-axes-{rows}-{cols}{first.suffix}")

    def _on_journal_lost(self, error: ResourceError) -> None:
        self.signals.notice(
            Notice(
                "journal",
                f"Nothing is being kept for recovery: {error}. Objects are in the Labels layer "
                "alone; save it.",
            )
        )

    def _on_made(self, layer: Labels) -> None:
        """Make the other sessions write to a new target, too."""
        self.layers.target = layer
        for other in self.all:
            if other.target.layer is None:
                other.target.bind(layer)
        self.signals.layers_changed.emit()

    def drop(self) -> None:
        """Drop the sessions; committed objects stay in the labels."""
        dropped, self.all, self.current = self.all, (), None
        for one in dropped:
            if one.dropped is not None:
                one.dropped()
                continue
            one.session.cancel()
            self._left.append(one.session)
        self.switched()

    def close(self) -> None:
        """Close all sessions."""
        left, self.all = self.all, ()
        self.current, self._closed = None, True
        for one in left:
            (one.session.close if one.dropped is None else one.dropped)()
        for session in self._left:
            session.close()
        self._left.clear()

    # -- settings --------------------------------------------------------------------------------

    def configure(self, **options: Any) -> bool:
        """Change `OPTIONS`; return whether that needs new sessions.

        "overwrite", "multimask" and "min_mask_region_area" apply to the present ones.
        """
        changed = {name for name, value in options.items() if value != self.options[name]}
        self.options.update(options)
        for one in self.all:
            for name in changed.intersection(_LIVE):
                setattr(one.session, name, options[name])
        return bool(changed.difference(_LIVE))

    def set_predictor(self, predictor: Predictor) -> None:
        """Use another predictor from now on."""
        for one in self.all:
            one.session.set_predictor(predictor)
