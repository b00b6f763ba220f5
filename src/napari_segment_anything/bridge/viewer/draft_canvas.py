"""The object in progress: decode its masks and draw them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ...engine import DECODING
from ...errors import PromptError
from ...progress import Progress
from ...session import Session
from .model_holder import ModelHolder
from .plane_sessions import PlaneSession, PlaneSessions
from .runners import ActionQueue, JobCallbacks, Worker
from .working_layers import WorkingLayers

if TYPE_CHECKING:
    from napari.layers import Layer

    from ...session import DecodeResult, Preview


class DraftCanvas:
    """Keeps the masks and layers of the object in progress up to date with its prompts.

    Parameters
    ----------
    planes : PlaneSessions
    models : ModelHolder
    worker : Worker
        Where masks are decoded.
    queue : ActionQueue
        What waits for them.
    """

    def __init__(
        self, planes: PlaneSessions, models: ModelHolder, worker: Worker, queue: ActionQueue
    ) -> None:
        self.planes, self.models, self.worker, self.queue = planes, models, worker, queue
        self.signals = planes.signals
        self.connected: Callable[[WorkingLayers], object] = lambda working: None
        """Called with working layers when they are made."""
        self._working: WorkingLayers | None = None
        self._nested = 0
        self._undrawn = False
        self._closed = False

    @property
    def preview(self) -> Preview | None:
        """The masks of the object in progress; None before they are decoded."""
        current = self.planes.current
        return None if current is None else current.session.preview

    # -- editing and decoding --------------------------------------------------------------------

    @contextmanager
    def editing(self, on: PlaneSession) -> Iterator[Session]:
        """Change the object in progress in the session that is given, then show and decode it.

        Raises
        ------
        PromptError
            If an object is in progress on planes of another orientation.
        """
        for other in self.planes.all:
            if other is not on and other.session.draft is not None:
                raise PromptError(
                    "an object is in progress on planes along other axes; show them, and commit or "
                    "cancel it first"
                )
        yield on.session
        self.redecode()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make several edits, and decode only once at the end."""
        self._nested += 1
        try:
            yield
        finally:
            self._nested -= 1
        self.redecode()

    def redecode(self) -> None:
        """Decode the object in progress, unless it has its masks."""
        on = self.planes.current
        if on is None or self._closed or self._nested or self.models.is_loading:
            return
        session = on.session
        request = session.request()
        if request is None:
            self.worker.cancel()
            self.worker.idle()
            self.show()
            self.queue.go()
            return

        def accept(result: DecodeResult) -> None:
            if not self._closed and on is self.planes.current and session.accept(result):
                if self._undrawn:
                    self.show_prompts()
                self.show_preview()
                self.queue.go()

        # A window takes as long to be painted as a mask to be decoded: where nothing has to be
        # encoded, prompts and masks are painted together. Otherwise prompts are drawn first, as
        # drawing takes three times as long while another thread computes.
        self._undrawn = True
        if not request.is_encoded:
            self.show_prompts()
        callbacks = JobCallbacks(accept, self._on_error, self._on_progress, self.worker.idle)
        self.worker.submit(partial(session.decode, request), callbacks)

    def _on_progress(self, step: Progress) -> None:
        if self._undrawn and step.message != DECODING:  # the masks will take a while
            self.show_prompts()
        self.signals.progressed.emit(step)

    def _on_error(self, error: BaseException) -> None:
        """Report an error from the worker, and drop what waited for the mask."""
        if self._closed:
            return
        self.show_prompts()
        dropped = self.queue.drop("prompt", "edit")
        if dropped:
            error = PromptError(f"{error} ({dropped} later clicks or commits were dropped)")
        self.signals.report(error)

    def is_decoded(self) -> bool:
        """Whether the object in progress has its masks, or there is nothing to decode."""
        on = self.planes.current
        if not self.models.can_act():
            return False
        return on is None or on.session.preview is not None or on.session.request() is None

    # -- drawing ---------------------------------------------------------------------------------

    @property
    def working(self) -> WorkingLayers:
        """The layers of the object in progress, on the planes that are shown."""
        return self.working_on(self.planes.find())

    def working_on(self, on: PlaneSession) -> WorkingLayers:
        """Return the layers of the object in progress, on planes of an orientation."""
        working = self._working
        if working is None:
            image = self.planes.layers.images[0]
            working = self._working = WorkingLayers(self.planes.viewer, image, on.axes)
            self.connected(working)
        working.masks.axes = on.axes
        return working

    @property
    def drawn(self) -> tuple[Layer, ...]:
        """The working layers that are in the viewer now."""
        return () if self._working is None else self._working.layers

    def show(self) -> None:
        """Draw prompts and masks."""
        self.show_preview()
        self.show_prompts()

    def show_prompts(self) -> None:
        """Draw the prompts of the object in progress."""
        self._undrawn = False
        on = self.planes.current
        if on is not None:
            draft = on.session.draft
            if draft is not None or self._working is not None:
                self.working_on(on).show(draft)
        self.signals.draft_changed.emit()

    def show_preview(self) -> None:
        """Draw the masks of the object in progress."""
        on = self.planes.current
        preview = None if on is None else on.session.preview
        if on is not None and preview is not None:
            self.draw_masks(on, preview)
        elif self._working is not None:
            self._working.masks.hide()
        self.signals.preview_changed.emit(preview)

    def draw_masks(self, on: PlaneSession, preview: Preview) -> None:
        """Draw masks on planes of an orientation."""
        window, extent = preview.window, preview.extent
        part = None if extent is None else extent.grown(1).intersection(window)
        labels = preview.labels_in(part or window)
        self.working_on(on).masks.show(preview.plane, window, labels, part)

    def switch(self) -> None:
        """Draw the prompts and masks of the session that is current now."""
        if self._working is None:
            return
        if self.planes.current is None:
            self._working.clear()
        else:
            self._working.masks.axes = self.planes.current.axes
            self.show()

    def painted(self) -> Any:
        """Return the preview as changed by the brush, (mask, window), or None."""
        masks = None if self._working is None else self._working.masks
        mask = None if masks is None else masks.painted()
        return None if masks is None or mask is None else (mask, masks.window)

    def removed(self, layer: Layer) -> None:
        """Forget a layer that was removed from the viewer."""
        if self._working is not None:
            self._working.removed(layer)

    def blank(self) -> None:
        """Draw nothing; the working layers stay."""
        if self._working is not None:
            self._working.clear()

    def clear(self) -> None:
        """Remove the working layers; they are made again when needed."""
        working, self._working = self._working, None  # listeners may call this again
        if working is not None:
            working.close()

    def close(self) -> None:
        """Remove the layers, and stop decoding."""
        self._closed = True
        self.clear()
