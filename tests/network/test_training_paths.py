"""What training runs gives the numbers that inference gives, with gradients."""

from __future__ import annotations

import torch

from .oracle import small_sam
from .test_parity import difference, prompts


def test_encoder_with_gradients_equals_encoder_without() -> None:
    sam = small_sam()
    pixels = torch.rand(1, 3, 256, 256) * 255
    with torch.no_grad():
        plain = sam.encode(pixels).embedding
    tracked = sam.encode(pixels).embedding
    assert difference(tracked.detach(), plain) < 1e-4
    tracked.square().mean().backward()
    missing = [n for n, p in sam.image_encoder.named_parameters() if p.grad is None]
    assert missing == []
    assert all(p.grad.isfinite().all() for p in sam.image_encoder.parameters())


def test_gradients_reach_every_part_of_the_decoder() -> None:
    sam = small_sam()
    embedding = torch.randn(1, 256, 16, 16, requires_grad=True)
    arguments = prompts("box and points", 3) | {"masks": prompts("mask", 3)["masks"]}
    arguments["labels"] = torch.tensor([[1, 0, -1]] * 3)
    logits, iou = sam.decode(embedding, **arguments, return_all=True)
    no_mask, _ = sam.decode(embedding, **prompts("point", 2), multimask=False)
    (logits.square().mean() + iou.square().mean() + no_mask.square().mean()).backward()
    assert embedding.grad is not None
    idle = {
        n
        for n, p in sam.named_parameters()
        if p.grad is None and not n.startswith("image_encoder.")
    }
    # The key bias of token-to-image attention adds the same to all cells: softmax drops it.
    attention = "mask_decoder.transformer."
    assert idle == {
        f"{attention}{name}.k_proj.bias"
        for name in (
            "layers.0.cross_attn_token_to_image",
            "layers.1.cross_attn_token_to_image",
            "final_attn_token_to_image",
        )
    }


def test_decoder_gradient_equals_finite_difference() -> None:
    sam = small_sam().double()
    embedding = torch.randn(1, 256, 4, 4, dtype=torch.float64)
    weight = sam.mask_decoder.transformer.layers[1].cross_attn_image_to_token.q_proj.weight
    arguments = {
        k: v.double() if v.is_floating_point() else v for k, v in prompts("point", 1).items()
    }

    def loss() -> torch.Tensor:
        logits, iou = sam.decode(embedding, **arguments)
        return logits.tanh().mean() + iou.mean()

    value = loss()
    (gradient,) = torch.autograd.grad(value, weight)
    direction = torch.randn_like(weight)
    with torch.no_grad():
        step = 1e-5
        weight.add_(direction, alpha=step)
        up = loss()
        weight.sub_(direction, alpha=2 * step)
        down = loss()
    numeric = (up - down) / (2 * step)
    assert torch.allclose((gradient * direction).sum(), numeric, rtol=1e-3, atol=1e-9)
