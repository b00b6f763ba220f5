from __future__ import annotations

import sys

import pytest
import torch

from napari_segment_anything.engine import choose_device, choose_precision
from napari_segment_anything.engine import device as module
from napari_segment_anything.errors import ParameterError


@pytest.fixture
def no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU 9000")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)


def test_auto_takes_cuda_then_mps_then_the_cpu(monkeypatch, no_accelerator):
    assert choose_device().type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device().type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device().type == "cuda"


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps", "abacus", ""])
def test_devices_that_are_not_there(no_accelerator, name):
    with pytest.raises(ParameterError):
        choose_device(name)


def test_a_second_gpu_that_is_not_there(gpu):
    assert choose_device("cuda:0").index == 0
    with pytest.raises(ParameterError, match="1 CUDA device"):
        choose_device("cuda:1")


@pytest.mark.parametrize(
    ("flags", "dtype", "word"),
    [
        ({"avx512_f", "avx512_bf16"}, torch.bfloat16, "avx512_bf16"),
        ({"amx_bf16", "avx512_bf16"}, torch.bfloat16, "AMX"),
        ({"avx512_f", "avx512_bw", "avx2"}, torch.float32, "neither"),
        (set(), torch.float32, "neither"),
    ],
)
def test_bf16_only_where_the_processor_is_fast_at_it(monkeypatch, flags, dtype, word):
    capabilities = dict.fromkeys(flags, True) | {"l2_cache_size": 1, "avx512_fp16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    chosen, reason = choose_precision("auto", "cpu")
    assert chosen == dtype
    assert word in reason


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_older_torch_is_asked_through_the_system(monkeypatch):
    new = module._cpu_bf16()
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert module._cpu_bf16() == new


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), "float32"), ((8, 0), "bfloat16")])
def test_bf16_on_a_gpu(monkeypatch, gpu, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    chosen, reason = choose_precision("auto", "cuda")
    assert chosen == getattr(torch, dtype)
    assert "GPU 9000" in reason


def test_precision_as_asked():
    assert choose_precision("fp32", "cpu") == (torch.float32, "as asked")
    assert choose_precision("bf16", "cpu")[0] == torch.bfloat16
    assert choose_precision("fp16", "cuda")[0] == torch.float16
    with pytest.raises(ParameterError, match="GPU"):
        choose_precision("fp16", "cpu")
    with pytest.raises(ParameterError, match="known are"):
        choose_precision("double", "cpu")
