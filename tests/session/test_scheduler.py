"""The latest job wins, and replaced jobs do not run."""

from __future__ import annotations

import threading
import time

import pytest

from napari_segment_anything.errors import ParameterError
from napari_segment_anything.progress import Progress
from napari_segment_anything.session import LatestWins


class Log:
    """Collects deliveries."""

    def __init__(self):
        self.items, self.threads = [], set()

    def __call__(self, delivery):
        self.items.append(delivery)
        self.threads.add(threading.current_thread())

    def of(self, kind):
        return [item.value for item in self.items if item.kind == kind]


def job(value, steps=1, started=None, gate=None, ended=None):
    def run(cancelled):
        if started is not None:
            started.append(value)
        try:
            for step in range(steps):
                yield Progress(step, steps, message=str(value))
                if gate is not None:
                    gate.wait(10)
        finally:
            if ended is not None:
                ended.append(value)
        return value

    return run


def test_a_job_runs_on_another_thread_and_tells_how_it_goes():
    log = Log()
    with LatestWins(log) as scheduler:
        ticket = scheduler.submit(job("a", steps=3))
        assert scheduler.join(10)
        assert not scheduler.busy
    assert [item.kind for item in log.items] == ["progress"] * 3 + ["result"]
    assert {item.ticket for item in log.items} == {ticket}
    assert log.of("result") == ["a"]
    assert threading.current_thread() not in log.threads


def test_stale_requests_are_dropped_before_they_cost_time():
    log, started, ended = Log(), [], []
    gate = threading.Event()
    with LatestWins(log) as scheduler:
        scheduler.submit(job(0, 5, started, gate, ended))
        while not log.items:
            time.sleep(0.001)
        for value in range(1, 50):
            scheduler.submit(job(value, 1, started, gate, ended))
        gate.set()
        assert scheduler.join(10)
    assert started == [0, 49]  # 48 jobs were never started
    assert ended == [0, 49]
    assert log.of("result") == [49]
    assert [item.ticket for item in log.items if item.kind == "stopped"] == [1]
    assert len(log.of("progress")) == 2  # the first job stopped at its next yield


def test_a_job_can_ask_whether_it_was_overtaken():
    log, asked = Log(), []
    first, second = threading.Event(), threading.Event()

    def run(cancelled):
        yield Progress(0, 1)
        first.set()
        second.wait(10)
        asked.append(cancelled())
        return "late"

    with LatestWins(log) as scheduler:
        scheduler.submit(run)
        first.wait(10)
        scheduler.submit(job("next"))
        second.set()
        assert scheduler.join(10)
    assert asked == [True]
    assert log.of("result") == ["next"]


def test_errors_are_delivered_and_end_nothing():
    log = Log()

    def broken(cancelled):
        yield Progress(0, 1)
        raise ValueError("no")

    def unmade(cancelled):
        raise KeyError("never began")

    with LatestWins(log) as scheduler:
        for each in (broken, unmade, job("fine")):
            scheduler.submit(each)
            assert scheduler.join(10)
    assert [type(error) for error in log.of("error")] == [ValueError, KeyError]
    assert log.of("result") == ["fine"]


def test_an_error_of_whoever_listens_is_told_once():
    seen = []

    def deliver(delivery):
        seen.append(delivery.kind)
        if delivery.kind == "result":
            raise RuntimeError("listener")

    with LatestWins(deliver) as scheduler:
        scheduler.submit(job("a", steps=0))
        assert scheduler.join(10)
    assert seen == ["result", "error"]


def test_cancel_stops_what_runs_and_drops_what_waits():
    log, started, ended = Log(), [], []
    gate = threading.Event()
    with LatestWins(log) as scheduler:
        scheduler.submit(job("a", 9, started, gate, ended))
        while not log.items:
            time.sleep(0.001)
        scheduler.submit(job("b", 1, started))
        scheduler.cancel()
        gate.set()
        assert scheduler.join(10)
        scheduler.submit(job("c"))
        assert scheduler.join(10)
    assert started == ["a"]
    assert ended == ["a"]
    assert log.of("result") == ["c"]


def test_closing_in_the_middle_leaves_no_thread():
    before = set(threading.enumerate())
    log, ended = Log(), []
    gate = threading.Event()
    scheduler = LatestWins(log, threads=2)
    assert set(threading.enumerate()) == before  # none before there is work
    scheduler.submit(job("a", 10**6, gate=gate, ended=ended))
    while not log.items:
        time.sleep(0.001)
    threading.Timer(0.02, gate.set).start()
    assert scheduler.close(10)
    assert ended == ["a"]
    time.sleep(0.05)
    assert set(threading.enumerate()) <= before
    assert scheduler.close()
    with pytest.raises(ParameterError, match="closed"):
        scheduler.submit(job("b"))


def test_misuse_is_an_error():
    with pytest.raises(ParameterError, match="thread"):
        LatestWins(threads=0)
    with LatestWins() as scheduler, pytest.raises(ParameterError, match="takes its deliveries"):
        scheduler.submit(job("a"))


def test_own_deliver_for_a_job():
    log, own = Log(), Log()
    with LatestWins(log) as scheduler:
        scheduler.submit(job("a"), own)
        assert scheduler.join(10)
    assert own.of("result") == ["a"]
    assert log.items == []
