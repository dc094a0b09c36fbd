"""Released artifacts from a hub that a local server plays, its client the real huggingface_hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import COMMIT, FakeHub, serving

from polyalign import released
from polyalign.manifest import write_manifest

FILE = "english/runs/sft/predictions.jsonl"
CODE = """
import json, sys
from polyalign.errors import BadInput
from polyalign.released import fetch_released, file_source, import_checkpoint
calls, folder = json.loads(sys.argv[1]), sys.argv[2]
for name, place in calls.items():
    try:
        if name == "file":
            fetch_released(place, f"{folder}/en_sft_tiny.jsonl")
        else:
            import_checkpoint(place, f"{folder}/en_dpo_tiny", default_template="ours")
    except BadInput as error:
        sys.exit(str(error))
"""


@pytest.fixture
def hub():
    files = {
        FILE: b'{"source_index": 0}\n',
        "config.json": b"{}",
        "model.safetensors": b"weights",
        "tokenizer_config.json": b"{}",
        "chat_template.jinja": b"theirs",
    }
    with serving(FakeHub(files=files, lfs={"model.safetensors"})) as server:
        yield server


def call(hub: FakeHub, folder: Path, **places: dict) -> subprocess.CompletedProcess[str]:
    """Fetch in a process of its own: the hub's client reads its environment at import."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.address,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": str(folder / "home"),
        "PYTHONPATH": str(Path(released.__file__).parent.parent),
    }
    command = [sys.executable, "-c", CODE, json.dumps(places), str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_file_and_a_checkpoint_arrive_with_their_commit(hub: FakeHub, tmp_path: Path):
    file, checkpoint = (
        {"hub": "some/corpus", "revision": "v1", "file": FILE},
        {"hub": "some/corpus", "revision": "v1"},
    )
    done = call(hub, tmp_path, file=file, checkpoint=checkpoint)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "en_sft_tiny.jsonl").read_bytes() == hub.files[FILE]
    model = tmp_path / "en_dpo_tiny"
    assert (model / "model.safetensors").read_bytes() == b"weights"
    # The template that the checkpoint was trained with stays.
    assert (model / "chat_template.jinja").read_text() == "theirs"
    assert not (tmp_path / ".downloads").exists() or not any((tmp_path / ".downloads").iterdir())


@pytest.mark.parametrize(
    "name, place, message",
    [
        (
            "file",
            {"hub": "some/corpus", "file": "english/runs/sft/prediction.jsonl"},
            f"did you mean '{FILE}'?",
        ),
        (
            "file",
            {"hub": "some/other", "file": FILE},
            "released file at some/other, revision v1 is not there",
        ),
        ("checkpoint", {"hub": "some/other"}, "correct cells.en_dpo_tiny.checkpoint.hub and .revision"),
    ],
)
def test_what_is_not_there_is_one_line(hub: FakeHub, tmp_path: Path, name: str, place: dict, message: str):
    done = call(hub, tmp_path, **{name: {**place, "revision": "v1"}})
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.glob("en_*"))


def test_a_manifest_beside_a_downloaded_file_tells_its_commit(tmp_path: Path):
    file = tmp_path / "en_sft_tiny.jsonl"
    file.write_text("{}\n")
    place = {"hub": "some/corpus", "file": FILE}
    assert released.file_source("predictions", place, file)["commit"] is None
    details = {"commit": COMMIT}
    write_manifest(tmp_path / "en_sft_tiny.manifest.json", step="fetch_released", details=details)
    assert released.file_source("predictions", place, file)["commit"] == COMMIT
