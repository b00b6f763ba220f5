"""Run-length masks: round trips, measures without decoding, and pycocotools as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segment_anything.errors import FormatError
from napari_segment_anything.formats import rle
from napari_segment_anything.formats.rle_many import boxes_and_areas
from napari_segment_anything.formats.rle_text import compress, decompress

shapes = st.tuples(st.integers(1, 13), st.integers(1, 13))
masks = hnp.arrays(bool, shapes)
runs = st.lists(st.integers(0, 2**32 - 1), max_size=30)


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(shapes)
    return draw(hnp.arrays(bool, shape)), draw(hnp.arrays(bool, shape))


@given(masks)
def test_round_trips(mask: np.ndarray) -> None:
    code = rle.encode(mask)
    decoded = code.decode()
    assert decoded.dtype == bool
    assert decoded.flags.c_contiguous
    assert np.array_equal(decoded, mask)
    assert rle.from_coco(code.to_coco()) == code
    assert rle.from_coco(code.to_coco(compressed=False)) == code
    assert hash(rle.from_counts(code.counts, code.size)) == hash(code)
    row_start, col_start, row_stop, col_stop = code.bounds
    inner = mask[row_start:row_stop, col_start:col_stop]
    assert np.array_equal(code.decode_bounds(), inner)
    assert code.area == mask.sum() == inner.sum()


@given(masks)
def test_box_without_decoding(mask: np.ndarray) -> None:
    code = rle.encode(mask)
    if not mask.any():
        assert code.bounds == code.box == (0, 0, 0, 0)
        return
    rows, columns = np.nonzero(mask)
    assert code.box == (rows.min(), columns.min(), rows.max(), columns.max())
    assert code.bbox == [
        columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
    ]  # fmt: skip


@given(masks)
def test_equals_pycocotools(mask: np.ndarray) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    theirs = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    code = rle.encode(mask)
    assert code.to_coco()["counts"] == theirs["counts"].decode()
    assert code.bbox == coco.toBbox(theirs).tolist()
    assert code.area == coco.area(theirs)
    assert rle.from_coco(theirs) == code


@given(mask_pairs())
def test_intersection_equals_pycocotools(pair: tuple[np.ndarray, np.ndarray]) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    a, b = map(rle.encode, pair)
    coded = [coco.encode(np.asfortranarray(m, dtype=np.uint8)) for m in pair]
    shared = rle.intersection(a, b)
    if a.area or b.area:
        iou = shared / (a.area + b.area - shared)
        assert iou == pytest.approx(float(coco.iou(coded[:1], coded[1:], [0])[0, 0]))
    assert rle.intersection(a, b) == np.sum(pair[0] & pair[1])


@given(runs)
def test_text_codec_round_trip(counts: list[int]) -> None:
    assert decompress(compress(counts)).tolist() == counts
    assert decompress(compress(counts).encode()).tolist() == counts


@given(masks, st.tuples(st.integers(-9, 9), st.integers(-9, 9)), shapes)
def test_place_moves_and_cuts(
    mask: np.ndarray, origin: tuple[int, int], size: tuple[int, int]
) -> None:
    expected = np.zeros(size, bool)
    rows, columns = np.nonzero(mask)
    rows, columns = rows + origin[0], columns + origin[1]
    keep = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    expected[rows[keep], columns[keep]] = True
    assert rle.encode(mask).place(origin, size) == rle.encode(expected)


@given(hnp.arrays(np.int16, shapes, elements=st.integers(0, 4)))
def test_encode_labels(labels: np.ndarray) -> None:
    codes = rle.encode_labels(labels)
    assert list(codes) == [int(i) for i in np.unique(labels) if i]
    for number, code in codes.items():
        assert code == rle.encode(labels == number)


@given(
    hnp.arrays(np.uint8, shapes, elements=st.integers(0, 3)), st.tuples(*[st.integers(0, 3)] * 4)
)
def test_labels_in_a_larger_frame(labels: np.ndarray, spare: tuple[int, ...]) -> None:
    top, left, below, right = spare
    frame = np.pad(labels, ((top, below), (left, right)))
    codes = rle.encode_labels(labels, (top, left), frame.shape)
    assert list(codes) == [number for number in range(1, 4) if (labels == number).any()]
    assert all(code == rle.encode(frame == number) for number, code in codes.items())
    nothing = rle.encode(np.zeros(frame.shape))
    masks = [nothing, *codes.values(), nothing]
    boxes, areas = boxes_and_areas(masks)
    assert boxes.tolist() == [list(mask.box) for mask in masks]
    assert areas.tolist() == [mask.area for mask in masks]
    with pytest.raises(FormatError, match="do not fit"):
        rle.encode_labels(labels, (top + 1, left), (top + labels.shape[0], frame.shape[1]))


def test_any_numbers_are_a_mask() -> None:
    mask = np.array([[0, 2, 0], [0.5, 0, 0]])
    assert rle.encode(mask) == rle.encode(mask != 0)


def test_dense_noise_takes_the_other_way_and_agrees() -> None:
    mask = np.random.default_rng(0).random((200, 300)) < 0.5
    assert np.array_equal(rle.encode(mask).decode(), mask)


def test_zero_runs_within_are_brought_to_the_canonical_form() -> None:
    code = rle.from_counts([2, 0, 3, 1, 0, 2, 0], (2, 4))
    assert code == rle.encode(code.decode())
    assert code.counts.tolist() == [5, 3]


def test_counts_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        rle.encode(np.ones((2, 2))).counts[0] = 7


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ({"size": [2, 2]}, "'counts'"),
        ({"counts": [4]}, "'size'"),
        ({"size": [2, 2], "counts": [3]}, "add up to 3"),
        ({"size": [2, 2], "counts": [5, -1]}, "negative"),
        ({"size": [2, 2], "counts": [1.5, 2.5]}, "integers"),
        ({"size": [2, 2], "counts": [[1], [1, 2]]}, "integers"),
        ({"size": [2], "counts": [4]}, "rows, columns"),
        ({"size": [0, 2], "counts": []}, "positive"),
        ({"size": [2, 2], "counts": 4}, "list of integers or a string"),
        ({"size": [2, 2], "counts": "é"}, "ASCII"),
        ({"size": [2, 2], "counts": "!"}, "alphabet"),
        ({"size": [2, 2], "counts": "Q"}, "truncated"),
        ({"size": [2, 2], "counts": "oooooooooooo0"}, "too long"),
        ([1, 2], "object"),
    ],
)
def test_damaged_codes(code: object, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        rle.from_coco(code)  # type: ignore[arg-type]


def test_wrong_shapes() -> None:
    with pytest.raises(FormatError, match="two dimensions"):
        rle.encode(np.zeros((2, 2, 2)))
    with pytest.raises(FormatError, match="positive"):
        rle.encode(np.zeros((0, 2)))
    with pytest.raises(FormatError, match="different size"):
        rle.intersection(rle.encode(np.ones((2, 2))), rle.encode(np.ones((2, 3))))
    with pytest.raises(FormatError, match="integers"):
        rle.encode_labels(np.zeros((2, 2), float))
