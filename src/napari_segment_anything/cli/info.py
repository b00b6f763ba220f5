"""`napari-sam info`: versions, devices and folders."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from . import options

DISTRIBUTION = "segment-anything-napari"
OTHER_DISTRIBUTION = "napari-segment-anything"
"""Another plugin on the package index, with the same import name."""
PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "scikit-image",
    "zarr",
    "tifffile",
    "safetensors",
    "napari",
    "dask",
    "imagecodecs",
    "pycocotools",
    "transformers",
    "huggingface-hub",
)
_MISSING = "not installed"


def info(
    samples: Annotated[bool, typer.Option("--samples", help="List the built-in images.")] = False,
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Show versions, devices, the chosen precision and the reason, and the size of the cache.

    Examples:

    napari-sam info

    napari-sam info --samples
    """
    from . import report

    if samples:
        from ..samples import sample, sample_names

        listed = {name: sample(name).description for name in sample_names()}
        if as_json:
            report.print_json(listed)
        else:
            report.print_facts(
                "", {f"sample:{name}": description for name, description in listed.items()}
            )
        return
    facts = _facts()
    if as_json:
        report.print_json(facts)
        return
    report.print_facts("Versions", facts["versions"])
    computing = dict(facts["computing"])
    precision = computing.pop("precision")
    report.print_facts("\nComputing", computing)
    report.print_facts('\nPrecision "auto"', precision)
    report.print_facts("\nModels", facts["models"])
    cache = facts["cache"]
    report.print_facts(
        "\nCache",
        {
            "folder": cache["directory"],
            "models": _amount(cache["models"]),
            "embeddings": _amount(cache["embeddings"]),
        },
    )
    if facts["warnings"]:
        report.print_facts("\nWarnings", facts["warnings"])


def _int8() -> str:
    """What int8 would bring a ViT's linear layers here."""
    import torch

    from ..engine.device import int8_fault
    from ..engine.rates import int8_rates

    if fault := int8_fault(torch.device("cpu")):
        return fault
    rates = int8_rates()
    faster = max("fp32", "bf16", key=rates.__getitem__)
    return (
        f"{rates['int8']:.2g} TFLOP/s on a thread in linear layers, "
        f"{rates['int8'] / rates[faster]:.1f} times {faster}"
    )


def _facts() -> dict[str, Any]:
    import platform

    import torch

    from .. import __version__
    from ..checkpoints import cache_directory
    from ..checkpoints.download import checkpoint_directory
    from ..engine.device import choose_device, choose_precision, precision_name
    from ..engine.rates import Work
    from .cache import embedding_directory, usage

    device = choose_device("auto")
    stages: dict[str, Work] = {
        "default's encoder": "convolutions",
        "ViT's encoder": "linear",
        "mask decoder": "decoder",
        "training step": "training",
    }
    chosen = {name: choose_precision("auto", device, work) for name, work in stages.items()}
    devices = ["cpu"]
    devices += [
        f"cuda:{i} ({torch.cuda.get_device_name(i)})"
        for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return {
        "versions": {
            DISTRIBUTION: __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
        },
        "computing": {
            "platform": platform.platform(),
            "devices": ", ".join(devices),
            "device": str(device),
            "precision": {
                name: f"{precision_name(dtype)} ({reason})"
                for name, (dtype, reason) in chosen.items()
            },
            "int8": _int8(),
            "threads": torch.get_num_threads(),
        },
        "models": _models(),
        "cache": {
            "directory": str(cache_directory()),
            "models": usage(checkpoint_directory()),
            "embeddings": usage(embedding_directory()),
        },
        "warnings": _warnings(),
    }


def _models() -> dict[str, str]:
    """Say which groups of models can be loaded here, and what the others need."""
    from ..checkpoints import INSTALL_EXTRA, catalogue, missing_packages

    missing = missing_packages()
    groups: dict[str, str] = {}
    for entry in catalogue().values():
        if entry.needs_extra and missing:
            groups[entry.group] = f"needs {' and '.join(missing)}: {INSTALL_EXTRA}"
        else:
            groups[entry.group] = "can be loaded"
    return groups


def _warnings() -> dict[str, str]:
    """Say what in this environment may break the package, by the name of the cause."""
    found = _version(OTHER_DISTRIBUTION)
    if found == _MISSING:
        return {}
    return {
        OTHER_DISTRIBUTION: (
            f"version {found} is installed here too. It is another plugin with the same import "
            "name, so each overwrites files of the other. Uninstall both, then install one: "
            f"pip uninstall {OTHER_DISTRIBUTION} {DISTRIBUTION}"
        )
    }


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return _MISSING


def _amount(usage: dict[str, int]) -> str:
    from .report import size

    return size(usage["bytes"]) if usage["count"] else "none"
