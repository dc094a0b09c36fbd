"""The corpus registry, mirrors and downloads; the servers are real, local ones."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from polyalign import sources
from polyalign.corpora.catalogue import CORPORA
from polyalign.errors import BadInput, BadInputs
from polyalign.manifest import write_manifest
from polyalign.sources import (
    SourceEntry,
    fetch_source,
    get_entry,
    list_files,
    load_registry,
    mirror_source,
    verify_source,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def entry(**changes: object) -> SourceEntry:
    values = {
        "language": "en",
        "licence": "CC0",
        "citation": "nobody",
        "hub": {"repo": "some/corpus", "revision": "v1"},
        "files": [{"path": "all.jsonl"}],
    }
    return SourceEntry.model_validate({**values, **changes})


def test_the_registry_names_every_corpus_as_the_catalogue_does() -> None:
    registry = load_registry()
    assert set(registry) == set(CORPORA)
    for dataset, found in registry.items():
        assert found.language == CORPORA[dataset].language
        assert CORPORA[dataset].hub == (found.hub.repo if found.hub else found.hub_page)
        assert found.licence
        assert found.citation


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"language": "de"}, "dolly.language"),
        ({"hub": None}, "either hub or base_url"),
        ({"base_url": "https://example.org/"}, "either hub or base_url"),
        ({"files": []}, "dolly.files"),
        ({"files": [{"path": "../x"}]}, "points outside"),
        ({"files": [{"path": "/x"}]}, "points outside"),
        ({"files": [{"path": "a*", "remote": "b"}]}, r"both have a \*"),
        ({"files": [{"path": "a", "sha256": "12"}]}, "dolly.files.0.sha256"),
        ({"licencse": "CC0"}, "dolly.licencse"),
    ],
)
def test_mistakes_in_the_registry_are_named(tmp_path: Path, change: dict, expected: str) -> None:
    good = entry().model_dump(exclude_none=True)
    values = {key: value for key, value in {**good, **change}.items() if value is not None}
    path = tmp_path / "sources.yaml"
    path.write_text(yaml.safe_dump({"dolly": values}))
    with pytest.raises(BadInputs, match=expected):
        load_registry(path)


def test_a_misspelt_corpus_of_the_registry_is_told_its_name(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(yaml.safe_dump({"doly": entry().model_dump(exclude_none=True)}))
    with pytest.raises(BadInput, match="unknown corpus 'doly'; fix: did you mean 'dolly'"):
        load_registry(path)


def test_registry_that_is_missing_or_lacks_the_corpus(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not found"):
        load_registry(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("[]")
    with pytest.raises(BadInput, match="expected a mapping"):
        load_registry(tmp_path / "empty.yaml")
    (tmp_path / "one.yaml").write_text(yaml.safe_dump({"dolly": entry().model_dump(exclude_none=True)}))
    with pytest.raises(BadInput, match="not in the registry"):
        get_entry("coqa", tmp_path / "one.yaml")
    with pytest.raises(BadInput, match="unknown corpus"):
        get_entry("nosuch")


def put(path: Path, content: str = "{}\n") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return hashlib.sha256(content.encode()).hexdigest()


def test_mirror_copies_what_the_registry_lists(tmp_path: Path) -> None:
    digest = put(tmp_path / "mirror/dolly/all.jsonl", "{}\n")
    put(tmp_path / "mirror/dolly/data/train-00000-of-00001.parquet", "p")
    put(tmp_path / "mirror/dolly/README.md")
    put(tmp_path / "raw/dolly/of_an_earlier_revision.jsonl")
    files = [
        {"path": "all.jsonl", "sha256": digest},
        {"path": "train-*.parquet", "remote": "data/train-*.parquet"},
        {"path": "extra/*.jsonl", "required": False},
    ]
    details = mirror_source("dolly", tmp_path / "mirror", tmp_path / "raw/dolly", entry=entry(files=files))
    assert list(details["files"]) == ["all.jsonl", "train-00000-of-00001.parquet"]
    assert details["files"]["all.jsonl"] == {"sha256": digest, "bytes": 3}
    assert list(list_files(tmp_path / "raw/dolly")) == list(details["files"])
    assert (details["licence"], details["hub"], details["revision"]) == ("CC0", "some/corpus", "v1")


def test_mirror_says_what_is_missing_or_wrong(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as error:
        mirror_source("dolly", tmp_path, tmp_path / "raw", entry=entry())
    assert str(tmp_path / "dolly" / "all.jsonl") in str(error.value)
    assert "lacks a file of dolly" in str(error.value)
    assert "fix: " in str(error.value)
    put(tmp_path / "dolly/all.jsonl")
    files = [{"path": "all.jsonl", "sha256": "0" * 64}]
    with pytest.raises(BadInput, match="differs from the registry"):
        mirror_source("dolly", tmp_path, tmp_path / "raw", entry=entry(files=files))
    files = [{"path": "x/*.jsonl", "required": False}]
    with pytest.raises(BadInput, match="no file of dolly found"):
        mirror_source("dolly", tmp_path, tmp_path / "raw", entry=entry(files=files))
    assert not (tmp_path / "raw").exists()


def test_changed_raw_files_are_noticed(tmp_path: Path) -> None:
    put(tmp_path / "mirror/dolly/all.jsonl")
    raw = tmp_path / "raw"
    details = mirror_source("dolly", tmp_path / "mirror", raw, entry=entry())
    write_manifest(raw / "manifest.json", step="mirror_source", details=details)
    assert verify_source(raw) == details
    (raw / "all.jsonl").write_text("[]\n")
    with pytest.raises(BadInput, match=r"all\.jsonl: raw file of dolly changed"):
        verify_source(raw)
    (raw / "all.jsonl").unlink()
    with pytest.raises(BadInput, match="missing"):
        verify_source(raw)


class Hub(BaseHTTPRequestHandler):
    """Files of a folder as plain downloads, and in the address layout of the hub for one repository."""

    def __init__(self, folder: Path, broken: list[str], *arguments: object) -> None:
        self.folder, self.broken = folder, broken
        super().__init__(*arguments)  # type: ignore[arg-type]

    def _content(self) -> tuple[int, bytes, dict[str, str]]:
        path = unquote(self.path.split("?")[0])
        if self.broken:
            return int(self.broken.pop()), b"", {}
        if path.startswith("/api/datasets/some/corpus"):
            if not path.endswith(("/revision/v1", f"/revision/{COMMIT}")):
                return 404, b"", {"X-Error-Code": "RevisionNotFound"}
            names = sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())
            info = {"id": "some/corpus", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
            return 200, json.dumps(info).encode(), {"Content-Type": "application/json"}
        if path.startswith("/api/"):
            return 404, b"", {"X-Error-Code": "RepoNotFound"}
        file = self.folder / path.removeprefix(f"/datasets/some/corpus/resolve/{COMMIT}/").lstrip("/")
        if not file.is_file():
            return 404, b"", {"X-Error-Code": "EntryNotFound"}
        content = file.read_bytes()
        return 200, content, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}

    def _answer(self, with_body: bool) -> None:
        status, content, headers = self._content()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """(address, folder that is served, statuses to fail the next requests with)."""
    folder, broken = tmp_path / "served", []
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, folder, broken))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder, broken
    server.shutdown()
    server.server_close()


def test_download_by_address_tries_again(
    tmp_path: Path, hub: tuple[str, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder, broken = hub
    monkeypatch.setattr(sources, "_FIRST_WAIT_S", 0.01)
    digest = put(folder / "data/all.jsonl", "{}\n" * 1000)
    there = entry(hub=None, base_url=f"{address}/", files=[{"path": "all.jsonl", "remote": "data/all.jsonl"}])
    broken += ["503", "500"]
    details = fetch_source("dolly", tmp_path / "raw", entry=there)
    assert details["files"] == {"all.jsonl": {"sha256": digest, "bytes": 3000}}
    assert not broken
    broken += ["503"] * sources.ATTEMPTS
    with pytest.raises(BadInput, match=r"all\.jsonl of dolly failed.*503"):
        fetch_source("dolly", tmp_path / "raw", entry=there)
    # What was there stays: the new files never became whole.
    assert list(list_files(tmp_path / "raw")) == ["all.jsonl"]
    gone = entry(hub=None, base_url=f"{address}/", files=[{"path": "gone.jsonl"}])
    with pytest.raises(BadInput, match="404"):
        fetch_source("dolly", tmp_path / "other", entry=gone)


def run_fetch(out: Path, address: str, spec: SourceEntry) -> subprocess.CompletedProcess[str]:
    """Fetch in a process of its own: the hub's client reads offline mode from the environment at import."""
    code = (
        "import sys\n"
        "from polyalign import sources\n"
        "sources._FIRST_WAIT_S = 0.01\n"
        "spec = sources.SourceEntry.model_validate_json(sys.argv[1])\n"
        "try:\n"
        "    print(sources.fetch_source('dolly', sys.argv[2], entry=spec, endpoint=sys.argv[3])['commit'])\n"
        "except sources.BadInput as error:\n"
        "    sys.exit(str(error))\n"
    )
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(out) + ".home",
    }
    return subprocess.run(
        [sys.executable, "-c", code, spec.model_dump_json(exclude_none=True), str(out), address],
        env={**environment, "PYTHONPATH": str(Path(sources.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_download_from_a_hub(tmp_path: Path, hub: tuple[str, Path, list[str]]) -> None:
    address, folder, _ = hub
    put(folder / "all.jsonl", "{}\n")
    put(folder / "data/train-00000-of-00001.parquet", "p")
    put(folder / "README.md")
    files = [{"path": "all.jsonl"}, {"path": "train-*.parquet", "remote": "data/train-*.parquet"}]
    done = run_fetch(tmp_path / "raw", address, entry(files=files))
    assert done.stdout.strip() == COMMIT, done.stderr
    assert list(list_files(tmp_path / "raw")) == ["all.jsonl", "train-00000-of-00001.parquet"]


def test_hub_without_revision_or_file(tmp_path: Path, hub: tuple[str, Path, list[str]]) -> None:
    address, folder, _ = hub
    put(folder / "all.jsonl", "{}\n")
    for spec, expected in [
        (entry(hub={"repo": "some/corpus", "revision": "v2"}), "revision v2 is not there"),
        (entry(files=[{"path": "gone.jsonl"}]), "no file of dolly named gone.jsonl"),
    ]:
        done = run_fetch(tmp_path / "raw", address, spec)
        assert done.returncode == 1
        assert expected in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not (tmp_path / "raw").exists()


def test_offline_mode_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"downloading dolly at some/corpus.*sources\.mirror"):
        fetch_source("dolly", tmp_path / "raw", entry=entry())
