"""The same prompts give the same pixels behind every face.

In Python, in a session, on the command line, in evaluation, when an object of a large run is
segmented again, and where propagation starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
import tifffile

import napari_segment_anything as nsa
from napari_segment_anything.cli.main import run
from napari_segment_anything.datasets import LabelledPlane
from napari_segment_anything.engine import (
    Ask,
    PlacedMask,
    PlaneSource,
    Predictor,
    Prompts,
    Segmenter,
    Views,
    Window,
)
from napari_segment_anything.evaluation import protocols
from napari_segment_anything.evaluation.protocols import PromptSettings, Subject
from napari_segment_anything.formats.record_reading import read_sa1b
from napari_segment_anything.large.image import LargeImage
from napari_segment_anything.large.redecoding import _segment
from napari_segment_anything.session import ArrayTarget, Session

from ..encodings import remembered_encodings
from ..families.tiny import tiny_sam2, tiny_sam_hq
from ..tiny import tiny_model

SHAPE = (220, 250)
LIMITS = (0, 255)

# discs: row, column, radius; small, of a good size, large, and one cut off by the image's edge
DISCS = [(40, 40, 12), (60, 120, 25), (150, 90, 45), (160, 230, 8), (30, 244, 14)]


def scene(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Discs on noise."""
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    image = np.random.default_rng(0).normal(40, 6, shape)
    for row, col, radius in DISCS:
        image[np.hypot(rows - row, cols - col) <= radius] += 130
    return np.clip(image, 0, 255).astype(np.uint8)


def box(row: float, col: float, radius: float) -> list[float]:
    high = np.array(SHAPE) - 1
    corners = np.clip([[row - radius, col - radius], [row + radius, col + radius]], 0, high)
    return corners.ravel().tolist()


OBJECTS = {
    "points": [{"points": [[row, min(col, SHAPE[1] - 1)]]} for row, col, _ in DISCS],
    "boxes": [{"box": box(*disc)} for disc in DISCS],
    "box and points": [
        {"box": box(*disc), "points": [disc[:2], [5, 150]], "labels": [1, 0]} for disc in DISCS[:3]
    ],
    "clicks": [
        {"points": [[row, col], [row + 4, col + 3], [110, 180]], "labels": [1, 1, 0]}
        for row, col, _ in DISCS[:3]
    ],
}


FAMILIES = {"sam2": tiny_sam2, "sam_hq": tiny_sam_hq}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("default", marks=pytest.mark.weights),
        "vit",
        "sam2",
        pytest.param("sam_hq", marks=pytest.mark.slow),
    ],
)
def predictor(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Predictor]:
    if request.param == "default":
        with remembered_encodings():
            yield Predictor(request.getfixturevalue("default_model"))
    elif request.param in FAMILIES:
        folder = FAMILIES[request.param](tmp_path_factory.mktemp("models") / request.param)
        yield Predictor(nsa.load_model(folder, precision="fp32"))
    else:
        yield Predictor(tiny_model())


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return scene()


@pytest.fixture(scope="module")
def expected(predictor, image) -> dict[str, list[np.ndarray]]:
    """Masks of the segmenter."""
    segmenter = Segmenter(predictor)
    found = {
        name: [
            each.mask.within(Window.full(SHAPE))
            for each in segmenter.segment(
                image, Prompts.from_objects(objects), contrast_limits=LIMITS
            )
        ]
        for name, objects in OBJECTS.items()
    }
    assert all(mask.any() for masks in found.values() for mask in masks)
    return found


def source(image: np.ndarray) -> PlaneSource:
    return PlaneSource(image, contrast_limits=LIMITS)


def session(predictor, image) -> Session:
    return Session(predictor, source(image), ArrayTarget(np.zeros(SHAPE, np.uint16)))


def same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert [int(mask.sum()) for mask in found] == [int(mask.sum()) for mask in expected]
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("kind", OBJECTS)
def test_one_by_one(kind, predictor, image, expected):
    segmenter = Segmenter(predictor)
    alone = [
        segmenter.segment(image, Prompts.from_objects([each]), contrast_limits=LIMITS)[0]
        for each in OBJECTS[kind]
    ]
    same([each.mask.within(Window.full(SHAPE)) for each in alone], expected[kind])


@pytest.mark.parametrize("kind", OBJECTS)
def test_in_a_session(kind, predictor, image, expected):
    found = []
    mine = session(predictor, image)
    for each in OBJECTS[kind]:
        if "box" in each:
            mine.set_box((), each["box"])
        points = each.get("points", [])
        for point, label in zip(points, each.get("labels", [1] * len(points)), strict=True):
            mine.add_point((), point, positive=bool(label))
        preview = mine.update()
        found.append(preview.objects[0].mask.within(Window.full(SHAPE)))
        mine.cancel()
    same(found, expected[kind])


@pytest.mark.parametrize("kind", ["points", "boxes"])
def test_in_a_batch_of_a_session(kind, predictor, image, expected):
    mine = session(predictor, image)
    given = {
        "points": {"points": [each["points"][0] for each in OBJECTS["points"]]},
        "boxes": {"boxes": [each["box"] for each in OBJECTS["boxes"]]},
    }
    mine.begin_batch((), **given[kind])
    preview = mine.update()
    found = [item.mask.within(Window.full(SHAPE)) for item in preview.objects]
    same(found, expected[kind])


def test_a_mask_to_refine(predictor, image):
    rows, cols = np.ogrid[: SHAPE[0], : SHAPE[1]]
    for row, col, radius in DISCS:
        drawn = np.hypot(rows - row, cols - col) <= 0.8 * radius
        whole = Window.full(SHAPE)
        ask = Ask(np.zeros((0, 2)), np.zeros(0, bool), mask=PlacedMask.of(drawn))
        (wanted,) = Segmenter(predictor).segment(image, [ask], contrast_limits=LIMITS)
        mine = session(predictor, image)
        mine.set_mask((), drawn)
        found = mine.update().objects[0].mask
        same([found.within(whole)], [wanted.mask.within(whole)])


@pytest.mark.parametrize("kind", OBJECTS)
def test_on_the_command_line(kind, predictor, image, expected, tmp_path, monkeypatch, capsys):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image)
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps(OBJECTS[kind]))
    monkeypatch.setattr(nsa.engine, "load_model", lambda *_, **__: predictor.model)
    options = ["--prompts", str(prompts), "--contrast-limits", "0,255", "--json", "-q"]
    assert run(["segment", str(path), *options, "-o", str(tmp_path / "out")]) == 0
    (file,) = (tmp_path / "out").glob("*_masks.json")
    same([each.segmentation.decode() for each in read_sa1b(file).records], expected[kind])


@pytest.mark.parametrize("kind", ["points", "boxes"])
def test_in_evaluation(kind, predictor, image, expected):
    plane = LabelledPlane("a/b", "a/b", "a", {}, image, None, np.zeros(SHAPE, np.uint16))
    subject = Subject(plane, predictor, PromptSettings())
    subject._views = Views(predictor, image, contrast_limits=LIMITS)
    asks = Ask.each(Prompts.from_objects(OBJECTS[kind]))
    found = [each.mask.within(Window.full(SHAPE)) for _, each in subject.segment(asks)]
    same(found, expected[kind])


def test_clicks_of_evaluation_are_those_of_a_session(predictor, image):
    """Click by click, the simulated user sees the same masks as a real one."""
    truth = np.zeros(SHAPE, np.uint16)
    rows, cols = np.ogrid[: SHAPE[0], : SHAPE[1]]
    truth[np.hypot(rows - 150, cols - 90) <= 45] = 1
    mine = session(predictor, image)
    mine.add_point((), (150, 90))
    ask = Ask(np.array([[150.0, 90.0]]), np.ones(1, bool))
    views = Views(predictor, image, contrast_limits=LIMITS)
    for _ in range(3):
        (found,) = Segmenter(predictor).segment(views, [ask])
        shown = mine.update().objects[0].mask
        whole = Window.full(SHAPE)
        same([shown.within(whole)], [found.mask.within(whole)])
        following = protocols.next_ask(ask, found, truth == 1)
        if following is None:
            break
        ask = following
        mine.add_point((), ask.points[-1], positive=bool(ask.inside[-1]))


@pytest.mark.parametrize("kind", OBJECTS)
def test_where_propagation_starts(kind, predictor, image, expected):
    volume = np.stack([image] * 3)
    prompts = Prompts.from_objects(OBJECTS[kind])
    # a memory has a way of its own to segment prompted objects, that of the video model
    method = "decoder" if "memory" in predictor.model.abilities else "auto"
    result = nsa.propagate(
        volume,
        {1: prompts},
        predictor.model,
        method=method,
        direction="forward",
        contrast_limits=LIMITS,
    )
    found = [result.mask(number, 1) for number in range(1, len(prompts) + 1)]
    same(found, expected[kind])


def test_an_object_of_a_large_run_segmented_again(predictor, image, expected):
    large = LargeImage.of(image, contrast_limits=LIMITS)
    for asked, wanted in zip(OBJECTS["boxes"], expected["boxes"], strict=True):
        found, factor, window = _segment(large, predictor.model, (), np.array(asked["box"]))
        assert factor == 1 and found.mask.window.height <= window.height
        same([found.mask.within(Window.full(SHAPE))], [wanted])


@pytest.mark.slow
def test_in_an_image_of_many_frames():
    """Windows lie on a grid, so that neighbours share them and each is where it would be alone."""
    predictor, shape = Predictor(tiny_model()), (300, 400)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    places = np.random.default_rng(1).uniform((0, 0), np.array(shape) - 1, (40, 2)).round()
    views = Views(predictor, image, contrast_limits=LIMITS)
    segmenter = Segmenter(predictor)
    together = segmenter.segment(views, Prompts.each_point(places))
    asks = Ask.each(Prompts.each_point(places))
    assert len({segmenter.plan(shape).first_view(ask) for ask in asks}) <= 12
    mine = Session(predictor, source(image), ArrayTarget(np.zeros(shape, np.uint16)))
    mine.begin_batch((), points=places)
    shown = [item.mask for item in mine.update().objects]
    whole = Window.full(shape)
    same([cut.within(whole) for cut in shown], [each.mask.within(whole) for each in together])
    for place, wanted in list(zip(places, together, strict=True))[::5]:
        (alone,) = segmenter.segment(views, Prompts.from_points([place]))
        same([alone.mask.within(whole)], [wanted.mask.within(whole)])
