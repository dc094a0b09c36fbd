"""A local server that speaks the hub's file endpoints, and goes wrong where it is told to."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from polyalign.files import sha256_json

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("v1", COMMIT)


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose method and path fit.

    Attributes:
        kind: an HTTP status; `cut` (the body ends in the middle), `spoil` (other bytes of the same length) or
            `hang up` (no answer at all).
        retry_after: value of the header, for a status.
        code: X-Error-Code, for a status.
    """

    path: str
    kind: int | str
    times: int = 1
    method: str = "GET"
    retry_after: str | None = None
    code: str | None = None


@dataclass
class FakeHub:
    """One repository, `some/corpus` as a dataset and as a model alike, and plain files by address.

    Attributes:
        files: {name: content}; names in `lfs` have SHA-256 digests, the others git's, as on the hub.
        faults: taken one after another.
        requests: (method, path, Range) of every request.
        delay_s: how long a request is served before its answer is sent.
        most_at_once: largest number of requests that were served at the same time.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    lfs: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    delay_s: float = 0.002
    most_at_once: int = 0
    address: str = ""
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def gets(self, part: str) -> list[str | None]:
        """Range headers of the downloads of paths that contain `part`."""
        return [ranged for method, path, ranged in self.requests if method == "GET" and part in path]

    def take_fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.path in path and fault.method == method:
                fault.times -= 1
                return fault
        return None

    def count_request(self) -> None:
        """Count a request as being served for `delay_s`.

        It ends before the first byte of its answer is sent: a client that reads one answer after another would
        otherwise be seen asking again before this side has noted that the answer is out.
        """
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        time.sleep(self.delay_s)
        with self._lock:
            self._now -= 1

    def etag(self, name: str) -> str:
        content = self.files[name]
        if name in self.lfs:
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def info(self) -> bytes:
        """The answer about the repository at a revision, with `blobs=true`."""
        siblings = []
        for name, content in self.files.items():
            sibling = {"rfilename": name, "size": len(content), "blobId": self.etag(name)}
            if name in self.lfs:
                sibling["lfs"] = {"sha256": self.etag(name), "size": len(content), "pointerSize": 130}
                sibling["blobId"] = sha256_json(name)[:40]
            siblings.append(sibling)
        return json.dumps({"id": "some/corpus", "sha": COMMIT, "siblings": siblings}).encode()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def _find(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        for kind, prefix in (("datasets", "/datasets"), ("models", "")):
            api = f"/api/{kind}/some/corpus"
            if path.startswith(api):
                if path.removeprefix(api) in (f"/revision/{name}" for name in REVISIONS):
                    return 200, self.hub.info(), {"Content-Type": "application/json"}
                return 404, b"", {"X-Error-Code": "RevisionNotFound"}
            name = path.removeprefix(f"{prefix}/some/corpus/resolve/{COMMIT}/")
            if name != path:
                if name in self.hub.files:
                    etag = {"ETag": f'"{self.hub.etag(name)}"', "X-Repo-Commit": COMMIT}
                    return 200, self.hub.files[name], etag
                return 404, b"", {"X-Error-Code": "EntryNotFound"}
        if path.startswith("/api/"):
            return 404, b"", {"X-Error-Code": "RepoNotFound"}
        name = path.removeprefix("/plain/")
        if name in self.hub.files:
            return 200, self.hub.files[name], {"ETag": f'"{self.hub.etag(name)}"'}
        return 404, b"", {}

    def _serve(self, method: str) -> None:
        self.hub.count_request()
        path, ranged = unquote(self.path.split("?")[0]), self.headers.get("Range")
        self.hub.requests.append((method, path, ranged))
        status, content, headers = self._find(path)
        fault = self.hub.take_fault(method, path)
        kind = fault.kind if fault else None
        if kind == "hang up":
            self.close_connection = True
            return
        if isinstance(kind, int):
            status, content, headers = kind, b"", {}
            if fault.retry_after is not None:
                headers["Retry-After"] = fault.retry_after
            if fault.code is not None:
                headers["X-Error-Code"] = fault.code
        if kind == "spoil":
            content = bytes(byte ^ 1 for byte in content)
        if status == 200 and ranged and self.headers.get("If-Range", headers["ETag"]) == headers["ETag"]:
            start = int(ranged.removeprefix("bytes=").rstrip("-"))
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            status, content = 206, content[start:]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if method == "GET":
            self.wfile.write(content[: len(content) // 2] if kind == "cut" else content)
        self.close_connection = kind == "cut"

    def do_GET(self) -> None:
        self._serve("GET")

    def do_HEAD(self) -> None:
        self._serve("HEAD")


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve until the block ends; `hub.address` is where."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def in_seconds(seconds: float) -> str:
    """A moment as HTTP writes it."""
    return formatdate(time.time() + seconds, usegmt=True)
