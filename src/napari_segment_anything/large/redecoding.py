"""Segment one place of a large run again, with a box as prompt and in a window that holds it."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import block_reduce

from ..engine import (
    Model,
    PlacedMask,
    Predictor,
    Prompts,
    Segmented,
    Segmenter,
    Window,
    open_image,
)
from ..engine.image import ImageSource
from ..errors import ParameterError
from ..formats.locking import only_writer
from ..formats.ome_zarr import LabelsGroup, is_url, open_labels
from ..formats.run_record import check_same
from ..progress import Progress, finish
from .image import LargeImage
from .ledger import Ledger, TileStatus
from .runners import ThreadRunner
from .segmenting import ModelSegment, model_of
from .stitching import KINDS
from .tiles import ImageTiles, TileJob, writing
from .unchanged import check_unchanged

ROOM = 4.0
"""Side of the window that is drawn in, in sides of the box."""
_MOST = 1 << 14
_STRIP = 1 << 22


def redecode(
    output: str | Path,
    model: Model,
    seam: int,
    *,
    label: str | None = None,
    image: Any = None,
) -> dict[str, Any]:
    """Segment the objects of a seam again, as one object that replaces them.

    The model is prompted with the box around them, as by hand in the viewer.

    Parameters
    ----------
    output : str or Path
        The OME-Zarr store, or the label group, of a finished run.
    model : Model
        Any model, also another one than that of the run.
    seam : int
        Number of the seam in the run's table of seams.
    label : str, optional
        Name of the label image, where there are several.
    image : array-like, optional
        The image, where the run was given an array, which cannot be opened again.

    Returns
    -------
    dict
        label (the object's id), predicted_iou, area, box, and iou with what was there before.

    Raises
    ------
    ParameterError
        If the run is not finished, there is no such seam, the image has changed there, or the
        model finds nothing.
    ResourceError
        If another process is writing these labels.
    """
    labels = open_labels(output, label, mode="r+")
    with only_writer(labels.store, labels.name):
        return _redecode(labels, model, seam, image)


def _redecode(labels: LabelsGroup, model: Model, seam: int, image: Any) -> dict[str, Any]:
    ledger = Ledger.open(labels)
    if ledger is None or ledger.run.get("state") != "complete":
        raise ParameterError(f"{labels.path} is not of a finished large run")
    large = _image(ledger.run, image, labels.path)
    seams, table = ledger.read_table("seams"), ledger.read_table("objects")
    rows = np.flatnonzero(seams["seam"] == seam)
    if not len(rows):
        raise ParameterError(f"the run has no seam {seam}: they run from 1 to {len(seams['seam'])}")
    row = int(rows[0])
    plane, box = int(seams["plane"][row]), seams["box"][row]
    _check_place(ImageTiles(large, ledger.grid), ledger, plane, box)
    objects = [int(i) for i in seams["labels"][row] if i]
    found = _again(large, ledger, model, plane, box, objects, table)
    if found is None:
        raise ParameterError(f"the model finds nothing in the box of seam {seam}")
    seams["kind"][row] = "redecoded"
    with writing(labels.path):
        ledger.write_table("seams", seams)
        ledger.write_table("objects", found.pop("table"))
    return found


def redecode_oversize(job: TileJob, ledger: Ledger) -> Generator[Progress, None, None]:
    """Prompt again for every object that was put together from pieces, in the order of ids.

    Parameters
    ----------
    job : TileJob
        Of a model.
    ledger : Ledger
        With tables of objects and seams, which are written after every object.
    """
    if not isinstance(job.segment, ModelSegment):
        raise ParameterError("oversize='redecode' prompts a model; a function has no prompts")
    seams, table = ledger.read_table("seams"), ledger.read_table("objects")
    pieces = table["label"][table["pieces"] > 1]
    rows = np.flatnonzero((seams["kind"] == "merged") & np.isin(seams["labels"][:, 0], pieces))
    model = model_of(job.segment.model)
    for done, row in enumerate(rows.tolist()):
        yield Progress(done, len(rows), message="large objects again")
        found = _again(
            job.tiles.image, ledger, model, int(seams["plane"][row]), seams["box"][row],
            [int(seams["labels"][row, 0])], table,
        )  # fmt: skip
        if found is not None:
            table = found["table"]
            seams["kind"][row] = "redecoded"
            ledger.write_table("objects", table)
            ledger.write_table("seams", seams)


def _image(run: dict[str, Any], image: Any, path: str) -> LargeImage:
    """Open the image of a run, and check that it is the same."""
    opened = dict(run["opened"])
    if image is not None:
        opened["image"] = image
    elif is_url(opened["image"]) and not path.startswith(opened["image"]):
        raise ParameterError(
            f"according to {path} its image is at {opened['image']}, which is not fetched unless "
            "it is given: pass it as image="
        )
    if opened["image"] is None:
        raise ParameterError("the run was given an array: pass it again, as image=")
    large = LargeImage.of(**opened)
    check_same({"image": run["image"]}, {"image": large.planes.identity()}, path)
    return replace(large, contrast_limits=tuple((float(a), float(b)) for a, b in run["limits"]))


def _check_place(tiles: ImageTiles, ledger: Ledger, number: int, box: NDArray[np.int64]) -> None:
    """Check that the image is unchanged where tiles meet a box on a plane, given by its number."""
    grid, status = ledger.grid, ledger.status()
    where = Window(int(box[0]), int(box[1]), int(box[2] - box[0]) + 1, int(box[3] - box[1]) + 1)
    meeting = [
        index
        for index in range(grid.index(number, 0, 0), grid.index(number + 1, 0, 0))
        if status[grid.place(index)] in (TileStatus.DONE, TileStatus.EMPTY)
        and grid.window(index).intersection(where) is not None
    ]
    finish(check_unchanged(tiles, ledger, ThreadRunner(1), meeting))


def _again(
    image: LargeImage,
    ledger: Ledger,
    model: Model,
    number: int,
    box: NDArray[np.int64],
    labels: list[int],
    table: dict[str, NDArray],
) -> dict[str, Any] | None:
    grid = ledger.grid
    plane = tuple(int(i) for i in np.unravel_index(number, grid.planes or (1,)))[: len(grid.planes)]
    found, factor, window = _segment(image, model, plane, box)
    if found.mask.empty:
        return None
    keep = labels[0] if labels else int(table["label"].max(initial=0)) + 1
    replaced, area, common, before, shape = _put(
        ledger, plane, window, found.mask, factor, labels, keep
    )
    rows = {name: column.copy() for name, column in table.items()}
    stay = ~np.isin(rows["label"], [*labels, keep])
    new = {
        "label": keep, "plane": number, "area": area, "tiles": 0, "pieces": 1,
        "predicted_iou": found.score, "stability_score": np.nan,
        "row_min": shape[0], "col_min": shape[1], "row_max": shape[2], "col_max": shape[3],
        "seam": KINDS.index("redecoded") + 1,
    }  # fmt: skip
    joined = {
        name: np.concatenate([column[stay], np.array([new[name]], column.dtype)])
        for name, column in rows.items()
    }
    order = np.argsort(joined["label"], kind="stable")
    return {
        "label": keep,
        "predicted_iou": found.score,
        "area": area,
        "box": shape,
        "iou": common / max(1, before + replaced - common),
        "table": {name: column[order] for name, column in joined.items()},
    }


def _segment(
    image: LargeImage, model: Model, plane: tuple[int, ...], box: NDArray[np.int64]
) -> tuple[Segmented, int, Window]:
    """Segment what is in a box as every face does; what is too large to be read, reduced.

    Returns what was found, how many pixels of the image one of its pixels stands for, and the
    window of the image that holds it and what was there before.
    """
    source = image.planes.image(plane)
    arguments = image.planes.embed_arguments(plane)
    shape = image.planes.shape
    side = int(max(box[2] - box[0], box[3] - box[1])) + 1
    centre = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    factor = math.ceil(ROOM * side / _MOST)
    if factor == 1:
        prompts = Prompts.from_boxes([[*box[:2], *np.maximum(box[2:], box[:2] + 0.5)]])
        found = Segmenter(Predictor(model)).segment(source, prompts, **arguments)[0]
        window = Window.around(centre, shape, math.ceil(ROOM * side))
        return found, 1, window if found.mask.empty else window.union(found.mask.window)
    window = Window.around(centre, shape, math.ceil(ROOM * side))
    limits = arguments.pop("contrast_limits")
    pixels = _reduced(open_image(source, **arguments), window, factor)
    corners = (np.asarray(box, float).reshape(2, 2) - (window.row, window.col) + 0.5) / factor - 0.5
    corners = np.clip(corners, 0, np.array(pixels.shape[:2]) - 1)
    prompts = Prompts.from_boxes([[*corners[0], *np.maximum(corners[1], corners[0] + 0.5)]])
    found = Segmenter(Predictor(model)).segment(
        pixels, prompts, channel_axis=2, contrast_limits=limits
    )[0]
    return found, factor, window


def _reduced(source: ImageSource, window: Window, factor: int) -> NDArray[Any]:
    """Read a window reduced by a whole factor (mean of blocks), strip by strip."""
    strips = []
    step = max(1, _STRIP // (window.width * factor)) * factor
    rows, cols = window.slices
    for start in range(rows.start, rows.stop, step):
        strip = source.read(0, slice(start, min(start + step, rows.stop)), cols)
        whole = strip.astype(np.float32)
        blocks = (factor, factor, 1)
        # a last, narrower block is the mean of the pixels there are
        total = block_reduce(whole, blocks, np.sum)
        count = block_reduce(np.ones(whole.shape[:2], np.float32), blocks[:2], np.sum)
        strips.append((total / count[..., None]).astype(np.float32))
    return np.concatenate(strips)


def _put(
    ledger: Ledger,
    plane: tuple[int, ...],
    window: Window,
    mask: PlacedMask,
    factor: int,
    labels: list[int],
    keep: int,
) -> tuple[int, int, int, int, tuple[int, int, int, int]]:
    """Draw a mask in place of labels, strip by strip; other objects keep their pixels.

    Returns the mask's pixels, those drawn, those it has in common with what was there, the
    pixels that were there, and the box of what is drawn.
    """
    array: Any = ledger.labels.array
    # of a mask at full resolution in pixels of the image, of a reduced one of its window
    origin = (0, 0) if factor == 1 else (window.row, window.col)
    cols = np.arange(window.width) // factor
    width = int(cols[-1]) + 1
    stride = ledger.grid.stride
    total = drawn = common = before = 0
    low, high = np.full(2, np.iinfo(np.int64).max), np.full(2, -1)
    row, end = window.row, window.row + window.height
    while row < end:
        stop = min(end, (row // stride + 1) * stride)
        index = (*plane, slice(row, stop), window.slices[1])
        old = np.asarray(array[index])
        there = np.isin(old, labels)
        lines = (np.arange(row, stop) - origin[0]) // factor
        first, left = int(lines[0]), (window.col - origin[1]) // factor
        seen = mask.within(Window(first, left, int(lines[-1]) + 1 - first, width))
        wanted = seen[lines - first][:, cols]
        put = wanted & (there | (old == 0))
        new = np.where(there, 0, old)
        new[put] = keep
        if (new != old).any():
            array[index] = new.astype(array.dtype)
        total += int(wanted.sum())
        drawn += int(put.sum())
        common += int((wanted & there).sum())
        before += int(there.sum())
        if put.any():
            r, c = np.nonzero(put)
            low = np.minimum(low, (r.min() + row, c.min() + window.col))
            high = np.maximum(high, (r.max() + row, c.max() + window.col))
        row = stop
    spans = [*(slice(i, i + 1) for i in plane), *window.slices]
    ledger.labels.update_pyramid(spans)
    return total, drawn, common, before, (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
