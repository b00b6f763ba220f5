"""Build networks from tensors; mismatches are reported by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, ResourceError
from ..network.blank import WithoutInitialisation
from ..network.instance_decoder import InstanceDecoder, InstanceDecoderConfig
from ..network.quantised import shape_as_stored
from ..network.sam import Sam, SamConfig

# A training counter of batch normalisation, missing in old files.
_OPTIONAL = ".num_batches_tracked"
_SHOWN = 4


def build_network(config: SamConfig, state: Mapping[str, Tensor], where: str) -> Sam:
    """Build a SAM with the given weights, in float32 and evaluation mode.

    Linear layers of the image encoder whose weights are int8 are built as `Int8Linear`.

    Parameters
    ----------
    config : SamConfig
        Its configuration.
    state : mapping of str to Tensor
        Weights under the published names, of any float dtype.
    where : str
        Their origin, for error messages.

    Raises
    ------
    CheckpointError
        If tensors are missing, unexpected, of another shape, or not finite.
    ResourceError
        If there is not enough memory.
    """
    try:
        # Memory that is not written to is not taken, so the network can be compared with the file
        # before it is filled. The meta device would do as well, but imports torch's compiler.
        with WithoutInitialisation():
            network = Sam(config)
        shape_as_stored(network, state)
        _compare(network, state, where)
        _fill(network, state)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise ResourceError(f"not enough memory for the weights of {where}") from error
        raise
    return network.eval()


def build_decoder(
    config: InstanceDecoderConfig, state: Mapping[str, Tensor], where: str, channels: int
) -> InstanceDecoder:
    """Build an instance decoder with the given weights.

    Parameters
    ----------
    config, state, where
        As for `build_network`.
    channels : int
        Embedding channels of the SAM.

    Raises
    ------
    CheckpointError
        As `build_network`, and if it is for embeddings of another width.
    """
    if config.inputs != channels:
        raise CheckpointError(
            f"the instance decoder of {where} is for embeddings of {config.inputs} channels, but "
            f"those of this model have {channels}"
        )
    if config.outputs != 3:
        raise CheckpointError(
            f"the instance decoder of {where} has {config.outputs} outputs instead of 3 "
            "(foreground, centre distance, boundary distance)"
        )
    with WithoutInitialisation():
        decoder = InstanceDecoder(config)
    _compare(decoder, state, where)
    _fill(decoder, state)
    return decoder.eval()


def _is_float(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def _compare(expected: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    wanted = expected.state_dict()
    missing = [k for k in wanted if k not in state and not k.endswith(_OPTIONAL)]
    unexpected = [k for k in state if k not in wanted]
    faults = []
    if missing:
        faults.append(f"lacks {_some(missing)}")
    if unexpected:
        faults.append(f"has {_some(unexpected)} that do not belong to this architecture")
    if faults:
        raise CheckpointError(f"{where} {' and '.join(faults)}: not a whole, plain SAM checkpoint")
    strange = [
        f"{k} is {state[k].dtype}"
        for k, v in wanted.items()
        if k in state and v.is_floating_point() and not _is_float(state[k])
    ]
    if strange:
        raise CheckpointError(
            f"{where} has {len(strange)} tensor{'s' * (len(strange) > 1)} that hold no weights: "
            f"{strange[0].replace('torch.', '')}; weights are float16, bfloat16, float32 or "
            "float64. Use the file from before they were quantised or converted."
        )
    wrong = [
        f"{k} is {tuple(state[k].shape)} instead of {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in state and state[k].shape != v.shape
    ]
    if wrong:
        raise CheckpointError(
            f"{where} has {len(wrong)} tensor{'s' * (len(wrong) > 1)} of another shape: "
            + "; ".join(wrong[:_SHOWN])
            + ("; ..." if len(wrong) > _SHOWN else "")
        )
    bad = [k for k, v in state.items() if not _finite(v)]
    if bad:
        raise CheckpointError(
            f"{where} has values that are not finite numbers in {_some(bad)}: "
            "training diverged, or the file is damaged"
        )


def _finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    # The extremes are NaN if any value is; no temporary array is needed.
    low, high = torch.aminmax(tensor)
    return bool(torch.isfinite(low) & torch.isfinite(high))


def _fill(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    counters = {
        k: torch.zeros_like(v)
        for k, v in module.state_dict().items()
        if k.endswith(_OPTIONAL) and k not in state
    }
    module.load_state_dict({**state, **counters})


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} tensor{'s' * (len(names) > 1)} ({shown}{more})"
