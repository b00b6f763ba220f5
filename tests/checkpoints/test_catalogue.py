from __future__ import annotations

import itertools
import re
import tomllib
from importlib.resources import files
from typing import get_args

import pytest

from napari_segment_anything.checkpoints import about_size, catalogue
from napari_segment_anything.checkpoints.catalogue import find_entry, unknown_name
from napari_segment_anything.checkpoints.hub import hub_model
from napari_segment_anything.network.promptable import Ability


def test_every_row_is_whole() -> None:
    entries = catalogue()
    assert next(iter(entries)) == "default"
    assert {"vit_b", "vit_l", "vit_h", "vit_t", "vit_b_lm", "vit_l_em_organelles"} <= set(entries)
    for name, entry in entries.items():
        assert entry.name == name
        assert entry.group
        assert entry.architecture
        assert entry.description.endswith(".")
        assert entry.licence
        assert entry.citation
        assert entry.kind in ("sam", "detector", "likeness")
        assert entry.abilities
        assert set(entry.abilities) <= set(get_args(Ability))
        assert ("prompt" in entry.abilities) == (entry.kind == "sam")
        assert about_size(entry)[1]
        if entry.embedded:
            continue
        assert entry.source.startswith("https://")
        assert bool(entry.hub) != bool(entry.files)
        for remote in entry.files:
            assert remote.source.startswith("https://")
            digits = {"sha256": 64, "md5": 32, "xxh128": 32}[remote.hash_kind]
            assert re.fullmatch(rf"[0-9a-f]{{{digits}}}", remote.hash)


def test_folders_on_the_hub() -> None:
    entries = catalogue()
    assert entries["sam2.1_hiera_tiny"].hub == "facebook/sam2.1-hiera-tiny"
    sam3 = entries["sam3"]
    assert sam3.gated
    assert re.fullmatch("[0-9a-f]{40}", sam3.revision)
    assert [entry.name for entry in entries.values() if entry.gated] == ["sam3"]
    for entry in entries.values():
        if entry.hub:
            assert hub_model(entry.hub) is not None
            assert entry.needs_extra
            assert entry.parameters
    assert not entries["medsam"].needs_extra
    assert entries["sam_hq_vit_b"].needs_extra


def test_groups_are_not_interrupted() -> None:
    groups = [entry.group for entry in catalogue().values()]
    assert len(set(groups)) == len([g for g, _ in itertools.groupby(groups)])


def test_published_facts() -> None:
    entry = catalogue()["vit_b"]
    assert (entry.file, entry.size) == ("sam_vit_b_01ec64.pth", 375_042_383)
    assert entry.checkpoint.hash.startswith("ec2df62732614e57")
    assert entry.decoder is None
    micro = catalogue()["vit_t_lm"]
    assert micro.licence == "CC-BY-4.0"
    assert micro.architecture == "vit_t"
    assert micro.decoder is not None
    assert micro.decoder.source == micro.source.replace("vit_t.pt", "vit_t_decoder.pt")


def test_files_and_hashes_are_all_different() -> None:
    remotes = [r for e in catalogue().values() for r in e.files if not e.embedded]
    for what in ("file", "hash", "source"):
        assert len({getattr(r, what) for r in remotes}) == len(remotes) == 29
    folders = [(e.hub, e.revision) for e in catalogue().values() if e.hub]
    assert len(set(folders)) == len(folders) == 10


def test_no_row_is_lost_between_the_data_and_the_entries() -> None:
    text = files("napari_segment_anything.checkpoints").joinpath("catalogue.toml").read_text()
    rows = tomllib.loads(text)
    assert list(rows) == list(catalogue())
    for name, row in rows.items():
        assert set(row) <= {
            "abilities", "aliases", "architecture", "citation", "decoder", "description",
            "embedded", "file", "gated", "group", "hub", "kind", "licence", "md5", "parameters",
            "preparation", "revision", "sha256", "size", "source", "xxh128",
        }  # fmt: skip
        assert ("decoder" in row) == (catalogue()[name].decoder is not None)


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        catalogue()["x"] = catalogue()["vit_b"]  # type: ignore[index]


def test_names_aliases_and_near_misses() -> None:
    entry = find_entry("mobile_sam")
    assert entry is not None
    assert entry.name == "vit_t"
    assert find_entry("vit_x") is None
    message = str(unknown_name("vitb"))
    assert "did you mean vit_b" in message
    assert "medsam" not in message  # the near ones are enough
    message = str(unknown_name("qqqqqqq"))
    assert "did you mean" not in message and "default" in message and "medsam" in message
