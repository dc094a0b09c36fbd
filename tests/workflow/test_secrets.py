"""Keys come from the environment and stay there: no log, manifest, report or message repeats them."""

import json
import logging
import os
import subprocess
import sys
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError

import pytest
from answering_server import answering
from hub_server import FakeHub, serving
from model_families import record_of, save_model
from test_inference_runner import run as answer
from test_inference_runner import write_records
from test_model_download import fetch

from polyalign import downloads
from polyalign.data.registry import SourcePlace
from polyalign.errors import BadInput, PolyAlignError
from polyalign.manifest import write_manifest

SECRETS = {
    "OPENAI_API_KEY": "sk-canary-openai-4711",
    "HF_TOKEN": "hf_canaryHubToken4711",
    "HUGGING_FACE_HUB_TOKEN": "hf_canaryOldToken4711",
    "WANDB_API_KEY": "canary-wandb-4711",
    "AWS_SECRET_ACCESS_KEY": "canary-aws-4711",
}


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


def told(*texts: str) -> list[str]:
    """Names of the secrets that stand in some text."""
    return [name for name, value in SECRETS.items() if any(value in text for text in texts)]


def told_in(folder: Path) -> list[tuple[str, str]]:
    """(file, secret) for every secret in any file below a folder, hidden and binary ones included."""
    return [
        (str(path.relative_to(folder)), name)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
        for name, value in SECRETS.items()
        if value.encode() in path.read_bytes()
    ]


def test_the_search_finds_one(tmp_path):
    (tmp_path / ".hidden").write_bytes(b"\0\xff" + SECRETS["HF_TOKEN"].encode())
    assert told_in(tmp_path) == [(".hidden", "HF_TOKEN")]


def test_a_run_of_the_workflow_writes_none(root, tmp_path):
    options = [
        "--configfile",
        "config/demo.yaml",
        "--config",
        "sources={demo: {rows: 20}}",
        "--show-failed-logs",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--directory", tmp_path, "--cores", "1", "--printshellcmds", *options,
         "--", "results/formatted/dolly/manifest.json"],
        cwd=root, env=dict(os.environ), text=True, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert told(done.stdout, done.stderr) == []
    assert (tmp_path / "logs/format_corpus/dolly.log").is_file()
    assert told_in(tmp_path) == []


def test_answers_of_a_server_that_quotes_the_key(tmp_path, caplog):
    """The server answers all rows, then refuses one and repeats the key that it was sent."""
    quoted = {"error": {"message": f"refused for Bearer {SECRETS['OPENAI_API_KEY']}", "type": "invalid"}}
    refused = []

    def reply(path, body, count):
        return (400, quoted) if body["max_tokens"] > 1 and body["prompt"] in refused else None

    folder = tmp_path / "run"
    folder.mkdir()
    model = save_model(tmp_path / "model", "llama3.2")
    records = write_records(folder / "test.parquet", [record_of(index) for index in range(6)])
    caplog.set_level(logging.DEBUG)
    with answering(reply) as (url, asked):
        settings = {"base_url": url, "retries": 0}
        details, rows = answer(records, model, folder, "whole.jsonl", engine="openai", openai=settings)
        assert len(rows) == 6
        assert asked.keys == {f"Bearer {SECRETS['OPENAI_API_KEY']}"}
        refused.append(json.loads(list(asked.prompts)[3]))
        with pytest.raises(PolyAlignError, match="no answer: BadRequestError") as failed:
            answer(records, model, folder, engine="openai", openai=settings)
    write_manifest(
        folder / "manifest.json",
        step="generate",
        inputs=[records],
        outputs=[folder / "whole.jsonl"],
        params={"engine": settings},
        details=details,
    )
    assert told(str(failed.value), caplog.text) == []
    assert told_in(folder) == []


@pytest.mark.parametrize("revision, fetched", [("v1", True), ("none", False)])
def test_a_download_and_one_that_is_refused(tmp_path, revision, fetched):
    files = {"model.safetensors": b"weights", "config.json": b"{}"}
    with serving(FakeHub(files=files)) as hub:
        done = fetch(tmp_path / "model", hub, revision=revision)
    assert (done.returncode == 0) == fetched, done.stderr
    assert told(done.stdout, done.stderr) == []
    assert told_in(tmp_path) == []


def test_the_signature_of_a_download_is_not_told(tmp_path, monkeypatch):
    """Hubs redirect to addresses that open a file to whoever has them."""
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    signed = f"http://127.0.0.1:9/file?X-Amz-Signature={SECRETS['AWS_SECRET_ACCESS_KEY']}"

    def refused(*_, **__):
        raise HTTPError(signed, 403, "Forbidden", Message(), None)

    monkeypatch.setattr(downloads, "urlopen", refused)
    with pytest.raises(BadInput, match=r"HTTP 403 from http://127\.0\.0\.1:9/file\)") as error:
        downloads.fetch_url("http://127.0.0.1:9/file", tmp_path / "file", "corpus x", instead="wait")
    assert told(str(error.value)) == []


def test_an_address_in_the_registry_holds_no_password():
    entry = {"language": "en", "licence": "MIT", "citation": "x", "files": [{"path": "a.jsonl"}]}
    with pytest.raises(ValueError, match="no credentials in a URL"):
        SourcePlace.model_validate({**entry, "base_url": "https://me:secret@host/files/"})


def test_manifests_hold_no_environment(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("x")
    write_manifest(tmp_path / "manifest.json", step="s", inputs=[file], outputs=[], params={}, details={})
    stated = json.loads((tmp_path / "manifest.json").read_text())
    assert "environ" not in stated
    assert told_in(tmp_path) == []
