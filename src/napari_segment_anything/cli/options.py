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
    int | None, option(INPUT, "Axis that holds the channels (0 first, -1 last).")
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
        "What the file's dimensions are, such as CYX or TZYX, where the file does not say.",
        metavar="LETTERS",
    ),
]
PlaneOption = Annotated[
    str | None, option(INPUT, "Which plane of a stack or time-lapse.", metavar="I|T=I,Z=J")
]
ContrastOption = Annotated[
    str,
    option(
        INPUT,
        "Intensities shown as black and white. auto: 8-bit RGB as it is, else percentiles.",
        metavar="auto|percentile|LO,HI",
    ),
]
ModelOption = Annotated[
    str,
    option(
        MODEL, "A name from `napari-sam models`, or any SAM checkpoint.", metavar="NAME|FILE|URL"
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
        MODEL, "Keep the image's embedding on disk: the next run on it starts at once.", "--cache"
    ),
]
DeviceOption = Annotated[str, option(MODEL, "Where the network runs.", metavar="auto|cpu|cuda|mps")]
PrecisionOption = Annotated[
    Precision, option(MODEL, "auto: bf16 where the hardware is fast at it, else fp32 (exact).")
]
OutputOption = Annotated[
    Path | None,
    option(
        RESULT,
        "Folder for the labels, records, table and overlay; made when missing.",
        "-o",
        "--output",
        metavar="DIR",
    ),
]
OverwriteOption = Annotated[
    bool, option(RESULT, "Replace results of an earlier run.", "--overwrite")
]
JsonOption = Annotated[bool, option(TALK, "Print the result as JSON on standard output.", "--json")]
QuietOption = Annotated[bool, option(TALK, "No progress and no summary.", "-q", "--quiet")]
DebugOption = Annotated[bool, option(TALK, "Show the traceback when something fails.", "--debug")]


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
        option(
            INPUT,
            "Intensities shown as black and white, the same on all planes; plane: each its own.",
            metavar="auto|percentile|plane|LO,HI",
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
