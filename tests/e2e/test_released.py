"""Released predictions, from a local copy of their repository to a report, with a small model that scores features."""

import json
from pathlib import Path

import pytest
import yaml
from model_families import save_model
from released_world import HUB, RECORDS, Repository, released_rows

from polyalign.files import read_json
from polyalign.manifest import write_manifest
from polyalign.records import read_records

pytestmark = pytest.mark.e2e


class Workplace:
    """A working directory with a small model in place, and a configuration that reads released artifacts locally."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.repository = Repository(folder / "mirror")
        model = self.runs / "resources/models/small"
        save_model(model, "qwen2.5")
        write_manifest(model / "manifest.json", step="fetch_model")
        for name, oracle in (("sft", False), ("hdpo", True)):
            file = self.repository.run(name, released_rows(self.repository.records, oracle=oracle))
            assert file == self.run_of(name)["file"]
        self.config = folder / "config.yaml"
        self.config.write_text(
            yaml.safe_dump(
                {
                    "gpus": 0,
                    "grid": {"languages": ["en"], "methods": ["base", "sft"], "models": ["small"]},
                    "models": {
                        "small": {"hub": "owner/small", "chat_template": "qwen2.5", "dtype": "float32"}
                    },
                    "features": {
                        "set": "core-v1",
                        "shards": 1,  # ninety rows are read sooner than a job starts
                        "lm": {"max_length": 512, "dtype": "float32"},
                    },
                    "references": {"splits": ["test"]},
                    "metrics": {"bootstrap": 20},
                    "decoding": {"max_new_tokens": 4},
                    "published_decoding": True,
                    "released_mirror": str(folder / "mirror"),
                    "released_records": {"en": {"test": {"hub": HUB, "file": RECORDS}}},
                    "cells": {
                        "en_sft_small": {"source": "predictions", "predictions": self.run_of("sft")},
                        "en_hdpo_small": {"source": "predictions", "predictions": self.run_of("hdpo")},
                    },
                }
            )
        )

    @staticmethod
    def run_of(name: str) -> dict[str, str]:
        return {"hub": HUB, "file": f"english/runs/{name}/predictions.jsonl"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("released"))


@pytest.fixture
def run(snakemake, workplace):
    """Run targets with the workplace's configuration; returns exit status and what was said."""

    def start(*targets: str) -> tuple[int, str]:
        options = ("--cores", "2", "--directory", workplace.runs, "--configfile", workplace.config)
        done = snakemake(*options, "--", *targets)
        return done.returncode, done.stdout + done.stderr

    return start


def test_released_predictions_become_a_report(run, workplace):
    status, said = run("results/metrics/en_sft_small.json")
    assert status == 0, said[-4000:]
    assert not any(f"rule {name}" in said for name in ("train_", "merge_splits", "fetch_", "generate_"))

    report = read_json(workplace.runs / "results/metrics/en_sft_small.json")
    assert report["source"]["kind"] == "predictions"
    assert (report["source"]["hub"], report["source"]["file"]) == (HUB, workplace.run_of("sft")["file"])
    assert (report["coverage"]["answered"], report["coverage"]["missing"]) == (90, 0)
    assert report["decoding"]["max_new_tokens"]["short"] == 128
    assert 0 < report["metrics"]["utility"]["overall"]["qa_f1"] < 1
    assert report["metrics"]["bng"]["overall_macro"] > 0
    assert str(workplace.folder) not in json.dumps(report)
    split = workplace.runs / "results/splits/en/test.parquet"
    assert list(read_records(split)) == workplace.repository.records


def test_an_oracle_run_and_a_run_over_other_rows_are_refused(run, workplace):
    rows = released_rows(workplace.repository.records)
    rows[41]["input"] = "another context"
    workplace.repository.run("sft", rows)
    status, said = run("results/predictions/en_hdpo_small/test.jsonl", "results/metrics/en_sft_small.json")
    assert status == 1
    lines = [line for line in said.splitlines() if line.startswith("import_predictions:")]
    oracle, other = sorted(lines, key=lambda line: "row 42" in line)
    assert "90 of 90 rows were predicted from a prompt that shows the reference answer" in oracle
    assert "sft/predictions.jsonl, row 42, id r41, field 'input'" in other
    assert not (workplace.runs / "results/predictions/en_hdpo_small/test.jsonl").exists()
