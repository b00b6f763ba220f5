"""What a model can do is known before it is loaded, and is what the loaded model says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from napari_segment_anything.checkpoints import (
    cannot,
    catalogue,
    known_abilities,
    load_checkpoint,
)
from napari_segment_anything.errors import CheckpointError, ParameterError
from napari_segment_anything.training.initial import trainable

from ..families.tiny import tiny_edgetam, tiny_sam2, tiny_sam3, tiny_sam_hq


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "name"),
    [
        (tiny_sam2, "sam2.1_hiera_tiny"),
        (tiny_edgetam, "edgetam"),
        (tiny_sam3, "sam3"),
        (tiny_sam_hq, "sam_hq_vit_b"),
    ],
)
def test_catalogue_folder_and_network_agree(
    tmp_path: Path, write: Callable[[Path], Path], name: str
) -> None:
    folder = write(tmp_path / "model")
    loaded = load_checkpoint(folder)
    expected = catalogue()[name].abilities
    assert known_abilities(name) == known_abilities(folder) == expected
    assert loaded.network.abilities == set(expected)
    with pytest.raises(ParameterError, match="model cannot be trained here; default, vit_b, "):
        trainable(loaded.network, loaded.name)


def test_what_is_not_known(tmp_path: Path) -> None:
    assert known_abilities("default") == ("prompt", "everything", "train")
    assert known_abilities(tmp_path) is None
    assert known_abilities(tmp_path / "x.pt") is None
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert known_abilities(tmp_path) == ()
    (tmp_path / "config.json").write_text("{")
    assert known_abilities(str(tmp_path)) is None


def test_who_can() -> None:
    assert cannot("vit_b", "examples") == (
        "vit_b cannot find objects by examples; sam3 and owlv2_base can"
    )
    assert "cannot follow objects by memory; sam2.1_hiera_tiny" in cannot("vit_b", "memory")


def test_what_takes_no_prompts_is_not_downloaded_for_them() -> None:
    with pytest.raises(CheckpointError, match=r"owlv2_base cannot answer points, boxes and masks"):
        load_checkpoint("owlv2_base")
    with pytest.raises(CheckpointError, match="siglip2_base cannot answer"):
        load_checkpoint("google/siglip2-base-patch16-224")
