"""Objects followed by the memory of a video model."""

from __future__ import annotations

import gc
import warnings
from concurrent.futures import wait

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import zarr

pytest.importorskip("transformers")
from napari_segment_anything import load_model
from napari_segment_anything.engine import (
    EmbeddingCache,
    MemoryWarning,
    Model,
    PlacedMask,
    Predictor,
)
from napari_segment_anything.engine.windows import NO_MASK
from napari_segment_anything.errors import ParameterError
from napari_segment_anything.families.memory import VideoMemory
from napari_segment_anything.formats import open_labels
from napari_segment_anything.stacks import propagate, propagate_steps
from napari_segment_anything.stacks.chains import Chain, Link, join
from napari_segment_anything.stacks.embeddings import PlaneEmbeddings
from napari_segment_anything.stacks.memory_following import views_of
from napari_segment_anything.stacks.seeds import read_seeds
from napari_segment_anything.stacks.volume import Volume
from tests.families.pipeline import HALVES, PHOTOS, Pipeline, load, video_run
from tests.families.tiny import tiny_edgetam, tiny_sam2, tiny_sam3

from .helpers import Recording, iou

COUNT, SHAPE = 9, (70, 90)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def loaded(folder, surplus, write=tiny_sam2):
    """A random model; `surplus` is added to the logits of objects being there."""
    model = load_model(write(folder), device="cpu", precision="fp32")
    model.network.parts.mask_decoder.pred_obj_score_head.proj_out.bias.data += surplus
    return model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """It says that objects are there, always."""
    return loaded(tmp_path_factory.mktemp("models") / "sam2", 9.0)


@pytest.fixture(scope="module")
def stack():
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.integers(0, 255, (12, 14)), np.ones((10, 10))).astype(np.uint8)
    rows, cols = SHAPE
    return np.stack([coarse[2 * i : 2 * i + rows, 3 * i : 3 * i + cols] for i in range(COUNT)])


def block(row, col, height=25, width=30):
    mask = np.zeros(SHAPE, bool)
    mask[row : row + height, col : col + width] = True
    return mask


def follow(stack, seeds, model, **options):
    return propagate(stack, seeds, model, **{"contrast_limits": (0, 255), **options})


def masks_of(result, number):
    return np.stack([result.mask(number, plane) for plane in range(len(result.labels))])


@torch.inference_mode()
def theirs(pipeline, stack, seeds, number, step):
    """An object's masks by transformers alone, in one direction: bool (planes, rows, columns)."""
    side, (rows, cols) = pipeline.side, SHAPE
    scale = np.array([side / cols, side / rows])
    video = torch.cat([pipeline.frame(np.stack([plane] * 3, -1)) for plane in stack])
    prompts = {}
    for plane, objects in seeds.items():
        given = objects.get(number)
        if isinstance(given, dict):
            made = {"labels": given["labels"]} if "points" in given else {}
            if "points" in given:
                made["points"] = [[*(np.array(p[::-1]) * scale)] for p in given["points"]]
            if "box" in given:
                box = np.array(given["box"]).reshape(2, 2)[:, ::-1] * scale
                made["box"] = [*box.ravel()]
            prompts[plane] = {1: made}
        elif given is not None:
            mask = torch.from_numpy(given)[None, None].float()
            scaled = F.interpolate(mask, (side, side), mode="bilinear", antialias=True)
            prompts[plane] = {1: scaled[0, 0] >= 0.5}
    found = np.zeros((COUNT, *SHAPE), bool)
    for (plane, _), (logits, _) in video_run(pipeline.module, video, prompts, step < 0).items():
        full = F.interpolate(logits[None, None], SHAPE, mode="bilinear", align_corners=False)
        found[plane] = full[0, 0].numpy() > 0
    return found


SEEDS = {
    0: {1: block(10, 20), 2: {"box": (5, 8, 40, 60)}},
    4: {2: block(30, 10)},
    6: {1: {"points": [(30, 40), (5, 60)], "labels": [1, 0]}, 3: block(20, 40)},
}


@pytest.fixture
def unrounded(monkeypatch):
    """Memories are not rounded to 16 bits, which makes a difference of rounding one of pixels."""
    monkeypatch.setattr(torch, "bfloat16", torch.float32)


@pytest.mark.slow
@pytest.mark.usefixtures("unrounded")
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_equals_transformers(model, stack, direction):
    step = 1 if direction == "forward" else -1
    found = follow(stack, SEEDS, model, direction=direction)
    assert list(found.planes) == [1, 2, 3]
    for number, planes in found.prompted.items():
        expected, ours = (
            theirs(Pipeline(model.network.parts), stack, SEEDS, number, step),
            masks_of(found, number),
        )
        first, last = (0, planes[-1]) if step < 0 else (planes[0], COUNT - 1)
        assert found.planes[number] == tuple(range(first, last + 1))
        for plane in found.planes[number]:
            given = SEEDS.get(plane, {}).get(number)
            if isinstance(given, np.ndarray):
                expected[plane] = given  # not as the model sees it
            np.testing.assert_array_equal(ours[plane], expected[plane])


@pytest.mark.slow
@pytest.mark.usefixtures("unrounded")
def test_objects_leave_and_return(stack, tmp_path):
    model = loaded(tmp_path / "sam2", 0.95)
    seeds = {0: {1: block(10, 20), 2: block(30, 10)}}
    found, returned = follow(stack, seeds, model), False
    for number in (1, 2):
        expected = theirs(Pipeline(model.network.parts), stack, seeds, number, 1)
        there = tuple(np.flatnonzero(expected.any((1, 2))))
        assert found.planes[number] == there
        returned |= bool((np.diff(there) > 1).any())
        last = there[-1] + 1
        assert found.ends[number] == ({last: "absent"} if last < COUNT else {})
        for plane in there[1:]:
            np.testing.assert_array_equal(found.mask(number, plane), expected[plane])
    assert returned


@pytest.mark.slow
@pytest.mark.usefixtures("unrounded")
@pytest.mark.parametrize(
    ("write", "alone"), [(tiny_edgetam, "EdgeTamVideoModel"), (tiny_sam3, "Sam3TrackerVideoModel")]
)
def test_other_families(write, alone, stack, tmp_path):
    """As published: EdgeTAM, and SAM 3 with its detector."""
    model = loaded(tmp_path / "model", 9.0, write)
    module = model.network.parts
    if write is tiny_sam3:
        module = load(tmp_path / "model", alone)
        module.load_state_dict(model.network.parts.state_dict(), strict=False)
    pixels = HALVES if write is tiny_sam3 else PHOTOS
    seeds = {4: {1: block(10, 20)}, 6: {1: {"box": (5, 8, 40, 60)}}}
    for direction, step, planes in (("forward", 1, (5, 7, 8)), ("backward", -1, (5, 3, 0))):
        expected = theirs(Pipeline(module, pixels), stack, seeds, 1, step)
        ours = masks_of(follow(stack, seeds, model, direction=direction), 1)
        for plane in planes:
            assert expected[plane].any()
            np.testing.assert_array_equal(ours[plane], expected[plane])


def test_chains_agree_that_an_object_is_absent():
    here, there = PlacedMask.of(block(10, 10)), PlacedMask.of(block(40, 50))
    up = [here, here, NO_MASK, NO_MASK, NO_MASK]
    down = [there, there, NO_MASK, NO_MASK, there]
    chains = [
        Chain(here, 7, [Link(p, mask, 0.9) for p, mask in enumerate(masks, start=1)])
        for masks in (up, down)
    ]
    found = join({0: (here, 1.0), 6: (there, 1.0)}, {0: chains[0]}, {6: chains[1]})
    assert {plane: mask for plane, (mask, _) in found.items()} == {
        0: here, 1: here, 2: here, 5: there, 6: there,
    }  # fmt: skip
    assert chains[0].absent_from == 3 and chains[1].absent_from is None


@pytest.mark.slow
def test_both_directions_meet(model, stack):
    ways = [follow(stack, SEEDS, model, direction=d) for d in ("forward", "backward")]
    both = follow(stack, SEEDS, model)
    for number, planes in both.prompted.items():
        up, down = (masks_of(way, number) for way in ways)
        ours = masks_of(both, number)
        np.testing.assert_array_equal(ours[: planes[0]], down[: planes[0]])
        np.testing.assert_array_equal(ours[planes[-1] :], up[planes[-1] :])
        for plane in range(planes[0], planes[-1] + 1):
            assert any((ours[plane] == way[plane]).all() for way in (up, down))


class TestEdits:
    """A second run with the first as `previous`."""

    @pytest.mark.slow
    def test_only_edited_objects_are_followed_again(self, model, stack, monkeypatch):
        first = follow(stack, SEEDS, model)
        edited = {**SEEDS, 2: {3: block(15, 15)}}
        fresh = follow(stack, edited, model)
        followed = counted(monkeypatch)
        second = follow(stack, edited, model, previous=first)
        assert followed == [3, 4, 5, 7, 8, 5, 4, 3, 1, 0]
        np.testing.assert_array_equal(second.labels, fresh.labels)
        assert (second.scores, second.ends) == (fresh.scores, fresh.ends)
        assert first.labels is not second.labels

    def test_nothing_changed_and_an_object_taken_away(self, model, stack, monkeypatch):
        first = follow(stack, SEEDS, model)
        followed = counted(monkeypatch)
        again = follow(stack, SEEDS, model, previous=first)
        less = {plane: {i: s for i, s in of.items() if i != 2} for plane, of in SEEDS.items()}
        less = follow(stack, {p: of for p, of in less.items() if of}, model, previous=again)
        assert not followed and again.changed == again.decoded == less.decoded == ()
        assert not (less.labels == 2).any() and list(less.planes) == [1, 3]

    @pytest.mark.slow
    def test_a_prompt_taken_back(self, model, stack):
        one = follow(stack, {0: SEEDS[0]}, model)
        both = follow(stack, SEEDS, model, previous=one)
        back = follow(stack, {0: SEEDS[0]}, model, previous=both)
        np.testing.assert_array_equal(back.labels, one.labels)
        assert back.scores == one.scores


def counted(monkeypatch):
    """Planes on which an object was looked for from now on."""
    planes, own = [], VideoMemory.follow
    monkeypatch.setattr(
        VideoMemory, "follow", lambda self, *a: planes.append(a[1]) or own(self, *a)
    )
    return planes


@pytest.mark.slow
def test_an_object_does_not_depend_on_others(model, stack):
    together = follow(stack, SEEDS, model)
    for number in (1, 2, 3):
        alone = follow(stack, SEEDS, model, objects=[number])
        np.testing.assert_array_equal(masks_of(alone, number), masks_of(together, number))


class TestWindow:
    """An object seen in a window around its prompts."""

    def test_equals_a_run_on_that_part(self, model):
        wide, seeds = self.wide(), {1: {1: self.square(100, 120)}, 3: {2: {"points": [[200, 40]]}}}
        volume = Volume.of(wide, contrast_limits=(0, 255))
        views = views_of(read_seeds(seeds, volume), model, wide.shape[1:], 64)
        assert all(view.window.shape == (64, 64) for view in views.values())
        found = follow(wide, seeds, model, window_size=64)
        for number, view in views.items():
            window = view.window
            part = wide[(slice(None), *window.slices)]
            plane = 1 if number == 1 else 3
            given = {"points": [[200 - window.row, 40 - window.col]]}
            if number == 1:
                given = seeds[1][1][window.slices]
            expected = follow(part, {plane: {number: given}}, model)
            for plane in range(len(wide)):
                mask = found.mask(number, plane)
                np.testing.assert_array_equal(mask[window.slices], expected.mask(number, plane))
                assert mask.sum() == mask[window.slices].sum()

    def test_an_edit_that_moves_it(self, model):
        wide, first = self.wide(), {1: {1: self.square(100, 120)}}
        edited = {**first, 4: {1: self.square(130, 180)}}
        before = follow(wide, first, model, window_size=64)
        again = follow(wide, edited, model, window_size=64, previous=before)
        np.testing.assert_array_equal(
            again.labels, follow(wide, edited, model, window_size=64).labels
        )

    @staticmethod
    def wide():
        rng = np.random.default_rng(0)
        coarse = np.kron(rng.integers(0, 255, (32, 34)), np.ones((10, 10))).astype(np.uint8)
        return np.stack([coarse[i : i + 300, 2 * i : 2 * i + 320] for i in range(6)])

    @staticmethod
    def square(row, col):
        mask = np.zeros((300, 320), bool)
        mask[row : row + 20, col : col + 24] = True
        return mask


@pytest.mark.slow
def test_a_time_of_an_ome_zarr_into_a_store(model, stack, tmp_path):
    movie = np.stack([stack[:, ::-1], stack])
    group = zarr.create_group(tmp_path / "movie.ome.zarr")
    group.create_array("0", data=movie)
    scale = [{"type": "scale", "scale": [1.0] * 4}]
    entry = {
        "axes": [{"name": n, "type": "time" if n == "t" else "space"} for n in "tzyx"],
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
    }
    group.attrs["ome"] = {"version": "0.5", "multiscales": [entry]}
    found = follow(
        tmp_path / "movie.ome.zarr", SEEDS, model, axis="Z", at=(1,),
        output=tmp_path / "labels.ome.zarr",
    )  # fmt: skip
    expected = follow(stack, SEEDS, model)
    np.testing.assert_array_equal(
        open_labels(tmp_path / "labels.ome.zarr").array[:], expected.labels
    )
    assert found.scores == expected.scores


def test_planes_are_read_and_shown_one_after_the_other(model, stack):
    volume = Recording(stack)
    steps = propagate_steps(volume, {4: SEEDS[4]}, model, contrast_limits=(0, 255))
    for step in steps:
        if step.done == 2:
            break
    steps.close()
    assert all(isinstance(key[0], int) for key in volume.reads)
    assert {key[0] for key in volume.reads} <= {0, 8, 4, 5, 6, 7}  # 0, 4 and 8 are recognised by
    assert step.partial.labels[6].any() and not step.partial.labels[7].any()


def live_bytes():
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sum(o.nbytes for o in gc.get_objects() if type(o) is torch.Tensor)


@pytest.mark.slow
@pytest.mark.parametrize("count", [30, 120])
def test_memory_is_bounded(model, stack, tmp_path, count, monkeypatch):
    """Tensors are no more after many planes than after a few; masks and labels are no tensors."""
    monkeypatch.setattr(PlaneEmbeddings.__init__, "__defaults__", (1 << 20,))
    begun, expect = {}, PlaneEmbeddings.expect

    def expected(embeddings, places):
        expect(embeddings, places)
        begun["now"] = list(embeddings._begun.values())

    monkeypatch.setattr(PlaneEmbeddings, "expect", expected)
    planes, used = Planes(stack, count), {}
    for step in propagate_steps(
        planes, {0: {1: block(10, 20)}, 5: {1: block(20, 30)}}, model,
        contrast_limits=(0, 255), output=tmp_path / "labels.ome.zarr",
    ):  # fmt: skip
        if step.done in (15, 20, count // 2, count - 5):
            wait(begun["now"])  # what is just being encoded counts as its result only
            used[step.done] = live_bytes()
    assert used[count - 5] <= max(used[15], used[20]) + (64 << 10)
    assert used[count // 2] <= max(used[15], used[20]) + (64 << 10)
    assert max(planes.reads.values()) <= 3


class Planes:
    """A stack that is computed plane by plane."""

    def __init__(self, stack, count):
        self.shape, self.dtype, self.ndim = (count, *stack.shape[1:]), stack.dtype, 3
        self.stack, self.reads = stack, {}

    def __getitem__(self, key):
        plane, *rest = key if isinstance(key, tuple) else (key,)
        self.reads[plane] = self.reads.get(plane, 0) + 1
        return self.stack[plane % len(self.stack)][tuple(rest)]


@pytest.mark.slow
def test_it_goes_on_on_the_cpu_when_memory_runs_out(model, stack, monkeypatch):
    expected = follow(stack, SEEDS, model)
    devices = [torch.device("cpu"), torch.device("cpu", 0)]
    monkeypatch.setattr(Model, "devices", property(lambda self: devices))
    own = VideoMemory.follow

    def small(self, maps, plane, *rest):
        if plane in (3, 4) and self.network is model.network:
            raise torch.OutOfMemoryError
        return own(self, maps, plane, *rest)

    monkeypatch.setattr(VideoMemory, "follow", small)
    with pytest.warns(MemoryWarning, match="memory of objects"):
        found = follow(stack, SEEDS, model)
    assert (found.labels != expected.labels).mean() < 1e-3


def test_embeddings_may_be_cached_on_disk(model, stack, tmp_path):
    seeds = {0: {1: block(10, 20)}}
    plain = follow(stack[:4], seeds, model)
    predictor = Predictor(model, EmbeddingCache(tmp_path / "cache"))
    first, again = (follow(stack[:4], seeds, model, predictor=predictor) for _ in range(2))
    np.testing.assert_array_equal(first.labels, again.labels)  # also from disk
    assert iou(first.labels > 0, plain.labels > 0) > 0.9


@pytest.mark.slow
def test_16_bits(model, stack, tmp_path):
    half = load_model(tiny_sam2(tmp_path / "sam2"), device="cpu", precision="bf16")
    half.network.parts.load_state_dict(model.network.parts.state_dict())
    seeds = {0: {1: block(10, 20)}}
    found, exact = (masks_of(follow(stack[:4], seeds, m), 1) for m in (half, model))
    assert iou(found[1], exact[1]) > 0.8


def test_what_cannot_be(model, stack):
    from ..bright import bright_model

    with pytest.raises(ParameterError, match=r"bright cannot follow.*method='decoder'"):
        follow(stack, SEEDS, bright_model(), method="memory")
    with pytest.raises(ParameterError, match=r"no dense head.*method='memory'"):
        follow(stack, SEEDS, model, method="dense")
    for name, value in {"stiffness": 3, "pred_iou_thresh": 0.5}.items():
        with pytest.raises(ParameterError, match=f"{name} is for method='dense' or 'decoder' only"):
            follow(stack, SEEDS, model, **{name: value})
    assert follow(stack, {0: SEEDS[0]}, model, method="decoder", stiffness=3).planes
