"""Committed objects of a viewer's session: commit, change, lock and hide them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...engine import Window
from ...errors import ParameterError, PromptError, SegmentAnythingError
from .draft_canvas import DraftCanvas
from .plane_sessions import PlaneSession
from .prompt_editor import PromptEditor

if TYPE_CHECKING:
    from napari.layers import Labels

    from ...session import SessionObject

MOST = 65535
"""Maximum number of labels in a layer of which some have other colours: each then needs its own."""
CLEAR = np.zeros(4, np.float32)
"""The colour of a hidden label."""


class ObjectEditor:
    """Changes committed objects, on planes of every orientation; labels are unique among them.

    Parameters
    ----------
    prompts : PromptEditor
        Of the object in progress.
    """

    def __init__(self, prompts: PromptEditor) -> None:
        self.canvas: DraftCanvas = prompts.canvas
        self.planes, self.signals = self.canvas.planes, self.canvas.signals
        self.done: Callable[[], object] = lambda: None
        """Called after every commit."""
        self._prompts = prompts
        self._colouring = LabelColours()
        self._hidden: set[int] = set()
        self._class_colours: dict[str, Any] = {}
        self._guarded = False

    @property
    def objects(self) -> dict[int, SessionObject]:
        """Committed objects by label, with their prompts, scores and planes."""
        found: dict[int, SessionObject] = {}
        for one in self.planes.all:
            found.update(one.session.objects)
        return found

    def object_at(self, point: npt.ArrayLike, plane: Sequence[int] | None = None) -> int | None:
        """Return the label at a point of the target, or None.

        Parameters
        ----------
        point : (row, column), or a data coordinate for each axis of the image
        plane : sequence of int, optional
            By default the one that is shown.
        """
        where, at = self.planes.place(point, plane)
        return self.planes.find().session.object_at(where, at)

    @property
    def object_at_cursor(self) -> int | None:
        """The label under the mouse, or None."""
        seen = self.planes.look()
        at = seen.points(self.planes.viewer.cursor.position)
        return seen.on.session.object_at(seen.plane, at)

    # -- commit ----------------------------------------------------------------------------------

    def commit(self) -> tuple[int, ...]:
        """Write the object in progress (or the batch) to the target; return the new labels.

        Strokes of the brush on the preview are included. If the mask is not decoded yet, that is
        done first; `commit_when_decoded` does not block.

        Raises
        ------
        PromptError
            If nothing is in progress, or every pixel belongs to other labels already.
        ParameterError
            If the target was removed, or its dtype has no more labels.
        """
        on = self.planes.find()
        self.take_painted()
        on.session.update()
        self._reserve(on)
        ids = on.session.commit()
        self.canvas.worker.cancel()
        self.canvas.worker.idle()
        self.canvas.show()
        self.done()
        return tuple(ids)

    def take_painted(self) -> None:
        """Use the preview as changed by the brush as the object's mask."""
        on, preview, painted = self.planes.current, self.canvas.preview, self.canvas.painted()
        if on is not None and preview is not None and painted and len(preview.objects) == 1:
            on.session.paint_preview(*painted)

    def commit_when_decoded(self) -> None:
        """Commit the object in progress as soon as its mask is decoded; emits `committed`.

        Clicks and other actions in the meantime wait, and are then done in order. Errors are
        reported, not raised.
        """
        self.canvas.queue.ask(self._commit_asked, self.canvas.is_decoded)

    def _commit_asked(self) -> None:
        if self.planes.draft is None:
            return
        with self.signals.reporting():
            try:
                ids = self.commit()
            except SegmentAnythingError as error:
                if not self.canvas.queue.users:
                    raise
                self._prompts.cancel()  # otherwise waiting clicks would be added to it
                raise PromptError(
                    f"{error}; the object was dropped; undo brings it back"
                ) from error
            self.signals.committed.emit(ids)

    def cancel_last(self) -> None:
        """Cancel the latest request: clicks that wait, otherwise the object in progress.

        Commits that wait for its mask are dropped with it.
        """
        if not self.canvas.queue.drop_prompts():
            self.canvas.queue.drop("prompt", "edit")
            self._prompts.cancel()

    # -- changes ---------------------------------------------------------------------------------

    def _owner(self, label: int) -> PlaneSession:
        """Return the session that an object was made in."""
        for one in self.planes.all:
            if label in one.session.objects:
                return one
        return self.planes.find()

    def delete(self, ids: int | Sequence[int]) -> None:
        """Delete objects, including those older than the session."""
        wanted = [ids] if isinstance(ids, (int, np.integer)) else list(ids)
        owners = [(self._owner(int(label)), int(label)) for label in wanted]
        for one in dict.fromkeys(one for one, _ in owners):
            one.session.delete([label for owner, label in owners if owner is one])
        self.canvas.show()

    def merge(self, ids: Sequence[int]) -> int:
        """Merge several objects; return the label of the result, which is the first one's.

        Raises
        ------
        PromptError
            If they were made on planes along different axes.
        """
        wanted = [int(label) for label in ids]
        owners = {self._owner(label) for label in wanted} or {self.planes.find()}
        if len(owners) > 1:
            raise PromptError("these objects were made on planes along different axes")
        first = owners.pop().session.merge(wanted)
        self.canvas.show()
        return first

    def split_off(self, label: int, region: npt.ArrayLike, window: Window | None = None) -> int:
        """Make a new object of the part of one that lies inside a region of the plane shown.

        Parameters
        ----------
        label : int
        region : bool array (height, width)
        window : Window, optional
            Where the region lies in the plane; by default it is as large as the plane.

        Returns
        -------
        int
            The new label.
        """
        seen = self.planes.look()
        where = Window.full(seen.on.axes.rows_cols) if window is None else window
        self._reserve(seen.on)
        mask = np.asarray(region, bool)
        new = seen.on.session.split_off(int(label), mask, where, seen.plane)
        self.canvas.show()
        return new

    def cut(self, label: int, line: npt.ArrayLike) -> tuple[int, ...]:
        """Split an object of the plane shown along a line; return the labels of its pieces.

        Parameters
        ----------
        label : int
        line : array-like (k, 2)
            (row, column) of its vertices; it must run right across the object.
        """
        seen = self.planes.look()
        self._reserve(seen.on)
        pieces = seen.on.session.cut(int(label), line, seen.plane)
        self.canvas.show()
        return pieces

    def classify(self, ids: int | Sequence[int], class_name: str) -> None:
        """Give objects a class; the empty one takes it away."""
        wanted = [ids] if isinstance(ids, (int, np.integer)) else list(ids)
        self._owner(int(wanted[0])).session.classify(wanted, class_name)

    def relabel(self, label: int, new: int) -> None:
        """Give an object another label."""
        self._owner(int(label)).session.relabel(int(label), int(new))
        self.canvas.show()

    def edit(self, label: int) -> None:
        """Edit an object again: its prompts come back, a commit replaces it.

        The viewer goes to its plane. An object without prompts is refined from its region.

        Raises
        ------
        PromptError
            If it is on planes along other axes than those shown, or another is in progress.
        """
        item = self.objects.get(int(label))
        if item is not None:
            if self._owner(int(label)) is not self.planes.find():
                raise PromptError(
                    f"object {label} was made on planes along other axes; show these first"
                )
            self.planes.show_plane(item.plane)
        seen = self.planes.look()
        with self.canvas.editing(seen.on) as session:
            session.edit(int(label), seen.plane)

    def _reserve(self, on: PlaneSession) -> None:
        """Prevent sessions that write to the same labels from using a label twice."""
        if len(self.planes.all) > 1:
            on.session.reserve(max(self.objects, default=0))

    # -- locked and hidden -----------------------------------------------------------------------

    @property
    def locked(self) -> frozenset[int]:
        """Locked objects: nothing changes them or takes their pixels."""
        return frozenset().union(*(one.session.locked for one in self.planes.all))

    def lock(self, ids: Iterable[int], on: bool = True) -> None:
        """Lock objects, or unlock them; see `Session.lock`.

        While any is locked, the layer's option to preserve labels is on, which protects them from
        napari's brush.
        """
        for label in ids:
            self._owner(int(label)).session.lock([int(label)], on)

    @property
    def hidden(self) -> frozenset[int]:
        """Objects that are not shown. They stay in the labels."""
        return frozenset(self._hidden & set(self.objects))

    def hide(self, ids: Iterable[int], on: bool = True) -> None:
        """Hide objects, or show them again.

        Raises
        ------
        ParameterError
            If there are too many labels for each to have a colour of its own.
        """
        before = self._hidden
        wanted = {int(label) for label in ids}
        self._hidden = before | wanted if on else before - wanted
        try:
            self._colour()
        except ParameterError:
            self._hidden = before
            raise
        self.signals.objects_changed.emit(tuple(sorted(wanted)))

    @property
    def class_colours(self) -> dict[str, Any]:
        """The colour of each class, by its name; objects of other classes have napari's."""
        return dict(self._class_colours)

    @class_colours.setter
    def class_colours(self, colours: Mapping[str, Any]) -> None:
        self._class_colours = dict(colours)
        with self.signals.reporting():
            self._colour()

    def _colour(self) -> None:
        """Make hidden labels transparent, and give the others the colour of their class."""
        colours, objects = self._class_colours, self.objects
        shown: dict[int, Any] = {
            label: colours[item.class_name]
            for label, item in objects.items()
            if item.class_name in colours
        }
        shown |= dict.fromkeys(self.hidden, CLEAR)
        largest = max(one.session.next_id for one in self.planes.all) - 1 if shown else 0
        self._colouring.show(self.planes.layers.target, shown, largest)

    def on_changed(self, ids: Iterable[int]) -> None:
        """Handle a change of a session's objects: emit `objects_changed`, update colours."""
        if self._hidden or self._class_colours:
            with self.signals.reporting():
                self._colour()
        self.signals.objects_changed.emit(tuple(ids))

    def protect(self) -> None:
        """Protect locked objects from napari's brush while there are any."""
        guarded, target = bool(self.locked), self.planes.layers.target
        if target is not None and guarded != self._guarded:
            target.preserve_labels = self._guarded = guarded


class LabelColours:
    """Gives labels of a layer other colours through its colormap; the labels are not changed."""

    def __init__(self) -> None:
        self._layer: Labels | None = None
        self._colours: Any = None

    def show(self, layer: Labels | None, colours: Mapping[int, Any], largest: int) -> None:
        """Give these labels their colours, and all others napari's.

        Parameters
        ----------
        layer : Labels or None
        colours : mapping of int to colour
            As napari takes them; `CLEAR` hides a label.
        largest : int
            The largest label there is.

        Raises
        ------
        ParameterError
            If there are too many labels.
        """
        from napari.utils.colormaps import DirectLabelColormap

        if self._layer is not None and (layer is not self._layer or not colours):
            self._layer.colormap = self._colours
            self._layer = None
        if layer is None or not colours:
            return
        if largest > MOST:
            raise ParameterError(
                f"labels can be hidden, or coloured by class, up to number {MOST}; these reach "
                f"{largest}"
            )
        if self._layer is None:
            self._layer, self._colours = layer, layer.colormap
        labels = np.arange(1, largest + 1)
        found: dict[int | None, Any] = {None: CLEAR, 0: CLEAR}
        found.update(zip(labels.tolist(), self._colours.map(labels), strict=True))
        found.update(colours.items())
        layer.colormap = DirectLabelColormap(color_dict=found)
