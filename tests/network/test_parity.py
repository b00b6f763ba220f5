"""Same weights, same numbers: our network against an independent implementation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from napari_segment_anything.network import VIT_B, Sam

from .oracle import oracle_for, randomise, small_sam

SIDE = 256


@pytest.fixture(scope="module", autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def pair() -> tuple[Sam, torch.nn.Module]:
    sam = small_sam()
    return sam, oracle_for(sam)


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference relative to the largest value."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def prompts(kind: str, objects: int, side: int = SIDE) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(objects)
    coords = torch.rand(objects, 3, 2, generator=g) * side
    labels = torch.tensor([1, 0, 1]).repeat(objects, 1)
    corner = torch.rand(objects, 2, generator=g) * side / 2
    boxes = torch.cat([corner, corner + side / 4], dim=1)
    masks = torch.randn(objects, 1, side // 4, side // 4, generator=g) * 4
    return {
        "point": {"coords": coords[:, :1], "labels": labels[:, :1]},
        "points": {"coords": coords, "labels": labels},
        "padded": {"coords": coords, "labels": torch.tensor([1, 0, -1]).repeat(objects, 1)},
        "box": {"boxes": boxes},
        "box and points": {"coords": coords, "labels": labels, "boxes": boxes},
        "mask and point": {"coords": coords[:, :1], "labels": labels[:, :1], "masks": masks},
        "mask and box": {"boxes": boxes, "masks": masks},
        "mask": {"masks": masks},
    }[kind]


def theirs(oracle: torch.nn.Module, embedding: Tensor, p: dict[str, Tensor], multimask: bool):
    if "masks" in p and len(p["masks"]) > 1:
        # Their mask prompts do not broadcast one image over many objects.
        single = [{k: v[i : i + 1] for k, v in p.items()} for i in range(len(p["masks"]))]
        outs = [theirs(oracle, embedding, s, multimask) for s in single]
        return torch.cat([o[0] for o in outs]), torch.cat([o[1] for o in outs])
    out = oracle(
        image_embeddings=embedding,
        input_points=p["coords"][None] if "coords" in p else None,
        input_labels=p["labels"][None] if "labels" in p else None,
        input_boxes=p["boxes"][None] if "boxes" in p else None,
        input_masks=p.get("masks"),
        multimask_output=multimask,
    )
    return out.pred_masks[0], out.iou_scores[0]


KINDS = ("point", "points", "padded", "box", "box and points", "mask and point", "mask and box")


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("objects", [1, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_decode(pair, kind: str, objects: int, multimask: bool) -> None:
    sam, oracle = pair
    embedding = torch.randn(1, 256, 16, 16, generator=torch.Generator().manual_seed(3))
    p = prompts(kind, objects)
    logits, iou = sam.decode(embedding, **p, multimask=multimask)
    want_logits, want_iou = theirs(oracle, embedding, p, multimask)
    assert difference(logits, want_logits) < 1e-4
    assert difference(iou, want_iou) < 1e-4


def test_prompt_encodings(pair) -> None:
    sam, oracle = pair
    p = prompts("box and points", 5)
    p["masks"] = prompts("mask", 5)["masks"]
    sparse, dense = sam.prompt_encoder(**p)
    for i in range(5):
        want_sparse, want_dense = oracle.prompt_encoder(
            p["coords"][None, i : i + 1],
            p["labels"][None, i : i + 1],
            p["boxes"][None, i : i + 1],
            p["masks"][i : i + 1],
        )
        assert difference(sparse[i], want_sparse[0, 0]) < 1e-4
        assert difference(dense[i], want_dense[0]) < 1e-4
    position = oracle.get_image_wide_positional_embeddings()
    assert difference(sam.prompt_encoder.image_encoding(), position) < 1e-4


def test_encoder_with_windows_that_need_padding(pair) -> None:
    sam, oracle = pair
    pixels = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 255
    ours = sam.encode(pixels).embedding
    want = oracle.get_image_embeddings(sam.preprocess(pixels))
    assert difference(ours, want) < 1e-4


def test_frame_is_padded_with_zeros_after_normalising(pair) -> None:
    sam, oracle = pair
    pixels = torch.rand(1, 3, 100, SIDE) * 255
    frame = sam.preprocess(pixels)
    assert frame.shape == (1, 3, SIDE, SIDE)
    assert not frame[:, :, 100:].any()
    assert difference(sam.encode(pixels).embedding, oracle.get_image_embeddings(frame)) < 1e-4


def test_objects_of_a_batch_do_not_influence_each_other(pair) -> None:
    sam, _ = pair
    embedding = torch.randn(1, 256, 16, 16)
    p = prompts("points", 6)
    together, _ = sam.decode(embedding, **p)
    for i in range(6):
        alone, _ = sam.decode(embedding, **{k: v[i : i + 1] for k, v in p.items()})
        assert difference(together[i : i + 1], alone) < 1e-5


def test_other_frame_sizes_interpolate_positions(pair) -> None:
    sam, _ = pair
    out = sam.image_encoder(torch.randn(1, 3, 128, 192)).embedding
    assert out.shape == (1, 256, 8, 12)
    assert out.isfinite().all()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_vit_b_at_1024() -> None:
    """The published size: embedding and masks of the whole pipeline, and bf16 beside them."""
    sam = randomise(Sam(VIT_B))
    oracle = oracle_for(sam)
    pixels = torch.rand(1, 3, 768, 1024, generator=torch.Generator().manual_seed(1)) * 255
    ours = sam.encode(pixels).embedding
    want = oracle.get_image_embeddings(sam.preprocess(pixels))
    assert difference(ours, want) < 1e-4
    p = prompts("box and points", 2, side=1024)
    logits, iou = sam.decode(ours, **p)
    want_logits, want_iou = theirs(oracle, want, p, True)
    assert difference(logits, want_logits) < 1e-4
    assert difference(iou, want_iou) < 1e-4

    del oracle
    many = prompts("points", 16, side=1024)
    exact, _ = sam.decode(ours, **many)
    sam.set_precision(torch.bfloat16)
    rounded, _ = sam.decode(sam.encode(pixels).embedding, **many)
    a, b = exact > 0, rounded > 0
    agreement = (a & b).sum((2, 3)) / (a | b).sum((2, 3))
    # Random weights make some masks empty or the whole frame: they would agree for nothing.
    share = a.float().mean((2, 3))
    telling = (share > 0.01) & (share < 0.99)
    assert telling.sum() >= 10
    assert agreement[telling].median() >= 0.99
