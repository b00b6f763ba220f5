from __future__ import annotations

import re
import sys

import pytest
import torch

from napari_segment_anything.engine import choose_device, choose_precision, rates
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


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """A cache of its own, nothing measured yet, and "auto" as users have it."""
    monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_CACHE", str(tmp_path))
    monkeypatch.delenv(module.AUTO_VARIABLE, raising=False)
    monkeypatch.setattr(module, "_cpu_flags", lambda: {"avx512_bf16"})
    module.rates.cache_clear()
    yield tmp_path / "precision"
    module.rates.cache_clear()


RATES = {"convolutions": (2, 1), "linear": (2, 3), "decoder": (1, 4), "training": (2, 2.2)}


def test_auto_takes_for_each_work_what_is_faster_there(monkeypatch, measured):
    monkeypatch.setattr(rates, "measure", lambda: RATES)
    chosen = {work: choose_precision("auto", "cpu", work) for work in RATES}
    short = {work for work, (dtype, _) in chosen.items() if dtype == torch.bfloat16}
    assert short == {"linear", "decoder"}  # training gains too little for the digits it loses
    assert "fp32 2, bf16 3 TFLOP/s" in chosen["linear"][1]


def test_what_was_measured_is_kept(monkeypatch, measured):
    first = rates.rates()
    assert all(rate > 0 for pair in first.values() for rate in pair)
    assert list(first) == list(RATES)
    monkeypatch.setattr(rates, "measure", lambda: pytest.fail("measured twice"))
    rates.rates.cache_clear()
    assert rates.rates() == first


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"decoder"', '"coder"'),
        lambda text: re.sub(r'"linear": \[[^]]*\]', '"linear": [NaN, 1]', text),
        lambda text: text.replace('"torch": "', '"torch": "0.'),
        lambda text: "[]",
    ],
)
def test_a_damaged_file_is_measured_again(monkeypatch, measured, damage):
    monkeypatch.setattr(rates, "measure", lambda: RATES)
    rates.rates()
    (path,) = measured.glob("*.json")
    whole = path.read_text()
    path.write_text(damage(whole))
    rates.rates.cache_clear()
    assert rates.rates() == RATES
    assert path.read_text() == whole


@pytest.mark.slow
def test_two_processes_at_once_choose_alike(processes, measured):
    code = (
        "from napari_segment_anything.engine import rates; import json;"
        "print(json.dumps(rates.rates()))"
    )
    with processes.start(code) as one, processes.start(code) as other:
        first, second = one.communicate(), other.communicate()
    assert first == second and first[0]
    assert len(list(measured.glob("*.json"))) == 1
    assert not list(measured.glob("*.tmp"))


def test_without_a_place_to_keep_it(monkeypatch, measured):
    measured.parent.joinpath("precision").write_text("not a folder")
    monkeypatch.setattr(rates, "measure", lambda: RATES)
    assert rates.rates() == RATES


def test_measuring_leaves_threads_and_random_numbers_alone():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    rates.measure()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_a_processor_without_bf16_is_not_measured(monkeypatch, measured):
    monkeypatch.setattr(module, "_cpu_flags", lambda: {"avx512_f", "avx2"})
    monkeypatch.setattr(rates, "measure", lambda: pytest.fail("measured"))
    chosen, reason = choose_precision("auto", "cpu")
    assert chosen == torch.float32
    assert "neither" in reason


def test_the_environment_says_what_auto_is(monkeypatch, measured):
    monkeypatch.setenv(module.AUTO_VARIABLE, "fp32+bf16")
    dtype, reason = choose_precision("auto", "cpu", "decoder")
    assert (dtype, module.AUTO_VARIABLE in reason) == (torch.bfloat16, True)
    assert choose_precision("auto", "cpu", "linear")[0] == torch.float32
    assert not measured.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_older_torch_is_asked_through_the_system(monkeypatch):
    new = module._cpu_bf16()
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert module._cpu_bf16() == new


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), "float32"), ((8, 0), "bfloat16")])
def test_bf16_on_a_gpu(monkeypatch, gpu, capability, dtype):
    monkeypatch.delenv(module.AUTO_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    chosen, reason = choose_precision("auto", "cuda")
    assert chosen == getattr(torch, dtype)
    assert "GPU 9000" in reason


def test_precision_as_asked():
    assert choose_precision("fp32", "cpu") == (torch.float32, "as asked")
    assert choose_precision("bf16", "cpu")[0] == torch.bfloat16
    assert choose_precision("fp16", "cuda")[0] == torch.float16
    assert choose_precision("fp32+bf16", "cpu", "convolutions")[0] == torch.float32
    assert choose_precision("fp32+bf16", "cpu", "decoder")[0] == torch.bfloat16
    for wrong in ("fp32+auto", "fp32+bf16+fp32", "+", "bf16+fp16"):
        with pytest.raises(ParameterError):
            choose_precision(wrong, "cpu")
    with pytest.raises(ParameterError, match="GPU"):
        choose_precision("fp16", "cpu")
    with pytest.raises(ParameterError, match="known are"):
        choose_precision("double", "cpu")
