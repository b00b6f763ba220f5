"""Memory of video models, against transformers' own run over the same frames."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

pytest.importorskip("transformers")

from napari_segment_anything.families import load_family
from napari_segment_anything.families.memory import PlaneMemory, VideoMemory, nearest

from .pipeline import video_run
from .tiny import tiny_edgetam, tiny_sam2, tiny_sam3_tracker

COUNT = 12
POINTS = {"points": [(40.0, 50.0), (70.0, 20.0)], "labels": [1, 0]}
POINT = {"points": [(20.0, 20.0)], "labels": [1]}
BOX = {"box": (30.0, 20.0, 90.0, 70.0)}
KINDS = {"Sam2": tiny_sam2, "EdgeTam": tiny_edgetam, "Sam3Tracker": tiny_sam3_tracker}


def load(kind, folder):
    network = load_family(KINDS[kind](folder))
    network.pixel_mean.zero_()
    network.pixel_std.fill_(1.0)
    return network


@pytest.fixture(scope="module", params=KINDS)
def network(request, tmp_path_factory):
    return load(request.param, tmp_path_factory.mktemp(request.param))


def frames(side, count=COUNT):
    torch.manual_seed(1)
    image = torch.nn.functional.interpolate(torch.randn(1, 3, 8, 8), (2 * side, 2 * side))[0]
    return torch.stack([image[:, 3 * i : 3 * i + side, 2 * i : 2 * i + side] for i in range(count)])


def block(side):
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[20:60, 30:80] = True
    return mask


def our_run(network, video, prompts, reverse):
    memory = VideoMemory(network, len(video))
    step = -1 if reverse else 1
    maps, sizes = [], network.parts.backbone_feature_sizes
    for frame in video:
        given = network.features(frame[None])
        maps.append(
            [m.permute(1, 2, 0).reshape(1, -1, *s) for m, s in zip(given, sizes, strict=True)]
        )
    found = {}
    for number in {n for objects in prompts.values() for n in objects}:
        prompted: dict[int, PlaneMemory] = {}
        for frame, objects in prompts.items():
            if number in objects:
                seen = prompt(memory, maps[frame], objects[number])
                found[frame, number] = seen.logits, seen.presence
                prompted[frame] = seen.memory
        recent: dict[int, PlaneMemory] = {}
        frame = max(prompted) if reverse else min(prompted)
        while 0 <= frame < len(video):
            if frame not in prompted:
                seen = memory.follow(maps[frame], frame, step, prompted, recent)
                found[frame, number] = seen.logits, seen.presence
                recent = memory.remember(recent, frame, seen.memory)
            frame += step
    return found


def prompt(memory, maps, given):
    if not isinstance(given, Mapping):
        return memory.from_mask(maps, given)
    coords, labels = given.get("points"), given.get("labels")
    box = given.get("box")
    return memory.from_prompts(
        maps,
        None if coords is None else torch.tensor([coords]),
        None if labels is None else torch.tensor([labels], dtype=torch.int32),
        None if box is None else torch.tensor([box]),
    )


def only(prompts, *numbers):
    found = {f: {n: o[n] for n in numbers if n in o} for f, o in prompts.items()}
    return {f: o for f, o in found.items() if o}


def prompts_of(network, first):
    mask = block(network.config.image_size)
    return {
        first: {1: POINTS, 2: BOX, 3: mask},
        5: {2: {**POINTS, **BOX}, 3: mask.flip(0)},
        7: {1: POINT},
    }


def assert_equal(ours, theirs, tolerance):
    for key, (logits, score) in theirs.items():
        torch.testing.assert_close(ours[key][0], logits, atol=tolerance, rtol=tolerance)
        assert ours[key][1] == pytest.approx(score, abs=tolerance)


backwards = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "backward"])


@pytest.mark.slow
@backwards
@torch.inference_mode()
def test_equals_transformers(network, reverse):
    video = frames(network.config.image_size)
    prompts = prompts_of(network, COUNT - 1 if reverse else 0)
    ours = our_run(network, video, prompts, reverse)
    theirs = {}
    for number in (1, 2, 3):
        theirs |= video_run(network.parts, video, only(prompts, number), reverse)
    assert set(ours) == set(theirs) and len(ours) == 3 * COUNT
    assert_equal(ours, theirs, 1e-5)


@pytest.mark.slow
@backwards
@torch.inference_mode()
def test_equals_transformers_with_several_objects_in_a_session(network, reverse, monkeypatch):
    # transformers computes their memories as a batch: rounded to 16 bits, they differ by a bit
    monkeypatch.setattr(torch, "bfloat16", torch.float32)
    video = frames(network.config.image_size)
    prompts = only(prompts_of(network, COUNT - 1 if reverse else 0), 1, 2)
    ours = our_run(network, video, prompts, reverse)
    theirs = video_run(network.parts, video, prompts, reverse)
    assert set(ours) == set(theirs)
    assert_equal(ours, theirs, 1e-4)


@pytest.mark.slow
@backwards
@torch.inference_mode()
def test_many_prompted_planes(tmp_path, reverse):
    """As the model limits them itself, if it does; else to the nearest."""
    network = load("Sam3Tracker", tmp_path)
    assert network.parts.config.max_cond_frame_num == 4
    mask = block(network.config.image_size)
    prompts = {frame: {1: mask.roll(frame, 1)} for frame in (0, 1, 3, 4, 6, 9, 11)}
    video = frames(network.config.image_size)
    theirs = video_run(network.parts, video, prompts, reverse)
    assert_equal(our_run(network, video, prompts, reverse), theirs, 1e-5)


def test_nearest():
    planes = [0, 2, 3, 10, 11, 30]
    assert nearest(5, planes, 2) == [3, 10]
    assert nearest(5, planes, 4) == [0, 2, 3, 10]
    assert nearest(3, planes, 3) == [0, 2, 3]
    assert nearest(40, planes, 9) == planes
