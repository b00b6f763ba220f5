"""Every format and every verb with random damage: read, or refused by an error of this package.

The seeds are fixed; `pytest -m fuzz tests/hostile` takes new ones and more of them.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from napari_segment_anything.checkpoints import load_checkpoint
from napari_segment_anything.checkpoints.configuration import config_from_json
from napari_segment_anything.cli.main import run
from napari_segment_anything.datasets import find_entries
from napari_segment_anything.errors import SegmentAnythingError
from napari_segment_anything.finding import CandidatePool, Traits, read_pool
from napari_segment_anything.formats import (
    ImageRecords,
    MaskRecord,
    create_labels,
    open_labels,
    plate_images,
    read_coco,
    read_image,
    read_labels,
    read_sa1b,
    read_table,
    write_sa1b,
)
from napari_segment_anything.formats.rle import encode
from napari_segment_anything.projects.configuration import read_configuration
from napari_segment_anything.projects.index import read_index
from napari_segment_anything.projects.layout import read_status
from napari_segment_anything.projects.objects import read_objects
from napari_segment_anything.projects.similar import suggestions_pool
from napari_segment_anything.projects.suggestion_files import read_suggestions, suggestions_writer
from napari_segment_anything.projects.suggestions import Suggestions
from napari_segment_anything.training import read_config

from ..cli.conftest import tiny as tiny
from .corpus import config, image, multiscale, png, pt, tiff

pytestmark = pytest.mark.slow

FIXED = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(FIXED, max_examples=2000, derandomize=False)


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, image())
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, image=image(), labels=(image() > 99).astype(np.uint8))
    return file.getvalue()


def records() -> bytes:
    mask = MaskRecord.from_mask(image() > 200, id=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        write_sa1b(path, ImageRecords(64, 64, (mask,), "a"))
        return path.read_bytes()


def network() -> bytes:
    return save({"image_encoder.a": torch.zeros(9)}, {"config": config()})


def written(write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "a")
        return (Path(folder) / "a").read_bytes()


def suggestions() -> Suggestions:
    masks = [encode(image() > 200), encode(image() < 99)]
    return Suggestions.from_masks(masks, [0.9, 0.4], (64, 64), version="v1")


def pool() -> CandidatePool:
    rows = np.zeros((2, 3), np.float32)
    traits = Traits(np.zeros((2, 256), np.float32), rows[:, 0], rows, rows)
    return suggestions_pool(suggestions(), traits, "f")


TOML = b"""model = "default"
output = "run"
learning_rate = 1e-4
crop.size = 64
[[data]]
folder = "cells"
validation = 0.25
[[stages]]
name = "a"
steps = 10
windows = [20, 20]
"""
INDEX = json.dumps({"a": [{"file": "i.png", "kind": "x"}]}).encode()
OBJECTS = json.dumps(
    {
        "version": 1,
        "objects": [
            {"id": 3, "prompts": {"points": [[1, 2]], "labels": [True]}, "made_by": "corrected"}
        ],
    }
).encode()
STATE = b'{"version": 1, "state": "complete", "complete_regions": [[[1, 1], [1, 9], [9, 9]]]}'
PROJECT = b"""version = 1
name = "cells"
[settings]
nudge_seconds = 20.0
[[classes]]
name = "cell"
colour = "#ff0000"
key = "1"
[[images]]
path = "raw"
channels = [0, 1]
planes = "T=0:9"
pixel_size = [0.5, 0.5]
"""
FORMATS: dict[str, tuple[bytes, list[Callable]]] = {
    "a.tif": (tiff(), [read_image, read_labels]),
    "a.png": (png(), [read_image, read_labels]),
    "a.jpg": (png("JPEG"), [read_image]),
    "a.bmp": (png("BMP"), [read_image]),
    "a.npy": (npy(), [read_image, read_labels]),
    "a.npz": (npz(), [read_image, read_labels, lambda path: find_entries([path])]),
    "a.json": (records(), [read_sa1b, read_coco]),
    "a.csv": (b"label,area,score\n1,20,0.5\n2,30,0.25\n", [read_table]),
    "a.toml": (TOML, [read_config]),
    "a.safetensors": (network(), [load_checkpoint]),
    "a.pt": (pt({"image_encoder.a": torch.zeros(9), "b": {"c": 1}}), [load_checkpoint]),
    "objects.json": (OBJECTS, [read_objects]),
    "suggestions.json": (written(suggestions_writer(suggestions())), [read_suggestions]),
    "candidates.npz": (written(pool().writer()), [read_pool]),
    "state.json": (STATE, [read_status]),
    "images.csv": (
        b'key,source,path,plane,well\r\na1,1,a.tif,"T=1,Z=2",A/1\r\nb,1,b.tif,,\r\n',
        [lambda path: read_index(path, 1)],
    ),
    "project/project.toml": (PROJECT, [lambda path: read_configuration(path.parent)]),
    "set/index.json": (INDEX, [lambda path: find_entries([path.parent])]),
}


def damaged(data: st.DataObject, content: bytes) -> bytes:
    """Some bytes changed, or the rest cut off, doubled or left out."""
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        piece = data.draw(st.binary(max_size=8) | st.sampled_from([b"9" * 20, b"-1", b"[" * 99]))
        kind = data.draw(st.sampled_from(["change", "cut", "insert", "leave out"]))
        if kind == "change":
            content = content[:at] + piece + content[at + len(piece) :]
        elif kind == "cut":
            content = content[:at]
        elif kind == "insert":
            content = content[:at] + piece + content[at:]
        else:
            content = content[:at] + content[at + len(piece) + 1 :]
    return content


def read_or_refused(readers: list[Callable], path: Path) -> None:
    for reader in readers:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader(path)
        except SegmentAnythingError as error:
            assert str(error)  # noqa: PT017


def fuzz_file(name: str, data: st.DataObject) -> None:
    content, readers = FORMATS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(damaged(data, content))
        read_or_refused(readers, path)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_or_refused(name):
    FIXED(given(st.data())(lambda data: fuzz_file(name, data)))()


@pytest.mark.fuzz
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_or_refused_for_long(name):
    LONG(given(st.data())(lambda data: fuzz_file(name, data)))()


# -- metadata: values of another kind ------------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["../../x", "0", "yx", -1, 0, 10**9, "http://127.0.0.1:9/", [], {}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def places(value: object, at: tuple = ()) -> list[tuple]:
    found = [at] if at else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*at, key))
    elif isinstance(value, list):
        for key, inner in enumerate(value):
            found += places(inner, (*at, key))
    return found


def with_another_value(data: st.DataObject, value: dict) -> dict:
    changed = json.loads(json.dumps(value))
    where = data.draw(st.sampled_from(places(changed)))
    inner = changed
    for key in where[:-1]:
        inner = inner[key]
    if data.draw(st.booleans()):
        inner[where[-1]] = data.draw(VALUES)
    else:
        del inner[where[-1]]
    return changed


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "a.zarr"
    multiscale(
        path, [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [2.0, 2.0]}]}]
    )
    create_labels(path, shape=(64, 64), axes="YX")
    well = zarr.open_group(path).create_group("plate")
    well.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": "A/1"}]}}
    inner = well.create_group("A/1")
    inner.attrs["ome"] = {"version": "0.5", "well": {"images": [{"path": "0"}]}}
    return path  # fmt: skip


@pytest.mark.parametrize(
    "inside",
    ["", "labels", "labels/segment_anything", "0", "plate", "plate/A/1"],
    ids=lambda inside: inside or "root",
)
def test_metadata_of_stores_is_read_or_refused(store, inside):
    file = store / inside / "zarr.json"
    good = file.read_text()

    def fuzz(data: st.DataObject) -> None:
        file.write_text(json.dumps(with_another_value(data, json.loads(good))))
        read_or_refused([read_image, open_labels, read_labels, plate_images], store)
        read_or_refused([plate_images], store / "plate")

    try:
        FIXED(given(st.data())(fuzz))()
    finally:
        file.write_text(good)


def test_headers_of_checkpoints_are_read_or_refused():
    good = {
        "encoder": {"kind": "vit", "width": 64, "depth": 2, "heads": 4, "image_size": 64,
                    "patch_size": 16, "global_blocks": [1], "window": 2, "mlp_ratio": 4.0},
        "mask_channels": 16, "multimask_outputs": 3, "refiner_width": 0,
    }  # fmt: skip

    def fuzz(data: st.DataObject) -> None:
        text = json.dumps(with_another_value(data, good))
        read_or_refused([lambda _: config_from_json(text).encoder], Path())

    settings(FIXED, max_examples=200)(given(st.data())(fuzz))()


def test_configurations_are_read_or_refused():
    good = {
        "model": "default", "output": "run", "seed": 1, "watch": "box", "patience": 2,
        "augment": {"blur": 0.5}, "lora": {"rank": 4, "alpha": 8.0},
        "stages": [{"name": "a", "steps": 5, "windows": [20], "crop": {"size": 64}}],
        "data": [{"folder": "x", "validation": 0.5, "channels": [0]}],
    }  # fmt: skip

    def fuzz(data: st.DataObject) -> None:
        changed = with_another_value(data, good)
        read_or_refused([lambda _: read_config(changed)], Path())

    settings(FIXED, max_examples=200)(given(st.data())(fuzz))()


# -- verbs: options of another kind --------------------------------------------------------------

WORDS = st.sampled_from(
    ["", "x", "-1", "0", "1", "nan", "inf", "1e999", "99999999999999999999", "5,5", "5,5,20,20",
     "20,20,5,5", "a,b", "1,2,3", "../x", "\N{SNOWMAN}", "auto", "YX", "ZZ", "Z=1", "percentile",
     "0,0", "9,1", "none.tif", "i.npy", "sample:none", "memory://x", "{}"]
)  # fmt: skip
OPTIONS = {
    "segment": ["--point", "--box", "--negative", "--axes", "--plane", "--channels", "--prompts",
                "--contrast-limits", "--channel-axis", "--device", "--precision"],
    "everything": ["--mode", "--points-per-side", "--pred-iou-thresh", "--min-area", "--max-area",
                   "--policy", "--point-grids", "--crop-n-layers", "--axes", "--contrast-limits"],
    "large": ["--tile", "--overlap", "--region", "--workers", "--scheduler", "--name", "--axes"],
    "stack": ["--axis", "--link", "--max-gap", "--anisotropy", "--axes", "--plane"],
    "embed": ["--window", "--region", "--boxes", "--cache-gigabytes", "--plane"],
    "evaluate": ["--labels", "--metadata", "--split", "--images"],
    "train": ["--threads", "--device", "--data"],
    "replay": ["--labels", "--axes", "--model", "--device"],
    "models": [],
    "download": ["--directory"],
    "info": [],
}  # fmt: skip


@pytest.mark.parametrize("verb", OPTIONS)
def test_options_of_any_kind_end_in_one_line_at_most(verb, tmp_path, monkeypatch, capsys, tiny):
    monkeypatch.chdir(tmp_path)
    np.save("i.npy", image())

    def fuzz(data: st.DataObject) -> None:
        command = [verb]
        if verb not in ("info", "models", "download"):
            command.append(data.draw(st.sampled_from(["i.npy", "none.tif", "sample:none"])))
        elif verb == "download" or data.draw(st.booleans()):
            command.append(data.draw(WORDS.filter(lambda word: word != "auto")))
        for option in data.draw(st.lists(st.sampled_from(OPTIONS[verb] or ["-q"]), max_size=2)):
            command += [option, data.draw(WORDS)] if option != "-q" else [option]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = run(
                [*command, *(["-o", "out", "-q"] if verb in ("segment", "everything") else [])]
            )
        complaints = [
            line
            for line in capsys.readouterr().err.splitlines()
            if line.startswith("napari-sam:") and "note:" not in line
        ]
        assert code in (0, 2, 3), (command, complaints)
        assert len(complaints) == (code == 2), (command, complaints)
        shutil.rmtree("out", ignore_errors=True)

    settings(FIXED, max_examples=25)(given(st.data())(fuzz))()
    assert Image.fromarray(np.load("i.npy")).size == (64, 64)  # the input is as it was
