"""A run that is resumed reads the image that its finished tiles were read from, or stops."""

from __future__ import annotations

import functools
import http.server
import itertools
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from zarr.storage import LocalStore

from napari_segment_anything.errors import ParameterError
from napari_segment_anything.large import redecode, segment_large, segment_large_steps
from napari_segment_anything.large.tiles import ImageTiles

from .conftest import SETTINGS

pytestmark = pytest.mark.filterwarnings("ignore:.*consolidated.*")

QUICK = {"tile": 192, "overlap": 16}
HIDDEN = np.s_[66:86, :]
"""Rows that no window of the image's own checksum lies on."""


def as_zarr(image, path):
    zarr.create_array(path, data=image, chunks=(60, 60), overwrite=True)
    return path


def as_sharded(image, path):
    zarr.create_array(path, data=image, chunks=(30, 30), shards=(60, 60), overwrite=True)
    return path


def as_tiff(image, path):
    tifffile.imwrite(path.with_suffix(".tif"), image, tile=(64, 64))
    return path.with_suffix(".tif")


def as_npy(image, path):
    np.save(path.with_suffix(".npy"), image)
    return path.with_suffix(".npy")


SOURCES = {
    "zarr": as_zarr,
    "sharded zarr": as_sharded,
    "zarr array": lambda image, path: zarr.open_array(as_zarr(image, path), mode="r"),
    "tiff": as_tiff,
    "npy": as_npy,
    "numpy": lambda image, _: image,
    "dask": lambda image, _: pytest.importorskip("dask.array").from_array(image, chunks=100),
}


def changed(image):
    other = image.copy()
    other[HIDDEN] = 255 - other[HIDDEN]
    return other


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "finished"), [*((kind, False) for kind in SOURCES), ("zarr", True), ("numpy", True)]
)
def test_an_image_that_was_changed_is_refused(image, segment, tmp_path, kind, finished) -> None:
    limits = (0.0, 255.0)  # numbers: nothing is estimated from the pixels
    given = {"contrast_limits": limits, **QUICK}
    source, out = SOURCES[kind](image, tmp_path / "i.zarr"), tmp_path / "x.zarr"
    steps = segment_large_steps(source, out, segment, workers=1, **given)
    for step in steps if finished else itertools.takewhile(lambda s: s.done < 2, steps):
        assert step.total
    steps.close()
    source = SOURCES[kind](changed(image), tmp_path / "i.zarr")
    with pytest.raises(ParameterError, match=r"the image has changed.*rows .*overwrite=True"):
        segment_large(source, out, segment, **given)
    # the image as it was is accepted again
    source = SOURCES[kind](image, tmp_path / "i.zarr")
    segment_large(source, out, segment, **given)


@pytest.mark.slow
def test_what_no_finished_tile_has_read_may_come_later(image, segment, tmp_path) -> None:
    # an image that is still being written
    half = image.copy()
    half[:, 128:] = 0
    half[176:, 136:] = image[176:, 136:]
    source = tmp_path / "i.zarr"
    given = {"contrast_limits": (0.0, 255.0), **QUICK}
    as_zarr(image, source)
    steps = segment_large_steps(source, tmp_path / "a.zarr", segment, workers=1, **given)
    first = next(s for s in steps if s.done == 1).partial
    steps.close()
    done = int(np.flatnonzero(first.status.ravel())[0])
    window = first.grid.window(done)
    # all that the tile has not read, and the image's own checksum neither
    other = changed(image)
    other[window.slices] = image[window.slices]
    assert (other != image).any()
    as_zarr(other, source)
    resumed = segment_large(source, tmp_path / "a.zarr", segment, **given)
    anew = segment_large(source, tmp_path / "b.zarr", segment, **given)
    assert (np.asarray(resumed.labels[...]) == np.asarray(anew.labels[...])).all()


def test_a_moved_image_is_the_same_image(calm, stored, segment, tmp_path) -> None:
    out, moved = tmp_path / "x.zarr", tmp_path / "elsewhere.zarr"
    shutil.copytree(Path(calm.result.path).parent.parent, out)
    shutil.copytree(stored, moved)
    for path in moved.rglob("*"):
        os.utime(path, (1, 1))
    result = segment_large(moved, out, segment, **SETTINGS)
    assert (np.asarray(result.labels[...]) == calm.labels).all()


def test_chunks_that_were_not_written_again_are_not_read_again(
    calm, stored, segment, tmp_path, monkeypatch
) -> None:
    out, moved = tmp_path / "x.zarr", tmp_path / "elsewhere.zarr"
    shutil.copytree(Path(calm.result.path).parent.parent, out)
    shutil.copytree(stored, moved)
    read = []
    real = ImageTiles.read
    monkeypatch.setattr(
        ImageTiles, "read", lambda tiles, index: read.append(index) or real(tiles, index)
    )
    segment_large(stored, out, segment, **SETTINGS)
    assert not read
    # a copy is read once, and known from then on
    segment_large(moved, out, segment, **SETTINGS)
    assert sorted(read) == list(range(calm.result.status.size))
    segment_large(moved, out, segment, **SETTINGS)
    assert len(read) == calm.result.status.size
    # of a chunk that was written again only the tiles that lie on it
    (moved / "c" / "0" / "0").touch()
    segment_large(moved, out, segment, **SETTINGS)
    assert 0 < len(read) - calm.result.status.size < calm.result.status.size


def test_a_place_is_not_decoded_again_on_other_pixels(image, segment, model, tmp_path) -> None:
    source, out = as_zarr(image, tmp_path / "i.zarr"), tmp_path / "x.zarr"
    result = segment_large(source, out, segment, **QUICK)
    touched = next(
        int(number)
        for number, (top, _, bottom, _) in zip(
            result.seams["seam"], result.seams["box"], strict=True
        )
        if top < 86 and bottom > 66
    )
    as_zarr(changed(image), source)
    with pytest.raises(ParameterError, match="the image has changed"):
        redecode(out, model, touched)


@pytest.fixture
def served(tmp_path):
    """A folder behind HTTP, and what was asked for: (method, path)."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def send_response(self, code, message=None):
            asked.append((self.command, self.path))
            super().send_response(code, message)

    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_of_a_remote_image_only_marks_are_asked_for(image, segment, tmp_path, served) -> None:
    url, asked = served
    source = as_zarr(image, tmp_path / "i.zarr")
    segment_large(f"{url}/i.zarr", tmp_path / "x.zarr", segment, **QUICK)
    asked.clear()
    segment_large(f"{url}/i.zarr", tmp_path / "x.zarr", segment, **QUICK)
    chunks = [path for method, path in asked if method == "HEAD" and "/c/" in path]
    assert sorted(set(chunks)) == [f"/i.zarr/c/{r}/{c}" for r in range(4) for c in range(4)]
    assert len(chunks) == 16
    for path in source.rglob("*"):
        os.utime(path, (1, 1))
    as_zarr(changed(image), source)
    with pytest.raises(ParameterError, match="the image has changed"):
        segment_large(f"{url}/i.zarr", tmp_path / "x.zarr", segment, **QUICK)


def test_marks_need_no_chunk_to_be_there(tmp_path) -> None:
    from napari_segment_anything.formats.marks import region_marks

    array = zarr.create_array(tmp_path / "e.zarr", shape=(100, 100), chunks=(50, 50), dtype="u1")
    whole, part = (slice(0, 100), slice(0, 100)), (slice(0, 50), slice(0, 50))
    before = region_marks(array, (), [whole, part])
    assert all(before) and before == region_marks(array, (), [whole, part])
    array[60, 60] = 0  # as empty as before
    assert before == region_marks(array, (), [whole, part])
    array[60, 60] = 9
    after = region_marks(array, (), [whole, part])
    assert after[0] != before[0] and after[1] == before[1]
    assert region_marks(np.zeros((9, 9)), (), [part]) == [0]
    held = zarr.create_array({}, data=np.zeros((9, 9)))
    assert region_marks(held, (), [part]) == [0]
    assert isinstance(array.store, LocalStore)
