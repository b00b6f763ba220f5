"""Following by memory: what it takes for many planes, and for models of the published size.

python benchmarks/following.py [--published] [--write]

Random weights: they tell time and memory, not quality.

planes     a small SAM 2 follows an object through a stack whose planes are computed as they are
           read, into a store; what the process holds after some planes and at the end. Beside it
           transformers' own run over the same frames, all of which it keeps.
published  for models of the published size: processor time of one object on one plane, once its
           memory is full, and what is remembered of it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from page import durations, resident, table, write_between

import napari_segment_anything as nsa
from napari_segment_anything import stacks
from napari_segment_anything.families.loading import quiet
from napari_segment_anything.families.memory import VideoMemory
from napari_segment_anything.families.sam2 import Sam2Network
from napari_segment_anything.stacks import embeddings

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
MARKERS = ("<!-- following -->", "<!-- end of following -->")
SIDE, WIDTH = 128, 128
SIZES = [[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2]
POINTS = (50, 250, 499)
"""Planes after which memory is measured."""
KEPT_BYTES = 8 << 20
"""Of embeddings, which are kept for edits: 512 MB otherwise, more than all of these planes need."""


embeddings.PlaneEmbeddings.__init__.__defaults__ = (KEPT_BYTES,)


class Planes:
    """A stack of noise, each plane computed when it is read."""

    def __init__(self, count: int) -> None:
        self.shape, self.dtype, self.ndim = (count, SIDE, SIDE), np.dtype(np.uint8), 3

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        plane, *rest = key if isinstance(key, tuple) else (key,)
        values = np.random.default_rng(plane).integers(0, 255, (SIDE, SIDE), np.uint8)
        return values[tuple(rest)]


def small_model(folder: Path) -> Path:
    """Write a small SAM 2 with random weights that says of every object that it is there."""
    torch.manual_seed(0)
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=16,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 1, 2, 4],
        global_attention_blocks=[3],
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=SIZES,
        fpn_hidden_size=WIDTH,
    )
    config = transformers.Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": SIDE},
        mask_decoder_config={"hidden_size": WIDTH, "mlp_dim": 64, "iou_head_hidden_dim": WIDTH},
        image_size=SIDE,
        memory_attention_hidden_size=WIDTH,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=SIZES[-1],
        memory_encoder_hidden_size=WIDTH,
        mask_downsampler_embed_dim=WIDTH,
        memory_fuser_embed_dim=WIDTH,
        memory_fuser_intermediate_dim=64,
    )
    module = transformers.Sam2VideoModel(config)
    module.mask_decoder.pred_obj_score_head.proj_out.bias.data += 9.0
    module.save_pretrained(folder)
    return folder


def square() -> np.ndarray:
    """Mask of an object."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[20:60, 30:80] = True
    return mask


def ours(folder: Path) -> list[float]:
    """Resident MiB above the idle model's after some planes, and seconds."""
    model = nsa.load_model(folder, device="cpu", precision="fp32")
    idle, began, used = resident(), time.perf_counter(), []
    steps = stacks.propagate_steps(
        Planes(POINTS[-1] + 1), {0: {1: square()}}, model,
        direction="forward", contrast_limits=(0, 255), output=folder / "labels.ome.zarr",
    )  # fmt: skip
    for step in steps:
        if step.done in POINTS:
            used.append(resident() - idle)
    return [*used, time.perf_counter() - began]


def theirs(folder: Path) -> list[float]:
    """The same of transformers' own run."""
    module = transformers.Sam2VideoModel.from_pretrained(folder).eval()
    idle, began, used = resident(), time.perf_counter(), []
    source = Planes(POINTS[-1] + 1)
    video = torch.stack(
        [torch.from_numpy(source[i]).float().expand(3, -1, -1) / 255 for i in range(len(source))]
    )
    session = transformers.Sam2VideoInferenceSession(
        video=video, video_height=SIDE, video_width=SIDE, dtype=torch.float32
    )
    session.add_mask_inputs(session.obj_id_to_idx(1), 0, torch.from_numpy(square())[None, None])
    session.obj_with_new_inputs = [1]
    module(session, frame_idx=0)
    for found in module.propagate_in_video_iterator(session):
        if found.frame_idx in POINTS:
            used.append(resident() - idle)
    return [*used, time.perf_counter() - began]


@torch.inference_mode()
def published() -> list[list[Any]]:
    """Seconds and bytes of one object, for models of the published size."""
    rows = []
    for name, module in (
        ("SAM 2.1", transformers.Sam2VideoModel(transformers.Sam2VideoConfig())),
        (
            "EdgeTAM",  # its image encoder has no part in this
            transformers.EdgeTamVideoModel(
                transformers.EdgeTamVideoConfig(vision_config=transformers.Sam2VisionConfig())
            ),
        ),
        (
            "SAM 3",
            transformers.Sam3TrackerVideoModel(
                transformers.Sam3TrackerVideoConfig(), remove_vision_encoder=True
            ),
        ),
    ):
        network = Sam2Network(module.eval(), name, (0.0,) * 3, (1.0,) * 3)
        memory = VideoMemory(network, 500)
        side = network.config.embedding_size
        maps = [torch.randn(1, c, n * side, n * side) for c, n in ((32, 4), (64, 2), (256, 1))]
        mask = torch.zeros((network.config.image_size,) * 2, dtype=torch.bool)
        mask[100:300, 200:400] = True
        known = memory.from_mask(maps, mask).memory
        recent: dict[int, Any] = {}
        for plane in range(1, memory.reach + 1):
            recent = memory.remember(recent, plane, known)
        look = partial(memory.follow, maps, plane + 1, 1, {0: known}, recent)
        seconds = min(durations(look, 2, time.process_time))
        kept = sum(each.nbytes for each in recent.values()) / 2**20
        rows.append([name, f"{seconds:.1f}", f"{known.nbytes / 2**20:.2f}", f"{kept:.1f}"])
    return rows


def main() -> None:
    """Run what was chosen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--published", action="store_true", help="models of the published size, too"
    )
    parser.add_argument("--write", action="store_true", help="write into the documentation")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, quiet():
        folder = small_model(Path(name) / "sam2")
        rows = []
        for who, run in (("here", ours), ("transformers", theirs)):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
                values = alone.submit(run, folder).result()
            rows.append([who, *(f"{value:.0f}" for value in values)])
    heads = ["", *(f"MiB after {done} planes" for done in POINTS), "seconds"]
    text = table(heads, rows)
    if chosen.published:
        heads = ["", "processor seconds a plane", "MiB of each prompt", "MiB of the planes before"]
        text += "\n\nOne object, in models of the published size:\n\n" + table(heads, published())
    print(text)
    if chosen.write:
        write_between(PAGE, MARKERS, text)


if __name__ == "__main__":
    main()
