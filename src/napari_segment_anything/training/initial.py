"""Initial weights of a run from scratch.

A randomly initialised decoder has to learn first that prompts and cells use the same positional
encoding, which takes most of a short training. Here the query and key projections of every
cross-attention start out equal, so that tokens attend to the cells at their prompt's position, and
cells to the tokens of prompts near them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..checkpoints import Checkpoint, cannot
from ..errors import ParameterError
from ..network.micro import MicroConfig, MicroEncoder
from ..network.promptable import Promptable
from ..network.quantised import quantised_layers
from ..network.sam import Sam, SamConfig

REFINER_WIDTH = 24


def trainable(network: Promptable, name: str) -> Sam:
    """Return a network as one that can be trained.

    Parameters
    ----------
    network : Promptable
    name : str
        Of its model, for the message.

    Raises
    ------
    ParameterError
        If it cannot be trained here.
    """
    if not isinstance(network, Sam) or "train" not in network.abilities:
        raise ParameterError(cannot(name, "train"))
    if quantised_layers(network.image_encoder):
        raise ParameterError(
            f"{name} is quantised to int8, where nothing can be learned; train the model it was "
            "made from, and quantise the result"
        )
    return network


def new_network(seed: int, encoder: MicroConfig | None = None) -> Sam:
    """Create a `Sam` with a micro encoder with batch normalisation, initialised for training.

    Its mask refiner changes nothing until it is trained.

    Parameters
    ----------
    seed : int
    encoder : MicroConfig, optional
        The default one unless given.
    """
    torch.manual_seed(seed)
    encoder = encoder or MicroConfig(norm="batch")
    network = Sam(SamConfig(encoder, refiner_width=REFINER_WIDTH))
    share_frequencies(network, seed)
    tie_positions(network, seed)
    return network


def folded(network: Sam) -> Sam:
    """Fold the batch normalisation of a micro encoder into its convolutions."""
    encoder = network.image_encoder
    if not isinstance(encoder, MicroEncoder) or encoder.config.norm == "folded":
        return network
    encoder = encoder.eval().folded()
    other = Sam(replace(network.config, encoder=encoder.config))
    state = {k: v for k, v in network.state_dict().items() if not k.startswith("image_encoder.")}
    other.load_state_dict(
        state | {f"image_encoder.{k}": v for k, v in encoder.state_dict().items()}
    )
    return other


def shape_from_scratch(encoder: Checkpoint) -> MicroConfig:
    """Shape of the image encoder of a checkpoint, for a run from scratch.

    Raises
    ------
    ParameterError
        If such an encoder is not trained from scratch.
    """
    shape = getattr(encoder.network.config, "encoder", None)
    if not isinstance(shape, MicroConfig):
        raise ParameterError(
            f"the image encoder of {encoder.name} is not of the kind that is trained from scratch; "
            "give 'model' a model of its kind"
        )
    return shape


def with_encoder(network: Sam, other: Checkpoint, model: str) -> Sam:
    """Put the image encoder of another model into a network.

    Parameters
    ----------
    network : Sam
        Keeps its other parts, and their positional frequencies.
    other : Checkpoint
        Whose image encoder it gets.
    model : str
        What the network is, for the message.

    Raises
    ------
    ParameterError
        If the encoder is of another kind, or for another frame.
    """
    given = trainable(other.network, other.name)
    old, new = network.config.encoder, given.config.encoder
    if (old.kind, old.image_size) != (new.kind, new.image_size):
        raise ParameterError(
            f"the image encoder of {other.name} ({new.kind}, {new.image_size} pixels) does not fit "
            f"model = {model!r} ({old.kind}, {old.image_size} pixels)"
        )
    joined = Sam(replace(network.config, encoder=new))
    parts = network.state_dict().items()
    joined.load_state_dict(
        {k: v for k, v in parts if not k.startswith("image_encoder.")}
        | {f"image_encoder.{k}": v for k, v in given.image_encoder.state_dict().items()}
    )
    encoder = joined.image_encoder
    if isinstance(encoder, MicroEncoder) and encoder.config.positions:
        positions = joined.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
        encoder.frequencies.copy_(positions)
    return joined.train(network.training)


def share_frequencies(network: Sam, seed: int, scales: tuple[float, float] = (0.5, 4.0)) -> None:
    """Draw random frequencies and use them in both the prompt encoder and the image encoder.

    Low frequencies encode the position in the frame; high ones separate an object of a few pixels
    from its neighbour. In the published models all have scale 1.

    Parameters
    ----------
    network : Sam
    seed : int
    scales : (float, float)
        Lowest and highest scale, between which they are spaced evenly in the logarithm.
    """
    generator = torch.Generator().manual_seed(seed)
    matrix = network.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    low, high = (math.log(s) for s in scales)
    spread = torch.linspace(low, high, matrix.shape[1]).exp()
    matrix.copy_(torch.randn(matrix.shape, generator=generator) * spread)
    encoder = network.image_encoder
    if isinstance(encoder, MicroEncoder) and encoder.config.positions:
        encoder.frequencies.copy_(matrix)


def tie_positions(network: Sam, seed: int, gain: float = 0.1) -> None:
    """Set the query and key projections of each cross-attention to one random matrix.

    Parameters
    ----------
    network : Sam
    seed : int
    gain : float
        Standard deviation of its entries.
    """
    generator = torch.Generator().manual_seed(seed + 1)
    transformer = network.mask_decoder.transformer
    attentions: list[Any] = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        attentions += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    with torch.no_grad():
        for attention in attentions:
            shape = attention.q_proj.weight.shape
            shared = torch.randn(shape, generator=generator) * gain
            for projection in (attention.q_proj, attention.k_proj):
                projection.weight.copy_(shared)
                nn.init.zeros_(projection.bias)
        prompts = network.prompt_encoder
        for embedding in (
            network.mask_decoder.mask_tokens,
            network.mask_decoder.iou_token,
            prompts.not_a_point_embed,
            prompts.no_mask_embed,
            *prompts.point_embeddings,
        ):
            embedding.weight.mul_(0.25)
