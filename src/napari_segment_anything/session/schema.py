"""What the lines of a journal have to be: a header, then events."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, with_config
from typing_extensions import TypedDict

_MOST = 2**31 - 1
Index = Annotated[int, Field(ge=0, le=_MOST)]
Size = Annotated[int, Field(ge=1, le=_MOST)]
Axis = Annotated[int, Field(ge=-32, lt=32)]
Label = Annotated[int, Field(ge=0, le=2**63 - 1)]
Number = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=4096)]
Shape = Annotated[list[Size], Field(min_length=1, max_length=32)]
Plane = Annotated[list[Index], Field(max_length=32)]
Point = Annotated[list[Number], Field(min_length=2, max_length=2)]
Line = Annotated[list[Point], Field(min_length=1)]
Box = Annotated[list[Number], Field(min_length=4, max_length=4)]
IntegerType = Annotated[str, Field(pattern=r"^([<>=|]?[ui][1248]|u?int(8|16|32|64))$")]


def _rectangle(values: list[int]) -> list[int]:
    if min(values) < 0 or min(values[2:]) < 1 or max(values) > _MOST:
        raise ValueError("a window is [row, column, height, width], with pixels")
    return values


Rectangle = Annotated[list[int], Field(min_length=4, max_length=4), AfterValidator(_rectangle)]


class Image(TypedDict):
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


class RecordedModel(TypedDict):
    """What numbers depend on besides the image."""

    name: Text
    fingerprint: Text
    precision: Literal["fp32", "bf16", "fp16"]
    embeddings: Literal["half", "full"]
    threads: NotRequired[Annotated[int, Field(ge=0)]]


class RecordedTarget(TypedDict):
    """Labels as they were when the session began."""

    shape: Shape
    dtype: IntegerType
    largest: Label
    displayed: NotRequired[list[Axis] | None]


@with_config(ConfigDict(extra="forbid"))
class JournalSettings(TypedDict):
    """How masks are decoded. Nothing here says where anything is read or written."""

    window_size: NotRequired[Size | None]
    overwrite: NotRequired[bool]
    multimask: NotRequired[bool | Literal["auto"]]
    min_mask_region_area: NotRequired[Share | None]


class Header(TypedDict):
    """The first line."""

    image: Image
    model: RecordedModel
    target: RecordedTarget
    settings: JournalSettings


class Mask(TypedDict):
    """`regions.mask_json`."""

    window: Rectangle
    bits: str


class Patch(TypedDict):
    """`Patch.to_json`."""

    plane: Plane
    window: Rectangle
    dtype: IntegerType
    before: str
    after: str


class Scribble(TypedDict):
    """A line drawn inside an object, or outside of it."""

    line: Line
    positive: bool


class Prompts(TypedDict):
    """`ObjectPrompts.to_json`."""

    points: NotRequired[list[Point]]
    labels: NotRequired[list[int]]
    box: NotRequired[Box | None]
    scribbles: NotRequired[list[Scribble]]
    mask: NotRequired[Mask | None]


def _labelled(prompts: Prompts) -> Prompts:
    points, labels = prompts.get("points", []), prompts.get("labels", [])
    if len(points) != len(labels):
        raise ValueError(f"{len(points)} points and {len(labels)} labels of points")
    return prompts


class Object(TypedDict):
    """`SessionObject.to_json`."""

    id: Label | None
    plane: Plane
    prompts: Annotated[Prompts, AfterValidator(_labelled)]
    candidate: Index | None
    scores: list[Number]
    score: Number | None
    fingerprint: Text
    seconds: Number
    state: Literal["draft", "committed"]


class Edit(TypedDict):
    """`Edit.to_json`."""

    objects: list[tuple[Label, Object | None, Object | None]]
    patches: list[Patch]
    next_id: Annotated[list[Label], Field(min_length=2, max_length=2)]


class Event(TypedDict):
    """What all events may have."""

    t: NotRequired[Number]
    window: NotRequired[Rectangle | None]


class Simple(Event):
    """What says no more than its name; a decoding's figures are for people."""

    do: Literal["undo", "redo", "cancel", "closed", "void", "decode"]


class Begin(Event):
    do: Literal["begin"]
    plane: Plane


class BeginBatch(Event):
    do: Literal["begin_batch"]
    plane: Plane
    points: list[Point]
    boxes: list[Box]


class AddPoint(Event):
    do: Literal["add_point"]
    plane: Plane
    point: Point
    positive: bool
    draft: Index | None


class MovePoint(Event):
    do: Literal["move_point"]
    index: Index
    point: Point


class RemovePoint(Event):
    do: Literal["remove_point"]
    index: Index


class SetBox(Event):
    do: Literal["set_box"]
    plane: Plane
    box: Box | None
    draft: Index | None


class AddScribble(Event):
    do: Literal["add_scribble"]
    plane: Plane
    line: Line
    positive: bool
    draft: Index | None


class SetMask(Event):
    do: Literal["set_mask"]
    plane: Plane
    mask: Mask | None
    draft: Index | None


class PaintPreview(Event):
    do: Literal["paint_preview"]
    mask: Mask
    draft: Index | None


class Choose(Event):
    do: Literal["choose"]
    candidate: Index | None
    draft: Index | None


class TakeUp(Event):
    do: Literal["edit"]
    id: Label
    plane: Plane
    mask: Mask | None


class Changed(Event):
    do: Literal["settings"]
    overwrite: NotRequired[bool]
    multimask: NotRequired[bool | Literal["auto"]]
    min_mask_region_area: NotRequired[Share | None]


class Reserve(Event):
    do: Literal["reserve"]
    label: Label


class Lock(Event):
    do: Literal["lock"]
    ids: list[Label]
    on: bool


class ChangeModel(Event):
    do: Literal["model"]
    model: RecordedModel


class Recovered(Event):
    do: Literal["recovered"]
    model: RecordedModel
    label: Annotated[int, Field(ge=-1, le=2**63 - 1)]


class Commit(Event):
    do: Literal["commit"]
    ids: list[Label]
    edit: Edit


class OfObjects(Event):
    do: Literal["delete", "merge"]
    ids: list[Label]
    plane: Plane | None
    edit: Edit


class SplitOff(Event):
    do: Literal["split_off"]
    label: Label
    mask: Mask
    plane: Plane | None
    edit: Edit


class Relabel(Event):
    do: Literal["relabel"]
    label: Label
    new: Label
    plane: Plane | None
    edit: Edit


class Paint(Event):
    do: Literal["paint"]
    edit: Edit


AnyEvent: TypeAlias = Any
AnyEvent = Annotated[  # type: ignore[misc]
    Simple | Begin | BeginBatch | AddPoint | MovePoint | RemovePoint | SetBox | AddScribble
    | SetMask | PaintPreview | Choose | TakeUp | Changed | Reserve | Lock | ChangeModel | Recovered
    | Commit | OfObjects | SplitOff | Relabel | Paint,
    Field(discriminator="do"),
]  # fmt: skip
