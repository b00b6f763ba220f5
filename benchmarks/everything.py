"""Everything mode of the default model by stage, against one pass of its image encoder.

    python benchmarks/everything.py                              # this checkout
    python benchmarks/everything.py --before ../other/src        # and another one, alternating
    python benchmarks/everything.py --image IMAGE.png            # on an image of your own

"instances" from a NumPy image to labels, in processor time on one thread: the network, the reading
of objects from its maps, their masks, and the rest (contrast, frames, filters, labels). Each is
divided by the time of `encode` for one frame, measured in turn with it. Images are the sample
"nuclei", cut or repeated to the given side.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import page
from page import Ratio

SIDES = (256, 1024, 2048)
STAGES = ("network", "objects", "masks", "rest", "all")
SOURCE = Path(__file__).resolve().parents[1] / "src"


class Clock:
    """Processor seconds spent in functions that are replaced by timed ones.

    Parameters
    ----------
    stages : mapping of str to list of (object, str)
        Which functions make up a stage; those that are not there are left out.
    """

    def __init__(self, stages: dict[str, list[tuple[Any, str]]]) -> None:
        self.spent = dict.fromkeys(stages, 0.0)
        for stage, functions in stages.items():
            for owner, name in functions:
                if hasattr(owner, name):
                    setattr(owner, name, self._timed(stage, getattr(owner, name)))

    def _timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            began = time.process_time()
            try:
                return work(*arguments, **options)
            finally:
                self.spent[stage] += time.process_time() - began

        return timed


def run_case(side: int, rounds: int, image: str | None = None) -> dict[str, list[float]]:
    """Time of each stage divided by that of one pass of the encoder, round by round.

    Parameters
    ----------
    side : int
        Of the image, pixels.
    rounds : int
    image : str, optional
        A file to take instead.
    """
    import numpy as np
    import torch

    import napari_segment_anything as nsa
    from napari_segment_anything.automatic import generate

    torch.set_num_threads(1)
    model = nsa.load_model("default", "cpu")
    if image is None:
        cells = np.asarray(nsa.sample("nuclei").image)
        times = -(-side // min(cells.shape[:2]))
        pixels = np.tile(cells, (times, times))[:side, :side]
    else:
        pixels = np.asarray(nsa.read_image(image).data)
    encode = model.network.encode
    frame = torch.rand(1, 3, model.image_size, model.image_size) * 255
    clock = Clock(
        {
            "network": [(model.network, "encode"), (model.network, "dense_maps")],
            "objects": [(generate, "read_instances")],
            "masks": [(generate, "render")],
        }
    )

    def one_pass() -> float:
        began = time.process_time()
        with torch.inference_mode():
            encode(frame)
        return time.process_time() - began

    def everything() -> dict[str, float]:
        clock.spent = dict.fromkeys(clock.spent, 0.0)
        began = time.process_time()
        nsa.segment_everything(pixels, model, "instances").to_labels()
        total = time.process_time() - began
        return clock.spent | {"rest": total - sum(clock.spent.values()), "all": total}

    one_pass(), everything()
    passes, runs = page.in_turn([one_pass, everything], rounds)
    unit = sorted(passes)[len(passes) // 2]
    return {stage: [run[stage] / unit for run in runs] for stage in STAGES}


def measured(source: Path, side: int, rounds: int, image: str | None) -> dict[str, list[float]]:
    """`run_case` in a process of its own, with the sources of a checkout."""
    command = [sys.executable, __file__, "--case", str(side), "--rounds", str(rounds)]
    command += ["--image", image] if image else []
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    result: dict[str, list[float]] = json.loads(told.stdout.splitlines()[-1])
    return result


def ratios(quick: bool) -> dict[str, Ratio]:
    """Everything mode in passes of the encoder."""
    found = {}
    for side in SIDES[: 1 if quick else None]:
        values = measured(SOURCE, side, 3 if quick else 5, None)
        for stage in ("network", "all"):
            found[f"{side} px, {stage}"] = Ratio.of(
                values[stage], "passes of the encoder", lower=True
            )
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="source folder of another version")
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--image", help="a file, instead of repeated nuclei")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if given.case:
        print(json.dumps(run_case(given.case, given.rounds, given.image)))
        return
    sources = {"now": SOURCE} | ({"before": given.before.resolve()} if given.before else {})
    print(page.table(("image", "version", *STAGES), ()))
    for side in given.sides[: 1 if given.image else None]:
        title = Path(given.image).name if given.image else f"{side} px"
        for version, source in sources.items():
            values = measured(source, side, given.rounds, given.image)
            cells = [f"{sorted(values[stage])[len(values[stage]) // 2]:.2f}" for stage in STAGES]
            print(page.row((title, version, *cells)), flush=True)


if __name__ == "__main__":
    main()
