"""Which device to compute on, and in which precision."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ..errors import ParameterError
from .rates import Work, rates

PRECISIONS = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.int8,
}
AUTO_VARIABLE = "NAPARI_SEGMENT_ANYTHING_AUTO_PRECISION"
"""Environment variable that sets what "auto" is, in place of the measurement."""

_GAIN = 1.15
"""Speed-up from which "auto" takes the lower precision."""


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Choose where to compute.

    Parameters
    ----------
    device : str or torch.device
        "auto" takes CUDA, else Apple's MPS, else the CPU; otherwise a torch device such as
        "cpu", "cuda", "cuda:1" or "mps".

    Raises
    ------
    ParameterError
        If the device is unknown or this computer does not have it.
    """
    if isinstance(device, str) and device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ParameterError(f"unknown device {device!r}; try auto, cpu, cuda or mps") from error
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            raise ParameterError(f"device {chosen} is not there: torch sees {count} CUDA devices")
    elif chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ParameterError("device mps is not available on this computer")
    return chosen


def choose_precision(
    precision: str = "auto", device: str | torch.device = "cpu", work: Work = "linear"
) -> tuple[torch.dtype, str]:
    """Choose the type that matrix products are computed in.

    Parameters
    ----------
    precision : str
        "fp32", which is exact, "bf16", or "fp16", which is for GPUs; two of them joined by "+",
        such as "fp32+bf16", for image encoder and mask decoder; or "auto": bf16 for work that is
        faster in it, fp32 for the rest. On a processor with bf16 instructions "auto" measures
        that, once. The environment variable NAPARI_SEGMENT_ANYTHING_AUTO_PRECISION takes
        precedence over the measurement. "int8" is for processors with VNNI: linear layers of the
        image encoder are computed in int8, and all else in what "auto" takes for the decoder;
        "int8+fp32" and "int8+bf16" choose that.
    device : str or torch.device
        Where it will run.
    work : {"convolutions", "linear", "decoder", "training"}
        The default model's encoder, a ViT's, the mask decoder, or a training step.

    Returns
    -------
    dtype : torch.dtype
    reason : str
        Why, in a few words.

    Raises
    ------
    ParameterError
        If the precision is unknown, fp16 is asked for on a CPU, or int8 on a GPU or on a
        processor without VNNI.
    """
    where = torch.device(device)
    if precision != "auto":
        return _named(precision, where, work), "as asked"
    told = os.environ.get(AUTO_VARIABLE, "").strip()
    if told.startswith("int8"):
        raise ParameterError(f"{AUTO_VARIABLE} takes no int8: ask for it with precision='int8'")
    if told:
        return _named(told, where, work), f"as {AUTO_VARIABLE} says"
    fast, reason = _fast_bf16(where, work)
    return (torch.bfloat16 if fast else torch.float32), reason


def _named(precision: str, device: torch.device, work: Work) -> torch.dtype:
    parts = precision.split("+")
    if len(parts) > 2 or not set(parts) <= set(PRECISIONS):
        known = ", ".join(("auto", *PRECISIONS))
        raise ParameterError(
            f"unknown precision {precision!r}; known are {known}, and two joined by +, such as "
            "fp32+bf16, for encoder and decoder"
        )
    if "int8" in parts[1:]:
        raise ParameterError("int8 is for the image encoder: int8, int8+fp32 or int8+bf16")
    if parts[0] == "int8":
        if fault := int8_fault(device):
            raise ParameterError(fault)
        if work == "decoder" and len(parts) == 1:
            return choose_precision("auto", device, work)[0]
    if "fp16" in parts and device.type == "cpu":
        raise ParameterError("fp16 is for GPUs; on a CPU take auto, fp32 or bf16")
    return PRECISIONS[parts[-1 if work == "decoder" else 0]]


def int8_fault(device: torch.device) -> str:
    """Return why int8 cannot be used on a device; "" if it can."""
    if device.type != "cpu":
        return (
            f"int8 is for processors with VNNI; on {device.type} take auto, bf16 or fp16, which "
            "its matrix units are made for"
        )
    if not has_int8():
        return "this processor has no VNNI instructions, so int8 would be slow; take auto"
    return ""


def precision_name(encoder: torch.dtype, decoder: torch.dtype | None = None) -> str:
    """Return the precision's name; both joined by "+" where the decoder's is another."""
    names = {value: key for key, value in PRECISIONS.items()}
    if decoder is None or decoder == encoder:
        return names[encoder]
    return f"{names[encoder]}+{names[decoder]}"


def encoder_work(kind: str) -> Work:
    """Return the work that dominates an image encoder, by its configuration's `kind`."""
    return "convolutions" if kind == "micro" or kind.startswith("edgetam") else "linear"


def _fast_bf16(device: torch.device, work: Work) -> tuple[bool, str]:
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        name = torch.cuda.get_device_name(device)
        if major >= 8 and torch.cuda.is_bf16_supported():
            return True, f"{name} (capability {major}.{minor}) has fast bf16"
        return False, f"{name} (capability {major}.{minor}) has no fast bf16"
    if device.type == "cpu":
        if not _cpu_bf16():
            return False, "the processor has neither AMX nor AVX-512 bf16"
        single, short = rates()[work]
        reason = f"measured on a thread: fp32 {single:.2g}, bf16 {short:.2g} TFLOP/s"
        return short > _GAIN * single, reason
    return False, f"bf16 is not known to be fast on {device.type}"


def has_int8() -> bool:
    """Whether the processor multiplies in int8 fast, and torch has the kernel for it."""
    flags = {"amx_int8", "avx512_vnni", "avx_vnni"}
    return not flags.isdisjoint(_cpu_flags()) and hasattr(torch.ops.onednn, "qlinear_pointwise")


def _cpu_bf16() -> bool:
    """Whether the processor has bf16 instructions; others emulate them, slowly."""
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(_cpu_flags())


def _cpu_flags() -> set[str]:
    # oneDNN reports bf16 as supported on any AVX-512 processor, where it emulates it, slowly.
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        return {name for name, value in capabilities().items() if value is True}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return set()
    for line in text.splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()
