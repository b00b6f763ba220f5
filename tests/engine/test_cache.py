from __future__ import annotations

import errno
import os
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from napari_segment_anything.engine import CacheWarning, EmbeddingCache, Model, Predictor, Window
from napari_segment_anything.engine import cache as module
from napari_segment_anything.engine.cache import signature
from napari_segment_anything.engine.frame_pixels import encode_frames
from napari_segment_anything.errors import ParameterError
from napari_segment_anything.network import EncoderOutput

CPU = torch.device("cpu")


def output(value=0.5, side=8):
    features = torch.full((1, 256, side, side), float(value))
    return EncoderOutput(features, {"dense": torch.full((1, 6, 2 * side, 2 * side), float(value))})


def same(one, other):
    return torch.equal(one.embedding, other.embedding) and all(
        torch.equal(one.heads[name], other.heads[name]) for name in one.heads | other.heads
    )


def files(directory):
    return sorted(path.name for path in directory.iterdir())


def test_memory_keeps_what_was_used_last():
    size = 4 * (256 * 64 + 6 * 256)
    cache = EmbeddingCache(memory_bytes=3 * size)
    for number in range(3):
        cache.put(str(number), output(number))
    assert cache.get("0") is not None
    cache.put("3", output(3))
    assert cache.get("1") is None
    assert [cache.get(key) is not None for key in "023"] == [True] * 3
    assert cache.memory_used == 3 * size
    cache.put("3", output(4))
    assert cache.memory_used == 3 * size
    cache.clear()
    assert (cache.memory_used, len(cache), cache.get("0")) == (0, 0, None)


def test_memory_takes_nothing_larger_than_itself():
    cache = EmbeddingCache(memory_bytes=1000)
    given = output()
    assert same(cache.put("a", given), given)
    assert cache.get("a") is None
    with pytest.raises(ParameterError):
        EmbeddingCache(memory_bytes=-1)


def test_disk_gives_back_what_put_returned(tmp_path):
    given = EncoderOutput(torch.randn(1, 256, 8, 8), {"dense": torch.randn(1, 6, 16, 16)})
    kept = EmbeddingCache(tmp_path).put("a", given)
    torch.testing.assert_close(kept.embedding, given.embedding, rtol=1e-3, atol=1e-3)
    found = EmbeddingCache(tmp_path).get("a")
    assert same(found, kept)
    assert found.embedding.dtype == torch.float32
    assert files(tmp_path) == ["a.zarr"]
    large = output(1e6)
    EmbeddingCache(tmp_path).put("b", large)
    assert same(EmbeddingCache(tmp_path).get("b"), large)


def test_an_entry_is_a_zarr_group_with_a_mark(tmp_path):
    import zarr

    EmbeddingCache(tmp_path).put("a", output())
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert group["features"].dtype == np.float16
    assert group.attrs["complete"] is True


def _truncate(path):
    chunk = next(p for p in path.rglob("c/**/*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-7])


def _flip(path):
    chunk = next(p for p in path.rglob("c/**/*") if p.is_file())
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 0xFF
    chunk.write_bytes(bytes(data))


def _lose_chunk(path):
    next(p for p in path.rglob("c/**/*") if p.is_file()).unlink()


def _unmark(path):
    meta = path / "zarr.json"
    meta.write_text(meta.read_text().replace('"complete": true', '"complete": false'))


def _garble(path):
    (path / "features" / "zarr.json").write_text("{")


@pytest.mark.parametrize("damage", [_truncate, _flip, _lose_chunk, _unmark, _garble])
def test_a_damaged_entry_is_dropped_and_replaced(tmp_path, damage):
    cache = EmbeddingCache(tmp_path, memory_bytes=0)
    kept = cache.put("a", output(0.25))
    damage(tmp_path / "a.zarr")
    with pytest.warns(CacheWarning, match="damaged"):
        assert cache.get("a") is None
    assert files(tmp_path) == []
    cache.put("a", output(0.25))
    assert same(cache.get("a"), kept)


def test_the_directory_is_bounded(tmp_path):
    cache = EmbeddingCache(tmp_path, memory_bytes=0)
    noise = [EncoderOutput(torch.randn(1, 256, 16, 16), {}) for _ in range(6)]
    cache.put("0", noise[0])
    size = cache.disk_used()
    cache = EmbeddingCache(tmp_path, memory_bytes=0, disk_bytes=int(3.5 * size))
    now = time.time()
    for number in range(1, 6):
        cache.put(str(number), noise[number])
        os.utime(tmp_path / f"{number}.zarr", (now - 100 + number,) * 2)
        assert cache.get("0") is not None  # used, hence kept
    assert cache.disk_used() <= 3.5 * size
    assert files(tmp_path) == ["0.zarr", "4.zarr", "5.zarr"]
    assert EmbeddingCache(tmp_path, disk_bytes=10).put("9", noise[0]) is not None
    assert "9.zarr" not in files(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_is_a_warning(tmp_path, monkeypatch, code):
    def fail(path, arrays):
        path.mkdir()
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(module, "_write_group", fail)
    cache = EmbeddingCache(tmp_path)
    with pytest.warns(CacheWarning, match=os.strerror(code)):
        kept = cache.put("a", output())
    assert same(cache.get("a"), kept)
    assert files(tmp_path) == []


def test_a_directory_that_cannot_be_made_is_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    cache = EmbeddingCache(tmp_path / "file" / "cache")
    with pytest.warns(CacheWarning):
        cache.put("a", output())
    assert cache.get("a") is not None


PUT = """
    import sys, torch, zarr
    from pathlib import Path
    from napari_segment_anything.engine.cache import EmbeddingCache
    from napari_segment_anything.network import EncoderOutput
    directory, number = Path(sys.argv[1]), int(sys.argv[2])
    torch.manual_seed(0)
    output = EncoderOutput(torch.randn(1, 256, 32, 32), {"dense": torch.randn(1, 6, 64, 64)})
"""


@pytest.fixture
def start(processes):
    def started(code, *arguments):
        return processes.start(textwrap.dedent(PUT) + textwrap.dedent(code), *arguments)

    return started


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_process_killed_while_it_writes_leaves_nothing_wrong(start, tmp_path):
    code = """
        import time
        plain = zarr.Group.create_array
        def stuck(self, name, **options):
            array = plain(self, name, **options)
            print("half written", flush=True)
            time.sleep(600)
        zarr.Group.create_array = stuck
        EmbeddingCache(directory).put("a", output)
    """
    with start(code, tmp_path, 0) as child:
        assert child.stdout.readline() == "half written\n"
        child.kill()
    (left,) = tmp_path.iterdir()
    assert left.suffix == ".tmp"
    assert any(left.rglob("c/**/*"))
    cache = EmbeddingCache(tmp_path, memory_bytes=0)
    assert cache.get("a") is None
    kept = cache.put("a", output())
    assert same(cache.get("a"), kept)
    old = time.time() - 7200
    os.utime(left, (old, old))
    EmbeddingCache(tmp_path).put("b", output())
    assert files(tmp_path) == ["a.zarr", "b.zarr"]


@pytest.mark.slow
def test_two_processes_may_write_the_same_embedding(start, tmp_path):
    code = """
        import os, time
        (directory / f"ready{number}").touch()
        while len(list(directory.glob("ready*"))) < 2:
            time.sleep(0.001)
        for key in range(15):
            cache = EmbeddingCache(directory / "cache", memory_bytes=0)
            kept = cache.put(str(key), output)
            found = cache.get(str(key))
            assert torch.equal(found.embedding, kept.embedding)
    """
    with start(code, tmp_path, 0) as one, start(code, tmp_path, 1) as other:
        assert [one.wait(60), other.wait(60)] == [0, 0]
    assert files(tmp_path / "cache") == sorted(f"{key}.zarr" for key in range(15))


def test_threads_may_share_a_cache(tmp_path):
    cache = EmbeddingCache(tmp_path, memory_bytes=200_000, disk_bytes=400_000)

    def work(number):
        key = str(number % 5)
        found = cache.get(key)
        if found is None:
            found = cache.put(key, output(number % 5))
        return float(found.embedding[0, 0, 0, 0]) == number % 5

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(60)))


def test_the_key_names_all_that_matters(rng):
    pixels = rng.integers(0, 99, (6, 8, 1), dtype=np.uint8)
    fields = {"shape": (6, 8), "level": 0, "limits": ((0.0, 1.0),), "fingerprint": "a"}
    key = signature(pixels, **fields)
    assert signature(pixels.copy(), **fields) == key
    assert signature(np.asfortranarray(pixels), **fields) == key
    changed = pixels.copy()
    changed[5, 7] += 1
    keys = {
        key,
        signature(changed, **fields),
        signature(pixels.astype(np.int8), **fields),
        signature(pixels.reshape(8, 6, 1), **fields),
        *(signature(pixels, **{**fields, name: "other"}) for name in fields),
    }
    assert len(keys) == 4 + len(fields)


@pytest.fixture
def counted(network, monkeypatch):
    """A predictor factory whose encoder counts its runs."""
    runs = []

    def counting(frames):
        runs.extend(frames)
        return encode_frames(frames)

    monkeypatch.setattr("napari_segment_anything.engine.predictor.encode_frames", counting)

    def make(cache, precision="fp32", fingerprint="f"):
        model = Model(network, "tiny", "vit", fingerprint, CPU, precision)
        return Predictor(model, cache)

    return make, runs


@pytest.mark.parametrize("on_disk", [False, True])
def test_an_image_is_encoded_once(counted, tmp_path, photo, on_disk):
    make, runs = counted
    cache = EmbeddingCache(tmp_path if on_disk else None)
    predictor = make(cache)
    first = predictor.embed(photo)
    second = predictor.embed(photo.copy())
    assert len(runs) == 1
    torch.testing.assert_close(first.features, second.features, rtol=0, atol=0)
    assert (second.window, second.frame_shape) == (first.window, first.frame_shape)
    if on_disk:
        third = make(EmbeddingCache(tmp_path)).embed(photo)
        assert len(runs) == 1
        torch.testing.assert_close(third.features, first.features, rtol=0, atol=0)
    else:
        exact = make(None).embed(photo)
        torch.testing.assert_close(exact.features, first.features, rtol=0, atol=0)


def test_whatever_changes_the_embedding_is_encoded_anew(counted, photo):
    make, runs = counted
    cache = EmbeddingCache()
    predictor = make(cache)
    changed = photo.copy()
    changed[0, 0, 0] ^= 1
    for embed in (
        lambda: predictor.embed(photo),
        lambda: predictor.embed(changed),
        lambda: predictor.embed(photo, window=Window(0, 0, 40, 40)),
        lambda: predictor.embed(photo, contrast_limits=(0, 100)),
        lambda: predictor.embed(photo, channels=(1,)),
        lambda: make(cache, "bf16").embed(photo),
        lambda: make(cache, fingerprint="other").embed(photo),
    ):
        before = len(runs)
        embed()
        embed()
        assert len(runs) == before + 1


def test_maps_of_windows_encoded_together_are_kept_each_by_itself(default_model, photo, tmp_path):
    image = np.tile(photo[..., 0], (3, 3))
    windows = [Window(0, 0, 60, 60), Window(10, 20, 60, 60)]
    alone = [
        Predictor(default_model).embed_maps(image, [window], side=100)[0] for window in windows
    ]
    cache = EmbeddingCache(tmp_path)
    together = Predictor(default_model, cache).embed_maps(image, windows, side=100)
    assert len(cache) == 2
    for one, other in zip(alone, together, strict=True):
        assert one.heads["dense"].shape == (1, 6, 56, 56)  # 112 frame pixels: whole cells
        assert one.window == other.window and one.frame_shape == other.frame_shape == (100, 100)
        close = {"rtol": 2e-3, "atol": 0.5}  # half precision on disk, and bf16
        torch.testing.assert_close(one.heads["dense"], other.heads["dense"], **close)
    exact = Predictor(default_model).embed(image).heads["dense"]
    assert torch.equal(Predictor(default_model).embed_maps(image, [None])[0].heads["dense"], exact)
