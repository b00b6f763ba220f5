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


def panel_of(parameter: Parameter) -> str:
    """Panel of a parameter of everything mode."""
    if parameter.filter:
        return KEEP
    return DENSE if parameter.modes and "grid" not in parameter.modes else FIND


FINDING = ((RUN, FIND), (CANDIDATES, panel_of))
"""What verbs that run everything mode are `generated` with."""


class Precision(StrEnum):
    """Arithmetic of the network: of all of it, or of encoder and decoder."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"
    fp32_bf16 = "fp32+bf16"
    bf16_fp32 = "bf16+fp32"


ImageArgument = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE", help="TIFF, PNG, JPEG, NPY, NPZ, Zarr or its URL; or sample:NAME."
    ),
]
ChannelAxisOption = Annotated[
    int | None,
    typer.Option(help="Axis that holds the channels (0 first, -1 last).", rich_help_panel=INPUT),
]
ChannelsOption = Annotated[
    str | None,
    typer.Option(
        metavar="I[,J[,K]]",
        help="Channels to use, by index: one for grey, two or three for red, green, blue.",
        rich_help_panel=INPUT,
    ),
]
AxesOption = Annotated[
    str | None,
    typer.Option(
        metavar="LETTERS",
        help="What the file's dimensions are, such as CYX or TZYX, where the file does not say.",
        rich_help_panel=INPUT,
    ),
]
PlaneOption = Annotated[
    str | None,
    typer.Option(
        metavar="I|T=I,Z=J",
        help="Which plane of a stack or time-lapse.",
        rich_help_panel=INPUT,
    ),
]
ContrastOption = Annotated[
    str,
    typer.Option(
        metavar="auto|percentile|LO,HI",
        help="Intensities shown as black and white. auto: 8-bit RGB as it is, else percentiles.",
        rich_help_panel=INPUT,
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE|URL",
        help="A name from `napari-sam models`, or any SAM checkpoint.",
        rich_help_panel=MODEL,
    ),
]
DecoderOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|URL",
        help="A separate instance decoder that belongs to the checkpoint.",
        rich_help_panel=MODEL,
    ),
]
CacheOption = Annotated[
    bool,
    typer.Option(
        "--cache",
        help="Keep the image's embedding on disk: the next run on it starts at once.",
        rich_help_panel=MODEL,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda|mps", help="Where the network runs.", rich_help_panel=MODEL
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        help="auto: bf16 where the hardware is fast at it, else fp32 (exact).",
        rich_help_panel=MODEL,
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="Folder for the labels, records, table and overlay; made when missing.",
        rich_help_panel=RESULT,
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace results of an earlier run.", rich_help_panel=RESULT),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json", help="Print the result as JSON on standard output.", rich_help_panel=TALK
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="No progress and no summary.", rich_help_panel=TALK),
]
DebugOption = Annotated[
    bool,
    typer.Option("--debug", help="Show the traceback when something fails.", rich_help_panel=TALK),
]


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How the image is to be understood."""

    axes: AxesOption = None
    channel_axis: ChannelAxisOption = None
    channels: ChannelsOption = None
    contrast_limits: ContrastOption = "auto"

    def read(self) -> dict[str, Any]:
        """Their values as the engine takes them.

        Raises
        ------
        ParameterError
            One of them has another form.
        """
        return {
            "channel_axis": self.channel_axis,
            "channels": values.indices(self.channels, "--channels"),
            "contrast_limits": values.contrast_limits(self.contrast_limits),
        }


@dataclass(frozen=True, slots=True)
class StackOptions(ImageOptions):
    """How a stack is to be understood: every plane may have limits of its own."""

    contrast_limits: Annotated[
        str,
        typer.Option(
            metavar="auto|percentile|plane|LO,HI",
            help="Intensities shown as black and white, the same on all planes; plane: each its "
            "own.",
            rich_help_panel=INPUT,
        ),
    ] = "auto"

    def read(self) -> dict[str, Any]:
        """Their values as the engine takes them."""
        if self.contrast_limits != "plane":
            return ImageOptions.read(self)
        return {
            **ImageOptions(self.axes, self.channel_axis, self.channels).read(),
            "contrast_limits": "plane",
        }


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model, and where it runs."""

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
    """What is printed."""

    as_json: JsonOption = False
    quiet: QuietOption = False
    debug: DebugOption = False
