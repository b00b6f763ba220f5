"""Whole runs: any source, any trouble, the same labels."""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from scipy import ndimage
from skimage.draw import disk

from napari_segment_anything.engine import Window
from napari_segment_anything.errors import (
    CheckpointError,
    FormatError,
    ImageError,
    ParameterError,
    ResourceError,
)
from napari_segment_anything.formats.ome_zarr import create_labels, open_labels
from napari_segment_anything.large import (
    TileStatus,
    open_large,
    plan_large,
    redecode,
    segment_large,
    segment_large_steps,
)
from napari_segment_anything.large.segmenting import ModelSegment, WindowObjects
from napari_segment_anything.large.tiles import ImageTiles

from .conftest import INSTANCES, SETTINGS

pytestmark = pytest.mark.filterwarnings("ignore:.*consolidated.*")


def labels_of(result) -> np.ndarray:
    return np.asarray(result.labels[...])


# -- what comes out ------------------------------------------------------------------------------


def test_labels_tables_and_pyramid(calm, image) -> None:
    result, labels = calm.result, calm.labels
    assert labels.shape == image.shape and result.count > 8
    assert repr(result) == f"<LargeResult: {result.count} objects, in {result.path}>"
    ids, areas = np.unique(labels[labels > 0], return_counts=True)
    table = result.table
    assert table["label"].tolist() == ids.tolist() and table["area"].tolist() == areas.tolist()
    assert (result.status == TileStatus.DONE).all() and not result.failed
    for row in range(len(ids)):
        r, c = np.nonzero(labels == ids[row])
        assert table["row_min"][row] <= r.min() and r.max() <= table["row_max"][row]
        assert table["col_min"][row] <= c.min() and c.max() <= table["col_max"][row]
    assert {"merged"} <= set(result.seams["kind"].tolist())
    # another process finds the same
    again = open_labels(result.path)
    assert (np.asarray(again.levels[0][...]) == labels).all()


@pytest.mark.parametrize("workers", [1, 3])
def test_number_of_threads_does_not_matter(calm, stored, segment, tmp_path, workers) -> None:
    result = segment_large(stored, tmp_path / "x.zarr", segment, workers=workers, **SETTINGS)
    assert (labels_of(result) == calm.labels).all()
    assert (result.table["predicted_iou"] == calm.result.table["predicted_iou"]).all()


SOURCES = {
    "numpy": lambda image, _: image,
    "dask": lambda image, _: da.from_array(image, chunks=100),
    "tiff": lambda image, path: (
        tifffile.imwrite(path / "x.tif", image, tile=(64, 64)) or path / "x.tif"
    ),
    "zarr 2": lambda image, path: (
        zarr.create_array(path / "two.zarr", data=image, chunks=(50, 70), zarr_format=2)
        and path / "two.zarr"
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_any_source_gives_the_same(calm, image, segment, tmp_path, kind) -> None:
    source = SOURCES[kind](image, tmp_path)
    limits = calm.result.group.group["run"].attrs["run"]["limits"]
    result = segment_large(
        source, tmp_path / "out.zarr", segment, contrast_limits=limits, **SETTINGS
    )
    assert (labels_of(result) == calm.labels).all()


def test_stack_with_channels_keeps_axes_and_scale(image, segment, tmp_path) -> None:
    stack = np.stack([image[:120, :120], np.zeros((120, 120), np.uint8), image[100:220, :120]])
    channels = np.stack([np.zeros_like(stack), stack], axis=1)  # ZCYX
    result = segment_large(
        channels, tmp_path / "x.zarr", segment, axes="ZCYX", channels=(1,), **SETTINGS
    )
    labels = labels_of(result)
    assert labels.shape == (3, 120, 120) and result.group.axes == "ZYX"
    assert result.status.shape == (3, 1, 1)
    # a plane of nothing is not looked at; ids are one's own in each plane
    assert result.status.ravel().tolist() == [TileStatus.DONE, TileStatus.EMPTY, TileStatus.DONE]
    first, last = set(np.unique(labels[0])) - {0}, set(np.unique(labels[2])) - {0}
    assert first and last and not first & last and not labels[1].any()
    assert set(result.table["plane"].tolist()) == {0, 2}


def test_a_region_is_all_that_is_read_and_written(image, segment, tmp_path) -> None:
    class Watched:
        shape, dtype, ndim = image.shape, image.dtype, 2
        seen = np.zeros(image.shape, bool)

        def __getitem__(self, key):
            self.seen[key] = True
            return image[key]

    watched = Watched()
    region = Window(100, 60, 100, 128)
    result = segment_large(
        watched, tmp_path / "x.zarr", segment, region=region, contrast_limits=(0, 255), **SETTINGS
    )
    labels = labels_of(result)
    inside = np.zeros(image.shape, bool)
    inside[region.slices] = True
    assert labels[inside].any() and not labels[~inside].any()
    # beside the few windows that tell images apart
    outside = watched.seen & ~inside
    assert outside.sum() < 0.9 * (~inside).sum()


def test_labels_lie_beside_the_image(image, segment, tmp_path) -> None:
    from napari_segment_anything.formats.ome_zarr import label_names

    path = tmp_path / "image.ome.zarr"
    root = zarr.create_group(path, zarr_format=3)
    root.create_array("0", data=image[:128, :128], chunks=(64, 64))
    root.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [{"name": n, "type": "space", "unit": "micrometer"} for n in ("y", "x")],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.25]}],
                    }
                ],
            }
        ],
    }
    result = segment_large(path, model=segment, label="coins", **SETTINGS)
    assert label_names(path) == ["coins"] and result.count
    assert result.group.scale == (0.5, 0.25) and set(result.group.units) == {"micrometer"}
    # the same call again finds it done
    steps = list(segment_large_steps(path, model=segment, label="coins", **SETTINGS))
    checked = "checking that the image is the same"
    assert [s.message for s in steps] == [checked, "finished before"]


def test_a_run_is_opened_again_without_a_model(calm, tmp_path) -> None:
    again = open_large(calm.result.path)
    assert again.count == calm.result.count and not again.failed
    assert (again.status == calm.result.status).all() and again.grid == calm.result.grid
    create_labels(tmp_path / "x.zarr", "hand", shape=(9, 9), axes="YX", chunks=(9, 9))
    with pytest.raises(FormatError, match="no large run made"):
        open_large(tmp_path / "x.zarr")


def test_a_plan_costs_one_tile(stored, segment) -> None:
    seen = []
    plan = plan_large(
        stored, lambda pixels: seen.append(1) or segment(pixels), workers=2, **SETTINGS
    )
    assert len(seen) == 1 and plan.tiles == 6 and plan.seconds > 0 and plan.disk > 0
    text = "\n".join(plan.describe())
    assert "6 tiles of 128 px" in text and "on disk" in text


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (lambda pixels: pixels, ParameterError, "has to return labels"),
        (lambda pixels: np.zeros((3, 3), int), ParameterError, "has to return labels"),
        (lambda pixels: (pixels[..., 0] // 255, np.zeros(9)), ParameterError, "scores for"),
        (lambda pixels: 1 / 0, ImageError, "division by zero"),
    ],
)
def test_functions_that_cannot_be_used(stored, tmp_path, given, error, said) -> None:
    with pytest.raises(error, match=said):
        segment_large(stored, tmp_path / "x.zarr", given, **SETTINGS)


# -- trouble -------------------------------------------------------------------------------------


def test_stopped_anywhere_it_goes_on(calm, stored, segment, tmp_path) -> None:
    out = tmp_path / "x.zarr"
    messages = set()
    for stop_at in (1, 9, 30, 45, 60):
        steps = segment_large_steps(stored, out, segment, workers=1, **SETTINGS)
        for step in itertools.islice(steps, stop_at):
            messages.add(step.message)
        steps.close()
    result = segment_large(stored, out, segment, **SETTINGS)
    assert (labels_of(result) == calm.labels).all()
    assert {"timing a tile", "segmenting"} <= messages


PROGRAM = """
import sys
from napari_segment_anything.large import segment_large
from tests.large.conftest import SETTINGS
from tests.large.helpers import bright_objects
segment_large(sys.argv[1], sys.argv[2], bright_objects, workers=2, **SETTINGS)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_three_times_it_ends_with_the_same_labels(
    processes, calm, stored, segment, tmp_path, monkeypatch
) -> None:
    out, chance = tmp_path / "x.zarr", random.Random(7)
    status = out / "labels" / "segment_anything" / "run" / "tiles" / "c"
    monkeypatch.setenv("SECONDS_PER_TILE", "0.3")
    for least in (0, 1, 3):
        with processes.start(PROGRAM, stored, out) as process:
            while not (out / "labels").exists() or (
                least and (not status.exists() or len(list(status.iterdir())) < least)
            ):
                time.sleep(0.02)
                assert process.poll() is None, "it ended before it could be killed"
            time.sleep(chance.uniform(0, 0.3))
            process.kill()
            assert process.wait(30) == -signal.SIGKILL
    monkeypatch.delenv("SECONDS_PER_TILE")
    steps = list(segment_large_steps(stored, out, segment, **SETTINGS))
    assert max(step.done for step in steps if "checking" in step.message) >= 1
    assert (np.asarray(open_labels(out).array[...]) == calm.labels).all()


def test_a_corrupt_chunk_fails_its_tiles_until_it_is_mended(
    calm, stored, segment, tmp_path
) -> None:
    source = tmp_path / "broken.zarr"
    shutil.copytree(stored, source)
    chunk = source / "c" / "0" / "3"
    good = chunk.read_bytes()
    chunk.write_bytes(b"\x00garbage")
    limits = calm.result.group.group["run"].attrs["run"]["limits"]
    given = {**SETTINGS, "contrast_limits": limits}
    # its signature reads the damaged pixels too: take a view that says what it is without them
    with pytest.raises(ImageError):
        segment_large(source, tmp_path / "never.zarr", segment, **given)
    chunk.write_bytes(good)
    out = tmp_path / "x.zarr"
    steps = segment_large_steps(source, out, segment, workers=1, retries=1, **given)
    next(steps)
    chunk.write_bytes(b"\x00garbage")
    result = None
    while result is None:
        try:
            next(steps)
        except StopIteration as stop:
            result = stop.value
    assert 0 < len(result.failed) < result.status.size
    for failure in result.failed:
        assert "cannot be read" in failure.reason
        # reported, and nothing was made up there
        assert result.status[result.grid.place(failure.index)] == TileStatus.FAILED
    chunk.write_bytes(good)
    mended = segment_large(source, out, segment, **given)
    assert not mended.failed and (labels_of(mended) == calm.labels).all()


def test_a_tile_that_fails_once_is_tried_again(
    calm, stored, segment, tmp_path, monkeypatch
) -> None:
    real, failed = ImageTiles.read, []

    def flaky(job, index):
        if index == 5 and len(failed) < 2:
            failed.append(index)
            raise ImageError("the network drive hiccuped")
        return real(job, index)

    monkeypatch.setattr(ImageTiles, "read", flaky)
    result = segment_large(stored, tmp_path / "x.zarr", segment, **SETTINGS)
    assert len(failed) == 2 and not result.failed
    assert (labels_of(result) == calm.labels).all()


def test_when_every_tile_fails_it_stops_and_says_why(
    stored, segment, tmp_path, monkeypatch
) -> None:
    def broken(job, index):
        raise ImageError("no such camera")

    monkeypatch.setattr(ImageTiles, "read", broken)
    with pytest.raises(ImageError, match="no such camera"):
        segment_large(stored, tmp_path / "x.zarr", segment, **SETTINGS)


def test_a_full_disk_stops_the_run_and_loses_nothing(
    calm, stored, segment, tmp_path, monkeypatch
) -> None:
    out = tmp_path / "x.zarr"
    from zarr.storage import LocalStore

    real, count = LocalStore.set, []

    async def full(self, key, value, **more):
        if str(out) in str(self.root) and "tiles" in key:
            count.append(key)
            if len(count) > 4:
                raise OSError(errno.ENOSPC, "No space left on device")
        return await real(self, key, value, **more)

    monkeypatch.setattr(LocalStore, "set", full)
    with pytest.raises(ResourceError, match=r"No space left.*run again"):
        segment_large(stored, out, segment, workers=1, **SETTINGS)
    monkeypatch.setattr(LocalStore, "set", real)
    steps = list(segment_large_steps(stored, out, segment, **SETTINGS))
    assert steps[0].done >= 3
    assert (np.asarray(open_labels(out).array[...]) == calm.labels).all()


def test_another_run_on_the_same_ledger_is_refused(calm, stored, segment, model, tmp_path) -> None:
    out = tmp_path / "x.zarr"
    shutil.copytree(Path(calm.result.path).parent.parent, out)
    for change, said in (
        ({"tile": 160}, "tile was 128, is 160"),
        ({"contrast_limits": (0, 99)}, "contrast was"),
    ):
        with pytest.raises(ParameterError, match=said):
            segment_large(stored, out, segment, **{**SETTINGS, **change})
    grid = {**SETTINGS, "mode": "grid", "points_per_side": 4}
    with pytest.raises(ParameterError, match=r"model was .*bright_objects.*mode was null"):
        segment_large(stored, out, model, **grid)
    other = zarr.create_array(tmp_path / "other.zarr", data=np.full((240, 200), 7, np.uint8))
    with pytest.raises(ParameterError, match="image was"):
        segment_large(other, out, segment, **SETTINGS)
    hand = create_labels(out, "hand", shape=(240, 200), axes="YX", chunks=(96, 96))
    hand.array[3, 4] = 1
    with pytest.raises(FormatError, match="already"):
        segment_large(stored, out, segment, label="hand", **SETTINGS)
    steps = segment_large_steps(stored, out, model, label="model", **grid)
    next(steps)
    steps.close()
    with pytest.raises(ParameterError, match="parameters was"):
        segment_large(stored, out, model, label="model", **{**grid, "points_per_side": 8})


def test_labels_without_anything_in_them_are_begun_anew(calm, stored, segment, tmp_path) -> None:
    # killed after the labels were made, before the run was on record
    create_labels(
        tmp_path / "x.zarr", "segment_anything", shape=(240, 200), axes="YX", chunks=(96, 96)
    )
    result = segment_large(stored, tmp_path / "x.zarr", segment, **SETTINGS)
    assert (labels_of(result) == calm.labels).all()


def test_two_runs_at_once_on_the_same_labels_are_refused(stored, segment, tmp_path) -> None:
    steps = segment_large_steps(stored, tmp_path / "x.zarr", segment, **SETTINGS)
    next(steps)
    with pytest.raises(ResourceError, match="another process is writing"):
        segment_large(stored, tmp_path / "x.zarr", segment, **SETTINGS)
    steps.close()


@pytest.mark.slow
def test_a_process_with_another_cache_meets_the_same_lock(
    processes, stored, segment, tmp_path, monkeypatch
) -> None:
    out, alias = tmp_path / "x.zarr", tmp_path / "alias.zarr"
    steps = segment_large_steps(stored, out, segment, **SETTINGS)
    next(steps)
    alias.symlink_to(out)
    monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_CACHE", str(tmp_path / "cache"))
    with processes.start(PROGRAM, stored, alias) as second:
        _, said = second.communicate(timeout=60)
    steps.close()
    assert second.returncode == 1 and "another process is writing" in said
    # neither the lock nor what a killed process leaves of it stays in the way
    assert not list(out.rglob("*.lock"))


def test_a_run_that_never_began_leaves_no_store(stored, segment, tmp_path) -> None:
    folder, file = tmp_path / "notes", tmp_path / "file.zarr"
    folder.mkdir()
    folder.joinpath("a.txt").write_text("mine")
    file.write_text("mine")
    for place in (folder, file):
        with pytest.raises(FormatError, match="not a Zarr store"):
            segment_large(stored, place, segment, **SETTINGS)
    assert [path.name for path in folder.iterdir()] == ["a.txt"]
    assert file.read_text() == "mine"


def test_where_no_lock_can_be_held_a_warning_says_so(stored, segment) -> None:
    pytest.importorskip("fsspec")
    steps = segment_large_steps(stored, "memory://locked/x.zarr", segment, **SETTINGS)
    with pytest.warns(UserWarning, match="cannot be locked: make sure that no other process"):
        next(steps)
    steps.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"retries": -1}, "retries"),
        ({"policy": "best"}, "policy"),
        ({"oversize": "drop"}, "oversize"),
        ({"empty_thresh": 300}, "empty_thresh"),
        ({"workers": 0}, "workers"),
        ({"scheduler": "processes"}, "scheduler is 'threads'"),
        ({"worker_resources": {"GPU": 1}}, "worker_resources"),
        ({"nonsense": 1}, "nonsense"),
        ({"region": Window(900, 900, 5, 5)}, "outside"),
    ],
)
def test_wrong_parameters_are_said_before_anything_is_written(
    stored, model, tmp_path, change, said
) -> None:
    with pytest.raises(ParameterError, match=said):
        segment_large(stored, tmp_path / "x.zarr", model, **{**SETTINGS, **change})
    assert not (tmp_path / "x.zarr").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mode": "grid"}, "are for models"),
        ({"points_per_side": 8}, "are for models"),
        ({"oversize": "redecode"}, "a function has no prompts"),
    ],
)
def test_a_function_has_no_parameters(stored, segment, tmp_path, change, said) -> None:
    with pytest.raises(ParameterError, match=said):
        segment_large(stored, tmp_path / "x.zarr", segment, **SETTINGS, **change)


def test_an_array_needs_a_place_for_its_labels(image, segment) -> None:
    with pytest.raises(ParameterError, match="give output"):
        segment_large(image, model=segment, **SETTINGS)


# -- a cluster -----------------------------------------------------------------------------------


def test_a_cluster_gives_the_same_labels(calm, stored, segment, cluster, tmp_path) -> None:
    result = segment_large(stored, tmp_path / "x.zarr", segment, scheduler=cluster, **SETTINGS)
    assert (labels_of(result) == calm.labels).all()
    by_address = segment_large(
        stored, tmp_path / "y.zarr", segment, scheduler=cluster.scheduler.address, **SETTINGS
    )
    assert (labels_of(by_address) == calm.labels).all()


@pytest.mark.slow
def test_the_default_model_gives_the_same_on_threads_and_on_a_cluster(
    stored, default_model, cluster, tmp_path
) -> None:
    here = segment_large(stored, tmp_path / "x.zarr", default_model, **INSTANCES)
    assert here.count > 8 and "merged" in here.seams["kind"]
    assert not here.failed and (here.status == TileStatus.DONE).all()
    there = segment_large(stored, tmp_path / "y.zarr", scheduler=cluster, **INSTANCES)
    assert (labels_of(there) == labels_of(here)).all()
    for name, column in here.table.items():
        np.testing.assert_array_equal(there.table[name], column)
    steps = list(segment_large_steps(stored, tmp_path / "x.zarr", default_model, **INSTANCES))
    assert steps[-1].message == "finished before"


def test_a_worker_killed_in_the_middle_costs_nothing(
    calm, stored, segment, cluster, tmp_path
) -> None:
    steps = segment_large_steps(stored, tmp_path / "x.zarr", segment, scheduler=cluster, **SETTINGS)
    killed, result = False, None
    while result is None:
        try:
            step = next(steps)
        except StopIteration as stop:
            result = stop.value
            break
        if not killed and step.done >= 3:
            workers = list(cluster.run(os.getpid).values())
            os.kill(workers[0], signal.SIGKILL)
            killed = True
    assert killed and not result.failed
    assert (labels_of(result) == calm.labels).all()


def test_a_cluster_needs_what_it_can_load(image, default_model, cluster, tmp_path) -> None:
    from dataclasses import replace

    homeless = replace(default_model, source=None)
    with pytest.raises(ParameterError, match="cannot load this model"):
        segment_large(image, tmp_path / "x.zarr", homeless, scheduler=cluster, **INSTANCES)
    big = np.zeros((5000, 5000), np.uint8)
    big[:100, :100] = image[:100, :100]
    with pytest.raises(ParameterError, match="save it as Zarr"):
        segment_large(big, tmp_path / "y.zarr", scheduler=cluster, mode="instances")
    other = replace(default_model, fingerprint="0" * 64)
    with pytest.raises(CheckpointError, match="other weights"):
        segment_large(image, tmp_path / "z.zarr", other, scheduler=cluster, **INSTANCES)


# -- again ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_seam_is_decoded_again(calm, default_model, tmp_path) -> None:
    out = tmp_path / "x.zarr"
    shutil.copytree(Path(calm.result.path).parent.parent, out)
    seams = calm.result.seams
    row = next(i for i, box in enumerate(seams["box"]) if box[0] and min(box[2:] - box[:2]) > 30)
    seam, label = int(seams["seam"][row]), int(seams["labels"][row, 0])
    found = redecode(out, default_model, seam)
    group = open_labels(out)
    after = np.asarray(group.array[...])
    assert found["label"] == label and found["iou"] > 0.5
    assert (after == label).sum() == found["area"] > 0
    others = (calm.labels > 0) & (calm.labels != label)
    assert (after[others] == calm.labels[others]).all()
    with pytest.raises(ParameterError, match="no seam 9999"):
        redecode(out, default_model, 9999)


def test_arrays_keep_their_axes_scale_and_units(image, segment, model, tmp_path) -> None:
    from napari_segment_anything.formats import ImageData

    array = np.stack([image[:120, :120]] * 2)[:, None]
    known = ImageData(
        array, "TCYX", 1, False, (2.0, 1.0, 0.5, 0.25),
        ("second", None, "micrometer", "micrometer"), "cells",
    )  # fmt: skip
    out = tmp_path / "x.zarr"
    result = segment_large(known, out, segment, **SETTINGS)
    assert result.group.axes == "TYX" and result.group.scale == (2.0, 0.5, 0.25)
    assert result.group.units == ("second", "micrometer", "micrometer")
    with pytest.raises(ParameterError, match="pass it again"):
        redecode(out, model, 1)
    if not len(result.seams["seam"]):  # one tile has none: it is the array that matters here
        with pytest.raises(ParameterError, match="no seam 1"):
            redecode(out, model, 1, image=array)


@pytest.mark.slow
def test_objects_larger_than_a_tile_can_be_prompted_for_again(
    default_model, tmp_path, monkeypatch
) -> None:
    truth = np.zeros((640, 640), np.int32)
    truth[disk((320, 300), 130)] = 1
    noise = np.random.default_rng(0).normal(0, 4, truth.shape)
    picture = np.clip(np.where(truth, 200, 30) + noise, 0, 255).astype(np.uint8)

    def found(_, pixels, limits, check):
        labels, count = ndimage.label(pixels[..., 0] > 115)
        return WindowObjects(labels.astype(np.uint16), *np.full((2, count), 0.9, np.float32))

    monkeypatch.setattr(ModelSegment, "__call__", found)
    given = {**INSTANCES, "tile": 256, "overlap": 64, "contrast_limits": (0, 255)}
    given |= {"empty_thresh": 0}
    merged = segment_large(picture, tmp_path / "a.zarr", default_model, **given)
    assert (labels_of(merged) == truth).all() and merged.table["pieces"][0] >= 2
    again = segment_large(picture, tmp_path / "b.zarr", default_model, oversize="redecode", **given)
    assert again.seams["kind"].tolist() == ["redecoded"]
    assert again.table["pieces"].tolist() == [1]
    labels = labels_of(again) > 0
    assert (labels & (truth > 0)).sum() / (labels | (truth > 0)).sum() > 0.8
    assert again.table["area"].tolist() == [labels.sum()]
    for fine, coarse in itertools.pairwise(again.group.levels):
        assert (np.asarray(coarse[...]) == np.asarray(fine[...])[::2, ::2]).all()


def test_an_image_travels_as_its_place_and_is_opened_once(stored, image) -> None:
    import pickle

    from napari_segment_anything.large.image import LargeImage

    limits = ((0.0, 255.0),)
    large = LargeImage.of(stored, contrast_limits=limits)
    assert large.planes.shape == image.shape
    first, second = (pickle.loads(pickle.dumps(large)) for _ in range(2))
    assert first is second and "planes" not in first.__dict__
    assert len(pickle.dumps(large)) < 1000
    held = pickle.loads(pickle.dumps(LargeImage.of(image, contrast_limits=limits)))
    assert (held.source.array == image).all()
