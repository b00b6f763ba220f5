"""Jobs: their words come on the Qt thread, in order, and nothing outlives them."""

from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("qtpy", reason="no Qt")
pytest.importorskip("napari", reason="napari is not installed")

from napari_segment_anything.progress import Progress
from napari_segment_anything.widgets.jobs import Jobs, MainThread

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def jobs(qtbot):
    made = Jobs()
    made.heard = []
    for name in ("progressed", "finished", "failed"):
        getattr(made, name).connect(
            lambda value, name=name: made.heard.append((name, value, threading.get_ident()))
        )
    made.ended.connect(lambda: made.heard.append(("ended", None, threading.get_ident())))
    yield made
    made.close()


def counting(steps: int, pause: float = 0.0, log: list | None = None):
    def job(cancelled):
        for step in range(steps):
            if log is not None:
                log.append(step)
            yield Progress(step, steps)
            time.sleep(pause)
        return steps

    return job


def test_words_on_the_qt_thread(qtbot, jobs) -> None:
    with qtbot.waitSignal(jobs.ended):
        jobs.start(counting(3))
    assert [word for word, *_ in jobs.heard] == ["progressed"] * 3 + ["finished", "ended"]
    assert jobs.heard[3][1] == 3
    assert {thread for *_, thread in jobs.heard} == {threading.get_ident()}


def test_an_error_is_told(qtbot, jobs) -> None:
    def job(cancelled):
        yield Progress(0, 1)
        raise RuntimeError("no")

    with qtbot.waitSignals([jobs.failed, jobs.ended]):
        jobs.start(job)
    assert [word for word, *_ in jobs.heard] == ["progressed", "failed", "ended"]
    with qtbot.waitSignal(jobs.finished):
        jobs.start(counting(1))


def test_cancel_stops_at_the_next_yield(qtbot, jobs) -> None:
    log: list[int] = []
    jobs.start(counting(1000, 0.01, log))
    while len(log) < 3:
        time.sleep(0.005)
    with qtbot.waitSignal(jobs.ended):
        jobs.cancel()
    seen = len(log)
    assert not jobs.running
    with qtbot.assertNotEmitted(jobs.finished, wait=70):
        pass
    assert len(log) <= seen + 1
    assert jobs.heard[-1][0] == "ended"


def test_a_new_job_replaces_the_old_one(qtbot, jobs) -> None:
    jobs.start(counting(500, 0.005))
    with qtbot.waitSignal(jobs.ended):
        jobs.start(counting(2))
    assert [value for word, value, _ in jobs.heard if word == "finished"] == [2]
    assert [word for word, *_ in jobs.heard].count("ended") == 1


def test_close_leaves_no_thread(jobs) -> None:
    jobs.start(counting(1000, 0.005))
    time.sleep(0.02)
    jobs.close()
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("segment-anything-everything") for name in names)


def test_calls_after_the_end_are_dropped(qtbot) -> None:
    main, called = MainThread(), []
    main(lambda: called.append(1))
    qtbot.wait(5)
    main(lambda: called.append(2))
    main.close()
    qtbot.wait(5)
    main(lambda: called.append(3))
    qtbot.wait(5)
    assert called == [1]
