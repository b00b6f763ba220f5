from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import xxhash
from torch import Tensor

from napari_segment_anything import checkpoints
from napari_segment_anything.checkpoints import (
    cache_directory,
    cached_path,
    load_checkpoint,
    transfer,
)
from napari_segment_anything.checkpoints.catalogue import CatalogueEntry, RemoteFile
from napari_segment_anything.checkpoints.download import fetch, fetch_url
from napari_segment_anything.errors import CheckpointError, DownloadError, ResourceError
from napari_segment_anything.progress import Progress
from napari_segment_anything.reading import is_url

from ..forked import Processes
from .conftest import Site

CONTENT = b"\x80\x02" + os.urandom(2_999_998)  # as torch wrote before 1.6


def remote_for(site: Site, kind: str = "sha256", **other: Any) -> RemoteFile:
    digest = (hashlib.sha256 if kind == "sha256" else xxhash.xxh128)(CONTENT).hexdigest()
    return RemoteFile("weights.pt", site.url, kind, digest, **other)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "checkpoints" / "weights.pt"


@pytest.fixture
def part(target: Path) -> Path:
    target.parent.mkdir(parents=True)
    return target.with_name("weights.pt.part")


@pytest.mark.parametrize("kind", ["sha256", "xxh128"])
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_once_and_verified(site: Site, target: Path, kind: str, size: int | None) -> None:
    site.content = CONTENT
    remote = remote_for(site, kind=kind, size=size)
    assert cached_path(remote) is None
    steps: list[Progress] = []
    assert fetch(remote, progress=steps.append) == target
    assert target.read_bytes() == CONTENT
    assert steps[-1].done == steps[-1].total == len(CONTENT)
    assert [s.done for s in steps] == sorted(s.done for s in steps)
    assert "weights.pt" in steps[0].message
    assert fetch(remote) == cached_path(remote) == target
    assert len(site.requests) == 1
    visible = {p.name for p in target.parent.iterdir() if not p.name.startswith(".")}
    assert visible == {"weights.pt", "records.json"}


def test_a_broken_connection_is_continued(site: Site, target: Path) -> None:
    site.content = CONTENT
    site.breaks = [1_200_000, 1_000_000]
    fetch(remote_for(site))
    assert target.read_bytes() == CONTENT
    first, second, third = site.requests
    assert first is None
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in (second, third) if asked]
    assert 500_000 < starts[0] <= 1_200_000
    assert starts[0] + 500_000 < starts[1] <= starts[0] + 1_000_000


def test_a_later_call_continues(site: Site, target: Path, part: Path) -> None:
    site.content = CONTENT
    part.write_bytes(CONTENT[:1_000_000])
    fetch(remote_for(site))
    assert target.read_bytes() == CONTENT
    assert site.requests == ["bytes=1000000-"]
    assert not part.exists()


def test_a_whole_part_needs_no_network(site: Site, target: Path, part: Path) -> None:
    part.write_bytes(CONTENT)
    fetch(remote_for(site, size=len(CONTENT)))
    assert target.read_bytes() == CONTENT
    assert site.requests == []


def test_servers_without_ranges(site: Site, target: Path, part: Path) -> None:
    site.content = CONTENT
    site.ranges = False
    part.write_bytes(CONTENT[:1_000_000])
    site.breaks = [2_000_000]
    fetch(remote_for(site))
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("beginning", [b"\0" * 1000, b"\0" * (len(CONTENT) + 5)])
def test_a_part_of_something_else_is_started_over(
    site: Site, target: Path, part: Path, beginning: bytes
) -> None:
    site.content = CONTENT
    part.write_bytes(beginning)
    fetch(remote_for(site))
    assert target.read_bytes() == CONTENT


def test_a_file_that_changes_in_between(site: Site, target: Path) -> None:
    site.content = CONTENT
    site.etag = '"one"'
    site.breaks = [1_000_000]
    seen: list[Progress] = []
    second = CONTENT[:2] + CONTENT[:1:-1]

    def change(step: Progress) -> None:
        seen.append(step)
        site.content, site.etag = second, '"two"'

    path = fetch_url(site.url, progress=change)
    assert path.read_bytes() == second
    assert site.requests[0] is None
    assert site.requests[1] is not None


def test_nothing_is_continued_that_nothing_verifies(site: Site) -> None:
    site.content = CONTENT
    site.breaks = [1_000_000]
    assert fetch_url(site.url).read_bytes() == CONTENT
    assert site.requests == [None, None]


def test_wrong_content_is_removed(site: Site, target: Path) -> None:
    site.content = CONTENT[::-1]
    remote = remote_for(site)
    with pytest.raises(DownloadError) as caught:
        fetch(remote)
    message = str(caught.value)
    assert remote.hash in message
    assert hashlib.sha256(site.content).hexdigest() in message
    assert str(target) in message
    assert not target.exists()
    assert not target.with_name("weights.pt.part").exists()


def test_a_page_instead_of_the_file_is_noticed_at_once(site: Site, target: Path) -> None:
    site.content = b"<html>Please log in</html>"
    with pytest.raises(DownloadError, match="26 bytes instead of 3000000"):
        fetch(remote_for(site, size=len(CONTENT)))
    assert not target.exists()
    site.length = False
    with pytest.raises(DownloadError, match="26 bytes instead of 3000000"):
        fetch(remote_for(site, size=len(CONTENT)))
    assert not target.exists()


def test_not_found(site: Site, target: Path) -> None:
    site.status = 404
    remote = remote_for(site)
    with pytest.raises(DownloadError) as caught:
        fetch(remote)
    for fact in ("404", site.url, str(target), remote.hash, "NAPARI_SEGMENT_ANYTHING_CACHE"):
        assert fact in str(caught.value)
    assert len(site.requests) == 1


def test_a_failing_server_is_asked_again(site: Site) -> None:
    site.status = 503
    with pytest.raises(DownloadError, match="503"):
        fetch(remote_for(site))
    assert len(site.requests) == 4


def test_no_network(target: Path) -> None:
    remote = RemoteFile("weights.pt", "http://me:secret@127.0.0.1:9/weights.pt", "sha256", "0" * 64)
    with pytest.raises(DownloadError) as caught:
        fetch(remote)
    message = str(caught.value)
    assert "no connection" in message
    assert "refused" in message
    assert f"save it as {target} (sha256 000" in message
    assert "secret" not in message
    # What the message says is what works.
    target.write_bytes(b"")
    good = RemoteFile("weights.pt", remote.source, "sha256", hashlib.sha256(b"").hexdigest())
    assert fetch(good) == target


def test_a_wrong_file_in_place_is_replaced_or_named(site: Site, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(b"something else")
    remote = remote_for(site)
    site.status = 404
    with pytest.raises(DownloadError, match="The existing file is not valid: its sha256 is"):
        fetch(remote)
    assert target.read_bytes() == b"something else"
    site.status, site.content = 200, CONTENT
    assert fetch(remote).read_bytes() == CONTENT


def test_cancelling_keeps_what_came(site: Site, target: Path) -> None:
    site.content = CONTENT

    class Cancelled(Exception):
        pass

    def cancel(step: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        fetch(remote_for(site), progress=cancel)
    part = target.with_name("weights.pt.part")
    assert 0 < part.stat().st_size < len(CONTENT)
    fetch(remote_for(site))
    assert target.read_bytes() == CONTENT
    assert site.requests[1] is not None


def test_full_disk(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.content = CONTENT
    usage = SimpleNamespace(total=10**9, used=10**9, free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(ResourceError, match="the disk is full"):
            fetch(remote_for(site))

    def write_fails(self: Any, file: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(transfer.Transfer, "_note", write_fails)
        with pytest.raises(ResourceError, match="free some space"):
            fetch(remote_for(site))
    assert not target.with_name("weights.pt.part").exists()


def test_a_folder_that_cannot_be(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError, match="cannot write to"):
        fetch(remote_for(site), tmp_path / "file" / "below")


@pytest.mark.slow
def test_two_processes_fetch_once(processes: Processes, site: Site, target: Path) -> None:
    site.content = CONTENT
    site.delay = 1.5
    code = (
        "import sys; from napari_segment_anything.checkpoints.download import fetch_url\n"
        "print(fetch_url(sys.argv[1]))"
    )
    url = f"{site.url}#sha256={hashlib.sha256(CONTENT).hexdigest()}"
    with processes.start(code, url) as one, processes.start(code, url) as other:
        outputs = [run.communicate(timeout=60) for run in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), outputs
    paths = {out.strip() for out, _ in outputs}
    assert len(paths) == 1
    assert Path(paths.pop()).read_bytes() == CONTENT
    assert len(site.requests) == 1


class TestUrls:
    def test_kept_by_name_and_place(self, site: Site, tmp_path: Path) -> None:
        site.content = CONTENT
        one = fetch_url(site.url, tmp_path)
        assert one.name.endswith("-weights.pt")
        assert fetch_url(site.url, tmp_path) == one
        assert len(site.requests) == 1
        other = fetch_url(site.url.replace("weights", "other"), tmp_path)
        assert other != one

    def test_hash_in_the_fragment(self, site: Site, tmp_path: Path) -> None:
        site.content = CONTENT
        with pytest.raises(DownloadError, match="not the published"):
            fetch_url(f"{site.url}#sha256={'0' * 64}", tmp_path)
        fetch_url(f"{site.url}#xxh128={xxhash.xxh128(CONTENT).hexdigest()}", tmp_path)

    @pytest.mark.parametrize("kind", ["sha256", "SHA256", "Sha256"])
    def test_hashes_are_checked_however_they_are_spelt(
        self, site: Site, tmp_path: Path, kind: str
    ) -> None:
        site.content = CONTENT
        with pytest.raises(DownloadError, match="not the published"):
            fetch_url(f"{site.url}#{kind}={'0' * 64}", tmp_path)
        good = hashlib.sha256(CONTENT).hexdigest().upper()
        assert fetch_url(f"{site.url}#{kind}={good}", tmp_path).read_bytes() == CONTENT
        # the same place without a hash is in the cache now; with a wrong one it is not used
        with pytest.raises(DownloadError):
            fetch_url(f"{site.url}#{kind}={'1' * 64}", tmp_path)

    @pytest.mark.parametrize(
        "fragment",
        ["md5=" + "0" * 32, "sha256:" + "0" * 64, "sha256=", "sha256=xyz", "sha1=0", "main", "="],
    )
    def test_what_cannot_be_checked_is_refused(
        self, site: Site, tmp_path: Path, fragment: str
    ) -> None:
        with pytest.raises(CheckpointError, match="is not a hash"):
            fetch_url(f"{site.url}#{fragment}", tmp_path)
        with pytest.raises(CheckpointError, match="is not a hash"):
            fetch_url(f"file:///tmp/x.pt#{fragment}", tmp_path)
        assert site.requests == []

    def test_hashes_of_file_urls_and_of_the_catalogue_are_checked(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "x.pt").write_bytes(CONTENT)
        url = (tmp_path / "x.pt").as_uri()
        assert fetch_url(f"{url}#sha256={hashlib.sha256(CONTENT).hexdigest()}")
        with pytest.raises(CheckpointError, match="does not match the URL"):
            fetch_url(f"{url}#sha256={'0' * 64}")
        site.content = CONTENT
        entry = CatalogueEntry("x", "vit_b", "A.", "MIT", "B", remote_for(site))
        module = sys.modules[fetch.__module__]
        monkeypatch.setattr(module, "catalogue", lambda: {"x": entry})
        with pytest.raises(DownloadError, match="does not match the URL"):
            fetch_url(f"{site.url}#sha256={'0' * 64}", tmp_path)

    @pytest.mark.parametrize("content", [b"<html>Please log in</html>", b"", b"Not found"])
    def test_a_page_is_not_kept_as_a_checkpoint(
        self, site: Site, tmp_path: Path, content: bytes
    ) -> None:
        site.content = content
        with pytest.raises(DownloadError, match="not a checkpoint"):
            fetch_url(site.url, tmp_path)
        site.content = CONTENT  # and does not block the next try
        assert fetch_url(site.url, tmp_path).read_bytes() == CONTENT

    @pytest.mark.parametrize("suffix", ["pt", "safetensors"])
    def test_a_cut_download_is_not_kept(
        self, site: Site, tmp_path: Path, state: dict[str, Tensor], suffix: str
    ) -> None:
        from safetensors.torch import save

        if suffix == "pt":
            torch.save(state, tmp_path / "x.pt")
            whole = (tmp_path / "x.pt").read_bytes()
        else:
            whole = save(state)
        site.length = False  # so that only the content tells
        site.content = whole[: len(whole) // 2]
        with pytest.raises(DownloadError, match=r"cut off|truncated"):
            fetch_url(site.url, tmp_path)
        site.content = whole
        assert fetch_url(site.url, tmp_path).read_bytes() == whole

    def test_what_an_older_version_kept_is_fetched_again(self, site: Site, tmp_path: Path) -> None:
        site.content = CONTENT
        path = fetch_url(site.url, tmp_path)
        path.write_bytes(b"<!doctype html>")
        assert fetch_url(site.url, tmp_path).read_bytes() == CONTENT

    def test_sizes_are_bounded(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.content = CONTENT
        monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_MAX_DOWNLOAD_BYTES", "1000000")
        for site.length in (True, False):
            with pytest.raises(DownloadError, match="MAX_DOWNLOAD_BYTES"):
                fetch_url(site.url, tmp_path)
        assert sum(file.stat().st_size for file in tmp_path.rglob("*.part")) == 0

    def test_time_is_bounded(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.content = CONTENT
        site.drip = 0.05
        monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_MAX_DOWNLOAD_SECONDS", "1")
        began = time.monotonic()
        with pytest.raises(DownloadError, match="MAX_DOWNLOAD_SECONDS"):
            fetch_url(site.url, tmp_path)
        assert time.monotonic() - began < 10

    def test_a_silent_server_is_given_up(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.delay, site.content = 30, CONTENT
        monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_MAX_READ_SECONDS", "1")
        monkeypatch.setattr(transfer, "ATTEMPTS", 1)
        with pytest.raises(DownloadError, match="no connection"):
            fetch_url(site.url, tmp_path)
        site.released.set()

    def test_https_never_becomes_http(self, tmp_path: Path) -> None:
        part = tmp_path / "x.part"
        secure = transfer.Transfer("https://a.org/x.pt", part, None, None, "x.pt")
        answer = SimpleNamespace(
            is_redirect=True, headers={"location": "http://b.org/x.pt"}, status_code=302
        )
        with pytest.raises(DownloadError, match="not secure"):
            secure._answered(answer)
        answer.headers["location"] = "https://b.org/x.pt"
        secure._answered(answer)

    def test_what_nothing_verifies_is_not_continued(self, site: Site, tmp_path: Path) -> None:
        site.content = CONTENT
        path = fetch_url(site.url, tmp_path)
        path.unlink()
        path.with_name(path.name + ".part").write_bytes(b"of yesterday's version")
        assert fetch_url(site.url, tmp_path).read_bytes() == CONTENT
        assert site.requests == [None, None]

    def test_loading_from_one(self, site: Site, tmp_path: Path, state: dict[str, Tensor]) -> None:
        torch.save(state, tmp_path / "x.pt")
        site.content = (tmp_path / "x.pt").read_bytes()
        steps: list[Progress] = []
        checkpoint = load_checkpoint(site.url, progress=steps.append)
        assert checkpoint.fingerprint == checkpoints.fingerprint(state)
        assert steps

    def test_of_a_catalogue_row(self, tmp_path: Path) -> None:
        entry = checkpoints.catalogue()["vit_t"]
        (tmp_path / entry.file).write_bytes(b"x")
        source = entry.source.replace("https://", "http://127.0.0.1:9/")
        assert is_url(source)
        assert not is_url(r"C:\models\x.pt")
        assert not is_url("vit_b")


def test_by_name(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.content = CONTENT
    remote = remote_for(site)
    decoder = dataclasses.replace(remote, file="d.pt", source=site.url.replace("weights", "d"))
    entry = CatalogueEntry("x_lm", "vit_b", "A.", "MIT", "B", remote, decoder)
    module = sys.modules[checkpoints.download.__module__]
    monkeypatch.setattr(module, "find_entry", lambda name: entry if name == "x_lm" else None)
    path = checkpoints.download("x_lm", tmp_path / "models")
    assert path == tmp_path / "models" / "weights.pt"
    assert (tmp_path / "models" / "d.pt").read_bytes() == CONTENT
    with pytest.raises(CheckpointError, match="no model named"):
        checkpoints.download("y_lm")


def test_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_directory() == tmp_path / "cache"
    monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_CACHE", "~/somewhere")
    assert cache_directory() == Path.home() / "somewhere"
    monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_CACHE", " ")
    assert cache_directory().name == "napari-segment-anything"
