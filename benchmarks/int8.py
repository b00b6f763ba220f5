"""int8 beside fp32 and bf16: a ViT's linear layers, and ViT-B's whole encoder; gain and fidelity.

Calls take turns, and processor time is counted, so that other work on the machine disturbs all
alike. Weights are random: times hold for any weights, the error of the embedding only says how much
rounding a network of this depth adds up. `napari-sam quantize` measures masks on images.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import page
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from napari_segment_anything.network import VIT_B, Sam
from napari_segment_anything.network.mask_decoder import MaskDecoder, Upscaling, unfold_cells
from napari_segment_anything.network.quantised import Int8Linear, linear_layers, quantise_layers
from napari_segment_anything.network.vit import Attention, _attend_in_cache, _attend_small
from tests.network.oracle import randomise

MARKS = ("<!-- int8:begin -->", "<!-- int8:end -->")
LAYERS = {"qkv": (768, 2304), "proj": (768, 768), "lin1": (768, 3072), "lin2": (3072, 768)}
ROWS = 896  # a row of windows


def turns(calls: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Processor time of each call in each round, the first call of each left out."""
    for call in calls:
        call()
    return page.in_turn([partial(seconds_of, call) for call in calls], rounds)


def seconds_of(call: Callable[[], object]) -> float:
    """Processor time of a call."""
    return page.durations(call, 1, time.process_time)[0]


def ratio(slow: Sequence[float], fast: Sequence[float]) -> str:
    """Median of the ratios of rounds."""
    return f"{statistics.median(a / b for a, b in zip(slow, fast, strict=True)):.2f}"


def layer_times(
    inputs: int, outputs: int, rounds: int
) -> tuple[list[float], list[float], list[float], float]:
    """Seconds of one layer in fp32, bf16 and int8, and the error of int8."""
    x, layer = torch.randn(ROWS, inputs), torch.nn.Linear(inputs, outputs)
    short, eighth = torch.nn.Linear(inputs, outputs).bfloat16(), Int8Linear.of(layer)
    y = x.bfloat16()
    single, half, int8 = turns([lambda: layer(x), lambda: short(y), lambda: eighth(x)], rounds)
    return single, half, int8, float((eighth(x) - layer(x)).norm() / layer(x).norm())


def ratios(quick: bool) -> dict[str, page.Ratio]:
    """Linear layers in int8 against the faster of fp32 and bf16."""
    found = {}
    with torch.inference_mode():
        for name, shape in LAYERS.items():
            single, half, int8, _ = layer_times(*shape, 10 if quick else 40)
            faster = min(single, half, key=statistics.median)
            values = [a / b for a, b in zip(faster, int8, strict=True)]
            found[f"linear layer {name}"] = page.Ratio.of(
                values, "times the faster of fp32 and bf16"
            )
    return found


def layer_row(name: str, inputs: int, outputs: int, rounds: int) -> tuple[str, ...]:
    """One layer in three precisions."""
    single, half, int8, error = layer_times(inputs, outputs, rounds)
    rate = 2 * ROWS * inputs * outputs / statistics.median(int8) / 1e12
    shape = f"{name}, {ROWS} x {inputs} x {outputs}"
    return shape, f"{rate:.2f}", ratio(single, int8), ratio(half, int8), f"{error:.2%}"


def layers(rounds: int) -> str:
    """Linear layers of a ViT-B, with the rounding of the tokens."""
    rows = [layer_row(name, *LAYERS[name], rounds) for name in LAYERS]
    columns = ("layer", "TFLOP/s in int8", "times fp32", "times bf16", "error")
    return page.table(columns, rows)


def windows(rounds: int) -> str:
    """Attention of a row of five windows: the bias added, and within the product."""
    rows = []
    attention = Attention(768, 12, 14)
    for dtype in (torch.float32, torch.bfloat16):
        q, k, v = (torch.randn(60, 196, 64).to(dtype) for _ in range(3))
        bias = attention._relative(q.unflatten(1, (14, 14)))
        calls = [
            lambda q=q, k=k, v=v, bias=bias: _attend_in_cache(q, k, v, *bias),
            lambda q=q, k=k, v=v, bias=bias: _attend_small(q, k, v, *bias),
        ]
        rows.append((str(dtype).removeprefix("torch."), ratio(*turns(calls, rounds))))
    return page.table(("windows' bias within the product", "times faster"), rows)


def upscaling(rounds: int) -> str:
    """Cells to logits of three masks: pixels reordered afterwards, and computed in order."""
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        layers = MaskDecoder().output_upscaling.to(dtype)
        cells, classifiers = torch.randn(64, 64, 256).to(dtype), torch.randn(3, 32)
        calls = [
            partial(reordered, layers, cells, classifiers),
            partial(layers.classified, cells, classifiers),
        ]
        rows.append((str(dtype).removeprefix("torch."), ratio(*turns(calls, rounds))))
    return page.table(("pixels of masks in order", "times faster"), rows)


def reordered(layers: Upscaling, cells: torch.Tensor, classifiers: torch.Tensor) -> torch.Tensor:
    """Classify upscaled pixels in the order of the products, and reorder them."""
    upscaled = layers(cells.flatten(0, 1)).flatten(0, -2)
    found = (classifiers.to(upscaled.dtype) @ upscaled.T).float()
    return unfold_cells(found[None], *cells.shape[:2])[0]


def encoder(rounds: int) -> str:
    """The encoder in each precision, beside the rate of matrix products in the same run."""
    config = VIT_B.encoder
    cells, width, depth = config.embedding_size**2, config.width, config.depth
    everywhere = len(config.global_blocks)
    inner = 25 * config.window**4 * (depth - everywhere) + everywhere * cells**2
    operations = 2 * (12 * cells * width**2 * depth + 2 * inner * width)
    operations += 2 * cells * (width * 768 + width * 256 + 9 * 256**2)
    pixels = torch.rand(1, 3, 1024, 1024) * 255
    networks = {}
    for name in ("fp32", "bf16", "int8+bf16"):
        sam = randomise(Sam(VIT_B)).eval().requires_grad_(False)
        if name.startswith("int8"):
            encoder = sam.image_encoder
            quantise_layers(encoder, dict.fromkeys(linear_layers(encoder)))
        sam.set_precision(torch.float32 if name == "fp32" else torch.bfloat16)
        networks[name] = sam
    x, w = torch.randn(1024, 768), torch.randn(3072, 768)
    xs, ws = x.bfloat16(), w.bfloat16()
    products = [lambda: F.linear(x, w), lambda: F.linear(xs, ws)]
    calls = [lambda sam=sam: sam.encode(pixels) for sam in networks.values()]
    exact, *others = (call().embedding for call in calls)
    errors = [float((each - exact).norm() / exact.norm()) for each in (exact, *others)]
    sides = [partial(seconds_of, call) for call in (*calls, *products)]
    *times, single, half = page.in_turn(sides, rounds)
    rates = [2 * x.numel() * len(w) / statistics.median(t) for t in (single, half)]
    best = max(rates)
    rows = []
    for name, seconds, error in zip(networks, times, errors, strict=True):
        share = f"{operations / statistics.median(seconds) / best:.0%}"
        gains = ratio(times[0], seconds), ratio(times[1], seconds)
        rows.append((name, *gains, share, f"{error:.2%}"))
    columns = ("encoder", "times fp32", "times bf16", "of the faster matrix rate", "error")
    note = f"Matrix products: fp32 {rates[0] / 1e12:.2f}, bf16 {rates[1] / 1e12:.2f} TFLOP/s of "
    note += f"processor time; the encoder is {operations / 1e12:.2f} TFLOP."
    return f"{page.table(columns, rows)}\n\n{note}"


def main() -> None:
    """Measure and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path, help="Markdown file to put the tables into")
    options = parser.parse_args()
    torch.manual_seed(0)
    with torch.inference_mode():
        short = [part(4 * options.rounds) for part in (layers, windows, upscaling)]
        found = [*short, encoder(options.rounds)]
    text = "\n\n".join(found)
    if options.write:
        page.write_between(options.write, MARKS, text)
    print(text)


if __name__ == "__main__":
    main()
