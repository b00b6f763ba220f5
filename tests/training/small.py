"""Small networks and images that the tests of training share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from napari_segment_anything.checkpoints import save_checkpoint
from napari_segment_anything.network import Sam, SamConfig, TinyViTConfig, ViTConfig
from napari_segment_anything.network.micro import MicroConfig
from napari_segment_anything.training.initial import folded, new_network

MICRO = MicroConfig(128, widths=(8, 16, 16, 32), attention_blocks=2, heads=4, norm="batch")
VIT = ViTConfig(width=32, depth=2, heads=2, global_blocks=(1,), image_size=128, window=4)
TINY_VIT = TinyViTConfig(
    widths=(8, 16, 16, 32), depths=(1, 1, 1, 1), heads=(1, 2, 2, 4), image_size=128, classes=0
)


def small_sam(kind: str = "micro") -> Sam:
    """A random network whose batch normalisation has seen something."""
    torch.manual_seed(0)
    if kind == "micro":
        network = new_network(0, MICRO)
        network.train()
        network.image_encoder(torch.randn(2, 3, 64, 64))
        return folded(network).eval()
    network = Sam(SamConfig(VIT if kind == "vit" else TINY_VIT)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return network


def stored(folder: Path, kind: str = "micro", **metadata) -> Path:
    """A small checkpoint in a folder."""
    return save_checkpoint(small_sam(kind), folder / f"{kind}.safetensors", metadata)


def disks(seed: int, side: int = 160, count: int = 11) -> tuple[np.ndarray, np.ndarray]:
    """Bright disks on noise, and their labels: what a tiny network can learn in seconds."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.int32)
    yy, xx = np.mgrid[:side, :side]
    for number in range(1, count + 1):
        r, c, radius = *rng.uniform(0, side, 2), rng.uniform(6, 14)
        labels[(np.hypot(yy - r, xx - c) < radius) & (labels == 0)] = number
    image = 60 + 100 * (labels > 0) + rng.normal(0, 12, labels.shape)
    return np.clip(image, 0, 255).astype(np.uint8), labels


def npz_folder(folder: Path, count: int = 5) -> Path:
    """A folder of NPZ files with image and labels."""
    folder.mkdir(parents=True)
    for seed in range(count):
        image, labels = disks(seed)
        np.savez(folder / f"d{seed}.npz", image=image, labels=labels)
    return folder
