"""Labels in OME-Zarr stores: made, written in pieces, found again, and what goes wrong."""

from __future__ import annotations

import functools
import http.server
import pickle
import shutil
import sys
import threading
import time
import uuid
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import LocalStore

from napari_segment_anything.errors import FormatError, ImageError
from napari_segment_anything.formats import ome_zarr, read_image, read_labels, write_labels
from napari_segment_anything.formats.ome_zarr import (
    create_labels,
    is_url,
    label_names,
    open_labels,
    plate_images,
)
from napari_segment_anything.progress import finish

from ..forked import Processes

VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])


def ome_image(path: str, version: str, shape: tuple[int, ...] = (2, 60, 80)) -> zarr.Group:
    """An OME-Zarr image CYX with pixel sizes, a shift, and another label."""
    old = version == "0.4"
    group = zarr.create_group(path, zarr_format=2 if old else 3)
    pixels = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    names = {} if old else {"dimension_names": ("c", "y", "x")}
    group.create_array("s0", data=pixels, **names)
    multiscales = [
        {
            "axes": [
                {"name": "c", "type": "channel"},
                {"name": "y", "type": "space", "unit": "micrometer"},
                {"name": "x", "type": "space", "unit": "micrometer"},
            ],
            "datasets": [
                {
                    "path": "s0",
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [1, 0.5, 0.25]},
                        {"type": "translation", "translation": [0, 10, 20]},
                    ],
                }
            ],
        }
    ]
    fields: dict[str, Any] = {"multiscales": multiscales, "omero": {"channels": []}}
    if old:
        group.attrs.update(fields)
    else:
        group.attrs["ome"] = {"version": "0.5", **fields}
    group.attrs["mine"] = 7
    return group


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "a.ome.zarr")
    pytest.importorskip("fsspec")
    return f"memory://{uuid.uuid4().hex}/a.ome.zarr"


@VERSIONS
def test_labels_of_an_image(place: str, version: str) -> None:
    ome_image(place, version)
    labels = create_labels(place, "cells", shape=(60, 80), axes="yx", chunks=(16, 32))
    create_labels(place, "nuclei", shape=(60, 80), axes="YX", dtype=np.uint64)
    assert label_names(place) == ["cells", "nuclei"]
    assert (labels.axes, labels.scale) == ("YX", (0.5, 0.25))
    assert labels.units == ("micrometer", "micrometer")
    assert labels.array.metadata.zarr_format == (2 if version == "0.4" else 3)
    assert labels.array.chunks == (16, 32)
    assert labels.array.nchunks_initialized == 0
    labels.array[10:20, 30:60] = 5
    again = pickle.loads(pickle.dumps(labels))  # as another process gets it
    assert (again.path, again.mode) == (labels.path, "r+")
    assert np.asarray(again.array[:]).sum() == 5 * 300
    again.array[0, 0] = 6
    assert labels.array[0, 0] == 6
    # the image and its own metadata stay, and the labels lie where the image lies
    group = zarr.open_group(place, mode="r")
    assert group.attrs["mine"] == 7
    assert read_image(place).shape == (2, 60, 80)
    ome = dict(group["labels/cells"].attrs)
    ome = ome if version == "0.4" else ome["ome"]
    transforms = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert transforms[1] == {"type": "translation", "translation": [10.0, 20.0]}
    assert ome["image-label"]["source"] == {"image": "../../"}
    assert (ome if version == "0.5" else ome["multiscales"][0])["version"] == version


@pytest.mark.parametrize("zarr_format", [None, 2, 3])
def test_a_store_of_its_own(place: str, zarr_format: int | None) -> None:
    labels = create_labels(
        place,
        shape=(2, 3, 40, 50),
        axes="TZYX",
        scale=(60, 2, 0.5, 0.5),
        units=("second", *("micrometer",) * 3),
        source="/data/image.tif",
        zarr_format=zarr_format,
    )
    assert labels.group.metadata.zarr_format == (zarr_format or 3)
    labels.array[1, 2] = 9
    for found in (open_labels(place), open_labels(labels.path), open_labels(f"{place}/labels")):
        assert found.path == labels.path
        assert found.name == "segment_anything"
        assert (found.axes, found.scale) == ("TZYX", (60, 2, 0.5, 0.5))
        assert found.units == ("second", *("micrometer",) * 3)
        assert np.asarray(found.array[1, 2]).min() == 9
        with pytest.raises(ValueError, match="read-only"):
            found.array[0] = 1
    image = read_image(labels.path)
    assert (image.axes, image.scale, image.units[0]) == ("TZYX", (60, 2, 0.5, 0.5), "second")


def test_labels_are_replaced_only_when_told(place: str) -> None:
    first = create_labels(place, shape=(8, 8), axes="YX")
    first.array[:] = 3
    with pytest.raises(FormatError, match="choose another name, or overwrite"):
        create_labels(place, shape=(8, 8), axes="YX")
    second = create_labels(place, shape=(9, 9), axes="YX", overwrite=True)
    assert second.shape == (9, 9)
    assert not np.asarray(second.array[:]).any()
    assert label_names(place) == ["segment_anything"]


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(3, 20), st.integers(1, 40), st.booleans()
)
def test_the_pyramid_keeps_ids(rows: int, cols: int, chunk: int, side: int, old: bool) -> None:
    pytest.importorskip("fsspec")
    labels = create_labels(
        f"memory://{uuid.uuid4().hex}",
        shape=(2, rows, cols),
        axes="ZYX",
        chunks=(1, chunk, chunk),
        scale=(3, 2, 2),
        zarr_format=2 if old else 3,
    )
    ids = np.random.default_rng(rows).integers(0, 2**32, (2, rows, cols), np.uint32)
    labels.array[:] = ids
    for _ in range(2):
        finish(labels.build_pyramid(side))
        for level, array in enumerate(labels.levels):
            step = 2**level
            assert np.array_equal(array[:], ids[:, ::step, ::step])
        assert max(array.shape[-2:]) <= side
        assert all(max(each.shape[-2:]) > side for each in labels.levels[:-1])
    where = (slice(1, 2), slice(rows // 2, rows), slice(cols // 3, cols // 3 + 1))
    labels.array[where] = ids[where] = 0
    labels.update_pyramid(where)
    for level, array in enumerate(labels.levels):
        assert np.array_equal(array[:], ids[:, :: 2**level, :: 2**level])


def test_a_pyramid_is_gone_on_with(place: str) -> None:
    labels = create_labels(place, shape=(64, 64), axes="YX", chunks=(8, 8))
    labels.array[:] = 1
    steps = labels.build_pyramid(8)
    next(steps)
    steps.close()  # killed in the first level
    assert len(open_labels(place).levels) == 1
    steps = labels.build_pyramid(8)
    while len(labels.levels) < 3:
        next(steps)
    steps.close()
    total = next(labels.build_pyramid(8, resume=True)).total
    assert total == 1  # the last level only
    finish(labels.build_pyramid(8, resume=True))
    assert [level.shape for level in labels.levels] == [(64, 64), (32, 32), (16, 16), (8, 8)]
    labels.array[:] = 2
    finish(labels.build_pyramid(20))  # all anew, and fewer
    assert [level.shape for level in labels.levels] == [(64, 64), (32, 32), (16, 16)]
    assert all(np.asarray(level[:]).min() == 2 for level in labels.levels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"axes": "YX", "shape": (1, 4, 4)}, "do not match the 3 dimensions"),
        ({"axes": "ZTYX", "shape": (1, 1, 4, 4)}, "in this order"),
        ({"axes": "CYX", "shape": (1, 4, 4)}, "in this order"),
        ({"dtype": np.float32}, "integers"),
        ({"shape": (0, 4)}, "at least one pixel"),
        ({"name": "a/b"}, "valid name for labels"),
        ({"scale": (1,)}, "1 pixel sizes"),
        ({"chunks": (4,)}, "chunks"),
        ({"zarr_format": 1}, "2 or 3"),
    ],
)
def test_labels_that_cannot_be(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        create_labels(tmp_path / "a.zarr", **{"shape": (4, 4), "axes": "YX", **arguments})
    assert not list(tmp_path.iterdir())


def test_places_that_hold_something_else(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"shape": (4, 4), "axes": "YX"}
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("hello")
    zarr.create_array(tmp_path / "b.zarr", data=np.zeros((4, 4)))
    labels = create_labels(tmp_path / "c.zarr", **arguments)
    for path, message in [
        (tmp_path / "notes", "is not a Zarr store"),
        (tmp_path / "notes" / "a.txt", "is not a Zarr store"),
        (tmp_path / "d.tif", r"would be a folder, .* call it .*d\.ome\.zarr"),
        (tmp_path / "b.zarr", "plain Zarr array"),
        (labels.path, "contains labels itself"),
    ]:
        with pytest.raises(FormatError, match=message):
            create_labels(path, **arguments)
    with pytest.raises(FormatError, match="must have the same"):
        create_labels(tmp_path / "c.zarr", "other", zarr_format=2, **arguments)
    with pytest.raises(FormatError, match="does not exist"):
        open_labels(tmp_path / "none.zarr")
    with pytest.raises(FormatError, match="it has segment_anything"):
        open_labels(tmp_path / "c.zarr", "other")
    with pytest.raises(FormatError, match="is a Zarr array"):
        open_labels(tmp_path / "b.zarr")
    assert label_names(tmp_path / "b.zarr") == label_names(tmp_path / "none") == []
    create_labels(tmp_path / "c.zarr", "other", **arguments)
    with pytest.raises(FormatError, match="segment_anything, other: name one"):
        open_labels(tmp_path / "c.zarr")


class Killed(BaseException):
    """What no handler stops, as a kill."""


@pytest.mark.slow
@pytest.mark.parametrize("replaced", [True, False])
@VERSIONS
def test_killed_at_any_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, replaced: bool
) -> None:
    """Whatever was written last, the store opens and the same call then succeeds."""
    real = LocalStore.set
    budget = 0

    async def limited(self: LocalStore, key: str, value: Any) -> None:
        nonlocal budget
        if budget == 0:
            raise Killed
        budget -= 1
        await real(self, key, value)

    monkeypatch.setattr(LocalStore, "set", limited)
    arguments: dict[str, Any] = {"shape": (60, 80), "axes": "YX", "chunks": (32, 32)}
    budget = -1
    before = tmp_path / "before.zarr"
    ome_image(str(before), version)
    create_labels(before, "other", shape=(60, 80), axes="YX").array[:] = 1
    if replaced:
        create_labels(before, **arguments).array[:] = 3
    for count in range(40):
        path = tmp_path / f"{count}.zarr"
        shutil.copytree(before, path)
        budget = count
        try:
            labels = create_labels(path, overwrite=replaced, **arguments)
            labels.array[:] = 4
            finish(labels.build_pyramid(20))
        except Killed:
            killed = True
        else:
            killed = False
        budget = -1
        assert read_image(path).shape == (2, 60, 80)
        assert np.asarray(open_labels(path, "other").array[:]).min() == 1
        try:
            found = open_labels(path, "segment_anything", "r+")
        except FormatError:
            found = create_labels(path, **arguments)
        assert label_names(path) == ["other", "segment_anything"]
        found.array[:] = 4
        finish(found.build_pyramid(20))
        assert [np.asarray(level[:]).min() for level in found.levels] == [4, 4, 4]
        if not killed:
            break
    else:
        pytest.fail("it never came to its end")
    assert count > 5


def test_a_damaged_chunk(tmp_path: Path) -> None:
    labels = create_labels(tmp_path / "a.zarr", shape=(64, 64), axes="YX", chunks=(16, 16))
    labels.array[:] = 1
    chunk = Path(labels.path) / "0" / "c" / "1" / "2"
    chunk.write_bytes(chunk.read_bytes()[:9])
    with pytest.raises(FormatError, match=r"cannot be read at .* chunk is damaged"):
        finish(labels.build_pyramid(16))
    assert len(open_labels(tmp_path / "a.zarr").levels) == 1
    labels.array[16:32, 32:48] = 2
    finish(labels.build_pyramid(16))
    assert np.asarray(labels.levels[2][:]).tolist()[5][8] == 2


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "Free some space and run again"),
        (PermissionError(13, "Permission denied"), "Choose another output"),
        (OSError(30, "Read-only file system"), "Choose another output"),
        (NotImplementedError(), "is read-only"),
        (OSError(5, "Input/output error"), "cannot be written: Input/output error"),
    ],
)
def test_a_store_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    labels = create_labels(tmp_path / "a.zarr", shape=(64, 64), axes="YX", chunks=(8, 8))
    labels.array[:] = 1

    async def failing(self: LocalStore, key: str, value: Any) -> None:
        raise error

    monkeypatch.setattr(LocalStore, "set", failing)
    with pytest.raises(FormatError, match=message):
        create_labels(tmp_path / "b.zarr", shape=(4, 4), axes="YX")
    with pytest.raises(FormatError, match=message):
        finish(labels.build_pyramid(8))
    with pytest.raises(FormatError, match=message), ome_zarr.store_errors(labels.path):
        labels.array[:] = 2
    with pytest.raises(ZeroDivisionError), ome_zarr.store_errors(labels.path):
        _ = 1 // 0  # what has nothing to do with the store stays what it is


LIMITED = """
import resource, signal, sys
import numpy as np
from napari_segment_anything.formats.ome_zarr import create_labels, store_errors
from napari_segment_anything.errors import FormatError
from napari_segment_anything.progress import finish

labels = create_labels(sys.argv[1], shape=(512, 512), axes="YX", chunks=(256, 256))
labels.array[:256] = 1
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # as a disk that is full
try:
    with store_errors(labels.path):
        labels.array[256:] = np.random.default_rng(0).integers(0, 2**32, (256, 512), np.uint32)
except FormatError as error:
    print(error)
finish(labels.build_pyramid(256))  # there is room for this
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of this kind")
def test_a_full_disk(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    with processes.start(LIMITED, path) as run:
        said, errors = run.communicate(timeout=60)
    assert (run.returncode, errors) == (0, "")
    assert said.count("\n") == 1
    assert "Free some space and run again; finished parts are kept." in said
    labels = open_labels(path)
    assert np.asarray(labels.array[:256]).min() == 1
    assert not np.asarray(labels.array[256:]).any()
    assert len(labels.levels) == 2
    assert not list(path.rglob("*.partial"))


ENDLESS = """
import sys
import numpy as np
from napari_segment_anything.formats.ome_zarr import create_labels
from napari_segment_anything.progress import finish

number = 0
while True:
    number += 1
    labels = create_labels(
        sys.argv[1], shape=(64, 64), axes="YX", chunks=(32, 32), overwrite=True
    )
    labels.array[:] = number
    finish(labels.build_pyramid(16))
    print(number, flush=True)
"""


@pytest.mark.parametrize("wait", [0.0, 0.004, 0.011])
def test_a_killed_process(processes: Processes, tmp_path: Path, wait: float) -> None:
    path = tmp_path / "a.zarr"
    create_labels(path, "other", shape=(8, 8), axes="YX").array[:] = 1
    with processes.start(ENDLESS, path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait)
        process.kill()
    assert np.asarray(open_labels(path, "other").array[:]).min() == 1
    try:
        found = open_labels(path, "segment_anything", "r+")
    except FormatError:  # while it was being replaced
        found = create_labels(path, shape=(64, 64), axes="YX")
    assert set(label_names(path)) == {"other", "segment_anything"}
    finish(found.build_pyramid(16))
    for level in found.levels:
        assert np.array_equal(
            level[:], found.array[:: 64 // level.shape[0], :: 64 // level.shape[0]]
        )


@VERSIONS
def test_labels_written_beside_their_image(tmp_path: Path, version: str) -> None:
    path = tmp_path / "a.ome.zarr"
    ome_image(str(path), version)
    ids = np.arange(60 * 80).reshape(60, 80)
    for _ in range(2):
        write_labels(path, ids)
    assert np.array_equal(read_labels(path), ids)
    labels = open_labels(path)
    assert (labels.name, labels.scale) == ("segment_anything", (0.5, 0.25))
    assert read_image(path).shape == (2, 60, 80)
    assert list(tmp_path.iterdir()) == [path]


@VERSIONS
def test_others_read_the_labels(tmp_path: Path, version: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("ome_zarr", exc_type=ImportError)
        from ome_zarr.format import FormatV04, FormatV05
        from ome_zarr.io import parse_url
        from ome_zarr.reader import Reader
        from ome_zarr.writer import write_image

        path = str(tmp_path / "a.zarr")
        pixels = np.arange(3 * 60 * 80, dtype=np.uint16).reshape(3, 60, 80)
        form = FormatV04() if version == "0.4" else FormatV05()
        write_image(pixels, path, axes="cyx", fmt=form, scale_factors=[2])
        image = read_image(path)
        assert (image.axes, len(image.levels)) == ("CYX", 2)
        assert np.array_equal(image.array[:], pixels)
        labels = create_labels(path, "cells", shape=(60, 80), axes="YX", scale=(0.5, 0.25))
        labels.array[10:20, 10:20] = 7
        finish(labels.build_pyramid(40))
        nodes = list(Reader(parse_url(path))())
        found = {str(node.zarr).rsplit("/", 1)[-1].split(" ")[0]: node for node in nodes}
        assert set(found) == {"a.zarr", "labels", "cells"}
        cells = found["cells"]
        assert {type(spec).__name__ for spec in cells.specs} == {"Label", "Multiscales"}
        assert [level.shape for level in cells.data] == [(60, 80), (30, 40)]
        assert int(np.asarray(cells.data[1]).sum()) == 25 * 7
        second = cells.metadata["coordinateTransformations"][1]
        assert second == [{"type": "scale", "scale": [1.0, 0.5]}]


def test_a_web_address_is_read_and_never_written(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    ome_image(str(tmp_path / "a.ome.zarr"), "0.5")
    made = create_labels(tmp_path / "a.ome.zarr", shape=(60, 80), axes="YX")
    made.array[:] = 3
    made.mark(complete=True)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        image = read_image(f"{url}/a.ome.zarr")
        assert (image.name, image.path, image.axes) == ("a", f"{url}/a.ome.zarr", "CYX")
        assert np.asarray(image.array[0, :2, :2]).tolist() == [[0, 1], [80, 81]]
        assert label_names(f"{url}/a.ome.zarr") == ["segment_anything"]
        assert read_labels(f"{url}/a.ome.zarr").min() == 3
        for place in ("a.ome.zarr", "new.zarr"):
            with pytest.raises(FormatError, match="is read-only"):
                create_labels(f"{url}/{place}", "more", shape=(60, 80), axes="YX")
        with pytest.raises(ImageError, match="does not exist"):
            read_image(f"{url}/none.zarr")
        server.shutdown()


def test_urls_that_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="only Zarr is read by URL"):
        read_image("https://example.org/a.tif")
    with pytest.raises(ImageError, match=r"Protocol not known|not installed"):
        read_image("foo://example.org/a.zarr")
    with pytest.raises(FormatError, match=r"Protocol not known|not installed"):
        label_names("foo://example.org/a.zarr")
    np.save(tmp_path / "a.npy", np.zeros((4, 5)))
    assert read_image(f"file://{tmp_path}/a.npy").shape == (4, 5)


def test_labels_without_an_image(place: str) -> None:
    labels = create_labels(place, "cells", shape=(8, 9), axes="YX")
    labels.array[:] = 300
    labels.mark(complete=True)
    for path in (place, f"{place}/labels"):
        with pytest.raises(
            ImageError, match=r"contains no image, only labels \(cells\): read them with"
        ):
            read_image(path)
        assert read_labels(path).dtype == np.uint16
    create_labels(place, "nuclei", shape=(8, 9), axes="YX")
    with pytest.raises(FormatError, match="cells, nuclei: name one"):
        read_labels(place)
    assert read_labels(labels.path).min() == 300


def test_a_stack_of_no_known_kind_gets_an_axis_that_others_know(place: str) -> None:
    for number, (axes, stored) in enumerate(
        {"QYX": "ZYX", "QZYX": "TZYX", "TQYX": "TZYX", "TQZYX": "TCZYX"}.items()
    ):
        shape = (2, 3, 4, 8, 9)[-len(axes) :]
        made = create_labels(place, f"cells{number}", shape=shape, axes=axes)
        assert made.axes == open_labels(made.path).axes == stored and made.shape == shape


def test_where_the_image_lies_is_noted_relative_to_the_labels(tmp_path: Path) -> None:
    def noted(name: str, source: str) -> dict[str, str]:
        labels = create_labels(tmp_path / "a.zarr", name, shape=(8, 9), axes="YX", source=source)
        return dict(labels.group.attrs)["ome"]["image-label"]["source"]

    here = {"image": "../../"}
    assert noted("a", str(tmp_path / "slide.tif")) == {**here, "file": "../../../slide.tif"}
    assert noted("b", f"file://{tmp_path}/slide.tif") == {**here, "file": "../../../slide.tif"}
    assert noted("c", "https://x.org/a.zarr/") == {**here, "file": "https://x.org/a.zarr"}
    assert noted("d", str(tmp_path / "a.zarr")) == here


@VERSIONS
@pytest.mark.parametrize("size", [0, -1, -0.5, 1e999, "many"])
def test_a_scale_is_larger_than_nothing(tmp_path: Path, version: str, size: float) -> None:
    group = ome_image(str(tmp_path / "a.zarr"), version)
    attributes = dict(group.attrs)
    entry = attributes if version == "0.4" else attributes["ome"]
    transform = entry["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]
    transform["scale"] = [1, size, 0.5]
    group.attrs.update(attributes)
    with pytest.raises(ImageError, match=r"damaged OME-Zarr metadata"):
        read_image(tmp_path / "a.zarr")
    with pytest.raises(FormatError, match=r"damaged OME-Zarr metadata"):
        create_labels(tmp_path / "a.zarr", shape=(60, 80), axes="YX")


@VERSIONS
def test_consolidated_metadata_is_kept_up(tmp_path: Path, version: str) -> None:
    path = tmp_path / "a.zarr"
    ome_image(str(path), version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path)
    labels = create_labels(path, shape=(60, 80), axes="YX")
    finish(labels.build_pyramid(20))
    group = zarr.open_group(path, mode="r")
    assert group.metadata.consolidated_metadata is not None
    attributes = dict(group["labels/segment_anything"].attrs)
    attributes = attributes if version == "0.4" else attributes["ome"]
    assert len(attributes["multiscales"][0]["datasets"]) == 3
    assert group["labels/segment_anything/2"].shape == (15, 20)


@VERSIONS
def test_plates(place: str, version: str) -> None:
    old = version == "0.4"
    form = 2 if old else 3

    def put(path: str, fields: dict[str, Any]) -> None:
        group = zarr.open_group(path, mode="a", zarr_format=form)
        group.attrs.update(fields if old else {"ome": {"version": version, **fields}})

    wells = [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}, {"path": "B/03"}]
    put(place, {"plate": {"wells": wells, "rows": [], "columns": []}})
    for well in ("A/1", "B/03"):
        put(f"{place}/{well}", {"well": {"images": [{"path": "0"}, {"path": "1"}]}})
        for field in "01":
            ome_image(f"{place}/{well}/{field}", version)
    images = plate_images(place)
    assert [(each.well, each.field) for each in images] == [
        ("A/1", "0"), ("A/1", "1"), ("B/03", "0"), ("B/03", "1"),
    ]  # fmt: skip
    assert (images[2].row, images[2].column) == ("B", "03")
    assert plate_images(f"{place}/B/03") == images[2:]
    assert read_image(images[3].path).shape == (2, 60, 80)
    assert plate_images(images[0].path) == plate_images(f"{place}/none") == []
    create_labels(images[1].path, shape=(60, 80), axes="YX")
    assert label_names(images[1].path) == ["segment_anything"]
    with pytest.raises(FormatError, match="plate of many images"):
        create_labels(place, shape=(60, 80), axes="YX")
    put(place, {"plate": {"wells": [*wells, {"path": "C/1"}]}})
    with pytest.raises(FormatError, match="well C/1 is missing"):
        plate_images(place)


def test_what_a_url_is() -> None:
    for url in ("s3://b/a.zarr", "https://x.org/a.zarr", "memory://a", "file:///a", "zip::s3://b"):
        assert is_url(url)
    for path in ("a.zarr", "/a/b.zarr", "C:\\a.zarr", "C:/a.zarr", Path("a"), 3, "a:b.zarr"):
        assert not is_url(path)
