"""Threads that work in torch when the interpreter ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import torch

from napari_segment_anything.progress import Progress, following
from napari_segment_anything.session import LatestWins

torch.set_num_threads(1)
matrix = torch.ones(1500, 1500)


def work(report):
    while True:
        torch.mm(matrix, matrix)
        report(Progress(0, 1))


def job(cancelled):
    while True:
        torch.mm(matrix, matrix)
        yield Progress(0, 1)


steps = following(work, Progress(0, 1))
next(steps)
told = []
LatestWins(told.append).submit(job)
while not told:
    next(steps)
print("the end")
"""


@pytest.mark.slow
def test_the_interpreter_waits_for_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "the end\n", "")
