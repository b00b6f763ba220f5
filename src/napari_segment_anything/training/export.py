"""A stage's averaged weights to a checkpoint file that the program loads."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..checkpoints.saving import save_checkpoint
from ..network.sam import Sam
from .initial import folded, new_network
from .sets import SPLIT_FILE

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


def describe(
    run: Path, step: int, everything: dict[str, dict[str, Any]], auto_mode: str
) -> dict[str, Any]:
    """Metadata of the default model: licences, training, parameters of everything mode."""
    record = json.loads((run / "config.json").read_text())
    return {
        "name": "default",
        "architecture": "micro",
        "licence": "BSD-3-Clause",
        "data_licences": DATA_LICENCES,
        "training": {
            # the data's hashes are those of the split, which the package has
            "config": record.get("config", record),
            "last_stage_step": step,
            "split_sha256": hashlib.sha256(SPLIT_FILE.read_bytes()).hexdigest()[:16],
        },
        "everything": everything,
        "prompted_parts_only": True,
        # pixels of the frame, chosen on validation images
        "focus": {"least": 30.0, "most": 90.0, "best": 50.0, "unsure": 0.4},
        "auto_mode": auto_mode,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="a stage's .pt file")
    parser.add_argument("output", type=Path, help="where the .safetensors file goes")
    parser.add_argument("--everything", type=json.loads, default={}, help="JSON: mode -> values")
    parser.add_argument("--auto-mode", default="instances")
    options = parser.parse_args(arguments)
    network, step = averaged_network(options.checkpoint)
    metadata = describe(options.checkpoint.parent, step, options.everything, options.auto_mode)
    save_checkpoint(folded(network), options.output, metadata, half=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
