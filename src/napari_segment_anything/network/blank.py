"""Networks whose parameters are filled afterwards, or are only counted."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

_IN_PLACE = (Tensor.normal_, Tensor.uniform_)


class WithoutInitialisation(TorchFunctionMode):
    """Skip the random initialisation of the parameters of networks built inside it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init" or func in _IN_PLACE:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
