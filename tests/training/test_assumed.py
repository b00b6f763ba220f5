"""What a network is confident of where nobody has looked: labels, levels, losses, resumed runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_segment_anything.errors import ParameterError
from napari_segment_anything.training import assumed
from napari_segment_anything.training.assumed import with_assumed
from napari_segment_anything.training.config import TrainingConfig
from napari_segment_anything.training.cropping import CropConfig, CropSampler
from napari_segment_anything.training.data import labelled_image
from napari_segment_anything.training.geometry import Geometry
from napari_segment_anything.training.presets import settled
from napari_segment_anything.training.prompted_objects import draw_objects
from napari_segment_anything.training.prompts import prompt_losses
from napari_segment_anything.training.seen import ASSUMED, BESIDE, REJECTED, SEEN, UNSEEN
from napari_segment_anything.training.trainer import StageTrainer

from .small import disks, small_sam
from .test_dense import perfect_maps

GEOMETRY = Geometry(128, 2)


def squares() -> np.ndarray:
    """Nine objects in three rows."""
    labels = np.zeros((96, 96), np.int32)
    for number in range(9):
        row, col = (10 + 30 * place for place in divmod(number, 3))
        labels[row : row + 12, col : col + 12] = number + 1
    return labels


def partly(labels: np.ndarray, seen: np.ndarray | None = None):
    """The first four objects are confirmed."""
    image = np.where(labels > 0, 180, 40).astype(np.uint8)
    nowhere = np.zeros(labels.shape, bool)
    return labelled_image(
        "a", "a", image, labels * (labels < 5), seen=nowhere if seen is None else seen
    )


@pytest.fixture
def maps(monkeypatch) -> np.ndarray:
    """What the dense head predicts, cell by pixel; at first, all objects."""
    maps = perfect_maps(squares())

    def read(encoder, image):
        return maps, image.labels

    monkeypatch.setattr(assumed, "dense_maps", read)
    return maps


def test_objects_as_sure_as_the_confirmed_ones_and_sure_background_are_labelled(tmp_path, maps):
    truth = squares()
    maps[0][truth == 9] = 0.6  # rather an object than not
    maps[0][:6, 60:] = maps[0][10:22, 6:10] = -1.0  # rather not
    rejected = truth == 8
    before = partly(truth, rejected)
    (after,) = with_assumed(None, [before], tmp_path / "kept.npz")
    assert (after.labels[truth < 5] == truth[truth < 5]).all()
    for number in (5, 6, 7):
        (own,) = np.unique(after.labels[truth == number])
        assert own > 4 and (after.labels == own).sum() == 144
        assert (after.seen[truth == number] == ASSUMED).all()
    assert (after.labels[truth >= 8] == 0).all()
    assert (after.seen[rejected] == SEEN).all() and (after.seen[truth == 9] == UNSEEN).all()
    assert after.seen[95, 0] == ASSUMED and after.labels[95, 0] == 0
    assert after.seen[0, 70] == UNSEEN and after.seen[15, 8] == ASSUMED  # beside object 1
    assert (after.anchors == before.anchors).all() and after.interior[truth == 5].max() == 255


def test_what_was_labelled_once_is_read_again(tmp_path, maps):
    images = [partly(squares()), replace(partly(squares()), seen=None)]
    first = with_assumed(None, images, tmp_path / "kept.npz")
    assert first[1] is images[1]  # labelled completely
    maps[:] = 0
    (again, _) = with_assumed(None, images, tmp_path / "kept.npz")
    assert (again.labels == first[0].labels).all() and (again.seen == first[0].seen).all()


def test_a_rejected_mask_stays_background_but_other_objects_may_lie_in_it(tmp_path, maps):
    truth = squares()
    before = partly(truth)
    levels = before.seen.copy()
    levels[truth == 7] = levels[30:60, 30:60] = REJECTED  # an object, and ground around object 5
    maps[0][35, 35] = 0.4
    (after,) = with_assumed(None, [replace(before, seen=levels)], tmp_path / "kept.npz")
    assert (after.labels[truth == 7] == 0).all() and (after.seen[truth == 7] == REJECTED).all()
    assert (after.labels[truth == 5] > 4).all() and (after.seen[truth == 5] == ASSUMED).all()
    assert after.seen[58, 58] == ASSUMED and after.labels[58, 58] == 0  # background
    assert after.seen[35, 35] == BESIDE


def test_a_better_network_decides_again(tmp_path, maps):
    (first,) = with_assumed(None, [partly(squares())], tmp_path / "1.npz")
    maps[0][squares() == 7] = -8  # no object any more
    (again,) = with_assumed(None, [replace(partly(squares()), seen=first.seen)], tmp_path / "2.npz")
    assert (again.labels[squares() == 7] == 0).all()
    maps[0][squares() == 6] = 0.4
    (again,) = with_assumed(None, [replace(partly(squares()), seen=first.seen)], tmp_path / "3.npz")
    assert (again.seen[squares() == 6] == BESIDE).all()


def test_a_model_that_does_not_find_the_confirmed_objects_labels_no_others(tmp_path, maps):
    maps[0][(squares() > 0) & (squares() < 5)] = -8
    (after,) = with_assumed(None, [partly(squares())], tmp_path / "kept.npz")
    assert after.labels.max() == 4
    assert (after.seen[squares() > 4] == UNSEEN).all()


def test_assumed_objects_have_a_loss_in_the_dense_head_and_are_not_prompted(tmp_path, maps):
    (image,) = with_assumed(None, [partly(squares())], tmp_path / "kept.npz")
    sampler = CropSampler([image], {"a": 1.0}, 3, GEOMETRY)
    crops = sampler.batch(0, 3, CropConfig(size=128, near=1.0, stretch_sides=0.0))
    assumed_object = (crops.seen == ASSUMED) & (crops.labels > 0)
    assert assumed_object.any()
    drawn = draw_objects(crops, 20, 32, torch.Generator().manual_seed(0))
    shown = torch.zeros_like(assumed_object)
    for number, corner, target in zip(drawn.image, drawn.corner * 4, drawn.target, strict=True):
        part = [slice(int(c), int(c) + target.shape[-1]) for c in corner]
        shown[number][tuple(part)] |= target > 0
    assert shown.any() and not (shown & assumed_object).any()
    assert bool(crops.known[assumed_object].all())


@pytest.mark.slow
def test_a_run_that_assumes_resumes_to_the_same_weights(tmp_path):
    torch.set_num_threads(1)
    image, labels = disks(0, 128, 9)
    source = labelled_image(
        "a", "a", image, labels * (labels < 6), seen=np.zeros(labels.shape, bool)
    )
    options = {"steps": 4, "batch_size": 1, "assume": 0.5, "crop": {"size": 64}, "windows": (8,)}
    config = settled(TrainingConfig(model="x", save_every=3, options=options), small_sam())
    (stage,) = config.stages

    def trainer(folder, network):
        sampler = CropSampler([source], {"a": 1.0}, 0, GEOMETRY)
        return StageTrainer(network, stage, config, sampler, folder, prompt_losses=prompt_losses)

    whole, resumed = small_sam(), small_sam()
    for _ in trainer(tmp_path / "a", whole).run():
        pass
    running = trainer(tmp_path / "b", small_sam())
    running.config = replace(config, log_every=1)
    for progress in running.run():
        if progress.done == 4:  # killed after the checkpoint of step 3
            break
    assert trainer(tmp_path / "b", small_sam()).step == 3
    for _ in trainer(tmp_path / "b", resumed).run():
        pass
    assert (tmp_path / "b" / "finetune-assumed-2.npz").exists()
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_only_a_dense_head_that_learns_can_assume():
    with pytest.raises(ParameterError, match="'assume' needs an image encoder with a dense head"):
        settled(TrainingConfig(model="x", options={"assume": 0.5}), small_sam("vit"))
