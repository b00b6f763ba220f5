"""Large runs read, compute and write at the same time: slow storage, bounds, and stopping."""

from __future__ import annotations

import pickle
import threading
import time
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest
import zarr

from napari_segment_anything.errors import ParameterError
from napari_segment_anything.large import open_large, segment_large, segment_large_steps
from napari_segment_anything.large.ledger import Ledger, TileStatus
from napari_segment_anything.large.recording import Recorder
from napari_segment_anything.large.runners import (
    WAITING_BYTES,
    Stopped,
    ThreadRunner,
    Turns,
    waiting_items,
)
from napari_segment_anything.large.segmenting import ModelSegment

from .conftest import SETTINGS
from .helpers import begun, bright_objects

pytestmark = pytest.mark.filterwarnings("ignore:.*consolidated.*")
LONG = 60
"""Seconds until a test gives up on what should go on meanwhile."""


class Device:
    """Segments one tile or more at once, each for as long as it is told to."""

    def __init__(self, until=lambda number: time.sleep(0.05)) -> None:
        self.until, self.begun = until, 0
        self.at_once = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, pixels):
        with self._lock:
            self.begun += 1
            number = self.begun
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self.until(number)
        with self._lock:
            self.at_once -= 1
        return bright_objects(pixels)


def test_a_device_never_waits_for_storage(calm, stored, tmp_path, monkeypatch) -> None:
    """A tile computes until the next is read, and those before are written and compared.

    A tile is written once the next one computes.
    """
    import napari_segment_anything.large.compose as compose
    import napari_segment_anything.large.phases as phases
    import napari_segment_anything.large.tiles as tiles

    done, change = Counter(), threading.Condition()

    def noted(module, name: str, begin=lambda: True) -> None:
        function = getattr(module, name)

        def noting(*arguments):
            with change:
                assert change.wait_for(begin, LONG), (name, done)
            found = function(*arguments)
            with change:
                done[name] += 1
                change.notify_all()
            return found

        monkeypatch.setattr(module, name, noting)

    noted(tiles, "read_with_hash")
    noted(tiles, "_write", lambda: device.begun >= min(done["_write"] + 2, count))
    noted(phases, "compare_tiles")
    count, waiting = 20, 1 + waiting_items(1, 128 * 128 * 5)

    def the_rest_goes_on() -> bool:
        return (
            done["read_with_hash"] >= min(device.begun + 1, count)
            and done["_write"] >= device.begun - 1
            and done["compare_tiles"] >= device.begun - 1 - waiting
        )

    def until(number: int) -> None:
        with change:
            change.notify_all()
            assert change.wait_for(the_rest_goes_on, LONG), (number, done)

    # chunks of labels are written side by side
    together, really = threading.Barrier(4, timeout=LONG), compose.writing

    @contextmanager
    def writing(path):
        with really(path):
            together.wait()
            yield

    monkeypatch.setattr(compose, "writing", writing)
    device = Device(until)
    picture = np.tile(np.asarray(zarr.open_array(stored, mode="r")[...]), (2, 2))
    source = tmp_path / "image.zarr"
    zarr.create_array(source, data=picture, chunks=(60, 60))
    steps = segment_large_steps(source, tmp_path / "x.zarr", device, workers=1, **SETTINGS)
    left = [step.total for step in steps if step.message == "comparing tiles"]
    assert device.begun == count and device.most == 1
    assert len(left) and max(left) <= waiting  # when the last tile is done


def test_tiles_in_flight_are_bounded(stored, tmp_path, monkeypatch) -> None:
    import napari_segment_anything.large.tiles as tiles

    most, held, lock = [0], [0], threading.Lock()
    read, run = tiles.read_with_hash, tiles._write

    def reading(*arguments):
        with lock:
            held[0] += 1
            most[0] = max(most[0], held[0])
        return read(*arguments)

    def written(*arguments):
        with lock:
            held[0] -= 1
        return run(*arguments)

    monkeypatch.setattr(tiles, "read_with_hash", reading)
    monkeypatch.setattr(tiles, "_write", written)
    given = {"tile": 64, "overlap": 16, "workers": 1, "empty_thresh": 0}
    segment_large(stored, tmp_path / "x.zarr", bright_objects, **given)
    assert 1 < most[0] <= 1 + waiting_items(1, 64 * 64 * 5)


def test_what_waits_is_bounded_in_bytes() -> None:
    assert waiting_items(2, 0) == 8 and waiting_items(64, 1 << 10) == 64
    assert waiting_items(2, WAITING_BYTES // 4) == 4
    assert waiting_items(2, WAITING_BYTES * 9) == 2


def test_turns_limit_what_computes_and_stop_at_once() -> None:
    turns, order = Turns(1), []

    def work(number: int) -> None:
        try:
            with turns:
                order.append(number)
                while True:
                    turns.check()
                    time.sleep(0.001)
        except Stopped:
            order.append(-number)

    threads = [threading.Thread(target=work, args=(i,)) for i in (1, 2, 3)]
    for thread in threads:
        thread.start()
    while not order:
        time.sleep(0.001)
    turns.stop()
    for thread in threads:
        thread.join(5)
    assert sorted(order) == sorted([order[0], -1, -2, -3])
    with pytest.raises(Stopped), turns:
        pass


def test_a_run_is_stopped_within_a_tile(stored, model, tmp_path, monkeypatch) -> None:
    entered, ended = threading.Event(), []

    def endless(_, pixels, limits, check):
        entered.set()
        try:
            while True:
                check()
                time.sleep(0.005)
        finally:
            ended.append(time.monotonic())

    monkeypatch.setattr(ModelSegment, "__call__", endless)
    grid = {**SETTINGS, "mode": "grid", "points_per_side": 4}
    steps = segment_large_steps(stored, tmp_path / "x.zarr", model, workers=2, **grid)
    while not entered.is_set():
        next(steps)
    began = time.monotonic()
    steps.close()
    assert time.monotonic() - began < 2 and 1 <= len(ended) <= 2
    assert (open_large(tmp_path / "x.zarr").status == TileStatus.TODO).all()


def test_everything_mode_of_a_tile_can_be_stopped(stored, model, tmp_path) -> None:
    calls = []

    def check(step):
        calls.append(step)
        if len(calls) == 2:
            raise Stopped

    from napari_segment_anything.large.segmenting import prepare
    from napari_segment_anything.progress import finish

    made = finish(prepare(model, "grid", "small", {"points_per_side": 4}))
    with pytest.raises(Stopped):
        made.segment(np.zeros((64, 64, 1), np.uint8), ((0, 255),), check)


def test_errors_of_the_runner_stop_the_rest_but_keep_what_is_finished() -> None:
    runner = ThreadRunner(1)
    begun_items: list[int] = []

    def function(job, item, turns):
        begun_items.append(item)
        with turns:
            for _ in range(20):
                turns.check()
                time.sleep(0.002)
        return item

    outcomes = runner.run(function, None, range(100))
    first = next(found for found in outcomes if found is not None)
    runner.stop()
    rest = [found for _, found in next_outcomes(outcomes, 5)]
    outcomes.close()
    assert first == (first[0], first[0])
    assert all(isinstance(found, Stopped) for found in rest)


def next_outcomes(outcomes, count):
    """The next few outcomes that are no pauses."""
    found = []
    for outcome in outcomes:
        if outcome is not None:
            found.append(outcome)
        if len(found) == count:
            break
    return found


# -- the ledger ----------------------------------------------------------------------------------


def test_states_are_written_together_while_others_are_written(tmp_path, monkeypatch) -> None:
    grid, ledger = begun(tmp_path / "x.zarr", (600, 600), 64, 8)
    status, written, all_given = ledger.status(), [], threading.Event()
    write = Recorder._write

    def writing(self, *changes):
        written.append(changes)
        assert all_given.wait(LONG)
        write(self, *changes)

    monkeypatch.setattr(Recorder, "_write", writing)
    with Recorder(ledger, status) as recorder:
        for index in range(len(grid)):
            recorder.finished(index, TileStatus.DONE, (index + 1, 7))
        recorder.failed(3, "the disk hiccuped")
        all_given.set()
    assert len(grid) > 100 and len(written) == 2
    assert (ledger.status() == status).all() and status.ravel()[3] == TileStatus.FAILED
    assert (ledger.read()[..., 0].ravel() == np.arange(1, len(grid) + 1)).all()
    assert ledger.run["failed"] == {"3": "the disk hiccuped"}


def test_what_cannot_be_written_is_raised(tmp_path, monkeypatch) -> None:
    _, ledger = begun(tmp_path / "x.zarr", (200, 200), 64, 8)

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(Recorder, "_write", full)
    recorder = Recorder(ledger, ledger.status())
    recorder.finished(0, TileStatus.DONE, (1, 1))
    with pytest.raises(OSError, match="No space"):
        recorder.flush()
    with pytest.raises(OSError, match="No space"), recorder:
        recorder.finished(1, TileStatus.DONE, (1, 1))


def test_another_process_opens_a_ledger_once(tmp_path) -> None:
    _, ledger = begun(tmp_path / "x.zarr", (200, 200), 64, 8)
    first, second = (pickle.loads(pickle.dumps(ledger)) for _ in range(2))
    assert first is second and first is not ledger
    again = Ledger(ledger.labels, ledger.grid)
    assert pickle.loads(pickle.dumps(again)) is not first


def test_latest_results_are_kept_in_memory(tmp_path, monkeypatch) -> None:
    import napari_segment_anything.large.ledger as module

    from .helpers import tile_result

    monkeypatch.setattr(module, "_HELD", 3 * 64 * 64 * 2)
    grid, ledger = begun(tmp_path / "x.zarr", (200, 200), 64, 8)
    truth = np.zeros((200, 200), np.int32)
    truth[10:40, 10:150] = 1
    for index in range(5):
        ledger.put(index, tile_result(truth[grid.window(index).slices], grid, index))
    assert list(ledger._held) == [2, 3, 4]
    same = Ledger(ledger.labels, grid)
    for index in range(5):
        a, b = ledger.get(index), same.get(index)
        assert all((getattr(a, name) == getattr(b, name)).all() for name in a.__slots__)
    assert len(ledger._held) == 3


# -- less work, the same outcome ------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 200), (64, 64), (70, 61), (64, 80, 3)])
def test_what_is_empty_follows_the_local_mean(shape) -> None:
    from scipy.ndimage import uniform_filter

    from napari_segment_anything.large.tiles import _is_empty

    rng = np.random.default_rng(0)
    for strength in (0, 1, 3, 5, 8, 30):
        shown = rng.normal(100, 3, shape).astype(np.float32)
        shown[: shape[0] // 2, : shape[1] // 3] += strength
        grey = shown if shown.ndim == 2 else shown.mean(axis=2)
        means = uniform_filter(grey, 8, mode="nearest")
        assert _is_empty(shown, 4.0) == bool(means.max() - means.min() < 4.0), strength


def test_ids_of_a_chunk_are_counted() -> None:
    from napari_segment_anything.large.compose import _counted

    labels = np.random.default_rng(0).integers(0, 9, (40, 30)).astype(np.uint32)
    labels[labels > 0] += 4_000_000
    ids, areas = _counted(labels)
    expected = np.unique(labels[labels > 0], return_counts=True)
    assert ids.tolist() == expected[0].tolist() and areas.tolist() == expected[1].tolist()
    assert [each.tolist() for each in _counted(np.zeros((3, 3), np.uint32))] == [[], []]


# -- the same on a cluster ------------------------------------------------------------------------


@pytest.mark.slow
def test_resources_limit_what_computes_and_not_what_is_read(stored, calm, tmp_path) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0",
            resources={"GPU": 1},
        ) as here,
        distributed.Client(here) as client,
    ):  # fmt: skip
        device = Device.shared = Device()
        result = segment_large(
            stored, tmp_path / "x.zarr", on_device, scheduler=client,
            worker_resources={"GPU": 1}, **SETTINGS,
        )  # fmt: skip
        assert device.most == 1 and device.begun == 6
        assert (np.asarray(result.labels[...]) == calm.labels).all()
        with pytest.raises(ParameterError, match="cluster has its own"):
            segment_large(stored, tmp_path / "y.zarr", on_device, scheduler=client, workers=2)


def on_device(pixels):
    """What a worker of this process runs."""
    return Device.shared(pixels)
