from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from napari_segment_anything.checkpoints import fingerprint, load_checkpoint, loading
from napari_segment_anything.checkpoints.records import recall, record

A = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}


@given(st.permutations(list(A)), st.booleans())
def test_order_and_layout_do_not_matter(order: list[str], strided: bool) -> None:
    state = {k: A[k] for k in order}
    if strided:
        state["a"] = state["a"].T.contiguous().T
    assert fingerprint(state) == fingerprint(A)


@pytest.mark.parametrize(
    "other",
    [
        {**A, "a": A["a"].reshape(3, 2)},
        {**A, "a": A["a"].double()},
        {**A, "a": A["a"] + 1e-6},
        {**A, "c": torch.zeros(0)},
        {"a": A["a"]},
        {"A": A["a"], "b": A["b"]},
    ],
)
def test_everything_else_does(other: dict[str, Tensor]) -> None:
    assert fingerprint(other) != fingerprint(A)
    assert len(fingerprint(other)) == 64


def test_sixteen_bit_tensors_and_parameters() -> None:
    parameter = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    assert fingerprint({"a": parameter}) == fingerprint({"a": parameter.detach()})


def test_it_is_remembered_until_the_file_changes(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(tensors: dict[str, Tensor]) -> str:
        calls.append(1)
        return fingerprint(tensors)

    monkeypatch.setattr(loading, "fingerprint", counted)
    path = tmp_path / "x.pt"
    torch.save(state, path)
    first = load_checkpoint(path).fingerprint
    assert load_checkpoint(path).fingerprint == first
    assert len(calls) == 1
    state["mask_decoder.iou_token.weight"] = state["mask_decoder.iou_token.weight"] + 1
    torch.save(state, path)
    assert load_checkpoint(path).fingerprint != first
    assert len(calls) == 2


def test_records_survive_damage_and_lack_of_place(tmp_path: Path) -> None:
    subject = tmp_path / "subject"
    subject.write_bytes(b"x")
    store = tmp_path / "deep" / "records.json"
    assert recall(subject, "hash", store) is None
    record(subject, "hash", "1", store)
    assert recall(subject, "hash", store) == "1"
    assert [p.name for p in store.parent.iterdir()] == ["records.json"]
    for damage in (b"{", b"[]", b"\xff\xfe"):
        store.write_bytes(damage)
        assert recall(subject, "other", store) is None
    record(subject, "other", "2", store)
    assert recall(subject, "other", store) == "2"
    record(subject, "kept in memory", "3", subject / "impossible" / "records.json")
    assert recall(subject, "kept in memory", store) == "3"
    assert recall(tmp_path / "absent", "hash", store) is None
