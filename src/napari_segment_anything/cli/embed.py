"""`napari-sam embed`: encode images ahead of time, so that the first click on them is fast."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..errors import ImageError, ParameterError
from ..limits import TILES
from . import options, values
from .generated import generated

if TYPE_CHECKING:
    from ..engine import Model, PlaneSource, Window
    from ..formats import ImageData
    from ..progress import Progress

WHAT = "What is encoded"
KEPT = "Where it is kept"
VIEWER_GIGABYTES = 4.0
WHOLE_PLANE = 1 << 31
"""Planes of files up to this many bytes are read whole, as viewers do."""


@generated()
def embed(
    images: options.ImagesArgument,
    *,
    view: options.ImageOptions,
    plane: Annotated[
        str | None,
        options.option(
            WHAT,
            "Which plane of a stack; an axis that is left out is taken whole.",
            metavar="I|T=I,Z=J",
        ),
    ] = None,
    region: Annotated[
        str | None,
        options.option(
            WHAT,
            "Encode only this rectangle of a large image.",
            metavar="R0,C0,R1,C1",
        ),
    ] = None,
    boxes: Annotated[
        int,
        options.option(
            WHAT,
            "Large images: place windows so densely that boxes up to this side fit into one.",
            metavar="PIXELS",
        ),
    ] = 0,
    window: Annotated[
        int | None,
        options.option(
            WHAT,
            "Side of a window; as in the plugin's settings, if it is set there.",
            metavar="PIXELS",
        ),
    ] = None,
    network: options.ModelOptions,
    directory: Annotated[
        Path | None,
        options.option(
            KEPT,
            "Folder for embeddings; as in the plugin's settings, if it is set there.",
            metavar="DIR",
        ),
    ] = None,
    cache_gigabytes: Annotated[
        float,
        options.option(
            KEPT,
            "Largest size of that folder. Set the plugin to at least as much: whichever finds the "
            "folder too full removes the embeddings that were unused for longest.",
        ),
    ] = VIEWER_GIGABYTES,
    report: options.Reporting,
) -> None:
    """Encode images ahead of time, so that clicks in napari and runs with --cache start at once.

    Images up to twice the model's frame are encoded whole, plane by plane; larger ones in
    overlapping windows. An interrupted run continues when the same command is run again.

    Examples:

    napari-sam embed sample:coins

    napari-sam embed stack.tif --plane T=0 --model vit_b

    napari-sam embed raw/

    napari-sam embed slide.ome.zarr --region 20000,20000,30000,30000 --cache-gigabytes 20
    """
    from .batch import places_of
    from .cache import embedding_directory
    from .report import model_facts, progress_bar, size, tell

    if not cache_gigabytes > 0:
        raise ParameterError("--cache-gigabytes must be above 0")
    opened = [_open(each.source, view, each.plane or plane) for each in places_of(images)]

    from ..engine import EmbeddingCache, Predictor
    from ..progress import finish
    from ..session import embed_ahead

    folder = embedding_directory() if directory is None else directory.expanduser().absolute()
    encoded = found = written = 0
    began = time.perf_counter()
    with progress_bar(report.quiet) as show:
        loaded = network.load(show)
        cache = EmbeddingCache(folder, 0, int(cache_gigabytes * 2**30))
        predictor = Predictor(loaded, cache)
        works = [_windows(loaded, each[0], region, boxes, window) for each in opened]
        total = sum(
            len(planes) * len(parts) for (_, planes, _), parts in zip(opened, works, strict=True)
        )
        for (source, planes, in_memory), parts in zip(opened, works, strict=True):
            shown = _remaining(show, encoded + found, total, began)
            done = finish(
                embed_ahead(predictor, source, planes, parts, in_memory=in_memory, together=total),
                shown,
            )
            encoded, found, written = (
                encoded + done.encoded, found + done.found, written + done.bytes,
            )  # fmt: skip
    seconds = time.perf_counter() - began
    shape = works[0][0].shape
    tell(
        report,
        {
            "image": ", ".join(images),
            "windows": f"{total} of {shape[0]} x {shape[1]} pixels",
            "encoded": f"{encoded} ({size(written)}); {found} were cached already",
            "folder": folder,
            **model_facts(loaded),
            "time": f"{seconds:.1f} s",
        },
        lambda: {
            "image": ", ".join(images),
            "images": len(opened),
            "planes": sum(len(planes) for _, planes, _ in opened),
            "windows": total,
            "encoded": encoded,
            "already_there": found,
            "bytes": written,
            "directory": str(folder),
            "model": loaded.describe(),
            "seconds": round(seconds, 3),
        },
    )


def _open(
    name: str, view: options.ImageOptions, plane: str | None
) -> tuple[PlaneSource, list[tuple[int, ...]], bool]:
    """The image as planes, which planes to encode, and whether a viewer has it in memory."""
    from ..datasets.opening import read_source
    from ..engine import PlaneSource

    read = view.read()
    data = read_source(name, view.axes)
    given = read.pop("channel_axis")
    axis = data.channel_axis if given is None else given
    if axis is not None and not -len(data.axes) <= axis < len(data.axes):
        raise ParameterError(
            f"--channel-axis {axis}: {name} has {len(data.axes)} axes, {data.axes}"
        )
    source = PlaneSource(
        list(data.levels) or [data.array],
        displayed=(data.axes.index("Y"), data.axes.index("X")),
        channel_axis=axis,
        rgb=data.rgb,
        **read,
        name=data.name,
        path=None if data.path is None else str(data.path),
    )
    return source, _planes(data, axis, plane, name), _in_memory(data, source)


def _planes(
    data: ImageData, channel_axis: int | None, plane: str | None, name: str
) -> list[tuple[int, ...]]:
    colour = None if channel_axis is None else data.axes[channel_axis]
    stack = data.stack_axes.replace(colour, "") if colour else data.stack_axes
    where = values.plane(plane, stack)
    for axis in where:
        if axis not in stack:
            raise ImageError(f"{name} has no stack axis {axis}; its axes are {data.axes}")
    choices = []
    for axis in stack:
        length = data.shape[data.axes.index(axis)]
        index = where.get(axis)
        if index is not None and not -length <= index < length:
            raise ImageError(f"{name} has planes 0 to {length - 1} along {axis}; got {index}")
        choices.append(range(length) if index is None else [index % length])
    TILES.check(math.prod(map(len, choices)), f"{name} has too many planes", ImageError)
    return list(itertools.product(*choices))


def _in_memory(data: ImageData, source: PlaneSource) -> bool:
    """Whether a viewer reads the file whole: all but Zarr, unless it is too large for that."""
    from ..formats import is_url

    path = data.path
    if path is None or is_url(path) or Path(path).is_dir():
        return False
    rows, cols = source.shape
    depth = 1 if source.channel_axis is None else source.data_shape[source.channel_axis]
    depth = source.data_shape[-1] if source.rgb else depth
    return rows * cols * depth * source.dtype.itemsize <= WHOLE_PLANE


def _windows(
    model: Model, source: PlaneSource, region: str | None, boxes: int, window: int | None
) -> list[Window]:
    from ..engine import EncodePlan
    from ..session import ahead_windows

    part = values.region(region)
    only = None if part is None else part.clip(source.shape)
    plan = EncodePlan(source.shape, model.image_size, window_size=window)
    return ahead_windows(source.shape, plan.size, boxes, only)


def _remaining(
    show: Callable[[Progress], object], before: int, total: int, began: float
) -> Callable[[Progress], object]:
    """Show the progress of one image as part of the whole, with the time left."""
    from ..progress import Progress

    def report(step: Progress) -> None:
        done = before + step.done
        message = step.message
        if done:
            left = (time.perf_counter() - began) / done * (total - done)
            message += f", {left / 60:.0f} min left" if left > 90 else f", {left:.0f} s left"
        show(Progress(done, total, message=message))

    return report
