"""Limits: each has a variable, stands in the documentation, and can be raised; waits end."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from napari_segment_anything.errors import (
    FormatError,
    ImageError,
    ParameterError,
    ResourceError,
    SegmentAnythingError,
)
from napari_segment_anything.formats import create_labels, label_names, plate_images, read_image
from napari_segment_anything.large import segment_large
from napari_segment_anything.large.ledger import TileResult
from napari_segment_anything.limits import ARRAY_BYTES, LIMITS
from napari_segment_anything.reading import inflate, plain_name, read_bytes

from ..tiny import tiny_model

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_every_limit_is_documented_and_can_be_set(limit, monkeypatch):
    row = f"| `{limit.variable}` | {limit.shown(limit.default)} | {limit.bounds} |"
    assert row in PAGE.read_text("utf-8")
    limit.check(limit.default, "what it bounds")
    with pytest.raises(FormatError, match=f"set {limit.variable}="):
        limit.check(limit.default + 1, "what it bounds")
    monkeypatch.setenv(limit.variable, str(2 * limit.default))
    limit.check(limit.default + 1, "what it bounds")
    for wrong in ("x", "0", "-1", "nan", "inf"):
        monkeypatch.setenv(limit.variable, wrong)
        with pytest.raises(ParameterError, match="must be a positive number"):
            limit.check(1, "what it bounds")


def test_a_raised_limit_lets_a_large_archive_in(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", image=np.zeros((1000, 1000), np.uint8))
    monkeypatch.setenv(ARRAY_BYTES.variable, "100000")
    with pytest.raises(ImageError, match="MAX_ARRAY_BYTES"):
        read_image(tmp_path / "a.npz")
    monkeypatch.setenv(ARRAY_BYTES.variable, "2e6")
    assert read_image(tmp_path / "a.npz").shape == (1000, 1000)


def test_a_tile_of_a_ledger_unpacks_to_no_more_than_is_allowed(monkeypatch):
    with pytest.raises(SegmentAnythingError, match="cannot be read as NPZ"):
        TileResult.unpack(b"PK\x03\x04" + bytes(99))


def test_packed_data_is_never_unpacked_beyond_its_size():
    import zlib

    bomb = zlib.compress(bytes(10**8), 9)
    began = time.process_time()
    with pytest.raises(FormatError, match="does not have the size"):
        inflate(bomb, 1000, "a mask")
    assert time.process_time() - began < 0.5
    assert inflate(zlib.compress(b"abc"), 3, "a mask") == b"abc"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "c:",
        "nul",
        "NUL.txt",
        " a",
        "a ",
        "a.",
        "a\n",
        "a" * 101,
        None,
    ],
)
def test_plain_names(name):
    with pytest.raises(ParameterError, match="is not a valid name for a stage"):
        plain_name(name, "a stage")
    assert plain_name("Zellen, 2. Versuch", "a stage") == "Zellen, 2. Versuch"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(FormatError, match="has to be a file"):
            read_bytes(path)


# -- servers that accept a connection and say nothing --------------------------------------------


@pytest.fixture
def silent(monkeypatch):
    """Port of a server that never answers; waits are cut to two seconds."""
    monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_MAX_CONNECT_SECONDS", "2")
    monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_MAX_READ_SECONDS", "2")
    server = socket.create_server(("127.0.0.1", 0))
    held = []

    def accept():
        while True:
            try:
                held.append(server.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    for connection in held:
        connection.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_silent_zarr_server_is_given_up(silent):
    url = f"http://127.0.0.1:{silent}/a.zarr"
    attempts = (
        read_image,
        plate_images,
        label_names,
        lambda where: create_labels(where, shape=(9, 9), axes="YX"),
    )
    for attempt in attempts:
        began = time.monotonic()
        with pytest.raises((ImageError, FormatError), match="did not answer within 2 s"):
            attempt(url)
        assert time.monotonic() - began < 20


@pytest.mark.slow
def test_a_silent_scheduler_is_given_up(silent, tmp_path):
    began = time.monotonic()
    image = np.zeros((64, 64), np.uint8)
    np.save(tmp_path / "i.npy", image)
    with pytest.raises(ResourceError, match="no Dask scheduler answers"):
        segment_large(
            tmp_path / "i.npy",
            tmp_path / "o.zarr",
            tiny_model(),
            scheduler=f"tcp://127.0.0.1:{silent}",
        )
    assert time.monotonic() - began < 30
    assert not (tmp_path / "o.zarr").exists()


def test_workers_are_bounded(tmp_path):
    with pytest.raises(ParameterError, match="MAX_THREADS"):
        segment_large(
            np.zeros((64, 64), np.uint8), tmp_path / "o.zarr", tiny_model(), workers=10**6
        )
