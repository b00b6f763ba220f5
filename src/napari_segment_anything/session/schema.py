"""Types of the values in a journal. All are bounded, since a journal may come from anybody.

The classes that are recorded (actions, prompts, objects, changes of labels) use these types for
their fields, so that reading a line checks it.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from functools import lru_cache
from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    with_config,
)
from typing_extensions import TypedDict

from ..engine import PlacedMask, Window
from ..errors import FormatError
from ..limits import MASK_PIXELS
from ..reading import inflate

_MOST = 2**31 - 1
Index = Annotated[int, Field(ge=0, le=_MOST)]
Size = Annotated[int, Field(ge=1, le=_MOST)]
Axis = Annotated[int, Field(ge=-32, lt=32)]
Label = Annotated[int, Field(ge=0, le=2**63 - 1)]
Number = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=4096)]
Shape = Annotated[list[Size], Field(min_length=1, max_length=32)]
Plane = Annotated[tuple[Index, ...], Field(max_length=32)]
Point: TypeAlias = tuple[Number, Number]
Box: TypeAlias = tuple[Number, Number, Number, Number]
Line = Annotated[tuple[Point, ...], Field(min_length=1)]
Flag = Annotated[bool, BeforeValidator(bool)]
Multimask: TypeAlias = bool | Literal["auto"]
IntegerType = Annotated[str, Field(pattern=r"^([<>=|]?[ui][1248]|u?int(8|16|32|64))$")]


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _window(values: Any) -> Window:
    whole = isinstance(values, list) and len(values) == 4
    if not whole or any(type(value) is not int or value > _MOST for value in values):
        raise ValueError("a window is [row, column, height, width], with pixels")
    return Window(*values)


def _unpacked(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise FormatError(f"packed pixels cannot be read: {error}") from error


def window_json(window: Window) -> list[int]:
    """Return a window as [row, col, height, width]."""
    return [window.row, window.col, window.height, window.width]


Rectangle = Annotated[Window, PlainValidator(_window), PlainSerializer(window_json)]
Packed = Annotated[
    bytes,
    PlainValidator(_unpacked),
    PlainSerializer(lambda data: base64.b64encode(data).decode("ascii")),
]


class _MaskJson(TypedDict):
    window: Rectangle
    bits: Packed


def _mask(value: Any) -> PlacedMask:
    """Read a mask; its size is bounded, and it unpacks to no more than that."""
    plain = _adapter(_MaskJson).validate_python(value)
    window: Window = plain["window"]
    count = window.height * window.width
    MASK_PIXELS.check(count, "a mask in the journal")
    return PlacedMask(window, inflate(plain["bits"], -(-count // 8), "a mask in the journal"))


def _mask_json(mask: PlacedMask) -> Any:
    packed: _MaskJson = {"window": mask.window, "bits": zlib.compress(mask.bits, 6)}
    return _adapter(_MaskJson).dump_python(packed, mode="json")


RecordedMask = Annotated[PlacedMask, PlainValidator(_mask), PlainSerializer(_mask_json)]


class RecordedImage(TypedDict):
    """`PlaneSource.signature`."""

    shape: Shape
    dtype: Text
    displayed: Annotated[list[Axis], Field(min_length=2, max_length=2)]
    channel_axis: Axis | None
    rgb: bool
    channels: list[Index] | None
    contrast_limits: Text | list[Number] | list[Point]
    levels: NotRequired[Size]
    name: NotRequired[Text]
    path: NotRequired[Text | None]
    checksum: NotRequired[Text]


class RecordedPolicy(TypedDict):
    """`engine.policy`."""

    rules: Index
    focus: dict[Text, Number] | None
    prompted_parts_only: bool
    min_mask_region_area: Number


class RecordedModel(TypedDict):
    """What masks depend on besides the image, the prompts and the settings."""

    name: Text
    fingerprint: Text
    precision: Annotated[str, Field(pattern=r"^(fp32|bf16|fp16|int8)(\+(fp32|bf16|fp16))?$")]
    embeddings: Literal["half", "full"]
    device: NotRequired[Text]
    threads: NotRequired[Annotated[int, Field(ge=0)]]
    policy: NotRequired[RecordedPolicy]


class RecordedTarget(TypedDict):
    """Labels as they were when the session began."""

    shape: Shape
    dtype: IntegerType
    largest: Label
    displayed: NotRequired[list[Axis] | None]


class ChangedSettings(TypedDict, total=False):
    """Settings that may change while a session runs."""

    overwrite: bool
    multimask: Multimask
    min_mask_region_area: Share | None


@with_config(ConfigDict(extra="forbid"))
class RecordedSettings(ChangedSettings, total=False):
    """Settings of a session. Nothing here says where anything is read or written."""

    window_size: Size | None


class Header(TypedDict):
    """The first line."""

    image: RecordedImage
    model: RecordedModel
    target: RecordedTarget
    settings: RecordedSettings


def to_json(value: object) -> Any:
    """Return a recorded object as plain values; fields with their defaults are left out."""
    kind: Any = type(value)
    return _adapter(kind).dump_python(value, mode="json", exclude_defaults=True)
