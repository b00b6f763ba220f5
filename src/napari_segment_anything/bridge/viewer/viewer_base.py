"""What a viewer's session stands on: model, image, target, options, and who listens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...engine import Model, Predictor
from ...errors import ImageError, ParameterError, ResourceError
from ...session import recover
from ...session.session import Session
from .binding import TargetSlot, check_images, default_image
from .images import ImageAxes, axes_of, layers_of_image, source_of
from .runners import Inline, Runner
from .viewer_model import MODEL_OPTIONS, ModelHolder, Notice
from .working_layers import WorkingLayers

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from ...session import Draft


@dataclass(slots=True, eq=False)
class View:
    """A session on the planes of one orientation: those spanned by two axes of the image."""

    axes: ImageAxes
    slot: TargetSlot
    session: Session


_LIVE = ("overwrite", "multimask", "min_mask_region_area")


class ViewerBase(ModelHolder):
    """The layers, the model and the options of a viewer's session; see `ViewerSession`."""

    def __init__(
        self,
        viewer: ViewerModel,
        model: Any,
        predictor: Predictor | None,
        image: Image | Sequence[Image] | None,
        target: Labels | None,
        run: str | Runner,
        options: dict[str, Any],
    ) -> None:
        super().__init__()
        self.viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self._predictor = predictor
        self._named = self._wanted = model if predictor is None else predictor.model
        self._image: tuple[Image, ...] | None = None
        self._target: Labels | None = None
        self._options = dict(self.OPTIONS)
        self._views: dict[tuple[int, int], View] = {}
        self._left: list[Session] = []  # of images left; their journals stay open till the end
        self._current: View | None = None
        self._working: WorkingLayers | None = None
        self._runner: Runner = Inline()
        self._is_closed = False
        self.set_options(**options)
        self.set_runner(run)
        if image is not None:
            self.set_image(image)
        if target is not None:
            self.set_target(target)

    @property
    def draft(self) -> Draft | None:
        """The object in progress, or the batch; None if there is none."""
        return None if self._current is None else self._current.session.draft

    # -- for the class that edits ----------------------------------------------------------------

    def _view_changed(self) -> None:
        """Another view, or none, is current."""

    def _connect_session(self, view: View) -> None:
        """Listen to a new session."""

    def _connect_working(self, working: WorkingLayers) -> None:
        """Listen to new working layers."""

    def _take_predictor(self, predictor: Predictor) -> None:
        for view in self._views.values():
            view.session.set_predictor(predictor)

    # -- image and target ------------------------------------------------------------------------

    @property
    def image(self) -> Image | None:
        """The (first) image layer in use; None before the first prompt."""
        return None if self._image is None else self._image[0]

    @image.setter
    def image(self, image: Image | Sequence[Image] | None) -> None:
        self.set_image(image)

    def set_image(self, image: Image | Sequence[Image] | None) -> None:
        """Work on another image: a layer, or several that are its channels.

        The object in progress is cancelled, the target becomes a new layer.

        Raises
        ------
        ImageError
            If it is no image, or not in the viewer.
        """
        layers = None if image is None else layers_of_image(image)
        if layers == self._image:
            return
        if layers is not None:
            check_images(self.viewer, layers)
        if self._image is not None:
            self._asked.drop("prompt", "edit")  # they were meant for the other image
        self._drop_views()
        self._target = None
        self._bind_image(layers)
        self.layers_changed.emit()

    def _bind_image(self, layers: tuple[Image, ...] | None) -> None:
        for layer in self._image or ():
            layer.events.data.disconnect(self._on_image_data)
        self._close_working()
        self._image = layers
        for layer in layers or ():
            layer.events.data.connect(self._on_image_data)

    def _close_working(self) -> None:
        working, self._working = self._working, None  # who hears of it may come back here
        if working is not None:
            working.close()

    def _on_image_data(self, event: Any = None) -> None:
        """Forget embeddings and history of pixels that are no more."""
        target = self.target
        self._drop_views()
        self._close_working()
        self._target = target
        self.layers_changed.emit()

    @property
    def target(self) -> Labels | None:
        """The Labels layer that objects go to; None as long as it is still to be made."""
        return self._target

    @target.setter
    def target(self, layer: Labels | None) -> None:
        self.set_target(layer)

    def set_target(self, layer: Labels | None) -> None:
        """Write to another Labels layer; None makes a new one at the next commit.

        The object in progress goes there.

        Raises
        ------
        ParameterError
            If it cannot be written to, or its pixels are not the image's.
        """
        if layer is not None and layer is self._target:
            return
        if layer is not None:
            layers = self._image or (default_image(self.viewer),)
            axes = axes_of(self.viewer, layers, self._options["channel_axis"])
            TargetSlot(self.viewer, layers[0], axes, layer)  # refuses what does not fit
        draft, gone = self.draft, self._target
        self._drop_views()
        self._target = layer
        if draft is not None and not draft.empty:
            self._carry(draft)
            if gone is not None and gone not in self.viewer.layers:
                self.notice(
                    Notice(
                        "target",
                        f"The labels {gone.name!r} were removed; the object in progress goes to a "
                        "new layer.",
                    )
                )
        self.layers_changed.emit()

    def _carry(self, draft: Draft) -> None:
        """Go on with an object in progress in the session on another target."""

    # -- options ---------------------------------------------------------------------------------

    @property
    def options(self) -> dict[str, Any]:
        """The options in use; see `OPTIONS`."""
        return dict(self._options)

    def set_options(self, **options: Any) -> None:
        """Change options, by the names of `OPTIONS`.

        "overwrite", "multimask", "min_mask_region_area" and "cache" act at once, "device" and
        "precision" load the model again; the others begin anew (what is committed stays in the
        labels).

        Raises
        ------
        ParameterError
            If there is no option of that name.
        """
        unknown = sorted(set(options) - set(self.OPTIONS))
        if unknown:
            raise ParameterError(
                f"unknown option {unknown[0]!r}; there are {', '.join(self.OPTIONS)}"
            )
        changed = {name for name, value in options.items() if value != self._options[name]}
        self._options.update(options)
        if changed & {*MODEL_OPTIONS, "cache"} and self._predictor is not None:
            if not changed & set(MODEL_OPTIONS):
                self._use(self._named, Predictor(self.model, self._options["cache"]))
            elif isinstance(self._named, Model):
                raise ParameterError("this model was given loaded; load it on the other device")
            else:
                self._load(self._named)
        if changed - {*_LIVE, *MODEL_OPTIONS, "cache"}:
            self._drop_views()
        live = {name: self._options[name] for name in _LIVE if name in changed}
        for view in self._views.values():
            for name, value in live.items():
                setattr(view.session, name, value)
        if live:
            self._redecode()

    def set_runner(self, run: str | Runner) -> None:
        """Choose where decoding runs: "sync", or a runner such as `Background`."""
        if isinstance(run, str) and run != "sync":
            raise ParameterError(f"run is 'sync' or a runner, not {run!r}")
        self._runner.close()
        self._runner = Inline() if isinstance(run, str) else run

    # -- the session of what is shown ------------------------------------------------------------

    @property
    def view(self) -> View:
        """The session on the planes that are shown, made if need be.

        Raises
        ------
        ImageError
            If there is no image, it was removed, or the viewer shows no plane of it.
        ParameterError
            If the target was removed or cannot be one.
        """
        if self._is_closed:
            raise ParameterError("this session was closed; attach to the viewer again")
        if self._image is None:
            self._bind_image((default_image(self.viewer),))
            self.layers_changed.emit()
        layers = self._image
        if layers is None:
            raise ImageError("choose an image first")
        check_images(self.viewer, layers)
        axes = axes_of(self.viewer, layers, self._options["channel_axis"])
        view = self._views.get(axes.displayed)
        if view is None:
            view = self._new_view(layers, axes)
            self._views[axes.displayed] = view
            self._connect_session(view)
        view.slot.check()
        if self._current is not view:
            self._current = view
            self._view_changed()
        return view

    @property
    def views(self) -> tuple[View, ...]:
        """The sessions there are, one for each orientation of planes."""
        return tuple(self._views.values())

    def recover(self, path: str | os.PathLike[str]) -> None:
        """Bring a session back from its journal, on the image and the target in use.

        Its objects, their prompts, what was in progress and the history come back, and the
        session goes on in the same file. The planes that are shown must be those it was made on.

        Raises
        ------
        FormatError
            If the journal is damaged.
        ImageError
            If it is of another image.
        ParameterError
            If it is of labels of another shape.
        """
        layers = self._image or (default_image(self.viewer),)
        if self._image is None:
            self._bind_image(layers)
        self._drop_views()
        axes = axes_of(self.viewer, layers, self._options["channel_axis"])
        view = self._new_view(layers, axes, Path(path))
        self._views[axes.displayed] = view
        self._connect_session(view)
        self._current = view
        self._view_changed()
        self.layers_changed.emit()
        self.objects_changed.emit(tuple(view.session.objects))

    def _new_view(
        self, layers: tuple[Image, ...], axes: ImageAxes, recovered: Path | None = None
    ) -> View:
        options = self._options
        source = source_of(
            layers,
            axes,
            channels=options["channels"],
            contrast_limits=options["contrast_limits"],
        )
        slot = TargetSlot(self.viewer, layers[0], axes, self._target, on_made=self._on_made)
        # a file that a script named is asked for; one that is kept by itself must stop nobody
        lost = self._on_journal_lost if callable(options["journal"]) else None
        if recovered is not None:
            live = {name: options[name] for name in _LIVE}
            session = recover(
                recovered,
                self.predictor,
                source,
                slot,
                on_journal_lost=lost,
                **live,
            )
            return View(axes, slot, session)
        journal = options["journal"]
        if callable(journal):
            journal = journal(layers[0].name)
        elif journal is not None and self._views:  # planes along other axes: a file of their own
            first = Path(journal)
            name = f"{first.stem}-axes-{axes.displayed[0]}-{axes.displayed[1]}{first.suffix}"
            journal = first.with_name(name)
        session = Session(
            self.predictor,
            source,
            slot,
            journal=journal,
            window_size=options["window_size"],
            on_journal_lost=lost,
            **{name: options[name] for name in _LIVE},
        )
        return View(axes, slot, session)

    def _on_journal_lost(self, error: ResourceError) -> None:
        self.notice(
            Notice(
                "journal",
                f"Nothing is being kept for recovery: {error}. Objects are in the Labels layer "
                "alone; save it.",
            )
        )

    def _on_made(self, layer: Labels) -> None:
        """A new target was made: the other views write to it too."""
        self._target = layer
        for view in self._views.values():
            if view.slot.layer is None:
                view.slot.bind(layer)
        self.layers_changed.emit()

    @property
    def working(self) -> WorkingLayers:
        """The layers of the object in progress."""
        view = self.view
        image = self.image
        if image is None:
            raise ImageError("choose an image first")
        if self._working is None:
            self._working = WorkingLayers(self.viewer, image, view.axes)
            self._connect_working(self._working)
        self._working.axes = view.axes
        return self._working

    def _drop_views(self) -> None:
        if not self._views:
            return
        self._asked.drop("prompt", "edit")
        self._runner.cancel()
        for view in self._views.values():
            view.session.cancel()
            self._left.append(view.session)
        self._views.clear()
        self._current = None
        self._view_changed()
