"""Small networks, and a web server that misbehaves on demand."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import Tensor

from napari_segment_anything.checkpoints import transfer
from napari_segment_anything.network import Sam, SamConfig, ViTConfig
from napari_segment_anything.network.instance_decoder import InstanceDecoder, InstanceDecoderConfig
from napari_segment_anything.network.tiny_vit import TinyViTConfig

VIT = SamConfig(ViTConfig(width=32, depth=3, heads=2, global_blocks=(1,), image_size=64, window=3))
TINY = SamConfig(
    TinyViTConfig(widths=(8, 16, 24, 32), depths=(1, 1, 2, 1), heads=(2, 2, 3, 4), classes=7)
)
DECODER = InstanceDecoderConfig(widths=(16, 8, 8, 4))


def random_network(config: SamConfig, seed: int = 0) -> Sam:
    torch.manual_seed(seed)
    return Sam(config).eval()


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(
        torch.equal(one[k], other[k].to(one[k].dtype)) for k in one
    )


@pytest.fixture(scope="session")
def vit() -> Sam:
    return random_network(VIT)


@pytest.fixture(scope="session")
def tiny() -> Sam:
    return random_network(TINY)


@pytest.fixture(scope="session")
def decoder() -> InstanceDecoder:
    torch.manual_seed(1)
    return InstanceDecoder(DECODER).eval()


@pytest.fixture
def state(vit: Sam) -> dict[str, Tensor]:
    return dict(vit.state_dict())


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(transfer, "PAUSE", 0.0)


@dataclass
class Site:
    """A web server for one file at a time, and how it is to behave.

    `breaks` lists after how many bytes each of the next answers is cut off.
    """

    url: str = ""
    content: bytes = b""
    ranges: bool = True
    status: int = 200
    delay: float = 0.0
    drip: float = 0.0
    released: threading.Event = field(default_factory=threading.Event)
    etag: str | None = None
    length: bool = True
    breaks: list[int] = field(default_factory=list)
    requests: list[str | None] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    current = Site()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            current.requests.append(asked)
            if current.status != 200:
                self.send_error(current.status)
                return
            body, start = current.content, 0
            outdated = self.headers.get("If-Range") not in (None, current.etag)
            if asked and current.ranges and not outdated:
                start = int(asked.removeprefix("bytes=").partition("-")[0])
                if start >= len(body):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            body = body[start:]
            if current.length:
                self.send_header("Content-Length", str(len(body)))
            if current.etag:
                self.send_header("ETag", current.etag)
            self.end_headers()
            if current.delay:
                current.released.wait(current.delay)
            cut = current.breaks.pop(0) if current.breaks else len(body)
            if not current.drip:
                self.wfile.write(body[:cut])
                return
            with contextlib.suppress(OSError):  # the client has had enough
                for start in range(cut):
                    self.wfile.write(body[start : start + 1])
                    if current.released.wait(current.drip):
                        return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    current.url = f"http://127.0.0.1:{server.server_address[1]}/weights.pt"
    try:
        yield current
    finally:
        current.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
