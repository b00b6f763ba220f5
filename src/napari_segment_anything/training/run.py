"""Train the default model: ``python -m napari_segment_anything.training.run CONFIG DATA OUTPUT``.

Stages follow each other, each from the averaged weights of the one before. A run that was killed
goes on where it stood when the same command is given again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..network.micro import MicroConfig, MicroEncoder
from ..network.sam import Sam, SamConfig
from .config import StageConfig, TrainingConfig, read_config
from .data import CropSampler, LabelledImage
from .generated import generate
from .initial import share_frequencies, tie_positions
from .prompts import prompt_losses
from .sets import WEIGHTS, load_sets
from .trainer import StageTrainer
from .validation import dense_scores, prompt_scores


def new_network(seed: int) -> Sam:
    """A `Sam` with a fresh micro encoder, batch normalised, and a decoder that knows positions."""
    torch.manual_seed(seed)
    network = Sam(SamConfig(MicroConfig(norm="batch")))
    share_frequencies(network, seed)
    tie_positions(network, seed)
    return network


def folded(network: Sam) -> Sam:
    """The same `Sam` with its encoder's batch normalisation folded into the convolutions."""
    encoder = network.image_encoder
    if not isinstance(encoder, MicroEncoder) or encoder.config.norm == "folded":
        return network
    encoder = encoder.eval().folded()
    other = Sam(replace(network.config, encoder=encoder.config))
    state = {k: v for k, v in network.state_dict().items() if not k.startswith("image_encoder.")}
    other.load_state_dict(
        state | {f"image_encoder.{k}": v for k, v in encoder.state_dict().items()}
    )
    return other


def validation_subset(images: Sequence[LabelledImage], count: int) -> list[LabelledImage]:
    """About `count` images, evenly from every group; large groups give more."""
    groups: dict[str, list[LabelledImage]] = {}
    for image in images:
        groups.setdefault(image.group, []).append(image)
    share = count / sum(len(g) ** 0.5 for g in groups.values())
    chosen = []
    for _, members in sorted(groups.items()):
        wanted = min(len(members), max(1, round(share * len(members) ** 0.5)))
        chosen += [members[i * len(members) // wanted] for i in range(wanted)]
    return chosen


class Validation:
    """The quick measures of a stage, of what it trains."""

    def __init__(self, images: Sequence[LabelledImage], stage: StageConfig) -> None:
        self.images, self.stage = images, stage

    def __call__(self, network: Any) -> dict[str, float]:
        """Measure a network in eval mode."""
        measures: dict[str, float] = {}
        if self.stage.encoder_learning_rate > 0:
            measures |= dense_scores(network.image_encoder, self.images)
        if self.stage.objects:
            measures |= prompt_scores(network, self.images[::2])
        return measures


def train(config: TrainingConfig, data: Path, output: Path, device: str = "cpu") -> Sam:
    """Run every stage; returns the network with the last stage's averaged weights.

    Parameters
    ----------
    config : TrainingConfig
        What to do.
    data : Path
        Folder of the labelled sets.
    output : Path
        Checkpoints and logs.
    device : str
        Where to train.
    """
    images = load_sets(data, "train") + generate(config.generated, config.seed)
    subset = validation_subset(load_sets(data, "validation"), config.validation_images)
    output.mkdir(parents=True, exist_ok=True)
    (output / "config.json").write_text(json.dumps(config.to_dict(), indent=1) + "\n")
    network = new_network(config.seed)
    for number, stage in enumerate(config.stages):
        if stage.objects:
            network = folded(network)

        sampler = CropSampler(images, WEIGHTS, config.seed + 1000 * number)
        trainer = StageTrainer(
            network.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
            stage,
            config,
            sampler,
            output,
            Validation(subset, stage),
            prompt_losses,
            device,
        )
        for progress in trainer.run():
            clock = time.strftime("%H:%M:%S")
            line = f"{clock} {stage.name} {progress.done}/{progress.total} {progress.message}\n"
            sys.stdout.write(line)
            sys.stdout.flush()
    return network


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    train(read_config(options.config), options.data, options.output, options.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
