"""A session that annotates until it is killed, and prints the number of recorded events."""

from __future__ import annotations

import contextlib

import numpy as np
import zarr

from .helpers import disc_session


def clicks(seed: int = 5):
    """Yield an endless, reproducible sequence of annotation steps."""
    rng = np.random.default_rng(seed)
    while True:
        point = (int(rng.integers(0, 60)), int(rng.integers(0, 80)))
        yield lambda s, p=point: s.add_point((), p)
        if rng.random() < 0.5:
            yield lambda s: s.update()
            yield lambda s: s.cycle()
        yield lambda s: s.update()
        yield lambda s: s.commit()
        if rng.random() < 0.3:
            yield lambda s: s.undo()
            yield lambda s: s.undo()
            yield lambda s: s.redo()
            yield lambda s: s.cancel()
        if rng.random() < 0.2:
            label = int(rng.integers(1, 20))
            yield lambda s, n=label: s.delete(n)


def main(journal: str, labels: str) -> None:
    array = zarr.open_array(labels, mode="r+")
    session, _ = disc_session(journal=journal, overwrite=True, labels=array)
    count = 0
    write = session.recorder.record

    def record(event, durable=False):
        nonlocal count
        write(event, durable)
        count += 1
        print(count, flush=True)

    session.recorder.record = record
    for action in clicks():
        with contextlib.suppress(ValueError):
            action(session)
