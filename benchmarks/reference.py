"""Time and memory of our network and of `transformers`' SamModel, with the same random weights.

    python benchmarks/reference.py                       # print the table
    python benchmarks/reference.py --write docs/benchmarks.md

Each measurement runs in its own process, alternating between the two, so that memory is separate
and changes of the machine's speed affect both. Memory is the peak of the resident set above that
of the loaded model.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import page

SIDE = 1024
PROMPTS = (1, 64)
MARKS = ("<!-- reference:begin -->", "<!-- reference:end -->")

# name -> (whose, precision, what)
CASES = {
    "encoder, transformers fp32": ("theirs", "fp32", "encoder"),
    "encoder, transformers bf16 autocast": ("theirs", "bf16", "encoder"),
    "encoder, ours fp32": ("ours", "fp32", "encoder"),
    "encoder, ours auto": ("ours", "auto", "encoder"),
    "decoder 1, transformers fp32": ("theirs", "fp32", "decoder 1"),
    "decoder 1, ours fp32": ("ours", "fp32", "decoder 1"),
    "decoder 1, ours auto": ("ours", "auto", "decoder 1"),
    "decoder 64, transformers fp32": ("theirs", "fp32", "decoder 64"),
    "decoder 64, ours fp32": ("ours", "fp32", "decoder 64"),
    "decoder 64, ours auto": ("ours", "auto", "decoder 64"),
}


def measure(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median seconds and peak MiB above the start."""
    before = page.resident()
    Path("/proc/self/clear_refs").write_text("5")
    times = page.durations(work, repeats)
    return {"seconds": statistics.median(times), "mebibytes": page.resident("VmHWM") - before}


def run_case(name: str, repeats: int) -> dict[str, float | str]:
    """One case, in this process."""
    import numpy as np
    import torch
    import torch.nn.functional as F

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from napari_segment_anything.checkpoints import Checkpoint
    from napari_segment_anything.engine import Model, Predictor, Prompts
    from napari_segment_anything.network import VIT_B, Sam
    from tests.network.oracle import oracle_for, randomise

    whose, precision, what = CASES[name]
    image = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    points = np.random.default_rng(1).uniform(0, SIDE, (64, 2)).astype(np.float32)
    sam = randomise(Sam(VIT_B))
    detail = precision
    with torch.inference_mode():
        if whose == "theirs":
            oracle = oracle_for(sam)
            frame = sam.preprocess(torch.from_numpy(image).permute(2, 0, 1)[None].float())
            del sam
            embedding = torch.randn(1, 256, 64, 64)
            bf16 = precision == "bf16"

            def encode() -> object:
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    return oracle.get_image_embeddings(frame)

            def decode(count: int) -> object:
                xy = torch.from_numpy(points[:count, None, ::-1].copy())[None]
                out = oracle(
                    image_embeddings=embedding,
                    input_points=xy,
                    input_labels=torch.ones(xy.shape[:3], dtype=torch.long),
                )
                masks = F.interpolate(out.pred_masks[0], (SIDE, SIDE), mode="bilinear")
                return masks > 0
        else:
            checkpoint = Checkpoint(sam, "random", "vit_b", "random", {})
            model = Model.from_checkpoint(checkpoint, "cpu", precision)
            detail = model.precision
            predictor = Predictor(model)
            encoded = predictor.embed(image) if what != "encoder" else None

            def encode() -> object:
                return predictor.embed(image)

            def decode(count: int) -> object:
                return predictor.predict(encoded, Prompts.each_point(points[:count]))

        kind, _, count = what.partition(" ")
        work = encode if kind == "encoder" else lambda: decode(int(count))
        if kind == "decoder":
            repeats = repeats * 5 if count == "1" else repeats
            decode(1)
        result: dict[str, float | str] = dict(measure(work, repeats))
    result["precision"] = detail
    return result


def table(results: dict[str, list[dict[str, float | str]]]) -> str:
    """A Markdown table with ratios to the published form in fp32."""
    rows = []
    for what in ("encoder", "decoder 1", "decoder 64"):
        base = results[f"{what}, transformers fp32"]
        base_s = [float(r["seconds"]) for r in base]
        base_m = statistics.median(float(r["mebibytes"]) for r in base)
        for name, runs in results.items():
            if not name.startswith(what + ","):
                continue
            seconds = [float(r["seconds"]) for r in runs]
            ratio = statistics.median(b / s for b, s in zip(base_s, seconds, strict=True))
            memory = statistics.median(float(r["mebibytes"]) for r in runs)
            label = name.split(", ")[1]
            if label.endswith("auto"):
                label += f" ({runs[0]['precision']})"
            work = {
                "encoder": "ViT-B encoder, 1024 px",
                "decoder 1": "1 prompt, 3 masks at 1024 px",
                "decoder 64": "64 prompts, 192 masks at 1024 px",
            }[what]
            shown = f"{statistics.median(seconds):.3g}", f"{ratio:.1f}", f"{memory:.0f}"
            rows.append((work, label, *shown, f"{memory / base_m:.2f}"))
    columns = ("work", "implementation", "seconds", "times faster", "peak MiB", "of theirs")
    return page.table(columns, rows)


def run_cases(
    cases: Iterable[str], rounds: int, repeats: int
) -> dict[str, list[dict[str, float | str]]]:
    """Run cases in turn, each time in a process of its own.

    Parameters
    ----------
    cases : iterable of str
        Of `CASES`.
    rounds, repeats : int
        Processes of each case, and timed calls in each.
    """
    results: dict[str, list[dict[str, float | str]]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name in results:
            command = [sys.executable, __file__, "--case", name, "--repeats", str(repeats)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(name, results[name][-1], file=sys.stderr)
    return results


def ratios(quick: bool) -> dict[str, page.Ratio]:
    """How many times faster than transformers' model in fp32."""
    if importlib.util.find_spec("transformers") is None:
        raise page.Unavailable("transformers")
    works = ("encoder", "decoder 64") if quick else ("encoder", "decoder 1", "decoder 64")
    kinds = ("transformers fp32", "ours auto") + (() if quick else ("ours fp32",))
    cases = [f"{work}, {kind}" for work in works for kind in kinds]
    results = run_cases(cases, 1 if quick else 3, 1 if quick else 3)
    found = {}
    for work in works:
        for kind in kinds[1:]:
            pairs = zip(results[f"{work}, {kinds[0]}"], results[f"{work}, {kind}"], strict=True)
            values = [float(theirs["seconds"]) / float(ours["seconds"]) for theirs, ours in pairs]
            found[f"{work}, {kind}"] = page.Ratio.of(values, "times as fast as transformers fp32")
    return found


def main() -> None:
    """Run all cases in turn and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="processes of each case")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls in each process")
    parser.add_argument("--write", type=Path, help="Markdown file to put the table into")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(run_case(options.case, options.repeats)))
        return
    results = run_cases(CASES, options.rounds, options.repeats)
    import torch
    import transformers

    text = (
        f"{page.processor()}; torch {torch.__version__}, {torch.get_num_threads()} threads; "
        f"transformers {transformers.__version__}; medians of {options.rounds} processes.\n\n"
        f"{table(results)}\n"
    )
    if options.write:
        page.write_between(options.write, MARKS, text)
    print(text)


if __name__ == "__main__":
    main()
