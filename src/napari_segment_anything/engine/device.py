"""Which device to compute on, and in which precision."""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import ParameterError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
    precision: str = "auto", device: str | torch.device = "cpu"
) -> tuple[torch.dtype, str]:
    """Choose the type that matrix products are computed in.

    Parameters
    ----------
    precision : {"auto", "fp32", "bf16", "fp16"}
        "auto" is bf16 where the hardware multiplies bf16 fast, else fp32. "fp32" is exact;
        "fp16" is for GPUs.
    device : str or torch.device
        Where it will run.

    Returns
    -------
    dtype : torch.dtype
    reason : str
        Why, in a few words.

    Raises
    ------
    ParameterError
        If the precision is unknown, or fp16 is asked for on a CPU.
    """
    where = torch.device(device)
    if precision != "auto":
        if precision not in PRECISIONS:
            known = ", ".join(("auto", *PRECISIONS))
            raise ParameterError(f"unknown precision {precision!r}; known are {known}")
        if precision == "fp16" and where.type == "cpu":
            raise ParameterError("fp16 is for GPUs; on a CPU take auto, fp32 or bf16")
        return PRECISIONS[precision], "as asked"
    fast, reason = _fast_bf16(where)
    return (torch.bfloat16 if fast else torch.float32), reason


def precision_name(dtype: torch.dtype) -> str:
    """Return "fp32", "bf16" or "fp16"."""
    return {value: key for key, value in PRECISIONS.items()}[dtype]


def _fast_bf16(device: torch.device) -> tuple[bool, str]:
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        name = torch.cuda.get_device_name(device)
        if major >= 8 and torch.cuda.is_bf16_supported():
            return True, f"{name} (capability {major}.{minor}) has fast bf16"
        return False, f"{name} (capability {major}.{minor}) has no fast bf16"
    if device.type == "cpu":
        found = _cpu_bf16()
        if found:
            return True, f"the processor has {found}"
        return False, "the processor has neither AMX nor AVX-512 bf16"
    return False, f"bf16 is not known to be fast on {device.type}"


def _cpu_bf16() -> str:
    """Return the name of the processor's fast bf16 instructions, "" if it has none."""
    flags = _cpu_flags()
    if "amx_bf16" in flags:
        return "AMX (amx_bf16)"
    if "avx512_bf16" in flags:
        return "avx512_bf16"
    return ""


def _cpu_flags() -> set[str]:
    # oneDNN emulates bf16 on any AVX-512 processor, slowly: its own "supported" says too much.
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
