"""What a large run's ledger says of it, as it is read from a store."""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

_Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
_Number = Annotated[float, Field(allow_inf_nan=False)]


@with_config(ConfigDict(extra="forbid"))
class Opened(TypedDict):
    """How the image is opened again; `image` is None for an array."""

    image: str | None
    axes: NotRequired[str | None]
    channel_axis: NotRequired[int | None]
    channels: NotRequired[list[_Count] | None]


@with_config(ConfigDict(extra="allow"))
class Run(TypedDict):
    """Settings and state of a run; further settings are only compared."""

    tile: _Count
    overlap: _Count
    region: Annotated[list[_Count], Field(min_length=4, max_length=4)]
    limits: NotRequired[list[Annotated[list[_Number], Field(min_length=2, max_length=2)]]]
    failed: NotRequired[dict[str, str]]
    opened: NotRequired[Opened]
    state: NotRequired[str]
