"""Export the weights of a run, or of one of its stages, as the default model.

python scripts/export_default.py RUN/model.safetensors default.safetensors
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from napari_segment_anything.checkpoints import load_checkpoint, save_checkpoint
from napari_segment_anything.network.sam import Sam
from napari_segment_anything.training.initial import folded, new_network

SPLIT = Path(__file__).with_name("split.json")

DATA_LICENCES = {
    "dsb2018": "CC0 (BBBC038v1)",
    "bbbc039": "CC0 (BBBC039v1)",
    "usiigaci_t98g": "MIT (Usiigaci)",
    "ampis_powder": "MIT (AMPIS)",
    "axon_sem, axon_tem": "MIT (AxonDeepSeg)",
    "nasa_superalloy": "MIT (Stuckner et al. 2022)",
    "plantseg_3d": "MIT (PlantSeg)",
    "plant_chloroplast_em": "MIT (Brookhouse 2021)",
    "stardist_demo": "BSD-3-Clause (StarDist)",
    "chula_rbc_weak": "MIT (Chula RBC-12)",
    "neubias_small": "CC-BY-4.0 (NEUBIAS training-resources)",
    "bbbc010_worms": "CC0 (BBBC010)",
    "cellbin_tissue": "CC0 and CC-BY-4.0 (CellBinDB, 10x Genomics)",
    "colicoords_weak": "MIT (ColiCoords)",
    "ecoli_fluo": "MIT (tractatus/bacteria_segmentation)",
    "fib25_medulla_em": "CC-BY (Janelia FlyEM, neuroproof_examples)",
    "fluo_neurons_incomplete": "CC-BY-4.0 (Clissa et al.)",
    "histolytics_he_weak": "BSD-3-Clause (histolytics)",
    "pebbles_photo": "BSD-3-Clause (imagegrains)",
    "pfc_neurons": "CC0 (pfc-pn-microscopy-dataset)",
    "qpi_cells": "CC-BY-4.0 (Vicar et al.)",
}


def averaged_network(path: Path, seed: int = 1) -> tuple[Sam, int]:
    """The network with the averaged weights of a stage's checkpoint, and its step.

    Parameters
    ----------
    path : Path
        As `trainer.StageTrainer.save` writes it.
    seed : int
        Irrelevant to the result.
    """
    held = torch.load(path, map_location="cpu", weights_only=True)
    network = new_network(seed)
    if not any("running_mean" in key for key in held["average"]):
        network = folded(network)
    network.load_state_dict(held["average"])
    return network.eval(), int(held["step"])


# those of "instances" were chosen on training images (benchmarks/thresholds.py), the others on
# validation images, for earlier weights
EVERYTHING: dict[str, dict[str, Any]] = {
    "instances": {
        "foreground_thresh": 0.6,
        "peak_thresh": 0.3,
        "peak_nms_thresh": 0.45,
        "agreement_thresh": 0.2,
        "merge_thresh": 0.7,
        "pred_iou_thresh": 0.4,
        "min_area": 16,
        "crop_n_layers": 2,
        "reduced_n_layers": 2,
        "crop_choice": "best",
    },
    "proposals": {
        "peak_thresh": 0.25,
        "peak_nms_thresh": 0.35,
        "proposal_prompt": "both",
        "pred_iou_thresh": 0.5,
        "stability_score_thresh": 0.5,
        "box_nms_thresh": 0.5,
        "min_mask_region_area": 200,
    },
    "grid": {
        "pred_iou_thresh": 0.6,
        "stability_score_thresh": 0.7,
        "box_nms_thresh": 0.5,
        "min_mask_region_area": 200,
    },
}
# pixels of the frame, chosen on training images; a score
FOCUS = {"least": 22.0, "most": 100.0, "best": 35.0, "unsure": 0.5}


def describe(
    run: Path,
    step: int,
    everything: dict[str, dict[str, Any]],
    auto_mode: str,
    earlier: Sequence[Path] = (),
) -> dict[str, Any]:
    """Metadata of the default model: licences, training, parameters of everything mode.

    `earlier` are the runs whose weights this one went on from, the first one first: their
    folders, or a file exported before.
    """
    record = json.loads((run / "config.json").read_text())
    before = [known for path in earlier for known in _records(path)]
    return {
        "name": "default",
        "architecture": "micro",
        "licence": "BSD-3-Clause",
        "data_licences": DATA_LICENCES,
        "training": {
            # the data's hashes are in the split
            "config": record.get("config", record),
            "earlier": before,
            "last_stage_step": step,
            "split_sha256": hashlib.sha256(SPLIT.read_bytes()).hexdigest()[:16],
        },
        "everything": everything,
        "prompted_parts_only": True,
        "focus": FOCUS,
        "auto_mode": auto_mode,
    }


def _records(path: Path) -> list[dict[str, Any]]:
    """What is kept of a run's folder, or was kept of several in an exported file."""
    if path.is_dir():
        record = json.loads((path / "config.json").read_text())
        return [{key: record.get(key) for key in ("config", "model")}]
    training = load_checkpoint(path).metadata["training"]
    return [*training["earlier"], {"config": training["config"]}]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "checkpoint", type=Path, help="a run's model.safetensors, or the .pt file of a stage"
    )
    parser.add_argument("output", type=Path, help="where the .safetensors file goes")
    parser.add_argument(
        "--everything", type=json.loads, default=EVERYTHING, help="JSON: mode -> values"
    )
    parser.add_argument("--auto-mode", default="instances")
    parser.add_argument(
        "--earlier",
        type=Path,
        nargs="*",
        default=[],
        help="runs that this one went on from, or a file exported before",
    )
    options = parser.parse_args(arguments)
    if options.checkpoint.suffix == ".safetensors":
        checkpoint = load_checkpoint(options.checkpoint)
        network = checkpoint.network
        step = list(checkpoint.metadata["training"]["steps"].values())[-1]
    else:
        network, step = averaged_network(options.checkpoint)
    run, earlier = options.checkpoint.parent, options.earlier
    metadata = describe(run, step, options.everything, options.auto_mode, earlier)
    save_checkpoint(folded(network), options.output, metadata, half=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
