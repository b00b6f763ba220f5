"""Inputs that are damaged, forged or impossible, made by code; and a command for each.

`benchmarks/hostile.py` runs them one by one and prints the table of docs/reliability.md.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
import torch
import zarr
from PIL import Image
from safetensors.torch import save_file

SIDE = 64


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (SIDE, SIDE), np.uint8)


@dataclass(frozen=True)
class Case:
    """One input: what it is, how it is made, and the command that is to refuse it.

    `make` writes into an empty folder and returns the command; `says` is in its one line.
    """

    kind: str
    name: str
    make: Callable[[Path], list[str]]
    says: str


CASES: list[Case] = []


def case(kind: str, name: str, says: str) -> Callable[[Callable], Callable]:
    def add(make: Callable[[Path], list[str]]) -> Callable:
        CASES.append(Case(kind, name, make, says))
        return make

    return add


# -- images: each goes through every verb that takes one -----------------------------------------


def npy_header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def forged_npz(path: Path, claimed: int) -> None:
    """An archive whose directory and header claim far more than it holds."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", npy_header((claimed,)) + bytes(1000))
        archive.filelist[0].file_size = claimed + 128


def zarr_array(path: Path, shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    zarr.create_array(path, shape=shape, chunks=chunks, dtype="u1")


def plate(path: Path, well: str) -> None:
    group = zarr.create_group(path)
    group.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": well}]}}


def multiscale(path: Path, datasets: object) -> None:
    group = zarr.create_group(path)
    group.create_array("0", data=image())
    axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    scales = [{"axes": axes, "datasets": datasets}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": scales}


def truncated(data: bytes, share: float = 0.5) -> bytes:
    return data[: int(len(data) * share)]


def tiff() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, image(), compression="zlib")
    return file.getvalue()


def png(form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image()).save(file, form)
    return file.getvalue()


def written(name: str, data: bytes) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        (folder / name).write_bytes(data)
        return name

    return make


def made(name: str, function: Callable[..., object], *arguments: object) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        function(folder / name, *arguments)
        return name

    return make


IMAGES: dict[str, tuple[Callable[[Path], str], str]] = {
    "no such file": (lambda folder: "none.tif", ""),
    "empty file": (written("a.tif", b""), "empty"),
    "text named .tif": (written("a.tif", b"hello"), "TIFF"),
    "half a TIFF": (written("a.tif", truncated(tiff())), "a.tif"),
    "half a PNG": (written("a.png", truncated(png())), "a.png"),
    "half a JPEG": (written("a.jpg", truncated(png("JPEG"))), "a.jpg"),
    "PNG of 60,000 x 60,000": (
        written("a.png", png().replace(struct.pack(">II", SIDE, SIDE),
                                       struct.pack(">II", 60_000, 60_000))),
        "a.png",
    ),
    "NPY that claims 8 TB": (written("a.npy", npy_header((2**43,)) + bytes(99)), "should have"),
    "NPY of objects": (made("a.npy", lambda p: np.save(p, np.array([{}]), True)), "objects"),
    "NPY with a header of brackets": (
        written("a.npy", b"\x93NUMPY\x01\x00\xff\x7f" + b"(" * 0x7FFF), "NPY"
    ),
    "NPZ that claims 5 GB": (made("a.npz", forged_npz, 5 * 10**9), "MAX_ARRAY_BYTES"),
    "NPZ that is no ZIP": (written("a.npz", b"PK\x03\x04" + bytes(99)), "NPZ"),
    "Zarr of 10^9 x 10^9 x 10^9": (
        made("a.zarr", zarr_array, (10**9,) * 3, (1, 64, 64)), ""
    ),
    "Zarr with a chunk of 100 GB": (
        made("a.zarr", zarr_array, (320_000, 320_000), (320_000, 320_000)), "MAX_ARRAY_BYTES"
    ),
    "OME-Zarr, a level outside": (
        made("a.zarr", multiscale, [{"path": "../../victim.zarr"}]), "not a path inside"
    ),
    "OME-Zarr, levels are numbers": (made("a.zarr", multiscale, [1, 2]), "damaged"),
    "OME-Zarr, datasets missing": (made("a.zarr", multiscale, None), "damaged"),
    "plate, a well outside": (made("a.zarr", plate, "../../victim.zarr"), ""),
    "a pipe": (made("a.tif", os.mkfifo), "has to be a file"),
    "a device": (lambda folder: "/dev/zero", "has to be a file"),
}  # fmt: skip
VERBS: dict[str, list[str]] = {
    "segment": ["--point", "5,5", "-o", "out"],
    "everything": ["-o", "out"],
    "large": ["-o", "out.zarr"],
    "stack": ["-o", "out.tif"],
    "embed": [],
}


def _image_case(verb: str, title: str) -> None:
    make, says = IMAGES[title]

    def command(folder: Path) -> list[str]:
        options = VERBS[verb]
        if verb == "large" and title.startswith("plate"):
            options = []  # its labels go into its images
        return [verb, make(folder), *options]

    CASES.append(Case(verb, title, command, says))


for _verb in VERBS:
    for _title in IMAGES:
        _image_case(_verb, _title)


# -- prompts, labels, tables ---------------------------------------------------------------------


PROMPTS = {
    "a.json": ["", "[", "{}", "[1]", '[{"points": "x"}]', '[{"points": [[[1]]]}]',
               '[{"box": [NaN, 0, 1, 1]}]', '[{"points": [[1e999, 0]]}]',
               '[{"id": {}, "points": [[1, 1]]}]', '[{"points": {"a": 1}}]',
               '[{"points": [[1, 1]], "labels": [[1]]}]', "[" * 100_000],
    "a.csv": ["", "x", "row,col\n", "row,col\n1", "row,col\nnan,1", "row,col\n1e999,1",
              "row,col,label\n1,1,7", "kind\nbox", "\0", "row,row\n1,1"],
}  # fmt: skip
for _name, _texts in PROMPTS.items():
    for _number, _text in enumerate(_texts):

        def _prompts(folder: Path, name: str = _name, text: str = _text) -> list[str]:
            np.save(folder / "i.npy", image())
            (folder / name).write_text(text)
            return ["segment", "i.npy", "--prompts", name, "-o", "out"]

        CASES.append(Case("segment", f"prompts {_name} {_number}: {_text[:24]!r}", _prompts, ""))


@case("segment", "prompts from a pipe", "has to be a file")
def _(folder: Path) -> list[str]:
    np.save(folder / "i.npy", image())
    os.mkfifo(folder / "a.csv")
    return ["segment", "i.npy", "--prompts", "a.csv", "-o", "out"]


# -- checkpoints ---------------------------------------------------------------------------------


def weights(path: Path, **header: str) -> None:
    save_file({"image_encoder.x": torch.zeros(3)}, path, metadata=header)


def config(**encoder: object) -> str:
    return json.dumps({"encoder": {"kind": "micro", **encoder}})


HEADERS = {
    "depth 10,000,000": json.dumps({"encoder": {"kind": "vit", "depth": 10_000_000}}),
    "image_size 0": config(image_size=0),
    "image_size is a text": config(image_size="1024"),
    "widths of 10^12": config(widths=[10**12] * 4),
    "widths missing one": config(widths=[8, 8, 8]),
    "negative heads": config(heads=-8),
    "heads that do not divide": config(heads=7),
    "attention_blocks 10^9": config(attention_blocks=10**9),
    "norm unknown": config(norm="x"),
    "NaN": '{"encoder": {"kind": "micro", "image_size": NaN}}',
    "nested": '{"encoder": ' + "[" * 10_000,
    "encoder is a list": '{"encoder": []}',
    "a million widths": config(widths=[8] * 1_000_000),
    "kind unknown": json.dumps({"encoder": {"kind": "x"}}),
    "TinyViT windows of 10,000": json.dumps(
        {"encoder": {"kind": "tiny_vit", "windows": [7, 10_000, 14, 7]}}
    ),
    "mask_channels 10^9": json.dumps({"encoder": {"kind": "vit"}, "mask_channels": 10**9}),
}
for _title, _header in HEADERS.items():

    def _checkpoint(folder: Path, header: str = _header) -> list[str]:
        weights(folder / "m.safetensors", config=header)
        return ["models", "m.safetensors"]

    CASES.append(Case("models", f"header: {_title}", _checkpoint, "m.safetensors"))


def pt(content: object, compression: int | None = None) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    if compression is None:
        return file.getvalue()
    packed = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(packed, "w", compression) as new:
        for member in old.namelist():
            new.writestr(member, old.read(member))
    return packed.getvalue()


class Evil:
    def __reduce__(self) -> tuple:
        return os.system, ("touch pwned",)


FILES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "a login page": lambda: b"<!doctype html><html>Please log in",
    "half a .pt": lambda: truncated(pt({"image_encoder.a": torch.zeros(1000)})),
    "a compressed .pt": lambda: pt({"image_encoder.a": torch.zeros(2**20)}, zipfile.ZIP_DEFLATED),
    "weights that claim 4 TB": lambda: pt({"image_encoder.a": torch.zeros(1).expand(10**12)}),
    "sparse weights": lambda: pt({"image_encoder.a": torch.zeros(9, 9).to_sparse()}),
    "code in a pickle": lambda: pt({"a": Evil()}),
    "a list": lambda: pt([1, 2]),
    "layer 999,999,999": lambda: pt({
        "image_encoder.patch_embed.seq.0.c.weight": torch.zeros(8, 3, 3, 3),
        "image_encoder.patch_embed.seq.2.c.weight": torch.zeros(8, 8, 3, 3),
        "image_encoder.layers.999999999.blocks.0.x": torch.zeros(1),
    }),
    "no width": lambda: pt({
        "image_encoder.patch_embed.proj.weight": torch.zeros(0, 3, 16, 16),
        "image_encoder.pos_embed": torch.zeros(1, 4, 4, 0),
        "image_encoder.blocks.0.attn.rel_pos_h": torch.zeros(7, 4),
        "image_encoder.blocks.0.mlp.lin1.weight": torch.zeros(4, 0),
        "image_encoder.neck.0.weight": torch.zeros(4, 4, 1, 1),
    }),
    "safetensors, header of 2^60": lambda: struct.pack("<Q", 2**60) + b"{" + bytes(99),
    "safetensors, cut": lambda: struct.pack("<Q", 99) + b'{"a"',
}  # fmt: skip
for _title, _data in FILES.items():

    def _weights(folder: Path, data: Callable[[], bytes] = _data) -> list[str]:
        (folder / "m.pt").write_bytes(data())
        return ["models", "m.pt"]

    CASES.append(Case("models", f"file: {_title}", _weights, "m.pt"))

for _url in ("#md5=0", "#sha256:0", "#SHA256=00", "#main"):

    def _download(folder: Path, url: str = _url) -> list[str]:
        return ["models", f"http://127.0.0.1:9/m.pt{url}"]

    CASES.append(Case("models", f"URL with {_url}", _download, "is not a hash"))


@case("download", "a name that is none", "no model named")
def _(folder: Path) -> list[str]:
    return ["download", "../x"]


@case("download", "a folder that cannot be", "cannot write")
def _(folder: Path) -> list[str]:
    (folder / "file").write_bytes(b"")
    return ["download", "vit_t", "--directory", "file/below"]


# -- training and evaluation ---------------------------------------------------------------------


CONFIGURATIONS = {
    "not TOML": ("= 1", "TOML"),
    "a stage that leaves": ('[[stages]]\nname = "../victim"\nsteps = 1', "valid name for a stage"),
    "nan": ("learning_rate = nan", "learning_rate"),
    "inf": ("weight_decay = inf", "weight_decay"),
    "-1": ("steps = -1", "steps"),
    "steps of 10^30": ("steps = 1" + "0" * 30, "steps"),
    "a crop of 2^40": ("crop.size = 1099511627776", "crop"),
    "rank 10^9": ('train = "lora"\nlora.rank = 1000000000', "rank"),
    "unknown key": ("stepz = 1", "stepz"),
    "a list for a table": ("data = [1]", "[[data]]"),
    "nested": ("a = " + "[" * 5000, "TOML"),
    "no data": ("", "nothing to train on"),
}
for _title, (_text, _says) in CONFIGURATIONS.items():

    def _train(folder: Path, text: str = _text) -> list[str]:
        (folder / "c.toml").write_text(f'model = "default"\n{text}\n')
        return ["train", "c.toml", "-o", "out"]

    CASES.append(Case("train", f"configuration: {_title}", _train, _says))


@case("train", "a million threads", "MAX_THREADS")
def _(folder: Path) -> list[str]:
    (folder / "c.toml").write_text("")
    return ["train", "c.toml", "-o", "out", "--threads", "1000000"]


@case("train", "a configuration from a pipe", "has to be a file")
def _(folder: Path) -> list[str]:
    os.mkfifo(folder / "c.toml")
    return ["train", "c.toml", "-o", "out"]


@case("evaluate", "an NPZ that is no ZIP", "NPZ")
def _(folder: Path) -> list[str]:
    (folder / "set").mkdir()
    (folder / "set" / "a.npz").write_bytes(b"PK\x03\x04" + bytes(50))
    return ["evaluate", "set", "-o", "out"]


@case("evaluate", "an NPZ that claims 5 GB", "MAX_ARRAY_BYTES")
def _(folder: Path) -> list[str]:
    (folder / "set").mkdir()
    forged_npz(folder / "set" / "a.npz", 5 * 10**9)
    return ["evaluate", "set", "-o", "out"]


for _title, _index in {
    "outside": {"../..": [{"file": "x.png"}]},
    "of numbers": {"a": [1]},
    "without files": {"a": [{"x": 1}]},
    "a list": [],
}.items():

    def _evaluate(folder: Path, index: object = _index) -> list[str]:
        (folder / "set").mkdir()
        (folder / "set" / "index.json").write_text(json.dumps(index))
        return ["evaluate", "set", "-o", "out"]

    CASES.append(Case("evaluate", f"index {_title}", _evaluate, ""))


# -- journals ------------------------------------------------------------------------------------


HEADER = {
    "format": "napari-segment-anything journal", "version": 1,
    "image": {"shape": [SIDE, SIDE], "dtype": "uint8", "displayed": [0, 1], "channel_axis": None,
              "rgb": False, "channels": None, "contrast_limits": "auto", "levels": 1, "name": "i",
              "path": None, "checksum": ""},
    "model": {"name": "default", "fingerprint": "0" * 64, "precision": "fp32",
              "embeddings": "full", "threads": 1},
    "target": {"shape": [SIDE, SIDE], "dtype": "uint16", "displayed": [0, 1], "largest": 0},
    "settings": {},
}  # fmt: skip


def header(section: str, **values: object) -> str:
    return json.dumps({**HEADER, section: {**HEADER[section], **values}}) + "\n"


GOOD = json.dumps(HEADER) + "\n"
JOURNALS = {
    "empty": "",
    "not JSON": "x\n",
    "a header of another kind": "[]\n",
    "a header without an image": '{"format": "napari-segment-anything journal", "version": 1}\n',
    "settings that write": header("settings", journal="victim.jsonl"),
    "threads 1,000,000": header("model", threads=1_000_000),
    "a model by URL": header("model", name="http://127.0.0.1:9/m.pt"),
    "labels of 10^18 pixels": header("target", shape=[10**9, 10**9]),
    "labels of objects": header("target", dtype="O"),
    "an image by URL": header("image", path="http://127.0.0.1:9/a.zarr"),
    "shape of texts": header("image", shape=["a"]),
    "nested": GOOD + '{"do": "begin", "plane": ' + "[" * 100_000 + "\n",
    "an unknown event": GOOD + '{"do": "dance"}\n',
    "an event without fields": GOOD + '{"do": "add_point"}\n',
    "an event that is none": GOOD + "3\n",
    "void of nothing": GOOD + '{"do": "void"}\n',
    "a point of texts": GOOD + '{"do": "add_point", "plane": [], "point": ["a", "b"], '
                               '"positive": true, "draft": null}\n',
    "a window of 2^60": GOOD + '{"do": "set_mask", "plane": [], "draft": null, "mask": {"window": '
                               '[0, 0, 1073741824, 1073741824], "bits": ""}}\n',
    "null for an object": GOOD + '{"do": "commit", "ids": [1], "edit": null}\n',
    "Latin-1": GOOD + '{"do": "\udcff"}\n',
}  # fmt: skip
for _title, _text in JOURNALS.items():

    def _replay(folder: Path, title: str = _title, text: str = _text) -> list[str]:
        np.save(folder / "i.npy", image())
        (folder / "j.jsonl").write_bytes(text.encode("utf-8", "surrogateescape"))
        given = [] if title == "an image by URL" else ["i.npy", "--other-image"]
        return ["replay", "j.jsonl", *given, "--json"]

    CASES.append(Case("replay", f"journal: {_title}", _replay, ""))


@case("replay", "a journal from a pipe", "has to be a file")
def _(folder: Path) -> list[str]:
    os.mkfifo(folder / "j.jsonl")
    return ["replay", "j.jsonl", "i.npy", "--json"]
