"""Light HQ-SAM: SAM-HQ's mask decoder on MobileSAM's image encoder."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

from torch import Tensor, nn

from ..errors import CheckpointError
from ..network import Promptable, TinyViTConfig
from ..network.tiny_vit import TinyViTEncoder
from .loading import FAMILIES, quiet, transformers_for
from .sam_hq import SamHqNetwork

_EARLY = 1
"""The stage whose output the mask decoder takes, as SAM-HQ that of the first global block."""


class LightEncoder(nn.Module):
    """MobileSAM's image encoder, with what transformers' SAM-HQ takes from an encoder.

    Parameters
    ----------
    network : TinyViTEncoder
    """

    def __init__(self, network: TinyViTEncoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame: Tensor) -> SimpleNamespace:
        """Encode normalised frames (B, 3, S, S)."""
        early = seen = frame
        for index, seen in enumerate(self.network.stages(frame)):
            if index == _EARLY:
                early = seen
        return SimpleNamespace(
            last_hidden_state=self.network.neck(seen),
            intermediate_embeddings=[early.permute(0, 2, 3, 1)],
        )


def build_light_hq(
    encoder: TinyViTConfig, own: Mapping[str, Tensor], others: Mapping[str, Tensor], where: str
) -> Promptable:
    """Make a network from the file of Light HQ-SAM.

    Parameters
    ----------
    encoder : TinyViTConfig
        Its image encoder.
    own, others : mapping of str to Tensor
        The encoder's tensors by their published names, the others by their names in transformers.
    where : str
        The file, for messages.

    Raises
    ------
    CheckpointError
        If transformers is not installed, or tensors do not fit.
    """
    library = transformers_for(f"{where} (Light HQ-SAM)")
    sizes = {"image_size": encoder.image_size, "patch_size": encoder.stride}
    config = library.SamHQConfig(
        vision_config={"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, **sizes},
        prompt_encoder_config=sizes,
        mask_decoder_config={"vit_dim": encoder.widths[_EARLY + 1]},
    )
    with quiet():
        module = library.SamHQModel._from_config(config, attn_implementation="sdpa")
    module.vision_encoder = LightEncoder(encoder.build())
    place = "vision_encoder.network."
    named = {place + name.removeprefix("image_encoder."): own[name] for name in own}
    try:
        missing, unexpected = module.load_state_dict({**named, **others}, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{where} is no Light HQ-SAM: {error}".splitlines()[0]) from error
    missing = [name for name in missing if not name.endswith(".num_batches_tracked")]
    for what, names in (("lacks", missing), ("has unexpected", unexpected)):
        if names:
            raise CheckpointError(f"{where} {what} tensors of Light HQ-SAM ({names[0]} ...)")
    module = module.float().eval().requires_grad_(False)
    mean, deviation = (tuple(255 * v for v in each) for each in FAMILIES["sam_hq"].pixels)
    return SamHqNetwork(module, "sam_hq", mean, deviation).eval()
