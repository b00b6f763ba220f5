"""Options that several verbs share, each defined once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..parameters import EVERYTHING, RUN, Parameter
from . import values

if TYPE_CHECKING:
    from ..engine import Model
    from .report import Show

INPUT, MODEL, RESULT, TALK = "Image", "Model", "Results", "Reporting"
FIND, KEEP = "Finding candidates", "Keeping or dropping them"
DENSE = "Modes proposals and instances"
CANDIDATES = {
    # floors keep rejected masks for a later refilter, which a finished program has none of
    name: parameter
    for name, parameter in EVERYTHING.items()
    if not name.endswith("_floor")
}


def option(panel: str, text: str, *names: str, **more: Any) -> Any:
    """An option in a panel of the help text.

    Parameters
    ----------
    panel : str
        Title of the panel.
    text : str
        What the option means.
    *names : str
        How it is written, where the parameter's name does not say.
    **more
        Others of `typer.Option`, such as `metavar`.
    """
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


def panel_of(parameter: Parameter) -> str:
    """Panel of a parameter of everything mode."""
    if parameter.filter:
        return KEEP
    return DENSE if parameter.modes and "grid" not in parameter.modes else FIND


FINDING = ((RUN, FIND), (CANDIDATES, panel_of))
"""What verbs that run everything mode are `generated` with."""


class Precision(StrEnum):
    """Arithmetic of the network, or of encoder and decoder separately."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"
    int8 = "int8"
    fp32_bf16 = "fp32+bf16"
    bf16_fp32 = "bf16+fp32"
    int8_fp32 = "int8+fp32"
    int8_bf16 = "int8+bf16"


ImageArgument = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE",
        help="TIFF, PNG, JPEG, NPY, NPZ or Zarr file, URL of a Zarr image, or sample:NAME.",
    ),
]
ImagesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGES...",
        help="TIFF, PNG, JPEG, NPY, NPZ or Zarr files, folders, patterns or tables of them, "
        "plates, URLs of Zarr images, or sample:NAME.",
    ),
]
ChannelAxisOption = Annotated[
    int | None, option(INPUT, "Index of the channel axis (0 is the first, -1 the last).")
]
ChannelsOption = Annotated[
    str | None,
    option(
        INPUT,
        "Channels to use, by index: one for grey, two or three for red, green, blue.",
        metavar="I[,J[,K]]",
    ),
]
AxesOption = Annotated[
    str | None,
    option(
        INPUT,
        "Letters of the dimensions, such as CYX or TZYX, if the file does not state them.",
        metavar="LETTERS",
    ),
]
PlaneOption = Annotated[
    str | None, option(INPUT, "Plane of a stack or time-lapse.", metavar="I|T=I,Z=J")
]
ContrastOption = Annotated[
    str,
    option(
        INPUT,
        "Intensities mapped to black and white. auto: percentiles, but 8-bit RGB unchanged.",
        metavar="auto|percentile|LO,HI",
    ),
]
ModelOption = Annotated[
    str,
    option(
        MODEL,
        "A name from `napari-sam models`, any SAM checkpoint, a folder, or owner/name on the "
        "Hugging Face Hub.",
        metavar="NAME|FILE|URL",
    ),
]
DecoderOption = Annotated[
    str | None,
    option(
        MODEL, "A separate instance decoder that belongs to the checkpoint.", metavar="FILE|URL"
    ),
]
CacheOption = Annotated[
    bool,
    option(
        MODEL,
        "Keep the image's embedding on disk, so that the next run on it starts at once.",
        "--cache",
    ),
]
DeviceOption = Annotated[str, option(MODEL, "Where the network runs.", metavar="auto|cpu|cuda|mps")]
PrecisionOption = Annotated[
    Precision,
    option(
        MODEL,
        "Arithmetic of the network. auto: bf16 if the hardware is fast at it, else fp32 (exact). "
        "int8: linear layers of a transformer's image encoder, on processors with VNNI.",
    ),
]
OutputOption = Annotated[
    Path | None,
    option(
        RESULT,
        "Folder for labels, masks, table and overlay; created if missing.",
        "-o",
        "--output",
        metavar="DIR",
    ),
]
OverwriteOption = Annotated[
    bool, option(RESULT, "Replace results of an earlier run.", "--overwrite")
]
ResumeOption = Annotated[
    bool, option(RESULT, "Leave out images that have all their results.", "--resume")
]
JsonOption = Annotated[bool, option(TALK, "Print the result as JSON on standard output.", "--json")]
QuietOption = Annotated[bool, option(TALK, "Print no progress and no summary.", "-q", "--quiet")]
DebugOption = Annotated[bool, option(TALK, "Show the traceback of an error.", "--debug")]


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How to interpret the image."""

    axes: AxesOption = None
    channel_axis: ChannelAxisOption = None
    channels: ChannelsOption = None
    contrast_limits: ContrastOption = "auto"

    def read(self) -> dict[str, Any]:
        """Return the values as the engine takes them.

        Raises
        ------
        ParameterError
            If one of them is malformed.
        """
        return {
            "channel_axis": self.channel_axis,
            "channels": values.indices(self.channels, "--channels"),
            "contrast_limits": values.contrast_limits(self.contrast_limits),
        }


@dataclass(frozen=True, slots=True)
class StackOptions(ImageOptions):
    """How to interpret a stack; each plane may have contrast limits of its own."""

    contrast_limits: Annotated[
        str,
        option(
            INPUT,
            "Intensities mapped to black and white, the same on all planes; plane: separately on "
            "each plane.",
            metavar="auto|percentile|plane|LO,HI",
        ),
    ] = "auto"

    def read(self) -> dict[str, Any]:
        """Return the values as the engine takes them."""
        if self.contrast_limits != "plane":
            return ImageOptions.read(self)
        return {
            **ImageOptions(self.axes, self.channel_axis, self.channels).read(),
            "contrast_limits": "plane",
        }


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model to load, and where it runs."""

    model: ModelOption = "default"
    device: DeviceOption = "auto"
    precision: PrecisionOption = Precision.auto

    def load(self, show: Show, instance_decoder: str | None = None) -> Model:
        """Load the model.

        Parameters
        ----------
        show : callable
            Takes the progress of a download.
        instance_decoder : str, optional
            A separate decoder that belongs to the checkpoint.
        """
        from ..engine import load_model
        from ..progress import Progress

        show(Progress(0, 1, message="loading the model"))
        return load_model(
            self.model,
            self.device,
            str(self.precision),
            instance_decoder=instance_decoder,
            progress=show,
        )


@dataclass(frozen=True, slots=True)
class Reporting:
    """What to print."""

    as_json: JsonOption = False
    quiet: QuietOption = False
    debug: DebugOption = False
