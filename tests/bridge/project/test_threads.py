"""One thread for what must be done in order: results, failures, and who is told."""

from __future__ import annotations

import pytest

from napari_segment_anything.bridge.project.threads import OrderedThread


def fail() -> None:
    raise OSError("the disk is gone")


@pytest.mark.parametrize("dispatch", [None, lambda call: call()], ids=["at once", "thread"])
def test_a_failure_is_not_taken_for_a_result(dispatch) -> None:
    told = []
    thread = OrderedThread("ordered", dispatch)
    failed = thread.run(fail, lambda result: told.append(result), lambda e: told.append(str(e)))
    nothing = thread.run(lambda: None, lambda result: told.append(result))
    assert nothing.result() is None
    with pytest.raises(OSError, match="disk is gone"):
        failed.result()
    thread.close()
    assert told == ["the disk is gone", None]
    late = thread.run(fail)  # after its end, as windows may close even later
    assert isinstance(late.exception(), OSError)


def test_an_error_of_a_listener_is_the_callers_where_there_is_no_thread() -> None:
    def listen(result) -> None:
        raise ValueError("listener")

    with pytest.raises(ValueError, match="listener"):
        OrderedThread("ordered").run(lambda: 1, listen)
