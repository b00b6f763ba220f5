"""Moving average of weights, and the part of a network's state that a run changes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import CheckpointError


class Average:
    """Exponential moving average of a module's floating point state, faster at the start.

    Parameters
    ----------
    module : nn.Module
        Module whose state is averaged.
    decay : float
        Decay per step.
    trained_only : bool
        Leave out frozen parameters.
    """

    def __init__(self, module: nn.Module, decay: float, trained_only: bool = False) -> None:
        self.decay, self.trained_only = decay, trained_only
        self.state = {k: v.clone() for k, v in live_state(module, trained_only).items()}

    def update(self, module: nn.Module, step: int) -> None:
        """Add the weights after optimiser step `step` (from 0) to the average."""
        decay = min(self.decay, (1 + step) / (10 + step))
        state = live_state(module, self.trained_only)
        pairs = [(self.state[k], v) for k, v in state.items() if v.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in pairs], [b for _, b in pairs], 1 - decay)
        for key, value in state.items():
            if not value.is_floating_point():
                self.state[key].copy_(value)


def live_state(module: nn.Module, trained_only: bool) -> dict[str, Tensor]:
    """A module's state by name, sharing memory.

    Parameters
    ----------
    module : nn.Module
    trained_only : bool
        Leave out frozen parameters.
    """
    state = {k: v.detach() for k, v in module.state_dict().items()}
    if trained_only:
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                state.pop(name, None)
    return state


def load_live_state(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Load what `live_state` returned.

    Parameters
    ----------
    module : nn.Module
    state : dict of str to Tensor
        Of the same network with the same parts frozen.

    Raises
    ------
    CheckpointError
        If it belongs to another network, or other parts of it were trained.
    """
    try:
        left = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"this state belongs to another network: {error}") from error
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    missing = sorted(trained.intersection(left.missing_keys))
    if left.unexpected_keys or missing:
        raise CheckpointError(
            "the run's checkpoint belongs to another network, perhaps with other settings; these "
            f"keys differ: {[*left.unexpected_keys, *missing][:3]}"
        )
