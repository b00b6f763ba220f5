"""The sets that the default model is trained on, and their fixed split by image."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .data import LabelledImage, file_hash, labelled_image, validation_rank

SPLIT_FILE = Path(__file__).parent / "splits" / "default.json"

FRACTION = 0.15

WEIGHTS = {
    "dsb2018_fluo": 0.30,
    "dsb2018_stain": 0.17,
    "dsb2018_bright": 0.04,
    "bbbc039": 0.03,
    "stardist_demo": 0.02,
    "usiigaci_t98g": 0.10,
    "ampis_powder": 0.03,
    "axon_sem": 0.04,
    "axon_tem": 0.06,
    "nasa_superalloy": 0.03,
    "plant_chloroplast_em": 0.02,
    "plantseg_3d": 0.04,
    "chula_rbc_weak": 0.01,
    "neubias_small": 0.01,
    "bbbc010_worms": 0.05,
    "cellbin_tissue": 0.03,
    "colicoords_weak": 0.01,
    "ecoli_fluo": 0.03,
    "fib25_medulla_em": 0.03,
    "fluo_neurons_incomplete": 0.01,
    "histolytics_he_weak": 0.03,
    "pebbles_photo": 0.04,
    "pfc_neurons": 0.01,
    "qpi_cells": 0.03,
    "generated": 0.06,
    "nested": 0.03,
    "shapes": 0.08,
}

# weak labels, and sections of one volume at two scales: of no use as validation images
_TRAIN_ONLY = {"chula_rbc_weak", "plant_chloroplast_em", "usiigaci_t98g_timelapse"}
# sets that no default model is trained on: how it does on what it has never seen. (The sections in
# gala_em_3d are probably of the same specimen as those in fib25_medulla_em.)
NEVER_SEEN = {"epitools_weak", "gala_em_3d", "yeast_ep"}
# on neither side: the raw data of an image of plantseg_3d with other labels
_NOT_USED = {"gonuclear_3d", "unlabelled"}
_INCOMPLETE = {"colicoords_weak", "fluo_neurons_incomplete"}
# few images, some of one field of view: held out by choice
_HELD_OUT = {
    "cellbin_tissue": {"10xHE.npz", "DAPI.npz"},
    "colicoords_weak": {f"ds1_{n}_{c}.npz" for n in ("00003", "00004") for c in ("bf", "fl")},
    "ecoli_fluo": {"mid.npz"},
    "fib25_medulla_em": {"sample2_z166.npz"},
    "histolytics_he_weak": {"hgsc_nest_10.npz"},
}
_ISOTROPIC = {"plantseg_3d", "fib25_medulla_em"}
_LEFT_OUT = {"rgb_3D_1.npz", "train_3D_3D.npz", "train_3Dc_3D.npz", "em_mito_er.npz", "img3d.npz"}


def read_set(folder: Path) -> Iterator[tuple[str, str, NDArray, NDArray, NDArray | None]]:
    """(file, plane, image, labels, wholes) of each 2-D image in a folder of npz files."""
    for path in sorted(folder.glob("*.npz")):
        if path.name in _LEFT_OUT:
            continue
        with np.load(path) as held:
            image, labels = held["image"], held["labels"]
            wholes = held["labels_fiber"] if "labels_fiber" in held.files else None
        if image.ndim == 3 and labels.ndim == 2 and image.shape[0] == 2:
            for channel in range(2):
                yield path.name, f"c{channel}", image[channel], labels, wholes
        elif image.ndim == 3 and labels.ndim == 3:
            for axis in range(3) if folder.name in _ISOTROPIC else (0,):
                step = max(1, labels.shape[axis] // 10)
                for k in range(step // 2, labels.shape[axis], step):
                    plane = np.take(labels, k, axis)
                    if min(plane.shape) >= 64 and len(np.unique(plane)) > 4:
                        yield path.name, f"a{axis}k{k}", np.take(image, k, axis), plane, wholes
        else:
            yield path.name, "", image, labels, wholes


def make_split(root: Path, output: Path = SPLIT_FILE) -> dict:
    """Decide the split of every file, keep copies on one side, and write it down.

    A file's side is decided by the hash of its name, except that images of the same content in
    two sets (found by thumbnails) follow the first; of every set and modality at least two images
    (of six or more) are held out, the lowest hashes.
    """
    index = json.loads((root / "index.json").read_text())
    kinds = {item["file"]: item["modality"] for item in index["dsb2018"]}
    thumbs: list[tuple[str, NDArray]] = []
    split: dict[str, dict[str, dict[str, str]]] = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and p.name not in _NOT_USED):
        names = sorted(p.name for p in folder.glob("*.npz") if p.name not in _LEFT_OUT)
        sides = {
            n: "validation" if validation_rank(f"{folder.name}/{n}") < FRACTION else "train"
            for n in names
        }
        for kind in sorted({kinds.get(n, "") for n in names}):
            same = [n for n in names if kinds.get(n, "") == kind]
            wanted = min(2, len(same) // 3)
            for name in sorted(same, key=lambda n: validation_rank(f"{folder.name}/{n}"))[:wanted]:
                sides[name] = "validation"
        if folder.name in _TRAIN_ONLY:
            sides = dict.fromkeys(names, "train")
        elif folder.name in NEVER_SEEN:
            sides = dict.fromkeys(names, "validation")
        elif folder.name in _HELD_OUT:
            held = _HELD_OUT[folder.name]
            sides = {n: "validation" if n in held else "train" for n in names}
        for name in names:
            with np.load(folder / name) as held:
                image = held["image"]
            if image.ndim == 3 and image.shape[-1] != 3:
                image = image[0]
            thumb = _thumbnail(image)
            for other, known in thumbs:
                if other.split("/")[0] == folder.name or known.shape != thumb.shape:
                    continue
                if np.abs(known - thumb).mean() < 0.06:
                    group, file = other.split("/")
                    sides[name] = split[group][file]["part"]
            thumbs.append((f"{folder.name}/{name}", thumb))
        split[folder.name] = {n: {"part": sides[n], "sha256": file_hash(folder / n)} for n in names}
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(split, indent=0, sort_keys=True) + "\n")
    return split


def _thumbnail(image: NDArray) -> NDArray:
    gray = image.astype(np.float32)
    if gray.ndim == 3:
        gray = gray.mean(-1)
    rows = np.linspace(0, gray.shape[0], 25).astype(int)
    cols = np.linspace(0, gray.shape[1], 25).astype(int)
    pooled = np.add.reduceat(np.add.reduceat(gray, rows[:-1], 0), cols[:-1], 1)
    pooled = (pooled - pooled.mean()) / max(float(pooled.std()), 1e-6)
    return pooled


def load_sets(root: Path, part: str) -> list[LabelledImage]:
    """Images of the fixed split.

    Parameters
    ----------
    root : Path
        Folder that holds the sets.
    part : {"train", "validation"}
        Which side.
    """
    split = json.loads(SPLIT_FILE.read_text())
    index = json.loads((root / "index.json").read_text())
    modality = {item["file"]: item["modality"] for item in index["dsb2018"]}
    images = []
    for name, files in split.items():
        for file, plane, image, labels, wholes in read_set(root / name):
            if files[file]["part"] != part:
                continue
            group = name
            if name == "dsb2018":
                group = f"dsb2018_{modality[file]}"
            elif name == "usiigaci_t98g_timelapse":
                group = "usiigaci_pseudo"
            title = f"{name}/{file}{':' + plane if plane else ''}"
            complete = name not in _INCOMPLETE
            images.append(labelled_image(title, group, image, labels, wholes, complete=complete))
    return images


def link_part(root: Path, output: Path, part: str = "validation") -> int:
    """Lay out one side of the split as folders of links, for ``napari-sam evaluate``.

    Parameters
    ----------
    root : Path
        Folder that holds the sets.
    output : Path
        Gets a folder for each set, and the sets' ``index.json``.
    part : {"train", "validation"}
        Which side.

    Returns
    -------
    int
        How many files were linked.
    """
    count = 0
    for name, files in json.loads(SPLIT_FILE.read_text()).items():
        for file, entry in files.items():
            if entry["part"] != part:
                continue
            link = output / name / file
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to((root / name / file).resolve())
            count += 1
    index = output / "index.json"
    if not index.exists():
        index.symlink_to((root / "index.json").resolve())
    return count


if __name__ == "__main__":
    link_part(Path(sys.argv[1]), Path(sys.argv[2]))
