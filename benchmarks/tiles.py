"""Tiles per second of a large run, against those of its encoder and of its network alone.

    python benchmarks/tiles.py                # quick
    python benchmarks/tiles.py --full         # as in docs/benchmarks.md

A large run over sample images is recorded: what the image encoder and the mask decoder were called
with. Then the same calls are repeated on as many threads, without reading, contrast, filters,
measurements, stitching and writing. Runs and repetitions take turns. The ratio is tiles per second
of the run, from the call to the finished labels, divided by those of the calls alone; once by the
clock, once by processor time, which other load affects little.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import page
from page import Ratio

WORKERS = 2
ENCODER = ("encode", "dense_maps")
"""Functions of a network that run its image encoder."""
# name -> tiles along a side, parameters of the large run
CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "default": (2, {}),
    "default, one crop": (4, {"crop_n_layers": 0, "reduced_n_layers": 0}),
    "vit_b, 16 prompts": (2, {"mode": "grid", "points_per_side": 4}),
}


class Recorded:
    """What a model's network is called with, in the order of each thread's calls.

    Parameters
    ----------
    model : Model
    """

    def __init__(self, model: Any) -> None:
        self.network = model.network
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        names = [name for name in (*ENCODER, "decode") if hasattr(self.network, name)]
        self._real = {name: getattr(self.network, name) for name in names}
        self._lock = threading.Lock()

    def __enter__(self) -> Recorded:
        for name, real in self._real.items():
            setattr(self.network, name, self._kept(name, real))
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._real:
            delattr(self.network, name)

    def _kept(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                self.calls.append((name, arguments, options))
            return real(*arguments, **options)

        return call

    def again(self, *names: str) -> None:
        """Repeat the calls of these functions, side by side."""
        import torch

        def call(job: tuple[str, tuple[Any, ...], dict[str, Any]]) -> None:
            if torch.get_num_threads() != 1:
                torch.set_num_threads(1)
            with torch.inference_mode():
                self._real[job[0]](*job[1], **job[2])

        wanted = [job for job in self.calls if job[0] in names]
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(call, wanted))


def measure(name: str, rounds: int) -> dict[str, Ratio]:
    """Ratios of a case.

    Parameters
    ----------
    name : str
        Of `CASES`.
    rounds : int
        Runs, each beside both repetitions.
    """
    import numpy as np
    import zarr

    import napari_segment_anything as nsa
    from napari_segment_anything import large
    from napari_segment_anything.checkpoints import Checkpoint
    from napari_segment_anything.engine import Model
    from napari_segment_anything.network import VIT_B, Sam

    count, options = CASES[name]
    if name.startswith("vit_b"):
        model = Model.from_checkpoint(Checkpoint(Sam(VIT_B), "random", "vit_b", "r", {}), "cpu")
    else:
        model = nsa.load_model("default", "cpu")
    tile = model.image_size
    side = count * (tile - tile // 8) + tile // 16
    cells = np.asarray(nsa.sample("nuclei").image)
    times = -(-side // min(cells.shape))
    folder = Path(tempfile.mkdtemp())
    zarr.create_array(
        folder / "image.zarr", data=np.tile(cells, (times, times))[:side, :side], chunks=(256, 256)
    )

    def run() -> None:
        found = large.segment_large(
            folder / "image.zarr", folder / "labels.zarr", model,
            workers=WORKERS, overwrite=True, **options,
        )  # fmt: skip
        if found.status.size != count**2 or found.failed:
            raise RuntimeError(f"{found.status.size} tiles, {len(found.failed)} failed")

    def both(work: Callable[[], None]) -> tuple[float, float]:
        clock, used = time.perf_counter(), time.process_time()
        work()
        return time.perf_counter() - clock, time.process_time() - used

    with Recorded(model) as recorded:
        run()
    if not recorded.calls:
        raise RuntimeError("the network was called by other functions than those recorded")
    sides = [run, lambda: recorded.again(*ENCODER), lambda: recorded.again(*ENCODER, "decode")]
    runs, encoders, networks = page.in_turn(
        [lambda side=side: both(side) for side in sides], rounds
    )
    shutil.rmtree(folder)
    found = {}
    decodes = any(job[0] == "decode" for job in recorded.calls)
    for what, alone in (("encoder", encoders), *((("network", networks),) if decodes else ())):
        for clock, unit in enumerate(("clock", "processor time")):
            values = [a[clock] / r[clock] for a, r in zip(alone, runs, strict=True)]
            found[f"{name}, {unit}" if what == "encoder" else f"{name}, network, {unit}"] = (
                Ratio.of(values, f"of tiles per second with the {what} alone")
            )
    return found


def ratios(quick: bool) -> dict[str, Ratio]:
    """Tiles per second against encoder-only tiles per second."""
    cases = list(CASES)[:2] if quick else list(CASES)
    found: dict[str, Ratio] = {}
    for name in cases:
        found |= measure(name, 1 if quick else 5)
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all cases, five rounds")
    parser.add_argument("--only", choices=CASES, help="one case")
    parser.add_argument("--rounds", type=int, default=3, help="with --only")
    given = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    found = measure(given.only, given.rounds) if given.only else ratios(not given.full)
    rows = [(name, f"{r.value:.2f}", f"{r.spread:.2f}", r.unit) for name, r in found.items()]
    print(page.table(("large run", "ratio", "spread", "of"), rows))


if __name__ == "__main__":
    main()
