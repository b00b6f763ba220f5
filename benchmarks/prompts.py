"""Time of many prompts: the default model up to final masks, and ViT-B's decoder.

    python benchmarks/prompts.py                                 # this checkout
    python benchmarks/prompts.py --before ../other/src           # and another one, alternating

Times are the shortest processor time of several runs on one thread, which other load affects
little. "decoder" is `Predictor.predict` for 64 points on an embedded image; "session" is a batch of
points in a new session including all encoding, for which a user waits. ViT-B has random weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import page

CASES = ("vit_b decoder 64", "default decoder 64", "session 512 64", "session 1024 64",
         "session 2048 150", "session unsure 2048 150")  # fmt: skip
SOURCE = Path(__file__).resolve().parents[1] / "src"


def scene(side: int, count: int, empty: bool = False):  # type: ignore[no-untyped-def]
    """Discs on noise with a point in each; with `empty`, half of the points have no disc."""
    import numpy as np
    from skimage.draw import disk

    rng = np.random.default_rng(0)
    image = rng.normal(30, 5, (side, side))
    cells = int(np.ceil(np.sqrt(count)))
    step = side / cells
    points = []
    for index in range(count):
        centre = (np.array(divmod(index, cells)) + 0.5) * step
        centre += rng.uniform(-0.15, 0.15, 2) * step
        radius = rng.uniform(0.1, 0.3) * min(step, 100)
        if not empty or index % 2:
            image[disk(centre, radius, shape=image.shape)] += 90
        points.append(centre)
    return np.clip(image, 0, 255).astype(np.uint8), np.array(points)


def run_case(name: str, repeats: int) -> dict[str, float]:
    """Run a case in this process: processor seconds, and windows encoded."""
    import numpy as np
    import torch

    import napari_segment_anything as nsa
    from napari_segment_anything.checkpoints import Checkpoint
    from napari_segment_anything.engine import Model, PlaneSource
    from napari_segment_anything.network import VIT_B, Sam
    from napari_segment_anything.session import ArrayTarget, Session

    torch.manual_seed(0)
    encoded = [0]
    embed = nsa.Predictor.embed

    def counted(self, *arguments, **options):  # type: ignore[no-untyped-def]
        encoded[0] += 1
        return embed(self, *arguments, **options)

    nsa.Predictor.embed = counted  # type: ignore[method-assign]
    if name.startswith("vit_b"):
        model = Model.from_checkpoint(Checkpoint(Sam(VIT_B), "random", "vit_b", "r", {}), "cpu")
    else:
        model = nsa.load_model("default", device="cpu")
    predictor = nsa.Predictor(model)
    if "decoder" in name:
        image, points = scene(1024, 64)
        if name.startswith("vit_b"):  # encoding is slow and not measured
            small = nsa.load_model("default", device="cpu")
            made = nsa.Predictor(small).embed(image)
            from dataclasses import replace

            made = replace(made, image_size=1024, frame_shape=(1024, 1024), fingerprint="r")
        else:
            made = predictor.embed(image)
        prompts = nsa.Prompts.each_point(points)

        def work() -> None:
            predictor.predict(made, prompts)
    else:
        *_, side, count = name.split()
        image, points = scene(int(side), int(count), "unsure" in name)

        def work() -> None:
            labels = ArrayTarget(np.zeros(image.shape, np.uint16))
            session = Session(predictor, PlaneSource(image), labels)
            session.begin_batch((), points=points)
            session.update()

    seconds = page.durations(work, repeats, time.process_time)
    return {"seconds": min(seconds), "encoded": encoded[0] // repeats}


def in_process(case: str, source: Path, repeats: int) -> dict[str, float]:
    """Run a case in a process of its own, on one thread.

    Parameters
    ----------
    case : str
        Of `CASES`.
    source : Path
        Source folder of the version.
    repeats : int
        Timed calls.
    """
    command = [sys.executable, __file__, "--case", case, "--repeats", str(repeats)]
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return found


def ratios(quick: bool) -> dict[str, page.Ratio]:
    """Sessions and the default decoder against ViT-B's decoder, in processor time."""
    base, *others = CASES[:3] if quick else CASES
    taken: dict[str, list[float]] = {case: [] for case in others}
    for _ in range(1 if quick else 3):
        limit = in_process(base, SOURCE, 2)["seconds"]
        for case in others:
            taken[case].append(in_process(case, SOURCE, 2)["seconds"] / limit)
    unit = "of ViT-B's decoder for 64 prompts"
    return {case: page.Ratio.of(values, unit, lower=True) for case, values in taken.items()}


def main() -> None:
    """Run all cases, each in its own process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--before", type=Path, help="Source folder of another version.")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(run_case(given.case, given.repeats)))
        return
    sources = {"now": SOURCE} | ({"before": given.before.resolve()} if given.before else {})
    base = 0.0
    columns = ("work", "version", "processor seconds", "windows encoded", "of ViT-B's decoder")
    print(page.table(columns, ()))
    for case in CASES:
        for version, source in sources.items():
            if case == CASES[0] and version != "now":
                continue
            result = in_process(case, source, given.repeats)
            base = base or result["seconds"]
            ratio = result["seconds"] / base
            figures = f"{result['seconds']:.2f}", result["encoded"], f"{ratio:.2f}"
            print(page.row((case, version, *figures)), flush=True)


if __name__ == "__main__":
    main()
