"""Options that several verbs share, each defined once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

INPUT, MODEL, RESULT, TALK = "Image", "Model", "Results", "Reporting"


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
