"""Time and memory of every model of the catalogue, at its published size with random weights.

    python benchmarks/families.py                          # measure all, print the table
    python benchmarks/families.py --only edgetam vit_b
    python benchmarks/families.py --write docs/models.md

Random weights take as long as trained ones. Each model runs in its own process: `image` is the time
to encode an image of 1024 x 1024 pixels, `click` that of the masks for one point on it, `plane`
that of following one object to the next plane once that is encoded. Times are processor time
divided by two threads, so that what else the machine does has little influence. Memory is the peak
of the process, with torch and the weights.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import page

SIDE = 1024
THREADS = 2
MARKS = ("<!-- families:begin -->", "<!-- families:end -->")
HIERA: dict[str, dict[str, Any]] = {
    "tiny": {"width": 96, "blocks": [1, 2, 7, 2], "everywhere": [5, 7, 9]},
    "small": {"width": 96, "blocks": [1, 2, 11, 2], "everywhere": [7, 10, 13]},
    "base_plus": {"width": 112, "blocks": [2, 3, 16, 3], "everywhere": [12, 16, 20], "heads": 2,
                  "background": 14},
    "large": {"width": 144, "blocks": [2, 6, 36, 4], "everywhere": [23, 33, 43], "heads": 2,
              "windows": [8, 4, 16, 8]},
}  # fmt: skip


def sam2(size: str) -> dict[str, Any]:
    """Content of config.json of a SAM 2.1."""
    shape = HIERA[size]
    widths = [shape["width"] * 2**i for i in range(4)]
    heads = [shape.get("heads", 1) * 2**i for i in range(4)]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": widths[0],
        "num_attention_heads": heads[0],
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": heads,
        "blocks_per_stage": shape["blocks"],
        "global_attention_blocks": shape["everywhere"],
        "window_size_per_stage": shape.get("windows", [8, 4, 14, 7]),
        "window_positional_embedding_background_size": [shape.get("background", 7)] * 2,
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": widths[::-1],
    }
    return {
        "model_type": "sam2_video",
        "vision_config": vision,
        "enable_temporal_pos_encoding_for_object_pointers": True,
        "enable_occlusion_spatial_embedding": True,
    }


def configuration(name: str) -> dict[str, Any]:
    """Content of config.json of a published model of another family."""
    if name.startswith("sam2.1"):
        return sam2(name.removeprefix("sam2.1_hiera_"))
    if name == "edgetam":
        backbone = {"model_type": "timm_wrapper", "architecture": "repvit_m1"}
        vision = {"model_type": "edgetam_vision_model", "backbone_config": backbone}
        return {"model_type": "edgetam_video", "vision_config": vision}
    if name == "sam3":
        return {"model_type": "sam3_video"}
    raise SystemExit(f"the configuration of {name} is not known")


def promptable(name: str) -> Any:
    """The network of a model, with random weights."""
    from napari_segment_anything import load_checkpoint, network
    from napari_segment_anything.checkpoints import catalogue

    entry = catalogue()[name]
    if entry.embedded:
        return load_checkpoint(name).network
    if not entry.needs_extra:
        return network.Sam(getattr(network, entry.architecture.upper()))
    import transformers

    from napari_segment_anything.families.loading import FAMILIES, quiet
    from napari_segment_anything.families.own_encoder import build_hq
    from napari_segment_anything.families.published import published_names

    if entry.group == "SAM-HQ":
        sam = getattr(network, entry.architecture.removeprefix("sam_hq_").upper())
        encoder = sam.encoder
        width = encoder.widths[2] if name.endswith("_t") else encoder.width
        small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        config = transformers.SamHQConfig(
            vision_config=small, mask_decoder_config={"vit_dim": width}
        )
        state = published_names(transformers.SamHQModel(config).state_dict())
        state = {k: v for k, v in state.items() if not k.startswith("image_encoder.")}
        own = network.Sam(sam).state_dict()
        state |= {k: v for k, v in own.items() if k.startswith("image_encoder.")}
        return build_hq(encoder, state, name)
    values = configuration(name)
    family = FAMILIES[values["model_type"]]
    with quiet():
        config = getattr(transformers, family.config).from_dict(family.prepare(values))
        module = getattr(transformers, family.model)._from_config(
            config, attn_implementation="sdpa"
        )
    mean, deviation = ([255 * value for value in each] for each in family.pixels)
    return family.network(module.eval(), values["model_type"], mean, deviation)


def measure_promptable(name: str) -> dict[str, float | str]:
    """Times and memory of a model that takes prompts."""
    import numpy as np
    import torch

    from napari_segment_anything import Predictor, Prompts
    from napari_segment_anything.checkpoints import Checkpoint
    from napari_segment_anything.engine import Model

    network = promptable(name)
    parameters = sum(each.numel() for each in network.parameters())
    model = Model.from_checkpoint(Checkpoint(network, name, name, "random"), "cpu", "auto")
    predictor = Predictor(model)
    image = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    kept: list[Any] = []
    seconds = best(lambda: kept.append(predictor.embed(image)), 3)
    embedding = kept[-1]
    point = Prompts.from_points([[SIDE / 2, SIDE / 2]])
    click = statistics.median(timed(lambda: predictor.predict(embedding, point), 5))
    found = {"parameters": parameters, "image": seconds, "click": click}
    if "memory" in model.abilities:
        from napari_segment_anything.families.memory import VideoMemory

        with torch.inference_mode():
            memory = VideoMemory(network, 100)
            maps = memory.maps(embedding.features, embedding.heads)
            frame = torch.tensor([[[SIDE / 2, SIDE / 2]]])
            seen = memory.from_prompts(maps, frame, torch.ones(1, 1, dtype=torch.int32))
            prompted, recent = {0: seen.memory}, {}
            times = []
            for plane in range(1, 8):  # memory is full after some planes
                work = Follow(memory, maps, plane, prompted, recent)
                times += timed(work, 1)
                recent = memory.remember(recent, plane, work.found.memory)
        found["plane"] = min(times[-2:])
    return {**found, "memory": page.resident("VmHWM"), "precision": model.precision}


class Follow:
    """One object to the next plane."""

    def __init__(self, memory: Any, maps: Any, plane: int, prompted: Any, recent: Any) -> None:
        self.given = (maps, plane, 1, prompted, recent)
        self.memory, self.found = memory, None

    def __call__(self) -> None:
        self.found = self.memory.follow(*self.given)


def measure_finder(name: str) -> dict[str, float | str]:
    """Times and memory of a detector for an image, or of a comparison with words for a crop."""
    import torch
    import transformers as t

    from napari_segment_anything.families.loading import quiet

    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 1000, (1, 16), generator=generator)
    with quiet():
        if name == "owlv2_base":
            config = t.Owlv2Config(vision_config={"image_size": 960})
            module, side = t.Owlv2ForObjectDetection(config), 960
        elif name == "grounding_dino_tiny":
            module, side = t.GroundingDinoForObjectDetection(t.GroundingDinoConfig()), 800
        elif name == "siglip2_base":
            module, side = t.SiglipModel(t.SiglipConfig(text_config={"vocab_size": 256_000})), 224
        else:
            text = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
            vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
                      "num_hidden_layers": 24, "patch_size": 14}  # fmt: skip
            module = t.CLIPModel(
                t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=768)
            )
            side = 224
    module = module.eval()
    pixels = torch.randn(1, 3, side, side, generator=generator)
    parameters = sum(each.numel() for each in module.parameters())
    with torch.inference_mode():
        seconds = best(lambda: module(pixel_values=pixels, input_ids=tokens), 3)
    return {
        "parameters": parameters, "image": seconds, "memory": page.resident("VmHWM"),
        "precision": "fp32",
    }  # fmt: skip


def timed(work: Callable[[], object], repeats: int) -> list[float]:
    """Seconds on `THREADS` cores that do nothing else."""
    return [each / THREADS for each in page.durations(work, repeats, time.process_time)]


def best(work: Callable[[], object], repeats: int) -> float:
    """The shortest time of a few calls, or of one that takes long."""
    first = timed(work, 1)[0]
    return min([first, *timed(work, repeats - 1 if first < 3 else 0)])


def run(name: str) -> dict[str, Any]:
    """Measure a model in a process of its own."""
    command = [sys.executable, __file__, "--inside", name]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise SystemExit(f"{name}: {made.stderr.strip().splitlines()[-1]}")
    return json.loads(made.stdout.splitlines()[-1])


def table(found: dict[str, dict[str, Any]]) -> str:
    """The table of the documentation."""
    from napari_segment_anything.checkpoints import about_size, catalogue

    rows = []
    for name, each in found.items():
        entry, (exact, size) = catalogue()[name], about_size(catalogue()[name])
        rows.append([
            f"`{name}`",
            f"{'' if exact else 'about '}{size / 1e6:,.0f} MB" if size else "",
            entry.licence + (" (gated)" if entry.gated else ""),
            f"{each['parameters'] / 1e6:.1f} M",
            f"{each['image']:.2f} s",
            f"{1000 * each['click']:.0f} ms" if "click" in each else "",
            f"{each['plane']:.2f} s" if "plane" in each else "",
            f"{each['memory'] / 1024:.1f} GiB",
        ])  # fmt: skip
    heads = ("model", "download", "licence", "parameters", "image", "click", "plane", "memory")
    return page.table(heads, rows)


def measured() -> list[str]:
    """One name for each size of network in the catalogue."""
    from napari_segment_anything.checkpoints import catalogue

    first: dict[str, str] = {}
    for name, entry in catalogue().items():
        first.setdefault(name if entry.needs_extra else entry.architecture, name)
    return list(first.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, metavar="PAGE")
    arguments = parser.parse_args()
    if arguments.inside:
        import torch

        from napari_segment_anything.checkpoints import catalogue

        torch.set_num_threads(THREADS)
        sam = catalogue()[arguments.inside].kind == "sam"
        work = measure_promptable if sam else measure_finder
        print(json.dumps(work(arguments.inside)))
        return
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    found = {}
    for name in arguments.only or measured():
        found[name] = run(name)
        print(name, found[name], file=sys.stderr)
    text = table(found)
    print(text)
    if arguments.write:
        page.write_between(arguments.write, MARKS, text)


if __name__ == "__main__":
    main()
