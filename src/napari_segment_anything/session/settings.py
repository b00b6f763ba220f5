"""Settings of a session."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..errors import ParameterError
from .schema import Multimask, Share, Size


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How a session decodes masks, and whether commits overwrite labels; see `Session`.

    Parameters
    ----------
    window_size : int, optional
    overwrite : bool
    multimask : "auto" or bool
    min_mask_region_area : float, optional

    Raises
    ------
    ParameterError
        If a value is none of these.
    """

    window_size: Size | None = None
    overwrite: bool = False
    multimask: Multimask = "auto"
    min_mask_region_area: Share | None = None

    def __post_init__(self) -> None:
        if self.window_size is not None and int(self.window_size) < 1:
            raise ParameterError(f"window_size is at least 1 pixel, not {self.window_size}")
        if self.multimask != "auto" and not isinstance(self.multimask, bool):
            raise ParameterError(f"multimask is 'auto', True or False, not {self.multimask!r}")
        area = self.min_mask_region_area
        if area is not None and not 0 <= float(area) < float("inf"):
            raise ParameterError(f"min_mask_region_area is a number of pixels, not {area!r}")
        object.__setattr__(self, "overwrite", bool(self.overwrite))

    def to_json(self) -> dict[str, Any]:
        """Return plain values, by parameter name."""
        return asdict(self)
