"""Fetching a base model from a hub that a local server plays."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from polyalign import hub

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"pickled weights",
    "tokenizer_config.json": b'{"chat_template": "theirs"}',
    "original/consolidated.safetensors": b"other weights",
    "README.md": b"# card",
}


class Hub(BaseHTTPRequestHandler):
    """The hub's answers for one model, owner/model, with one tag, v1."""

    files = FILES

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def answer(self) -> tuple[int, bytes, dict[str, str]]:
        path = self.path.partition("?")[0]
        if path in (f"/api/models/owner/model/revision/{name}" for name in ("v1", COMMIT)):
            siblings = [{"rfilename": name} for name in self.files]
            return 200, json.dumps({"id": "owner/model", "sha": COMMIT, "siblings": siblings}).encode(), {}
        if path == f"/api/models/owner/model/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": len(body), "oid": COMMIT}
                for name, body in self.files.items()
            ]
            return 200, json.dumps(tree).encode(), {}
        prefix = f"/owner/model/resolve/{COMMIT}/"
        name = path.removeprefix(prefix)
        if path.startswith(prefix) and name in self.files:
            return 200, self.files[name], {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT}
        code = "RevisionNotFound" if path.startswith("/api/models/owner/model/") else "RepoNotFound"
        return 404, b"", {"X-Error-Code": code}

    def do_HEAD(self) -> None:
        status, body, headers = self.answer()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.answer()[1])


class Pickled(Hub):
    """A model without safetensors weights."""

    files = {name: body for name, body in FILES.items() if not name.endswith(".safetensors")}  # noqa: RUF012


def serve(handler: type[Hub]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def address() -> Iterator[str]:
    yield from serve(Hub)


@pytest.fixture
def pickled() -> Iterator[str]:
    yield from serve(Pickled)


def fetch(
    out: Path, endpoint: str, repository: str = "owner/model", revision: str = "v1", offline: str = "0"
) -> subprocess.CompletedProcess[str]:
    """Fetch in a process of its own: the hub's client reads offline mode from the environment at import."""
    code = (
        "import json, sys\n"
        "from polyalign.errors import BadInput\n"
        "from polyalign.hub import fetch_model\n"
        "repository, revision, out, endpoint = sys.argv[1:]\n"
        "try:\n"
        "    print(json.dumps(fetch_model(repository, revision, out, chat_template='ours', endpoint=endpoint)))\n"
        "except BadInput as error:\n"
        "    sys.exit(str(error))\n"
    )
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": offline,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": f"{out}.home",
        "PYTHONPATH": str(Path(hub.__file__).parent.parent),
    }
    return subprocess.run(
        [sys.executable, "-c", code, repository, revision, str(out), endpoint],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_snapshot_holds_safetensors_our_template_and_the_commit(tmp_path: Path, address: str) -> None:
    done = fetch(tmp_path / "model", address)
    assert done.returncode == 0, done.stderr
    details = json.loads(done.stdout)
    assert details["commit"] == COMMIT
    present = {str(path.relative_to(tmp_path / "model")) for path in (tmp_path / "model").rglob("*")}
    assert (
        present
        == set(details["files"])
        == {"config.json", "model.safetensors", "tokenizer_config.json", "chat_template.jinja"}
    )
    assert (tmp_path / "model/chat_template.jinja").read_text() == "ours"
    assert (tmp_path / "model/model.safetensors").read_bytes() == FILES["model.safetensors"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"revision": "v2"}, "revision v2 is not there"),
        ({"repository": "owner/other"}, "model owner/other, revision v1 is not there"),
        ({"offline": "1"}, "downloading model owner/model, revision v1 failed"),
    ],
)
def test_what_cannot_be_had_is_one_clear_line(
    tmp_path: Path, address: str, changes: dict[str, str], message: str
) -> None:
    done = fetch(tmp_path / "model", address, **changes)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model").exists()


def test_model_without_safetensors_is_refused(tmp_path: Path, pickled: str) -> None:
    done = fetch(tmp_path / "model", pickled)
    assert "has no safetensors weights" in done.stderr
    assert not (tmp_path / "model").exists()
