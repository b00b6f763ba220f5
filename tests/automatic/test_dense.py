"""Instances and proposals from dense maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from napari_segment_anything.automatic import (
    BoxDecoding,
    decode_dense,
    decode_distances,
    find_proposals,
    segment_everything,
)
from napari_segment_anything.engine import Model, Window
from napari_segment_anything.errors import ParameterError
from napari_segment_anything.network import EncoderOutput, SamConfig
from napari_segment_anything.network.micro import MicroConfig
from napari_segment_anything.samples import sample

from ..tiny import BlobSam, tiny_model

SIDE = 128


def discs(count: int, side: int, seed: int = 0, touch: bool = True) -> np.ndarray:
    """A label image with discs of many sizes that may touch but do not overlap."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.int32)
    rows, cols = np.mgrid[:side, :side]
    number = 0
    for _ in range(400):
        radius = rng.uniform(4, 14)
        centre = rng.uniform(radius, side - 1 - radius, 2)
        inside = np.hypot(rows - centre[0], cols - centre[1]) <= radius
        wider = np.hypot(rows - centre[0], cols - centre[1]) <= radius + (0 if touch else 3)
        if number < count and not labels[wider].any():
            number += 1
            labels[inside] = number
    return labels


def box_maps(labels: np.ndarray, stride: int = 2) -> np.ndarray:
    """What a perfect dense head would say about frame labels: foreground is the cell's coverage."""
    size = [-(-extent // stride) for extent in labels.shape]
    padded = np.pad(labels, [(0, n * stride - e) for n, e in zip(size, labels.shape, strict=True)])
    blocks = padded.reshape(size[0], stride, size[1], stride).transpose(0, 2, 1, 3)
    blocks = blocks.reshape(*size, stride**2)
    coverage = np.clip((blocks > 0).mean(-1), 0.01, 0.99)
    maps = np.full((6, *size), -6.0, np.float32)
    maps[0] = np.log(coverage / (1 - coverage))
    maps[2:] = 1.0
    rows, cols = (np.mgrid[: size[0], : size[1]] * stride) + (stride - 1) / 2
    cells = blocks.max(-1)
    for number in range(1, labels.max() + 1):
        inside = cells == number
        if not inside.any():
            continue
        y, x = np.nonzero(labels == number)
        distance = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        interior = np.clip(distance / distance.max(), 0.01, 0.99)
        maps[1][inside] = np.log(interior / (1 - interior))[inside]
        sides = (rows - y.min(), cols - x.min(), y.max() - rows, x.max() - cols)
        for channel, side in enumerate(sides, start=2):
            maps[channel][inside] = np.maximum(side[inside], 0.5)
    return maps


def distance_maps(labels: np.ndarray) -> np.ndarray:
    """What a perfect instance decoder would say about frame labels."""
    maps = np.zeros((3, *labels.shape), np.float32)
    maps[1:] = 1
    rows, cols = np.mgrid[: labels.shape[0], : labels.shape[1]]
    for number in range(1, labels.max() + 1):
        inside = labels == number
        y, x = np.nonzero(inside)
        centre = np.hypot(rows - y.mean(), cols - x.mean())
        edge = ndimage.distance_transform_edt(inside)
        maps[0][inside] = 0.99
        maps[1][inside] = (centre / centre[inside].max())[inside]
        maps[2][inside] = 1 - (edge / edge.max())[inside]
    return maps


def overlaps(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Best IoU of each true object with any found one."""
    out = []
    for number in range(1, truth.max() + 1):
        mask = truth == number
        ious = [
            (mask & (found == i)).sum() / (mask | (found == i)).sum()
            for i in np.unique(found[mask])
            if i
        ]
        out.append(max(ious, default=0.0))
    return np.array(out)


class DenseSam(BlobSam):
    """A SAM whose encoder knows the dense maps of its images: their red channel holds the ids."""

    def objects(self, red: np.ndarray) -> np.ndarray:
        return np.round(red).astype(np.int32)

    def encode(self, pixels: Tensor) -> EncoderOutput:
        return EncoderOutput(torch.zeros(1, 256, 8, 8), {"dense": self.dense_maps(pixels)})

    def dense_maps(self, pixels: Tensor, *, square: bool = True) -> Tensor:
        red = pixels[0, 0].numpy()
        size = (SIDE, SIDE) if square else [-(-extent // 16) * 16 for extent in red.shape]
        frame = np.zeros(size, np.int32)
        frame[: red.shape[0], : red.shape[1]] = self.objects(red)
        return torch.from_numpy(box_maps(frame))[None]


def dense_model(**metadata) -> Model:
    torch.manual_seed(0)
    network = DenseSam(SamConfig(MicroConfig(image_size=SIDE, widths=(8, 8, 8, 8), heads=2)))
    return Model(
        network.eval().requires_grad_(False), "dense", "micro", "0" * 16, torch.device("cpu"),
        metadata=metadata,
    )  # fmt: skip


def as_image(labels: np.ndarray) -> np.ndarray:
    return np.repeat(labels[..., None].astype(np.uint8), 3, axis=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_perfect_boxes_give_the_objects(seed: int) -> None:
    labels = discs(25, SIDE, seed)
    found = decode_dense(box_maps(labels))
    assert len(found.scores) == labels.max()
    drawn = found.labels.repeat(2, 0).repeat(2, 1)
    assert overlaps(labels, drawn).min() > 0.6
    assert np.median(overlaps(labels, drawn)) > 0.85
    assert found.scores.min() > 0.7
    rows, cols = np.round(found.points).astype(int).T
    assert (labels[rows, cols] > 0).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_perfect_distances_give_the_objects(seed: int) -> None:
    labels = discs(20, SIDE, seed, touch=False)
    found = decode_distances(distance_maps(labels))
    big = np.bincount(labels.ravel())[1:] > 60
    assert overlaps(labels, found.labels)[big].min() > 0.8
    rows, cols = np.round(found.points).astype(int).T
    assert (found.labels[rows, cols] == np.arange(1, len(found.points) + 1)).all()


def test_noise_does_not_break_objects_up() -> None:
    labels = discs(25, SIDE, 3)
    maps = box_maps(labels)
    rng = np.random.default_rng(0)
    maps[:2] += rng.normal(0, 0.5, maps[:2].shape)
    maps[2:] *= np.exp(rng.normal(0, 0.1, maps[2:].shape))
    found = decode_dense(maps)
    assert abs(len(found.scores) - labels.max()) <= 2
    assert np.median(overlaps(labels[::2, ::2], found.labels)) > 0.85


def split_maps(labels: np.ndarray) -> np.ndarray:
    """Maps whose boxes say that every object is a left and a right half."""
    halves = labels.copy()
    for number, where in enumerate(ndimage.find_objects(labels), start=1):
        middle = (where[1].start + where[1].stop) // 2
        right = np.zeros_like(labels, bool)
        right[where[0], middle : where[1].stop] = True
        halves[right & (labels == number)] = number + labels.max()
    maps = box_maps(labels)
    maps[2:] = box_maps(halves)[2:]
    return maps


def test_pieces_without_a_valley_between_them_are_joined() -> None:
    labels = np.zeros((SIDE, SIDE), np.int32)
    for number, row in enumerate((6, 30, 31 + 24, 90), start=1):
        labels[row : row + 14, 10 + 6 * number : 80 + 6 * number] = number
    maps = split_maps(labels)
    assert len(decode_dense(maps, BoxDecoding(merge_thresh=1.0)).scores) == 8
    found = decode_dense(maps)
    assert len(found.scores) == 4
    assert overlaps(labels[::2, ::2], found.labels).min() > 0.8
    low, high = found.boxes[:, :2], found.boxes[:, 2:]
    assert ((found.points >= low) & (found.points <= high)).all()
    assert (high[:, 1] - low[:, 1]).min() > 50  # of 70; a half has 35


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_valley_keeps_neighbours_apart(seed: int) -> None:
    labels = discs(25, SIDE, seed)
    apart = decode_dense(box_maps(labels), BoxDecoding(merge_thresh=1.0))
    found = decode_dense(box_maps(labels))
    np.testing.assert_array_equal(found.labels, apart.labels)
    np.testing.assert_array_equal(found.points, apart.points)


def test_empty_maps_give_nothing() -> None:
    for decode, maps in (
        (decode_dense, np.full((6, 9, 11), -9, np.float32)),
        (decode_distances, np.zeros((3, 9, 11), np.float32)),
    ):
        found = decode(maps)
        assert found.labels.shape == (9, 11)
        assert not found.labels.any()
        assert found.scores.shape == (0,)
        assert found.points.shape == (0, 2)
        assert found.boxes.shape == (0, 4)
    assert len(find_proposals(np.full((6, 9, 11), -9, np.float32))) == 0


def test_instances_mode_draws_them_at_the_images_resolution() -> None:
    labels = discs(25, SIDE, 4)
    table = segment_everything(as_image(labels), dense_model(), "instances")
    assert len(table) == labels.max()
    found = table.to_labels()
    assert overlaps(labels, found).min() > 0.75
    assert np.median(overlaps(labels, found)) > 0.9
    assert sum(table.areas) == np.count_nonzero(found)
    assert (table.areas >= 1).all()
    # Filters work on instances too.
    assert len(table.refilter(min_area=200)) == (table.areas >= 200).sum()
    inside = np.round(table.candidates.point).astype(int)
    assert (found[inside[:, 0], inside[:, 1]] > 0).all()


@pytest.mark.parametrize("shape", [(50, 128), (128, 31), (1, 90), (70, 1)])
def test_any_shape_can_be_drawn(shape: tuple[int, int]) -> None:
    labels = discs(25, SIDE, 5)[: shape[0], : shape[1]]
    table = segment_everything(as_image(labels), dense_model(), "instances")
    assert table.to_labels().shape == shape


def test_larger_images_get_smooth_outlines() -> None:
    labels = discs(12, SIDE, 6)
    model = dense_model()
    small = segment_everything(as_image(labels), model, "instances")
    drawn = ndimage.zoom(labels, 4, order=0, grid_mode=True, mode="grid-constant")

    class Enlarged(DenseSam):
        def dense_maps(self, pixels: Tensor, *, square: bool = True) -> Tensor:
            return DenseSam.dense_maps(
                self, torch.from_numpy(as_image(labels)).permute(2, 0, 1)[None]
            )

    torch.manual_seed(0)
    network = Enlarged(model.network.config).eval().requires_grad_(False)
    model = Model(network, "dense", "micro", "0" * 16, torch.device("cpu"))
    large = segment_everything(as_image(drawn), model, "instances")
    assert len(large) == len(small)
    assert np.median(overlaps(drawn, large.to_labels())) > 0.9
    ratio = large.areas / 16 / np.maximum(small.areas, 1)
    assert np.median(np.abs(ratio - 1)) < 0.15


@pytest.mark.parametrize("how", ["point", "box", "both"])
def test_proposals_prompt_the_decoder_at_objects(how: str) -> None:
    labels = discs(10, SIDE, 7)
    steps = []
    table = segment_everything(
        as_image(labels), dense_model(), "proposals", steps.append, proposal_prompt=how,
        pred_iou_thresh=0, stability_score_thresh=0, points_per_batch=4,
    )  # fmt: skip
    per_object = 3 if how == "point" else 1
    assert len(table.candidates) == labels.max() * per_object
    rows, cols = np.round(table.candidates.point).astype(int).T
    assert set(labels[rows, cols]) == set(range(1, labels.max() + 1))
    assert steps[-1].done == steps[-1].total == labels.max()
    assert len(table) > 0


def test_no_proposals_is_no_error() -> None:
    blank = np.zeros((60, 80, 3), np.uint8)
    for mode in ("proposals", "instances"):
        table = segment_everything(blank, dense_model(), mode)
        assert len(table) == 0
        assert not table.to_labels().any()


def test_proposals_work_on_crops_too() -> None:
    labels = discs(12, SIDE, 8)

    class Anywhere(DenseSam):
        def encode(self, pixels: Tensor) -> EncoderOutput:
            out = DenseSam.encode(self, torch.from_numpy(as_image(labels)).permute(2, 0, 1)[None])
            return EncoderOutput(out.embedding + pixels.mean(), out.heads)

    torch.manual_seed(0)
    base = dense_model()
    network = Anywhere(base.network.config).eval().requires_grad_(False)
    model = Model(network, "dense", "micro", "0" * 16, torch.device("cpu"))
    totals = []
    table = segment_everything(
        as_image(labels), model, "proposals", lambda s: totals.append((s.done, s.total)),
        crop_n_layers=1, pred_iou_thresh=0, stability_score_thresh=0,
    )  # fmt: skip
    assert len(set(table.candidates.crop.tolist())) == 5
    assert totals[-1][0] == totals[-1][1]


def test_an_instance_decoders_maps_are_understood() -> None:
    labels = discs(15, SIDE, 9, touch=False)

    class Known(nn.Module):
        def forward(self, embedding: Tensor) -> Tensor:
            return torch.from_numpy(distance_maps(labels))[None]

    plain = tiny_model()
    model = Model(plain.network, "decoder", "vit", "0" * 16, plain.device, instance_decoder=Known())
    table = segment_everything(as_image(labels), model, "instances", distance_smoothing=1.0)
    assert np.median(overlaps(labels, table.to_labels())) > 0.85
    with pytest.raises(ParameterError, match="no effect with this model"):
        segment_everything(as_image(labels), model, "instances", agreement_thresh=0.3)
    with pytest.raises(ParameterError, match="choose grid or instances"):
        segment_everything(as_image(labels), model, "proposals")


def test_auto_takes_what_the_model_says() -> None:
    labels = discs(9, SIDE, 1)
    carried = {"instances": {"peak_thresh": 0.3}, "grid": {"points_per_side": 2}}
    model = dense_model(auto_mode="instances", everything=carried)
    table = segment_everything(as_image(labels), model)
    assert table.mode == "instances"
    assert table.parameters["peak_thresh"] == 0.3
    assert segment_everything(as_image(labels), dense_model(everything=carried)).mode == "grid"


@pytest.mark.slow
def test_crops_find_instances_too_small_for_the_frame() -> None:
    """With crops, an object that is one cell in the frame becomes several."""
    rng = np.random.default_rng(2)
    labels = np.zeros((512, 512), np.int32)
    rows, cols = np.mgrid[:512, :512]
    places = [(r, c) for r in range(30, 490, 50) for c in range(30, 490, 50)]
    for number, (row, col) in enumerate(places, start=1):
        labels[np.hypot(rows - row, cols - col) <= rng.uniform(4, 9)] = number

    class Bright(DenseSam):
        def objects(self, red: np.ndarray) -> np.ndarray:
            return ndimage.label(red > 127)[0]

    torch.manual_seed(0)
    network = Bright(dense_model().network.config).eval().requires_grad_(False)
    model = Model(network, "dense", "micro", "0" * 16, torch.device("cpu"))
    image = as_image(255 * (labels > 0))
    whole = segment_everything(image, model, "instances")
    steps = []
    table = segment_everything(image, model, "instances", steps.append, crop_n_layers=2)
    assert steps[-1].done == steps[-1].total == 3  # a pass for each layer of so small a frame
    better = overlaps(labels, table.to_labels())
    assert np.mean(better) > np.mean(overlaps(labels, whole.to_labels())) + 0.05
    assert np.mean(better) > 0.7
    assert len(table) >= 0.9 * len(places)


@pytest.mark.slow
def test_the_crop_layer_that_explains_most_is_chosen() -> None:
    rows, cols = np.mgrid[:512, :512]
    small, large = np.zeros((2, 512, 512), np.int32)
    for row in range(20, 500, 30):
        for column in range(20, 500, 30):
            small[np.hypot(rows - row, cols - column) <= 4] = 255
    large[np.hypot(rows - 256, cols - 256) <= 190] = 255

    class Seen(DenseSam):
        """Knows only objects of 6 to 100 frame pixels."""

        def objects(self, red: np.ndarray) -> np.ndarray:
            parts = ndimage.label(red > 127)[0]
            for number, where in enumerate(ndimage.find_objects(parts), start=1):
                sides = [s.stop - s.start for s in where]
                if not 6 <= max(sides) <= 100:
                    parts[parts == number] = 0
            return parts

    torch.manual_seed(0)
    network = Seen(dense_model().network.config).eval().requires_grad_(False)
    model = Model(network, "dense", "micro", "0" * 16, torch.device("cpu"))
    fine = segment_everything(
        as_image(small), model, "instances", crop_n_layers=6, crop_choice="best"
    )
    # layers that magnify more than twice are not even tried
    assert {crop.layer for crop in fine.candidates.crops} == {0, 1, 2, 3}
    assert {fine.candidates.crops[c].layer for c in fine.candidates.crop[fine.kept]} <= {2, 3}
    assert np.median(overlaps(ndimage.label(small)[0], fine.to_labels())) > 0.6
    coarse = segment_everything(
        as_image(large), model, "instances", crop_n_layers=2, crop_choice="best"
    )
    assert len(coarse) == 1 and coarse.counts()["kept"] == 1
    together = fine.refilter(crop_choice="all")
    assert len(together) >= len(fine)


def test_objects_that_fill_the_image_are_seen_in_it_reduced(default_model) -> None:
    rows, cols = np.mgrid[:96, :96]
    truth = np.where(np.hypot(rows - 28, cols - 30) < 18, 1, 0)
    truth[np.hypot(rows - 66, cols - 62) < 22] = 2
    noise = np.random.default_rng(0).normal(0, 8, truth.shape)
    image = np.clip(np.where(truth > 0, 190, 30) + noise, 0, 255).astype(np.uint8)
    model = default_model
    table = segment_everything(image, model, "instances")
    layers = {table.candidates.crops[c].layer for c in table.candidates.crop[table.kept]}
    assert len(layers) == 1 and layers < {-1, -2}
    found = table.to_labels()
    assert found.max() == 2
    for number in (1, 2):
        mine = found == np.bincount(found[truth == number]).argmax()
        assert (mine & (truth == number)).sum() / (mine | (truth == number)).sum() > 0.9
    assert table.candidates.crops[0].layer == 0  # the image itself comes first
    with pytest.raises(ParameterError, match="reduced_n_layers"):
        segment_everything(image, model, "grid", reduced_n_layers=1)
    small = np.where(np.hypot(rows % 24 - 12, cols % 24 - 12) < 4, 200, 20).astype(np.uint8)
    table = segment_everything(small, model, "instances")
    assert {table.candidates.crops[c].layer for c in table.candidates.crop[table.kept]} == {0}


def test_instances_of_a_window_are_those_of_the_part_it_shows(default_model) -> None:
    image, window = sample("coins").image, Window(20, 40, 150, 170)
    options = {"contrast_limits": (0, 255)}
    ours = segment_everything(image, default_model, "instances", window=window, **options)
    cut = segment_everything(image[window.slices], default_model, "instances", **options)
    assert ours.origin == (20, 40)
    assert len(ours.masks) > 3
    assert len(set(ours.candidates.crop)) > 1  # layers beyond the image itself
    np.testing.assert_array_equal(ours.to_labels(), cut.to_labels())
