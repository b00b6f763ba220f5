"""A web server with the endpoints of the Hugging Face Hub that downloads use."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class HubSite:
    """A hub with one repository, and how it is to behave.

    `breaks` lists after how many bytes each of the next answers with a large file is cut off.
    `requests` lists method, path, range and token of what was asked for.
    """

    name: str = "lab/tiny"
    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    served: dict[str, bytes] = field(default_factory=dict)
    gated: bool = False
    token: str = "hf_secret"
    breaks: list[int] = field(default_factory=list)
    requests: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)

    @property
    def asked(self) -> list[str]:
        """Names of the files that were asked for."""
        return [path.rpartition("/")[2] for _, path, *_ in self.requests if "/resolve/" in path]

    def listing(self) -> dict[str, object]:
        siblings = []
        for name, content in self.files.items():
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            row: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": git}
            if name.endswith((".safetensors", ".bin")):
                sha = hashlib.sha256(content).hexdigest()
                row["lfs"] = {"size": len(content), "sha256": sha, "pointerSize": 130}
            siblings.append(row)
        return {
            "_id": "1", "id": self.name, "sha": COMMIT, "private": False, "disabled": False,
            "gated": "manual" if self.gated else False, "downloads": 1, "likes": 1, "tags": [],
            "siblings": siblings,
        }  # fmt: skip


@contextlib.contextmanager
def serve(site: HubSite) -> Iterator[HubSite]:
    """Serve a hub on this machine; large files come from another host name, as on the real one."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            token, span = self.headers.get("Authorization"), self.headers.get("Range")
            site.requests.append((self.command, path, span, token))
            owner = f"/{site.name}/resolve/"
            if path.startswith("/api/models/"):
                self.api(path)
            elif path.startswith(("/cdn/", "/api/resolve-cache/")):
                self.content(path.rpartition("/")[2], span)
            elif not path.startswith(owner):
                self.refuse(404, "RepoNotFound")
            elif site.gated and token != f"Bearer {site.token}":
                self.refuse(403 if token else 401, "GatedRepo")
            elif not path.startswith(f"{owner}{COMMIT}/"):
                self.refuse(404, "RevisionNotFound")
            elif (name := path.rpartition("/")[2]).endswith(".safetensors"):
                self.redirect(f"http://localhost:{self.server.server_address[1]}/cdn/{name}")
            else:
                self.redirect(f"/api/resolve-cache/{name}")

        def redirect(self, to: str) -> None:
            self.send_response(307)
            self.send_header("Location", to)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def api(self, path: str) -> None:
            rest = path.removeprefix(f"/api/models/{site.name}")
            if rest == path:
                self.refuse(401, "RepoNotFound")
            elif rest and rest not in (f"/revision/{COMMIT}", "/revision/main"):
                self.refuse(404, "RevisionNotFound")
            else:
                self.answer(200, json.dumps(site.listing()).encode())

        def content(self, name: str, span: str | None) -> None:
            body = site.served.get(name, site.files[name])
            start = int(span.removeprefix("bytes=").partition("-")[0]) if span else 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("ETag", '"1"')
            body = body[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            large = name.endswith(".safetensors")
            cut = site.breaks.pop(0) if large and site.breaks else len(body)
            self.wfile.write(body[:cut])

        def refuse(self, status: int, code: str) -> None:
            self.answer(status, b"{}", {"X-Error-Code": code})

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
