"""Folders from a hub: listed, chosen, checked, continued; and one clear line for each failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from napari_segment_anything import Predictor, Prompts, Segmenter, load_model
from napari_segment_anything.checkpoints import download, transfer
from napari_segment_anything.checkpoints.hub import HubModel, fetch_folder, find_folder, hub_model
from napari_segment_anything.cli.main import run
from napari_segment_anything.errors import CheckpointError, DownloadError
from napari_segment_anything.progress import Progress

from ..families.tiny import tiny_sam2
from .hub_site import COMMIT, HubSite, serve

WEIGHTS = save({"a": torch.arange(50_000.0)})
CONFIG = json.dumps({"model_type": "sam2_video"}).encode()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubSite]:
    files = {
        "config.json": CONFIG,
        "model.safetensors": WEIGHTS,
        "processor_config.json": b"{}",
        "tokenizer.json": b'{"version": "1.0"}',
        "README.md": b"# Tiny",
        "pytorch_model.bin": b"\x80pickle",
        "modeling_tiny.py": b"import os",
        "onnx/model.safetensors": WEIGHTS,
    }
    with serve(HubSite(files=files)) as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_TOKEN", "")
        monkeypatch.delenv("HF_HUB_CACHE", raising=False)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield site


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_only_what_is_needed_is_downloaded(hub: HubSite, tmp_path: Path) -> None:
    steps: list[Progress] = []
    folder = download("lab/tiny", tmp_path, steps.append)
    assert folder == tmp_path / "lab--tiny"
    wanted = {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json"}
    assert names(folder) == wanted | {"hub.json"}
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    total = sum(len(hub.files[name]) for name in wanted)
    assert {step.total for step in steps} == {total}
    assert steps[-1].done == total
    assert json.loads((folder / "hub.json").read_text())["commit"] == COMMIT
    before = len(hub.requests)
    assert download("lab/tiny", tmp_path) == folder
    assert len(hub.requests) == before, "what is here needs no network"


def test_shards(hub: HubSite, tmp_path: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    del hub.files["model.safetensors"]
    hub.files |= {
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-00001-of-00002.safetensors": WEIGHTS,
        "model-00002-of-00002.safetensors": save({"b": torch.ones(3)}),
    }
    folder = download("lab/tiny", tmp_path)
    assert {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"} < names(folder)


@pytest.mark.parametrize("attempts", [1, 4])
def test_continued(
    hub: HubSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    monkeypatch.setattr(transfer, "ATTEMPTS", attempts)
    hub.breaks = [70_000]
    if attempts == 1:
        with pytest.raises(DownloadError, match=r"broke after 70000 .* kept and will be continued"):
            download("lab/tiny", tmp_path)
        assert find_folder(HubModel("lab/tiny"), tmp_path) is None
    folder = download("lab/tiny", tmp_path)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert "bytes=70000-" in [span for _, path, span, _ in hub.requests if "/cdn/" in path]
    assert hub.asked.count("config.json") == 1


def test_a_revision(hub: HubSite, tmp_path: Path) -> None:
    folder = download(f"lab/tiny@{COMMIT}", tmp_path)
    assert folder.name == f"lab--tiny@{COMMIT[:12]}"
    with pytest.raises(DownloadError, match="no revision 'other'"):
        download("lab/tiny@other", tmp_path)


def test_gated(hub: HubSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated = True
    wants = r"lab/tiny is gated: ask .* https://huggingface.co/lab/tiny.* HF_TOKEN .* hf auth login"
    for token in ("", "hf_of_somebody_else"):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(DownloadError, match=wants) as caught:
            download("lab/tiny", tmp_path)
        assert str(tmp_path / "lab--tiny") in str(caught.value)
        assert "\n" not in str(caught.value)
        assert token not in str(caught.value) or not token
    monkeypatch.setenv("HF_TOKEN", hub.token)
    folder = download("lab/tiny", tmp_path)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    elsewhere = [token for _, path, _, token in hub.requests if path.startswith("/cdn/")]
    assert elsewhere == [None], "the token goes to the hub only"


def test_a_known_model_that_the_hub_hides(hub: HubSite, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"facebook/sam3 is gated: .* .*/tree/3c879f398"):
        download("sam3", tmp_path)


def test_wrong_and_truncated_files(hub: HubSite, tmp_path: Path) -> None:
    hub.served["model.safetensors"] = WEIGHTS[:-4] + b"oops"
    with pytest.raises(DownloadError, match=r"not the published model.safetensors: its sha256"):
        download("lab/tiny", tmp_path)
    hub.served["model.safetensors"] = WEIGHTS[:1000]
    with pytest.raises(DownloadError, match=f"1000 bytes instead of {len(WEIGHTS)}"):
        download("lab/tiny", tmp_path)
    hub.served = {"config.json": CONFIG.replace(b"2", b"3")}
    with pytest.raises(DownloadError, match=r"not the published config.json: its git"):
        download("lab/tiny", tmp_path / "other")


def test_a_file_that_was_cut_off_is_fetched_again(hub: HubSite, tmp_path: Path) -> None:
    path = download("lab/tiny", tmp_path) / "model.safetensors"
    path.write_bytes(WEIGHTS[:5000])
    assert find_folder(HubModel("lab/tiny"), tmp_path) is None
    download("lab/tiny", tmp_path)
    assert path.read_bytes() == WEIGHTS


def test_no_such_model(hub: HubSite, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="no model lab/other on the Hugging Face Hub"):
        download("lab/other", tmp_path)


@pytest.mark.parametrize(
    ("lost", "says"),
    [("model.safetensors", "publishes no model.safetensors"), ("config.json", "no config.json")],
)
def test_a_repository_of_another_form(hub: HubSite, tmp_path: Path, lost: str, says: str) -> None:
    del hub.files[lost]
    with pytest.raises(DownloadError, match=says):
        download("lab/tiny", tmp_path)
    assert hub.asked == []


def test_without_a_network(hub: HubSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="could not reach the Hugging Face Hub") as caught:
        download("lab/tiny", tmp_path)
    said = str(caught.value)
    assert "https://huggingface.co/lab/tiny/tree/main" in said
    assert f"into {tmp_path / 'lab--tiny'}: config.json, model.safetensors" in said
    # and following that advice works
    folder = tmp_path / "lab--tiny"
    folder.mkdir()
    (folder / "config.json").write_bytes(CONFIG)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    assert download("lab/tiny", tmp_path) == folder


def test_what_the_hubs_own_client_downloaded_is_used(hub: HubSite, tmp_path: Path) -> None:
    kept = tmp_path / "hf" / "hub" / "models--lab--tiny"
    snapshot = kept / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(COMMIT)
    (snapshot / "config.json").write_bytes(CONFIG)
    (snapshot / "model.safetensors").write_bytes(WEIGHTS[:-10])
    assert find_folder(HubModel("lab/tiny"), tmp_path) is None
    (snapshot / "model.safetensors").write_bytes(WEIGHTS)
    for revision in ("", COMMIT):
        assert fetch_folder(HubModel("lab/tiny", revision), tmp_path) == snapshot
    assert hub.requests == []


@pytest.mark.slow
def test_a_model_of_the_hub_answers_prompts(
    hub: HubSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder = tiny_sam2(tmp_path / "made")
    hub.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.gated = True
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert run(["download", "lab/tiny", "--json", "-q"]) == 0
    path = Path(json.loads(capsys.readouterr().out)["lab/tiny"])
    model = load_model("lab/tiny", device="cpu")
    assert (model.name, model.source) == ("lab/tiny", "lab/tiny")
    assert model.metadata["source"] == "https://huggingface.co/lab/tiny"
    assert model.fingerprint == load_model(path, device="cpu").fingerprint
    assert "memory" in model.abilities
    image = np.random.default_rng(0).integers(0, 255, (40, 60), np.uint8)
    found = Segmenter(Predictor(model)).segment(image, Prompts.from_points([[20, 30]]))
    assert len(found) == 1
    assert run(["models", "lab/tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["can"] == "prompt, everything, memory"


def test_without_the_extra(hub: HubSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        CheckpointError, match=r"needs transformers and huggingface_hub.*\[models\]"
    ):
        download("lab/tiny", tmp_path)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("source", "model"),
    [
        ("facebook/sam3", HubModel("facebook/sam3")),
        ("facebook/sam2.1-hiera-tiny@main", HubModel("facebook/sam2.1-hiera-tiny", "main")),
        ("owner/name@refs/pr/1", HubModel("owner/name", "refs/pr/1")),
        ("owner/name@../x", None),
        ("../sam3", None),
        ("vit_b", None),
        ("a/b/c", None),
        ("models/best.pth", None),
        (Path("facebook/sam3"), None),
    ],
)
def test_names(source: object, model: HubModel | None) -> None:
    assert hub_model(source) == model


def test_a_folder_that_exists_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hub_model("owner/name") is None
