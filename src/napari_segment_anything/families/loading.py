"""From a folder to a network: transformers' model with all of its weights, or one clear error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from logging import CRITICAL
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ..errors import CheckpointError
from ..network import Promptable
from ..network.copying import copied
from ..reading import one_line
from .folder import ModelFolder
from .repvit import with_repvit
from .sam2 import Sam2Network
from .sam_hq import SamHqNetwork

_PHOTOS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALVES = ((0.5,) * 3, (0.5,) * 3)
_SAM2_DEFAULTS: dict[str, Any] = {"everything": {"grid": {"pred_iou_thresh": 0.8}}}


class Family(NamedTuple):
    """How a model_type is loaded.

    Parameters
    ----------
    config, model : str
        Names of transformers' classes.
    network : type
        What calls them.
    pixels : tuple
        Mean and deviation of pixels in 0..1 where the folder does not say.
    prepare : callable
        Turns the content of config.json into what transformers gets.
    metadata : dict
        Of its models, such as published default parameters; see `Model`.
    """

    config: str
    model: str
    network: type[Sam2Network] | type[SamHqNetwork]
    pixels: tuple[tuple[float, ...], tuple[float, ...]] = _PHOTOS
    prepare: Callable[[dict[str, Any]], dict[str, Any]] = dict
    metadata: Mapping[str, Any] = _SAM2_DEFAULTS


FAMILIES = {
    "edgetam": Family("EdgeTamConfig", "EdgeTamModel", Sam2Network, prepare=with_repvit),
    "edgetam_video": Family(
        "EdgeTamVideoConfig", "EdgeTamVideoModel", Sam2Network, prepare=with_repvit
    ),
    "sam2": Family("Sam2Config", "Sam2Model", Sam2Network),
    "sam2_video": Family("Sam2VideoConfig", "Sam2VideoModel", Sam2Network),
    "sam3_tracker": Family("Sam3TrackerConfig", "Sam3TrackerModel", Sam2Network, _HALVES),
    "sam3_tracker_video": Family(
        "Sam3TrackerVideoConfig", "Sam3TrackerVideoModel", Sam2Network, _HALVES
    ),
    "sam3_video": Family("Sam3VideoConfig", "Sam3VideoModel", Sam2Network, _HALVES),
    "sam_hq": Family("SamHQConfig", "SamHQModel", SamHqNetwork, metadata={}),
}
"""By model_type. Where a folder has weights for memory, the model for video is loaded: its modules
answer image prompts as well."""


def load_family(folder: str | Path | ModelFolder) -> Promptable:
    """Load a promptable network from a folder in the form of transformers.

    Parameters
    ----------
    folder : path or ModelFolder
        With config.json and safetensors.

    Returns
    -------
    Promptable
        On the CPU, in float32, in evaluation mode. Its `module` is transformers' own model.

    Raises
    ------
    CheckpointError
        If transformers is not installed, the model is of an unknown kind, or weights are missing,
        damaged or do not fit.
    """
    folder = folder if isinstance(folder, ModelFolder) else ModelFolder.read(folder)
    family = FAMILIES.get(folder.model_type)
    if family is None:
        raise CheckpointError(
            f"{folder.path} holds a model of type {folder.model_type}, which takes no prompts; "
            f"known are {', '.join(FAMILIES)}"
        )
    module = load_module(folder, family.config, family.model, prepare=family.prepare)
    pixels = folder.pixels(*family.pixels)
    return fitted(family.network, module, folder.model_type, pixels, str(folder.path))


def fitted(
    network_class: type[Sam2Network] | type[SamHqNetwork],
    module: nn.Module,
    kind: str,
    pixels: tuple[tuple[float, ...], tuple[float, ...]],
    where: str,
) -> Promptable:
    """Put transformers' model behind the interface of a promptable network, and try that it runs.

    Parameters
    ----------
    network_class : type
    module : nn.Module
        Transformers' model, or one with the same parts.
    kind : str
        Its model_type.
    pixels : tuple
        Mean and deviation of pixels in 0..255, by channel.
    where : str
        The file or folder, for messages.

    Raises
    ------
    CheckpointError
        If its parts do not fit each other.
    """
    try:
        network = network_class(module, kind, *pixels).eval()
        _try(copied(network, "meta"))
    except (
        ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, CheckpointError
    ) as error:  # fmt: skip
        raise CheckpointError(
            f"{where}: its {kind} configuration does not fit: {one_line(error)}"
        ) from error
    return network


def load_module(
    folder: ModelFolder,
    config_class: str,
    model_class: str,
    attention: str | None = "sdpa",
    prepare: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> nn.Module:
    """Load one of transformers' models from a folder, with all of its weights and no others.

    Parameters
    ----------
    folder : ModelFolder
    config_class, model_class : str
        Names of the classes in transformers.
    attention : str, optional
        Implementation of attention, in transformers' words.
    prepare : callable
        As for `Family`.

    Raises
    ------
    CheckpointError
        As for `load_family`.
    """
    where, kind = str(folder.path), folder.model_type
    library = transformers_for(f"{where} ({kind})")
    if "quantization_config" in folder.config:
        raise CheckpointError(f"{where} has quantized weights, which are not supported")
    values = {k: v for k, v in folder.config.items() if not k.endswith("attn_implementation")}
    tensors = folder.tensors()
    with quiet():
        try:
            settings = getattr(library, config_class).from_dict(prepare(values))
            module, found = getattr(library, model_class).from_pretrained(
                None,
                config=settings,
                state_dict=tensors,
                dtype=torch.float32,
                attn_implementation=attention,
                output_loading_info=True,
            )
        except CheckpointError:
            raise
        except Exception as error:  # whatever a wrong configuration makes of transformers and torch
            raise CheckpointError(
                f"{where} is no complete {kind} model: {one_line(error)}"
            ) from error
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if names := sorted(map(str, found.get(fault) or ())):
            what = fault.removesuffix("_keys").replace("error_msgs", "unreadable")
            shown = ", ".join(names[:3]) + (" and more" if len(names) > 3 else "")
            raise CheckpointError(
                f"the weights in {where} do not fit its {kind} configuration: "
                f"{len(names)} {what} ({shown})"
            )
    loaded: nn.Module = module.eval().requires_grad_(False)
    return loaded


def _try(network: Promptable) -> None:
    """Run a network that has no numbers: shapes that contradict each other show in milliseconds."""
    side = network.config.image_size
    with torch.inference_mode(), torch.device("meta"):
        seen = network.encode(torch.empty(1, 3, side, side))
        point, label = torch.empty(1, 1, 2), torch.empty(1, 1, dtype=torch.int32)
        logits, _ = network.decode(seen.embedding, point, label, heads=seen.heads, return_all=True)
    low = 4 * network.config.embedding_size
    if logits.shape != (1, 1 + network.config.multimask_outputs, low, low):
        raise ValueError(f"its masks have the shape {tuple(logits.shape)}")


def transformers_for(what: str) -> Any:
    """Import transformers.

    Parameters
    ----------
    what : str
        What needs it, for the message.

    Raises
    ------
    CheckpointError
        If it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise CheckpointError(
            f"{what} needs transformers: pip install 'segment-anything-napari[models]'"
        ) from error
    return transformers


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from printing reports and progress bars."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
