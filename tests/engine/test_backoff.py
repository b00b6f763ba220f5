from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_segment_anything.engine import MemoryWarning, Model, Predictor, Prompts
from napari_segment_anything.engine.backoff import is_out_of_memory, run_in_batches
from napari_segment_anything.errors import ResourceError
from napari_segment_anything.network import EncoderOutput

CPU, META = torch.device("cpu"), torch.device("meta")


class Stub(torch.nn.Module):
    """Stands for a network whose decoder fits `limit` objects, and none off the CPU."""

    mask_threshold = 0.0

    class config:
        image_size = 64
        multimask_outputs = 3
        refiner_width = 0
        frame_fit = "pad"

    def __init__(self, limit):
        super().__init__()
        self.limit = limit
        self.weight = torch.nn.Parameter(torch.zeros(1), requires_grad=False)
        self.register_buffer("offset", torch.zeros(1))
        self.batches = []

    def _require(self, tensor, count):
        if tensor.device != CPU:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        if count > self.limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")

    def encode(self, pixels):
        self._require(pixels, 1)
        return EncoderOutput(pixels.new_ones(1, 256, 4, 4), {})

    def decode(self, embedding, coords, labels, *, heads, multimask, return_all):
        self._require(embedding, len(coords))
        self.batches.append(len(coords))
        low = coords[:, 0, :1, None, None].expand(-1, 3, 16, 16)
        return low, low[:, :, 0, 0]


def predictor(limit, device=CPU):
    return Predictor(Model(Stub(limit), "stub", "stub", "0", device))


@pytest.mark.slow
def test_the_batch_is_halved_until_it_fits():
    where = predictor(3)
    image = np.zeros((64, 64, 3), np.uint8)
    embedding = where.embed(image)
    points = np.stack([np.zeros(10), np.arange(1, 11)], axis=1)
    with pytest.warns(MemoryWarning) as record:
        result = where.predict(embedding, Prompts.each_point(points))
    assert where.model.network.batches == [2] * 5
    np.testing.assert_array_equal(result.scores[:, 0], np.arange(1, 11))
    assert result.masks.all()
    assert len(result.notes) == len(record) == 2
    assert "batches of 5" in result.notes[0]
    assert "batches of 2" in result.notes[1]


def test_the_cpu_is_the_last_resort():
    where = predictor(100, META)
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.warns(MemoryWarning, match="image encoder: memory ran out on meta"):
        embedding = where.embed(image)
    assert embedding.features.device == CPU
    assert "going on on cpu" in embedding.notes[0]
    with pytest.warns(MemoryWarning):
        result = where.predict(embedding, Prompts.each_point([[0, 1], [0, 2]]))
    assert [note.rpartition("on ")[2] for note in result.notes][-1] == "cpu"
    np.testing.assert_array_equal(result.scores[:, 0], [1, 2])
    with pytest.warns(MemoryWarning):
        low, _ = where.decode(embedding, Prompts.each_point([[0, 1], [0, 2]]))
    assert low.device == CPU


def test_when_nothing_fits_the_error_says_so():
    where = predictor(0)
    with pytest.raises(ResourceError, match="not enough memory on cpu"):
        where.embed(np.zeros((64, 64, 3), np.uint8))


def test_other_errors_are_not_taken_for_memory():
    def work(batch, device):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        run_in_batches(work, 4, 4, [CPU], "work")
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(ValueError("out of memory"))


def test_results_come_in_order_and_none_is_done_twice():
    done = []

    def work(batch, device):
        if batch.stop - batch.start > 2 and batch.start >= 4:
            raise MemoryError
        done.extend(range(batch.start, batch.stop))
        return batch

    with pytest.warns(MemoryWarning):
        run_in_batches(work, 11, 4, [CPU], "work")
    assert done == list(range(11))
