"""Recording of a session in its journal."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..engine import Predictor
from ..engine.policy import policy
from ..errors import ResourceError
from .journal import Journal


class Recorder:
    """Writes events to a journal, if there is one.

    Parameters
    ----------
    journal : Journal or path, optional
        Begun with the first event.
    now : callable
        The time of an event: seconds since the session began.
    header : callable
        What a new journal begins with.
    on_lost : callable, optional
        Called with the `ResourceError` when the journal cannot be written. The journal is then
        given up, since one with a missing event is useless. By default the error is raised.
    """

    def __init__(
        self,
        journal: Journal | str | os.PathLike[str] | None,
        now: Callable[[], float],
        header: Callable[[], Mapping[str, Any]],
        on_lost: Callable[[ResourceError], object] | None = None,
    ) -> None:
        self.journal = (
            journal if journal is None or isinstance(journal, Journal) else Journal(journal)
        )
        self._now, self._header, self._on_lost = now, header, on_lost

    def record(self, event: Mapping[str, Any], durable: bool = False) -> None:
        """Write an event; wait until it is on the disk if it is to be durable.

        Raises
        ------
        ResourceError
            If it cannot be written.
        """
        if self.journal is None:
            return
        try:
            if not self.journal.is_open:
                self.journal.begin(self._header())
            self.journal.write({**event, "t": self._now()}, durable)
        except ResourceError as error:
            self._lose(error)

    def resume(self, journal: Journal) -> None:
        """Continue a journal that was written before."""
        self.journal = journal
        try:
            journal.resume()
        except ResourceError as error:
            self._lose(error)

    def close(self, event: Mapping[str, Any]) -> None:
        """Write a last event, if there were others, and close the journal."""
        if self.journal is not None and self.journal.is_open:
            self.record(event, durable=True)
        if self.journal is not None:
            self.journal.close()

    def _lose(self, error: ResourceError) -> None:
        if self._on_lost is None:
            raise error
        if self.journal is not None:
            self.journal.close()
        self.journal = None
        self._on_lost(error)


def model_record(predictor: Predictor) -> Any:
    """Return what masks depend on besides the image, prompts and settings, as plain values."""
    model = predictor.model
    rounded = predictor.cache is not None and predictor.cache.directory is not None
    return {
        "name": model.name,
        "fingerprint": model.fingerprint,
        "precision": model.precision,
        "embeddings": "half" if rounded else "full",
        "device": str(model.device),
        "threads": torch.get_num_threads(),
        "policy": policy(model),
    }
