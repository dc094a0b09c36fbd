"""Fetching a base model from a hub that a local server plays."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, FakeHub, Fault, serving

from polyalign import model_download

FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"pickled weights",
    "tokenizer_config.json": b'{"chat_template": "theirs"}',
    "original/consolidated.safetensors": b"other weights",
    "consolidated.safetensors": b"the same weights in another layout",
    "README.md": b"# card",
}


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with serving(FakeHub(files=dict(FILES), lfs={"model.safetensors"})) as running:
        yield running


def fetch(
    out: Path, server: FakeHub, repository: str = "some/corpus", revision: str = "v1", offline: str = "0"
) -> subprocess.CompletedProcess[str]:
    """Fetch in a process of its own: the hub's client reads offline mode from the environment at import."""
    code = (
        "import json, sys\n"
        "from polyalign import downloads\n"
        "from polyalign.errors import BadInput\n"
        "from polyalign.model_download import fetch_model\n"
        "downloads._FIRST_WAIT_S = 0.01\n"
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
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": f"{out}.home",
        "PYTHONPATH": str(Path(model_download.__file__).parent.parent),
    }
    return subprocess.run(
        [sys.executable, "-c", code, repository, revision, str(out), server.address],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_snapshot_holds_safetensors_our_template_and_the_commit(tmp_path: Path, server: FakeHub) -> None:
    done = fetch(tmp_path / "model", server)
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
        ({"repository": "some/other"}, "model at some/other, revision v1 is not there"),
        ({"offline": "1"}, "HF_HUB_OFFLINE is set"),
    ],
)
def test_what_cannot_be_had_is_one_clear_line(
    tmp_path: Path, server: FakeHub, changes: dict[str, str], message: str
) -> None:
    done = fetch(tmp_path / "model", server, **changes)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model").exists()


def test_faults_that_pass_and_the_files_one_after_another(tmp_path: Path, server: FakeHub) -> None:
    server.faults = [
        Fault("/api/models", 429, retry_after="0"),
        Fault("model.safetensors", "spoil"),
        Fault("config.json", 500, method="HEAD"),
        Fault("tokenizer_config.json", 503, 99),
    ]
    assert "HTTP 503" in fetch(tmp_path / "model", server).stderr
    assert not (tmp_path / "model").exists()
    server.faults.clear()
    server.requests.clear()
    done = fetch(tmp_path / "model", server)
    assert done.returncode == 0, done.stderr
    assert [len(server.gets(name)) for name in ("model.safetensors", "tokenizer_config.json")] == [0, 1]
    assert (tmp_path / "model/model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert server.most_at_once == 1


def test_gated_model_says_how_to_get_it(tmp_path: Path, server: FakeHub) -> None:
    server.faults = [Fault("/api/models", 401, 9, code="GatedRepo")]
    done = fetch(tmp_path / "model", server)
    assert "access to model at some/corpus, revision v1 is refused; fix: accept its terms" in done.stderr


def test_model_without_safetensors_is_refused(tmp_path: Path, server: FakeHub) -> None:
    del server.files["model.safetensors"]
    done = fetch(tmp_path / "model", server)
    assert not server.gets("resolve")
    assert "has no safetensors weights" in done.stderr
    assert not (tmp_path / "model").exists()
