"""Generators of Progress: passed on, and closed."""

from __future__ import annotations

import pytest

from napari_segment_anything.progress import Progress, finish, in_series, mapped


def counting(closed):
    try:
        yield from range(3)
        return "three"
    finally:
        closed.append(True)


def test_mapped_steps_are_passed_on_with_the_result() -> None:
    closed, seen = [], []
    steps = mapped(counting(closed), lambda number: Progress(number, 3))
    assert finish(steps, lambda step: seen.append(step.done)) == "three"
    assert seen == [0, 1, 2] and closed == [True]


def test_items_of_a_series_count_in_hundredths() -> None:
    second = in_series(1, 4, "b")
    shown = [second(Progress(done, 8, "half", "tiles")) for done in (0, 2, 8)]
    assert [(step.done, step.total) for step in shown] == [(100, 400), (125, 400), (199, 400)]
    assert shown[0].message == "b: tiles" and shown[0].partial == "half"
    assert in_series(0, 1, "a", partials=False)(shown[0]).partial is None


def test_closing_it_closes_the_inner_one() -> None:
    closed = []
    steps = mapped(counting(closed), lambda number: Progress(number, 3))
    next(steps)
    steps.close()
    assert closed == [True]


def test_what_the_inner_one_raises_comes_out() -> None:
    def broken():
        yield 0
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        finish(mapped(broken(), lambda number: Progress(number, 1)))
