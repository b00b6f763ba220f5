"""Everything mode: from an image and a model to candidates."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..engine import Embedding, Model, Predictor, Prompts, Window
from ..progress import Progress, finish
from .candidates import Builder
from .dense import (
    BoxDecoding,
    DenseInstances,
    DistanceDecoding,
    Proposals,
    decode_dense,
    decode_distances,
    find_proposals,
)
from .filtering import layer_masks
from .grid import ImageCrop, crops, point_grids, useful_layers
from .heads import choose_mode, dense_head, dense_maps
from .layers import Layer, LayerFound, next_layer, plan_layer
from .measure import Measured, measure
from .parameters import Filters, pick, resolve, unit_grids
from .rendering import render
from .table import CandidateTable

_SHARED = 8  # parts of a layer that a GPU encodes together
_CROP_NMS = 0.5  # of parts of one layer, before any filter
_IMAGE_OPTIONS = ("channel_axis", "channels", "contrast_limits", "window")


def segment_everything(
    image: Any,
    model: Model,
    mode: str = "auto",
    on_progress: Callable[[Progress], object] | None = None,
    predictor: Predictor | None = None,
    **params: Any,
) -> CandidateTable:
    """Segment every object of an image.

    Parameters
    ----------
    image : array-like
        (H, W), (H, W, 3|4), channels at `channel_axis`, or pyramid levels; see
        `Predictor.embed`.
    model : Model
        A loaded model.
    mode : {"auto", "grid", "proposals", "instances"}
        "grid" prompts the decoder at a grid of points (SAM paper, section 5 and appendix B);
        "proposals" at the objects that the model's dense head proposes; "instances" takes
        objects from the dense head alone; "auto" is the mode that validates best for the model.
    on_progress : callable, optional
        Called with every `Progress`. If it raises, the run is cancelled.
    predictor : Predictor, optional
        A predictor of the same model whose cache of embeddings is used.
    **params
        Image options (channel_axis, channels, contrast_limits, window) and the parameters of
        the mode (`parameters.EVERYTHING`) under the published names. None is the model's own
        default for the mode, else the published one.

    Returns
    -------
    CandidateTable
        Masks and rejected candidates. With a `window`, coordinates are relative to it.

    Raises
    ------
    ParameterError
        If a parameter is unknown, out of range or without effect in this mode, or the model
        does not support the mode.
    ImageError
        If the image cannot be used.
    """
    run = generate_candidates(image, model, mode=mode, predictor=predictor, **params)
    return finish(run, on_progress)


def generate_candidates(
    image: Any,
    model: Model,
    *,
    mode: str = "auto",
    predictor: Predictor | None = None,
    **params: Any,
) -> Generator[Progress, None, CandidateTable]:
    """Segment every object of an image, step by step.

    Parameters are those of `segment_everything`; they are checked before the first step. Closing
    the generator cancels the run.

    Parameters
    ----------
    image, model, mode, predictor, **params
        As for `segment_everything`.

    Yields
    ------
    Progress
        Before every encoder pass and after every batch of prompts. `done` and `total` count
        prompts (mode "instances": crops). `partial` is a function without arguments that
        returns the table so far.

    Returns
    -------
    CandidateTable
        As `segment_everything`.
    """
    mode = choose_mode(model, mode)
    options = {k: params.pop(k) for k in _IMAGE_OPTIONS if params.get(k) is not None}
    params = {name: value for name, value in params.items() if name not in _IMAGE_OPTIONS}
    values = resolve(mode, params, model.everything_defaults(mode), dense_head(model))
    return _Run(image, model, mode, predictor or Predictor(model), options, values).run()


class _Run:
    """One run of everything mode."""

    def __init__(
        self,
        image: Any,
        model: Model,
        mode: str,
        predictor: Predictor,
        options: dict[str, Any],
        values: dict[str, Any],
    ) -> None:
        self.image, self.model, self.mode = image, model, mode
        if values.get("symmetries", 1) > 1:
            options["symmetries"] = values["symmetries"]
        self.predictor, self.options, self.values = predictor, options, values

    def run(self) -> Generator[Progress, None, CandidateTable]:
        """Process the crops, batch by batch."""
        if self.mode == "instances" and self.model.has_dense_maps:
            return (yield from self._layers())
        yield Progress(0, 1, message="encoding")
        whole, builder = self._start()
        table = partial(self._table, builder)
        embedding = whole
        done, counts = 0, list[int]()
        for index, crop in enumerate(builder.crops):
            if index:
                message = f"encoding crop {index} of {len(builder.crops) - 1}"
                yield Progress(done, self._total(builder, counts), table, message)
                embedding = self._embed_crop(whole, crop)
                # At a pyramid level, the window read may extend slightly beyond the crop.
                near = embedding.window
                row, col = near.row - builder.origin[0], near.col - builder.origin[1]
                builder.crops[index] = ImageCrop(row, col, near.height, near.width, crop.layer)
            batches = self._batches(builder, embedding, index)
            counts.append(sum(size for size, _ in batches))
            for size, work in batches:
                work()
                done += size
                yield Progress(done, self._total(builder, counts), table, "decoding")
        return table()

    def _layers(self) -> Generator[Progress, None, CandidateTable]:
        """Read instances from layer after layer of the image, as many as are of use."""
        yield Progress(0, 1, message="encoding")
        options = dict(self.options)
        area = options.pop("window", None)
        # with a cache, the embedding of the image is of use to prompts too
        whole = (
            self.predictor.embed_maps(self.image, [area], **options)[0]
            if self.predictor.cache is None
            else self.predictor.embed(self.image, window=area, **options)
        )
        window = whole.window
        options["contrast_limits"] = whole.limits
        builder = Builder(
            window.shape, (window.row, window.col), [ImageCrop(0, 0, *window.shape, 0)]
        )
        table = partial(self._table, builder)
        self._add_instances(builder, whole, 0)
        yield Progress(1, 1, table, "decoding")
        # a GPU takes several parts of a layer at a time
        step = 1 if self.model.device.type == "cpu" else _SHARED
        for layer in self._further_layers(builder):
            total = len(builder.crops) + len(layer.windows)
            for start in range(0, len(layer.windows), step):
                windows = layer.windows[start : start + step]
                done = len(builder.crops)
                yield Progress(done, total, table, f"encoding crop {done} of {total - 1}")
                places = [Window(w.row + window.row, w.col + window.col, *w.shape) for w in windows]
                for embedding in self.predictor.embed_maps(
                    self.image, places, side=layer.side, mirrored=layer.mirrored, **options
                ):
                    # At a pyramid level, the window read may extend slightly beyond the crop.
                    near = embedding.window
                    row, col = near.row - window.row, near.col - window.col
                    builder.crops.append(ImageCrop(row, col, *near.shape, layer.number))
                    self._add_instances(builder, embedding, len(builder.crops) - 1)
            yield Progress(total, total, table, "decoding")
        return table()

    def _further_layers(self, builder: Builder) -> Iterator[Layer]:
        """Layers beyond the image itself, planned one by one."""
        values, shape, size = self.values, builder.shape, self.model.image_size
        lowest, highest = -values["reduced_n_layers"], values["crop_n_layers"]
        ratio = values["crop_overlap_ratio"]
        if values["crop_choice"] != "best":
            for each in (*range(-1, lowest - 1, -1), *range(1, highest + 1)):
                yield plan_layer(each, shape, size, ratio)
            return
        highest = min(highest, useful_layers(shape, size))
        found = dict[int, LayerFound]()
        number: int | None = 0
        while number is not None:
            layer = plan_layer(number, shape, size, ratio)
            if number:
                yield layer
            candidates = builder.build()
            masks = layer_masks(candidates, number, _CROP_NMS)
            area, score = candidates.area[masks], candidates.predicted_iou[masks]
            found[number] = LayerFound.of(area, score, layer, size)
            number = next_layer(found, lowest, highest)

    def _start(self) -> tuple[Embedding, Builder]:
        """Encode the image (or window) and plan its crops."""
        values = self.values
        embedding = self.predictor.embed(self.image, **self.options)
        window = embedding.window
        layers = values.get("crop_n_layers", 0)
        if values.get("crop_choice") == "best":
            layers = min(layers, useful_layers(window.shape, self.model.image_size))
        builder = Builder(
            window.shape,
            (window.row, window.col),
            crops(
                window.shape,
                layers,
                values.get("crop_overlap_ratio", 0.0),
                values.get("reduced_n_layers", 0),
            ),
            values.get("pred_iou_floor", 0.0),
            values.get("stability_score_floor", 0.0),
        )
        return embedding, builder

    def _table(self, builder: Builder) -> CandidateTable:
        return CandidateTable.filtered(
            builder.build(), self.mode, pick(Filters, self.values), dict(self.values)
        )

    def _batches(
        self, builder: Builder, embedding: Embedding, crop: int
    ) -> list[tuple[int, Callable[[], None]]]:
        """The work for a crop: pairs of an amount and a function that does it."""
        if self.mode == "instances":
            return [(1, partial(self._add_instances, builder, embedding, crop))]
        points, prompts = self._prompts(builder, embedding, builder.crops[crop].layer)
        step = self.values["points_per_batch"]
        parts = [slice(start, start + step) for start in range(0, len(prompts), step)]
        return [
            (len(points[p]), partial(self._decode, builder, embedding, crop, points[p], prompts[p]))
            for p in parts
        ]

    def _add_instances(self, builder: Builder, embedding: Embedding, crop: int) -> None:
        """Find the objects of a crop in its dense maps, and render their masks."""
        found, logits, stride = read_instances(self.model, embedding, self.values)
        level = self.values["foreground_thresh"]
        drawn = render(
            found.labels,
            logits,
            float(np.log(level / (1 - level))),
            self.values["stability_score_offset"],
            embedding,
            stride,
            (builder.crops[crop].row, builder.crops[crop].col),
            builder.shape,
        )
        points = embedding.from_frame(found.points) - builder.origin
        points = np.clip(points, 0, np.array(builder.shape) - 1.0)
        measured = [Measured(stability, mask) for mask, stability in drawn]
        builder.add(crop, points, np.zeros(len(points), np.int8), found.scores, measured)

    def _embed_crop(self, whole: Embedding, crop: ImageCrop) -> Embedding:
        row, col = whole.window.row + crop.row, whole.window.col + crop.col
        options = {
            **self.options,
            "window": Window(row, col, crop.height, crop.width),
            "contrast_limits": whole.limits,
        }
        if crop.layer < 0:
            options["span"] = 2**-crop.layer * max(whole.window.shape)
        return self.predictor.embed(self.image, **options)

    def _prompts(
        self, builder: Builder, embedding: Embedding, layer: int
    ) -> tuple[NDArray[np.float64], Prompts]:
        """Points relative to the segmented image, and prompts in coordinates of the whole array."""
        window = embedding.window
        origin = np.array([window.row, window.col], np.float64)
        if self.mode == "grid":
            points = self._grids()[layer] * window.shape + origin
            # Points lie beyond the last pixel only where they are closer together than pixels.
            inside = np.minimum(points, origin + window.shape - 0.5)
            return points - builder.origin, Prompts.each_point(inside)
        maps, stride = dense_maps(self.model, embedding)
        proposals = find_proposals(maps, pick(BoxDecoding, self.values), stride=stride)
        points, prompts = _prompt_proposals(embedding, proposals, self.values["proposal_prompt"])
        return points - builder.origin, prompts

    def _grids(self) -> list[NDArray[np.float64]]:
        values = self.values
        return unit_grids(values) or point_grids(
            values["points_per_side"],
            values["crop_n_layers"],
            values["crop_n_points_downscale_factor"],
        )

    def _decode(
        self,
        builder: Builder,
        embedding: Embedding,
        crop: int,
        points: NDArray[np.float64],
        prompts: Prompts,
    ) -> None:
        """Decode a batch of prompts and add their masks to the candidates."""
        multimask = not prompts.has_box.any()
        logits, iou = self.predictor.decode(embedding, prompts, multimask, len(prompts))
        outputs = logits.shape[1]
        scores = iou.float().cpu().numpy().reshape(-1)
        floor = np.float32(self.values["pred_iou_floor"])
        chosen = np.flatnonzero((scores > floor) | (floor <= 0))
        results = measure(
            logits.flatten(0, 1)[chosen],
            embedding,
            threshold=self.model.mask_threshold,
            offset=self.values["stability_score_offset"],
            floor=self.values["stability_score_floor"],
        )
        measured: list[Measured | None] = [None] * len(scores)
        for index, result in zip(chosen, results, strict=True):
            measured[index] = result
        points = np.repeat(points, outputs, axis=0)
        places = np.tile(np.arange(outputs), len(prompts))
        builder.add(crop, points, places, scores, measured)

    def _total(self, builder: Builder, counts: list[int]) -> int:
        """Total work; crops not encoded yet are assumed to have the mean number of proposals."""
        rest = builder.crops[len(counts) :]
        if self.mode == "grid":
            sizes = [len(grid) for grid in self._grids()]
            return sum(counts) + sum(sizes[crop.layer] for crop in rest)
        return sum(counts) + round(sum(counts) / len(counts) * len(rest))


def read_instances(
    model: Model, embedding: Embedding, values: Mapping[str, Any]
) -> tuple[DenseInstances, NDArray[np.float32], int]:
    """Find the objects of an encoded image in its dense maps.

    Parameters
    ----------
    model : Model
        With a dense head.
    embedding : Embedding
    values : mapping
        Parameters of mode "instances", as resolved.

    Returns
    -------
    instances : DenseInstances
        On the grid of the maps.
    logits : float32 array (h, w)
        Of the foreground.
    stride : int
        Frame pixels per cell.
    """
    maps, stride = dense_maps(model, embedding)
    if dense_head(model) == "dense":
        return decode_dense(maps, pick(BoxDecoding, values), stride=stride), maps[0], stride
    how = pick(DistanceDecoding, values)
    found = decode_distances(maps, how, stride=stride)
    inner = np.clip(gaussian_filter(maps[0], how.foreground_smoothing), 1e-6, 1 - 1e-6)
    return found, np.log(inner / (1 - inner)), stride


def _prompt_proposals(
    embedding: Embedding, proposals: Proposals, how: str
) -> tuple[NDArray[np.float64], Prompts]:
    window = embedding.window
    low = np.array([window.row, window.col], np.float64)
    high = low + window.shape - 1
    points = np.clip(embedding.from_frame(proposals.points), low, high)
    if how == "point" or not len(proposals):
        return points, Prompts.each_point(points)
    corners = np.clip(embedding.from_frame(proposals.boxes.reshape(-1, 2, 2)), low, high)
    # A box needs an area, even if it was predicted on a single row or column of pixels.
    corners[:, 0] = np.minimum(corners[:, 0], corners[:, 1] - 0.25)
    corners[:, 1] = np.maximum(corners[:, 1], corners[:, 0] + 0.25)
    boxes = corners.reshape(-1, 4)
    if how == "box":
        return points, Prompts.from_boxes(boxes)
    return points, Prompts(points[:, None], np.ones((len(points), 1), np.int8), boxes)
