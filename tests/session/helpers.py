"""A session whose masks are discs around the prompts: no network, so that tests are fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from napari_segment_anything.engine import PlacedMask, PlaneSource, Window
from napari_segment_anything.session import (
    ArrayTarget,
    DecodedObject,
    DecodeRequest,
    DecodeResult,
    Session,
)

RADII = (4, 7, 10)


@dataclass
class DiscModel:
    """The attributes of a model that a session uses."""

    name: str = "discs"
    fingerprint: str = "d" * 32
    precision: str = "fp32"
    image_size: int = 64
    mask_threshold: float = 0.0
    prompted_parts_only: bool = False
    focus: None = None
    device: str = "cpu"
    defaults: dict = field(default_factory=dict)

    def everything_defaults(self, mode):
        return self.defaults


def disc_predictor(**fields):
    return SimpleNamespace(model=DiscModel(**fields), cache=None)


def discs(request: DecodeRequest) -> DecodeResult:
    """Decode: discs of three sizes around the middle of the positive prompts."""
    objects = []
    for item in request.items:
        if item.reuse is not None:
            objects.append(item.reuse)
            continue
        points, labels = item.prompts.all_points()
        wanted = [point for point, label in zip(points, labels, strict=True) if label]
        if item.prompts.box is not None:
            wanted += [item.prompts.box[:2], item.prompts.box[2:]]
        if item.prompts.mask is not None:
            where = item.prompts.mask.window
            wanted.append((where.row + where.height / 2, where.col + where.width / 2))
        row, col = np.mean(wanted, axis=0)
        window = item.ask.window
        rows = np.arange(window.row, window.row + window.height)[:, None]
        cols = np.arange(window.col, window.col + window.width)[None]
        distance = np.hypot(rows - row, cols - col)
        for point, label in zip(points, labels, strict=True):
            if not label:
                distance[np.hypot(rows - point[0], cols - point[1]) < 3] = 99
        masks = tuple(PlacedMask.of(distance <= radius, window.row, window.col) for radius in RADII)
        logits = np.zeros((3, 4, 4), np.float32) if len(request.items) == 1 else None
        scores = (0.7, 0.9, 0.8)
        objects.append(
            DecodedObject(item.key, item.prompts, window, window, masks, scores, 1, logits)
        )
    return DecodeResult(
        request.revision,
        request.plane,
        request.segmenter.predictor.model.fingerprint,
        tuple(objects),
        request.fed_by,
        0.0,
        request.epoch,
    )


class DiscSession(Session):
    """Decodes at once, without a network."""

    def update(self):
        request = self.request()
        if request is not None:
            self.accept(discs(request))
        return self.preview


def disc_session(shape=(60, 80), dtype=np.uint16, labels=None, clock=None, **options):
    """Return a session, and the array of its labels."""
    array = np.zeros(shape, dtype) if labels is None else labels
    image = np.random.default_rng(1).integers(0, 255, array.shape, dtype=np.uint8)
    times = iter(range(10**9))
    session = DiscSession(
        options.pop("predictor", None) or disc_predictor(),
        PlaneSource(image),
        ArrayTarget(array),
        clock=clock or (lambda: float(next(times))),
        **options,
    )
    return session, array


def put(session, at, plane=(), **options):
    """Click, decode, commit; return the label."""
    session.add_point(plane, at, **options)
    session.update()
    (label,) = session.commit()
    return label


def whole(array) -> Window:
    return Window.full(array.shape[-2:])
