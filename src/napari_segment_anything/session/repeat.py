"""Recorded events, done again."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..engine import PlaneSource
from ..errors import FormatError, ImageError, ParameterError, SegmentAnythingError
from .history import Edit
from .regions import Patch, mask_from
from .session import Session

Event: TypeAlias = Mapping[str, Any]

_MUST_AGREE = ("shape", "dtype", "displayed", "channel_axis", "rgb", "channels", "checksum")


def check_image(
    header: Mapping[str, Any], source: PlaneSource, signature: Mapping[str, Any] | None = None
) -> None:
    """Check that an image is the one that a journal was made with.

    Parameters
    ----------
    header : mapping
        The journal's.
    source : PlaneSource
        The image.
    signature : mapping, optional
        Its signature, where that is known.

    Raises
    ------
    ImageError
        If it is not; the message says in what.
    """
    recorded = header["image"]
    found = source.signature() if signature is None else signature
    for name in _MUST_AGREE:
        if recorded.get(name) != found.get(name):
            if name == "checksum":
                raise ImageError(
                    f"this is another image than {recorded.get('name') or 'the recorded one'}: its "
                    "pixels differ from those that the journal was made with"
                )
            raise ImageError(
                f"this is another image than the recorded one: its {name} is {found.get(name)}, "
                f"not {recorded.get(name)}"
            )


class Going:
    """Goes through one recorded event: at its time, with its window; says where it failed."""

    def __init__(self, session: Session, event: Event, number: int) -> None:
        self._session, self._event, self._number = session, event, number

    def __enter__(self) -> None:
        self._session._watch.hold(float(self._event.get("t", 0.0)))
        self._session._recorded = self._event

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._session._recorded = None
        expected = (SegmentAnythingError, KeyError, TypeError, ValueError, IndexError)
        if isinstance(error, expected) and not isinstance(error, ParameterError):
            raise FormatError(
                f"event {self._number} of the journal ({self._event.get('do')}) cannot be done "
                f"again: {error}"
            ) from error


def repeat_event(session: Session, event: Event) -> None:
    """Do what an event says; what it did then is not looked at."""
    kind = event["do"]
    plane = event.get("plane")
    if kind in ("undo", "redo", "cancel"):
        getattr(session, kind)()
    elif kind == "begin":
        session.begin(event["plane"])
    elif kind == "begin_batch":
        session.begin_batch(event["plane"], event["points"], event["boxes"])
    elif kind == "add_point":
        session.add_point(event["plane"], event["point"], event["positive"], event["draft"])
    elif kind == "move_point":
        session.move_point(event["index"], event["point"])
    elif kind == "remove_point":
        session.remove_point(event["index"])
    elif kind == "set_box":
        session.set_box(event["plane"], event["box"], event["draft"])
    elif kind == "add_scribble":
        session.add_scribble(event["plane"], event["line"], event["positive"], event["draft"])
    elif kind == "set_mask":
        session.set_mask(event["plane"], *_mask(event["mask"]), draft=event["draft"])
    elif kind == "paint_preview":
        session.paint_preview(*_mask(event["mask"]), draft=event["draft"])
    elif kind == "choose":
        session.choose(event["candidate"], event["draft"])
    elif kind == "edit":
        session._take_up_recorded(event["id"], event["plane"], event["mask"])
    elif kind == "settings":
        for name in ("overwrite", "multimask", "min_mask_region_area"):
            if name in event:
                setattr(session, name, event[name])
    elif kind == "closed":
        pass
    elif kind == "lock":
        session.lock(event["ids"], event["on"])
    elif kind == "reserve":
        session.reserve(event["label"])
    elif kind == "commit":
        session.commit()
    elif kind == "delete":
        session.delete(event["ids"], plane)
    elif kind == "merge":
        session.merge(event["ids"], plane)
    elif kind == "split_off":
        session.split_off(event["label"], *_mask(event["mask"]), plane)
    elif kind == "relabel":
        session.relabel(event["label"], event["new"], plane)
    elif kind == "paint":
        for patch in Edit.from_json(event["edit"]).patches:
            before, after = patch.arrays()
            now = session.target.read(patch.plane, patch.window)
            session.paint(patch.plane, patch.window, now, np.where(before != after, after, now))
    else:
        raise FormatError(f"unknown event {kind!r}; a newer version may know it")


def _mask(data: Any) -> tuple[Any, Any]:
    if data is None:
        return None, None
    mask = mask_from(data)
    return mask.mask, mask.window


def recorded_patches(events: Sequence[Event]) -> Generator[Patch, None, None]:
    """Yield every change of labels in order, those taken back and done again included."""
    done: list[Edit | None] = []
    undone: list[Edit | None] = []
    for event in events:
        kind = event["do"]
        if kind in ("decode", "model", "recovered", "settings", "reserve", "closed"):
            continue
        if kind in ("undo", "redo") and not (done if kind == "undo" else undone):
            raise ValueError(f"there is nothing to {kind}")
        if kind == "undo":
            edit = done.pop()
            undone.append(edit)
            yield from () if edit is None else edit.inverse().patches
        elif kind == "redo":
            edit = undone.pop()
            done.append(edit)
            yield from () if edit is None else edit.patches
        else:
            edit = Edit.from_json(event["edit"]) if "edit" in event else None
            done.append(edit)
            undone.clear()
            yield from () if edit is None else edit.patches
