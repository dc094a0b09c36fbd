"""Fetching and mirroring by rules: one download at a time, the hub off afterwards, copies that follow their mirror."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hub_server import COMMIT, FakeHub, serving

from tests.snakemake_runs import run_snakemake

ROW = {"instruction": "Name a colour.", "context": "", "response": "Red.", "category": "open_qa"}
CORPORA = ("dolly", "hc3_chinese")
HC3 = {
    "question": "什么颜色？",
    "human_answers": ["红色。"],
    "chatgpt_answers": [],
    "source": "open_qa",
    "id": "1",
}
CONTENT = {
    "databricks-dolly-15k.jsonl": json.dumps(ROW) + "\n",
    "all.jsonl": json.dumps(HC3, ensure_ascii=False) + "\n",
}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    files = {name: text.encode() for name, text in CONTENT.items()}
    with serving(FakeHub(files=files, delay_s=0.1)) as server:
        yield server


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    """`snakemake ARGS...` in a working directory of its own; keywords are environment variables."""
    hidden = ("HF_HUB_OFFLINE", "HF_TOKEN", "POLYALIGN_OFFLINE")

    def snakemake(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        ours = {name: value for name, value in os.environ.items() if name not in hidden}
        given = {"HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home"), **environment}
        words = ("--directory", tmp_path / "run", *arguments)
        return run_snakemake(*words, cwd=root, environment={**ours, **given}, timeout=300)

    return snakemake


def registry(root: Path, folder: Path, **revisions: str) -> Path:
    """The registry that ships, with two corpora that come from the local server, at v1 unless told otherwise."""
    values = yaml.safe_load((root / "config" / "sources.yaml").read_text())
    for dataset in CORPORA:
        values["corpora"][dataset]["hub"] = {
            "repo": "some/corpus",
            "revision": revisions.get(dataset, "v1"),
        }
    path = folder / "sources.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_fetched_one_after_another_with_commit_and_digests(
    root: Path, tmp_path: Path, run: Run, hub: FakeHub
) -> None:
    targets = [f"resources/raw/{dataset}/manifest.json" for dataset in CORPORA]
    options = [
        "--cores",
        "2",
        "--config",
        f"sources={{registry: {registry(root, tmp_path)}}}",
        "--",
        *targets,
    ]
    offline = run(*options, HF_ENDPOINT=hub.address, HF_HUB_OFFLINE="1")
    assert offline.returncode == 1
    assert "HF_HUB_OFFLINE is set" in offline.stderr
    done = run(*options, HF_ENDPOINT=hub.address)
    assert done.returncode == 0, done.stderr
    assert hub.most_at_once == 1
    for target in targets:
        manifest = json.loads((tmp_path / "run" / target).read_text())
        assert manifest["details"]["commit"] == COMMIT
        assert manifest["details"]["obtained"] == "download"
        assert "scope" not in manifest["params"]["entry"]
    asked = len(hub.requests)
    again = run(
        "--cores",
        "1",
        "--config",
        options[3],
        "--",
        "results/formatted/dolly/manifest.json",
        HF_ENDPOINT=hub.address,
    )
    assert again.returncode == 0, again.stderr
    assert len(hub.requests) == asked
    # Another revision of one corpus.
    registry(root, tmp_path, dolly="v2")
    planned = run("-n", *options).stdout
    assert "'revision': 'v1'" in planned
    assert "'revision': 'v2'" in planned
    assert planned.count("rule fetch_source:") == planned.count("wildcards: dataset=dolly") == 1


def test_a_copy_follows_its_mirror(tmp_path: Path, run: Run) -> None:
    mirrored = tmp_path / "mirror" / "dolly" / "databricks-dolly-15k.jsonl"
    mirrored.parent.mkdir(parents=True)
    mirrored.write_text(CONTENT[mirrored.name])
    target = "resources/raw/dolly/manifest.json"
    options = ["--cores", "1", "--config", f"sources={{mirror: {tmp_path / 'mirror'}}}", "--", target]
    assert run(*options).returncode == 0
    assert "Nothing to be done" in run("-n", *options).stdout
    # Replaced by a file with an older time stamp, as rsync leaves it: the size tells.
    mirrored.write_text(CONTENT[mirrored.name] * 2)
    os.utime(mirrored, (0, 0))
    assert "mirror_source" in run("-n", *options).stdout
    assert run(*options).returncode == 0
    assert (tmp_path / "run/resources/raw/dolly" / mirrored.name).read_text() == CONTENT[mirrored.name] * 2
    # Changed in place, the same size: the time tells.
    mirrored.write_text(mirrored.read_text().replace("Red", "Tan"))
    os.utime(mirrored, (time.time() + 5,) * 2)
    assert "mirror_source" in run("-n", *options).stdout
    mirrored.unlink()
    gone = run("-n", *options)
    assert gone.returncode == 2
    assert "the mirror lacks a file of dolly" in gone.stderr
    assert "Traceback" not in gone.stderr
