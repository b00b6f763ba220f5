"""Checks, speed, and training of the default model on a GPU, in pieces of a few minutes.

    python benchmarks/gpu.py DATA OUT                      # all pieces, one after the other
    python benchmarks/gpu.py DATA OUT --only train --seconds 540
    python benchmarks/gpu.py DATA OUT --write docs/benchmarks.md
    python benchmarks/gpu.py DATA OUT --device cpu --miniature   # a quick trial

DATA is the folder of labelled sets. Each piece is a process of its own that ends within `--seconds`
and writes its results to OUT (`checks.json`, `speed.json`, `train.json` and `weights.safetensors`).
It can be killed: results of earlier pieces stay, and training resumes from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import page

PIECES = ("checks", "speed", "train")
MARKS = ("<!-- gpu table -->", "<!-- end of gpu table -->")
RECIPE = Path(__file__).parent / "training" / "gpu.toml"


@dataclass(frozen=True)
class Job:
    """One piece: where the data is, where results go, how long it may take, and on what."""

    data: Path
    out: Path
    device: str
    seconds: float
    miniature: bool

    def left(self, began: float) -> float:
        """Seconds left of this piece's time."""
        return self.seconds - (time.perf_counter() - began)


def checks(job: Job) -> dict[str, Any]:
    """Compare the device with the CPU: embedding, masks, everything mode."""
    import numpy as np
    import torch

    import napari_segment_anything as nsa
    from napari_segment_anything.samples import sample

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    side = 96 if job.miniature else 256
    image = sample("coins").image[:side, :side]
    prompts = nsa.Prompts.from_points([[54, 44], [8, 90]], labels=[1, 0])
    boxes = nsa.Prompts.from_boxes([[30, 20, 80, 70], [2, 15, 40, 60]])
    results: dict[str, Any] = {}
    outcome: dict[str, tuple[Any, Any]] = {}
    for place in ("cpu", job.device):
        predictor = nsa.Predictor(nsa.load_model("default", device=place, precision="fp32"))
        embedding = predictor.embed(image)
        found = predictor.predict(embedding, prompts), predictor.predict(embedding, boxes)
        outcome[place] = (embedding.features.float().cpu().numpy(), found)
    reference, other = outcome["cpu"], outcome[job.device]
    scale = np.abs(reference[0]).max()
    results["embedding, largest difference over largest value"] = float(
        np.abs(reference[0] - other[0]).max() / scale
    )
    same = [a.masks == b.masks for a, b in zip(reference[1], other[1], strict=True)]
    results["pixels of masks that differ, fp32"] = float(1 - np.mean([s.mean() for s in same]))
    model = nsa.load_model("default", device=job.device)
    table = nsa.segment_everything(image, model)
    exact = nsa.segment_everything(image, nsa.load_model("default", device="cpu", precision="fp32"))
    results["everything mode"] = {
        "precision": model.precision,
        "objects": len(table),
        "objects on the CPU": len(exact),
        "pixels that differ": float(((table.to_labels() > 0) != (exact.to_labels() > 0)).mean()),
    }
    results["passed"] = bool(
        results["embedding, largest difference over largest value"] < 1e-3
        and results["pixels of masks that differ, fp32"] < 1e-3
    )
    return results


def speed(job: Job) -> dict[str, Any]:
    """Encoders in TFLOP/s and relative to the matrix rate; everything mode; tiles per second."""
    import numpy as np
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    import napari_segment_anything as nsa
    from napari_segment_anything.checkpoints import Checkpoint
    from napari_segment_anything.engine import Model
    from napari_segment_anything.network import VIT_B, VIT_H, VIT_L, Sam
    from napari_segment_anything.samples import sample

    began = time.perf_counter()
    device = torch.device(job.device)
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def shortest(work: Callable[[], object], rounds: int = 5) -> float:
        work()
        return min(page.durations(work, 1 if job.miniature else rounds, wait=wait))

    side = 512 if job.miniature else 8192 if device.type == "cuda" else 2048
    rate: dict[str, float] = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a = torch.randn(side, side, device=device, dtype=kind)
        rate[name] = 2 * side**3 / shortest(lambda a=a: a @ a) / 1e12  # type: ignore[misc]
    results: dict[str, Any] = {"device": _name(device), "matrix rate, TFLOP/s": rate}
    rows = []
    sizes = {} if job.miniature else {"vit_b": VIT_B, "vit_l": VIT_L, "vit_h": VIT_H}
    models = [nsa.load_model("default", device=device, precision=p) for p in ("fp32", "bf16")]
    encoders: list[tuple[str, Any]] = [(f"default {m.precision}", m) for m in models]
    for name, config in sizes.items():
        network = Sam(config)
        for precision in ("fp32", "bf16"):
            checkpoint = Checkpoint(name=name, network=network, fingerprint=name, metadata={})
            made = Model.from_checkpoint(checkpoint, device, precision)
            encoders.append((f"{name} {precision}", made))
    for name, model in encoders:
        if job.left(began) < 0.4 * job.seconds:
            break
        for batch in (1,) if job.miniature or device.type != "cuda" else (1, 8):
            frames = torch.rand(batch, 3, model.image_size, model.image_size, device=device) * 255
            with FlopCounterMode(display=False) as counter:
                model.encode(frames)
            seconds = shortest(lambda m=model, f=frames: m.encode(f))  # type: ignore[misc]
            work = counter.get_total_flops() / 1e12
            precision = name.split()[1]
            rows.append(
                {
                    "encoder": name,
                    "batch": batch,
                    "milliseconds": 1e3 * seconds / batch,
                    "TFLOP/s": work / seconds,
                    "share": work / seconds / rate[precision],
                }
            )
    results["encoders"] = rows
    model = nsa.load_model("default", device=device)
    tile = sample("coins").image
    for pixels in (64,) if job.miniature else (512, 2048):
        image = np.tile(tile, (pixels // 256 + 1, pixels // 256 + 1))[:pixels, :pixels]
        results[f"everything mode {pixels} px, seconds"] = shortest(
            lambda i=image: nsa.segment_everything(i, model),  # type: ignore[misc]
            2,
        )
    pixels = 200 if job.miniature else 8192
    image = np.tile(tile, (pixels // 256 + 1, pixels // 256 + 1))[:pixels, :pixels]
    start = time.perf_counter()
    store = job.out / "tiles.ome.zarr"
    tiles = 256 if job.miniature else 512
    large = nsa.segment_large(image, store, model=model, tile=tiles, overlap=64, overwrite=True)
    results["large run"] = {
        "side": pixels,
        "objects": large.count,
        "tiles a second": (-(-pixels // tiles)) ** 2 / (time.perf_counter() - start),
    }
    return results


def train(job: Job) -> dict[str, Any]:
    """Continue the recipe of the default model; write the weights at the end."""
    import torch

    from napari_segment_anything.training import read_config, train_steps
    from napari_segment_anything.training.trainer import StepReport

    began = time.perf_counter()
    run = job.out / "run"
    recipe = run / "recipe.json"  # a resumed run keeps its recipe even if the file changes
    if not recipe.exists():
        config = read_config(RECIPE).to_dict()
        if job.miniature:
            _shrink(config)
        else:
            _fit(config, job, began)
        run.mkdir(parents=True, exist_ok=True)
        recipe.write_text(json.dumps(config, indent=1))
    config = {k: v for k, v in json.loads(recipe.read_text()).items() if v not in (None, {}, "")}
    steps = train_steps(config, output=run, data=job.data, device=job.device)
    seen: dict[str, Any] = {}
    reserve = 0.12 * job.seconds  # for writing the weights
    try:
        while job.left(began) > reserve:
            progress = next(steps)
            if isinstance(progress.partial, StepReport):
                seen = {"step": progress.done, "of": progress.total, **progress.partial.losses}
    except StopIteration as end:
        (job.out / "weights.safetensors").write_bytes(end.value.model.read_bytes())
        return {"complete": True, "steps": end.value.steps, "after": end.value.after}
    steps.close()
    stages = [s["name"] for s in config["stages"] if (run / f"{s['name']}.pt").exists()]
    if stages:
        _weights_so_far(run / f"{stages[-1]}.pt", job.out / "weights.safetensors")
    memory = torch.cuda.max_memory_allocated() / 2**30 if job.device.startswith("cuda") else 0.0
    return {"complete": False, "stage": stages[-1] if stages else None, "GiB": memory, **seen}


def _fit(config: dict[str, Any], job: Job, began: float) -> None:
    """Scale the stages' steps so that the schedule ends within the time, by timing some of each."""
    import copy

    from napari_segment_anything.training import train_steps
    from napari_segment_anything.training.trainer import StepReport

    trial = copy.deepcopy(config)
    trial.update(validation_images=1, log_every=10)
    for stage in trial["stages"]:
        stage.update(steps=20, warmup=1)
    trial = {k: v for k, v in trial.items() if v not in (None, {}, "")}
    took: dict[str, float] = {}
    for progress in train_steps(trial, output=job.out / "trial", data=job.data, device=job.device):
        if isinstance(progress.partial, StepReport) and progress.partial.losses:
            took[progress.partial.stage] = progress.partial.losses["seconds"]  # of the last steps
    planned = sum(stage["steps"] * took[stage["name"]] for stage in config["stages"])
    share = 0.8 * job.left(began) / planned
    for stage in config["stages"]:
        stage["steps"] = max(int(stage["steps"] * share), 20)
        stage["warmup"] = min(stage["warmup"], stage["steps"] // 5)


def _weights_so_far(state: Path, output: Path) -> None:
    """Save the averaged weights of an unfinished stage as a model like the default."""
    import torch

    from napari_segment_anything.checkpoints import load_checkpoint, save_checkpoint
    from napari_segment_anything.training.average import load_live_state

    base = load_checkpoint("default")
    held = torch.load(state, map_location="cpu", weights_only=True)
    load_live_state(base.network, held["average"])
    metadata = {**base.metadata, "description": f"{state.stem}, step {held['step']}"}
    part = output.with_suffix(".part")
    save_checkpoint(base.network, part, metadata, half=True)
    os.replace(part, output)


def _shrink(config: dict[str, Any]) -> None:
    """Shrink the recipe for a CPU: generated images, two steps per stage."""
    config["data"] = [{"generated": 6, "validation": 0.34}]
    config.update(validate_every=100, save_every=1, log_every=1, validation_images=1)
    for stage in config["stages"]:
        stage.update(steps=2, batch_size=2, objects=min(stage["objects"], 2), rounds=2)
        stage["crop"].update(size=64)
        stage["windows"] = [8]


def _name(device: Any) -> str:
    import platform

    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def table(out: Path) -> str:
    """Results of the pieces in Markdown."""
    lines: list[str] = []
    held = {p: json.loads((out / f"{p}.json").read_text()) for p in _done(out)}
    if "speed" in held:
        found = held["speed"]
        rate = found["matrix rate, TFLOP/s"]
        lines += [
            f"{found['device']}; measured matrix rate {rate['fp32']:.3g} TFLOP/s in fp32, "
            f"{rate['bf16']:.3g} in bf16.",
            "",
        ]
        encoders = [
            (r["encoder"], r["batch"], f"{r['milliseconds']:.2f}", f"{r['TFLOP/s']:.3g}",
             f"{r['share']:.2f}")
            for r in found["encoders"]
        ]  # fmt: skip
        columns = ("encoder", "batch", "ms an image", "TFLOP/s", "share of the matrix rate")
        lines += [page.table(columns, encoders), ""]
        speeds = [(k, f"{v:.2f}") for k, v in found.items() if k.startswith("everything")]
        large = found["large run"]
        speeds.append((f"tiles a second, {large['side']} px", f"{large['tiles a second']:.1f}"))
        lines += [page.table(("what", "measured"), speeds)]
    for piece in ("checks", "train"):
        if piece in held:
            lines += ["", f"{piece}: `{json.dumps(held[piece])}`"]
    return "\n".join(lines)


def _done(out: Path) -> Iterator[str]:
    return (piece for piece in PIECES if (out / f"{piece}.json").exists())


def main() -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the folder of labelled sets")
    parser.add_argument("out", type=Path, help="folder for results and the training run")
    parser.add_argument("--only", nargs="+", choices=PIECES, default=list(PIECES))
    parser.add_argument("--seconds", type=float, default=540.0, help="time limit of each piece")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--miniature", action="store_true", help="smallest sizes, for a trial")
    parser.add_argument("--write", type=Path, help="Markdown page to put the tables into")
    parser.add_argument("--here", choices=PIECES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    job = Job(options.data.resolve(), out, options.device, options.seconds, options.miniature)
    if options.here:
        work: Callable[[Job], dict[str, Any]] = globals()[options.here]
        began = time.perf_counter()
        result = {**work(job), "seconds": time.perf_counter() - began}
        part = out / f"{options.here}.part"
        part.write_text(json.dumps(result, indent=1) + "\n")
        os.replace(part, out / f"{options.here}.json")
        return 0
    failed = 0
    for piece in options.only:
        arguments = [str(job.data), str(out), "--here", piece, "--device", job.device]
        arguments += ["--seconds", str(job.seconds)] + ["--miniature"] * job.miniature
        print(f"== {piece}: {asdict(job)}", flush=True)
        failed |= subprocess.run([sys.executable, __file__, *arguments], check=False).returncode
    text = table(out)
    print(text)
    if options.write:
        page.write_between(options.write, MARKS, text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
