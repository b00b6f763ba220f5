"""Recovery of a session from its journal."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..engine import PlaneSource, Predictor
from ..engine.policy import policy_difference
from ..errors import FormatError, ImageError, ParameterError, SegmentAnythingError
from .journal import Event, Journal, model_record
from .session import Session
from .session_actions import ChangeModel, Decoded, Recovered
from .target import LabelTarget

_MODELS = (ChangeModel, Recovered)
_MUST_AGREE = ("shape", "dtype", "displayed", "channel_axis", "rgb", "channels", "checksum")


class PolicyWarning(UserWarning):
    """A journal's masks were decoded by another policy than the present one."""


def recover(
    path: str | os.PathLike[str],
    predictor: Predictor,
    source: PlaneSource,
    target: LabelTarget,
    *,
    other_image: bool = False,
    **options: Any,
) -> Session:
    """Recover a session from its journal: objects, labels, the object in progress, history.

    Nothing is decoded: labels come from the journal. The session continues in the same file. A
    `PolicyWarning` tells if the recorded masks were decoded by another policy than the next ones.

    Parameters
    ----------
    path : path
        The journal.
    predictor : Predictor
        For the next masks; it need not have the recorded model.
    source : PlaneSource
        The image.
    target : LabelTarget
        The labels as they were before the session, or as it left them.
    other_image : bool
        Do not check that the image is the recorded one.
    **options
        For `Session`, instead of the recorded settings.

    Raises
    ------
    FormatError
        If the journal is damaged.
    ImageError
        If it is another image.
    ParameterError
        If the target has another shape than the recorded one.
    """
    header, events = Journal.read(path)
    if not other_image:
        check_image(header, source)
    recorded = header["target"]
    if tuple(target.shape) != tuple(recorded["shape"]):
        raise ParameterError(
            f"the journal is of labels of shape {tuple(recorded['shape'])}, these have "
            f"{tuple(target.shape)}"
        )
    session = Session(predictor, source, target, **{**header["settings"], **options})
    objects = session.state.objects
    objects.begin_at(int(recorded["largest"]) + 1)
    for number, event in enumerate(events, start=1):
        if not isinstance(event.action, Decoded | ChangeModel):
            with at(session, event, number):
                session.restore(event)
    given = [event.edit.next_id[1] - 1 for event in events if event.edit is not None]
    largest = max([int(recorded["largest"]), target.largest(), objects.next_id - 1, *given])
    model = [header["model"], *(e.action.model for e in events if isinstance(e.action, _MODELS))][
        -1
    ]
    if model["fingerprint"] == predictor.model.fingerprint:
        note = policy_difference(model.get("policy"), predictor.model)
        if note is not None:
            warnings.warn(f"{path}: {note}", PolicyWarning, stacklevel=2)
    session.state.watch.go_on()
    session.recorder.resume(Journal(path))
    session.perform(Recovered(model_record(predictor), largest))
    return session


@contextmanager
def at(session: Session, event: Event, number: int) -> Iterator[None]:
    """Set the session's time to that of an event; name the event if it cannot be repeated.

    Parameters
    ----------
    session : Session
    event : Event
    number : int
        Of the event in the journal, from 1 on.

    Raises
    ------
    FormatError
        If the event cannot be repeated.
    """
    session.state.watch.hold(event.seconds)
    expected = (SegmentAnythingError, KeyError, TypeError, ValueError, IndexError)
    try:
        yield
    except ParameterError:
        raise
    except expected as error:
        raise FormatError(
            f"event {number} of the journal ({event.action.do}) cannot be repeated: {error}"
        ) from error


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
        If it is not; the message names the difference.
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
