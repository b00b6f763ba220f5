"""Large runs read, compute and write at the same time: slow storage, bounds, and stopping."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

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
PAUSE = 0.12


@pytest.fixture
def slow(monkeypatch):
    """Storage that takes a moment for every chunk, read or written."""
    read, write = LocalStore.get, LocalStore.set

    async def get(self, key, *more, **options):
        if "/c/" in f"/{key}":
            await asyncio.sleep(PAUSE)
        return await read(self, key, *more, **options)

    async def put(self, key, *more, **options):
        if "/c/" in f"/{key}":
            await asyncio.sleep(PAUSE)
        return await write(self, key, *more, **options)

    monkeypatch.setattr(LocalStore, "get", get)
    monkeypatch.setattr(LocalStore, "set", put)


class Device:
    """Segments as a GPU would: it takes a moment, and leaves the processor free."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []
        self.at_once = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, pixels):
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        start = time.monotonic()
        time.sleep(PAUSE)
        with self._lock:
            self.spans.append((start, time.monotonic()))
            self.at_once -= 1
        return bright_objects(pixels)

    @property
    def busy(self) -> float:
        """Share of the time from the first tile to the last in which it computed."""
        first, last = min(self.spans)[0], max(end for _, end in self.spans)
        return len(self.spans) * PAUSE / (last - first)


@pytest.mark.slow
def test_a_device_never_waits_for_slow_storage(calm, stored, tmp_path, slow) -> None:
    device = Device()
    picture = np.tile(np.asarray(zarr.open_array(stored, mode="r")[...]), (2, 2))
    source = tmp_path / "image.zarr"
    zarr.create_array(source, data=picture, chunks=(60, 60))
    began = time.monotonic()
    steps = segment_large_steps(source, tmp_path / "x.zarr", device, workers=1, **SETTINGS)
    times: dict[str, float] = {}
    for step in steps:
        times[step.message] = time.monotonic() - began
    tiles = len(device.spans)
    assert tiles == 20 and device.most == 1
    assert device.busy > 0.7, times
    # little is left to be compared when the last tile is done; chunks are written side by side
    assert times["deciding"] - times["segmenting"] < 8 * PAUSE, times
    assert times["writing labels"] - times["deciding"] < 12 * PAUSE, times


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


def test_states_are_written_together_while_others_are_written(tmp_path, slow) -> None:
    grid, ledger = begun(tmp_path / "x.zarr", (600, 600), 64, 8)
    status = ledger.status()
    began = time.monotonic()
    with Recorder(ledger, status) as recorder:
        for index in range(len(grid)):
            recorder.finished(index, TileStatus.DONE, (index + 1, 7))
        recorder.failed(3, "the disk hiccuped")
    assert time.monotonic() - began < 14 * PAUSE  # and not some hundred
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


def sleepy(pixels):
    """Segments as a device of a worker would."""
    time.sleep(PAUSE)
    return bright_objects(pixels)


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
        assert device.most == 1 and len(device.spans) == 6
        assert (np.asarray(result.labels[...]) == calm.labels).all()
        with pytest.raises(ParameterError, match="cluster has its own"):
            segment_large(stored, tmp_path / "y.zarr", on_device, scheduler=client, workers=2)


def on_device(pixels):
    """What a worker of this process runs."""
    return Device.shared(pixels)
